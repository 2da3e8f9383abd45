//! Files made here, whole, cut and flipped.

use std::io::Write;

use super::*;

/// A file of these keys, given as bytes after their names, and of these tensors.
fn file(keys: &[(&str, Vec<u8>)], tensors: &[(&str, &[u64], u32, u64)], data: usize) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((keys.len() as u64).to_le_bytes());
    for (key, value) in keys {
        bytes.extend(text(key));
        bytes.extend(value);
    }
    for (name, dimensions, kind, offset) in tensors {
        bytes.extend(text(name));
        bytes.extend((dimensions.len() as u32).to_le_bytes());
        dimensions.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(32) + data, 7);
    bytes
}

/// A value as it follows its key: its type, then its bytes.
fn value(kind: u32, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], bytes].concat()
}

fn strings(texts: &[&str]) -> Vec<u8> {
    let mut bytes = [8u32.to_le_bytes(), (texts.len() as u32).to_le_bytes(), [0; 4]].concat();
    for text in texts {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    value(9, &bytes)
}

fn whole() -> Vec<u8> {
    let keys = [
        ("size", value(4, &7u32.to_le_bytes())),
        ("less", value(5, &(-7i32).to_le_bytes())),
        ("large", value(10, &u64::MAX.to_le_bytes())),
        ("scale", value(6, &0.5f32.to_le_bytes())),
        ("yes", value(7, &[1])),
        ("tokens", strings(&["a", "", "gg"])),
    ];
    file(&keys, &[("one", &[32, 3], 2, 0), ("two", &[5], 0, 64)], 64 + 20)
}

fn refused(bytes: &[u8]) -> String {
    check(bytes).unwrap_err()
}

#[test]
fn keys_and_tensors_are_read() {
    let mut temporary = tempfile::NamedTempFile::new().unwrap();
    temporary.write_all(&whole()).unwrap();
    let gguf = Gguf::open(temporary.path()).unwrap();
    assert_eq!(gguf.get("size").and_then(Value::as_usize), Some(7));
    assert_eq!(gguf.get("less"), Some(&Value::Integer(-7)));
    assert_eq!(gguf.get("large"), Some(&Value::Integer(u64::MAX.into())));
    assert_eq!(gguf.get("scale").and_then(Value::as_f64), Some(0.5));
    assert_eq!(gguf.get("yes").and_then(Value::as_bool), Some(true));
    assert_eq!(gguf.get("tokens").unwrap().as_strings().unwrap(), ["a", "", "gg"]);
    assert_eq!(gguf.get("none"), None);
    assert_eq!(gguf.tensors().collect::<Vec<_>>(), ["one", "two"]);
    let one = gguf.place("one", [3, 32]).unwrap();
    assert_eq!((one.format, one.bytes.len()), (Format::Q4_0, 3 * 18));
    assert_eq!(gguf.place("two", [1, 5]).unwrap().bytes.len(), 20);
    let refused = |name, shape| gguf.place(name, shape).err().unwrap().to_string();
    assert!(refused("one", [32, 3]).contains("`one` is [3, 32]"));
    assert!(refused("three", [1, 1]).contains("`three`"));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let one = |dimensions: &[u64], kind, offset| {
        refused(&file(&[], &[("odd", dimensions, kind, offset)], 64))
    };
    assert!(one(&[33], 2, 0).contains("`odd`"), "no whole blocks");
    assert!(one(&[32], 3, 0).contains("`odd` is of type 3"));
    assert!(one(&[17], 0, 0).contains("not in the file"));
    assert!(one(&[1], 0, 33).contains("not in the file"), "not aligned");
    assert!(one(&[1], 0, u64::MAX - 40).contains("not in the file"));
    assert!(one(&[u64::MAX, u64::MAX], 0, 0).contains("`odd`"));
    assert!(one(&[], 0, 0).contains("0 dimensions"));
    assert!(one(&[1; 5], 0, 0).contains("5 dimensions"));
    let key = |bytes: Vec<u8>| refused(&file(&[("odd", bytes)], &[], 0));
    assert!(key(value(13, &[])).contains("`odd` is of the unknown type 13"));
    assert!(key(value(7, &[2])).contains("`odd` is neither"));
    assert!(key(value(8, &[0xff; 8])).contains("`odd` is 18446744073709551615"));
    assert!(key(value(9, &[9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])).contains("`odd`"));
    assert!(key(value(8, &[1, 0, 0, 0, 0, 0, 0, 0, 0xff])).contains("not UTF-8"));
    let twice = ("same", value(7, &[1]));
    assert!(refused(&file(&[twice.clone(), twice], &[], 0)).contains("`same` is there twice"));
    let alignment = ("general.alignment", value(4, &3u32.to_le_bytes()));
    assert!(refused(&file(&[alignment], &[], 0)).contains("general.alignment"));
    let mut version = whole();
    version[4] = 1;
    assert!(refused(&version).contains("version 1"));
    assert!(refused(b"GGML").contains("GGUF"));
}

/// However a file is cut and whatever bits of its directory are flipped, there is an answer: no panic,
/// and no memory beyond its size (a count of 2^60 would end this process).
#[test]
fn cut_and_flipped_files_are_answered() {
    let whole = whole();
    check(&whole).unwrap();
    for end in 0..whole.len() {
        assert!(check(&whole[..end]).is_err(), "{end} of {} bytes", whole.len());
    }
    let mut flipped = whole.clone();
    let mut refusals = 0;
    for bit in 0..whole.len() * 8 {
        flipped[bit / 8] ^= 1 << (bit % 8);
        refusals += usize::from(check(&flipped).is_err());
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(refusals > whole.len());
}
