//! A bundle is read back whole, or refused by name: every cut and every flipped bit.

use std::fs;
use std::path::Path;

use trine_bundle::{BundleError, Reader, Writer};

fn write(path: &Path) -> String {
    let mut writer = Writer::create(path).unwrap();
    writer.section("bundle.json", br#"{"passages":3}"#).unwrap();
    writer.section("app.wasm", &(0..=255u8).cycle().take(5000).collect::<Vec<_>>()).unwrap();
    writer.section("empty", b"").unwrap();
    writer.finish().unwrap()
}

fn read_all(path: &Path) -> Result<usize, BundleError> {
    let mut reader = Reader::open(path)?;
    let names: Vec<String> = reader.sections().map(|s| s.name.clone()).collect();
    names.iter().map(|name| reader.read(name).map(|bytes| bytes.len())).sum()
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.trine"), folder.path().join("b.trine"));
    let digest = write(&a);
    assert_eq!(digest, write(&b), "equal contents, equal digests");
    let mut reader = Reader::open(&a).unwrap();
    assert_eq!(reader.digest(), digest);
    assert_eq!(reader.read("bundle.json").unwrap(), br#"{"passages":3}"#);
    assert_eq!(reader.read("empty").unwrap(), b"");
    assert!(
        matches!(reader.read("other"), Err(BundleError::NoSection { name, .. }) if name == "other")
    );
    assert_eq!(read_all(&a).unwrap(), 5014);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file stays");
}

#[test]
fn an_unfinished_bundle_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.trine");
    let digest = write(&path);
    let mut writer = Writer::create(&path).unwrap();
    writer.section("bundle.json", b"new").unwrap();
    drop(writer);
    assert_eq!(Reader::open(&path).unwrap().digest(), digest);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn every_truncation_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.trine");
    write(&path);
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        fs::write(&path, &whole[..length]).unwrap();
        let error = read_all(&path).unwrap_err();
        let expected = match length {
            0..8 => matches!(error, BundleError::NotABundle { .. }),
            _ => matches!(error, BundleError::Truncated { .. }),
        };
        assert!(expected, "{length}: {error}");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.trine");
    write(&path);
    let whole = fs::read(&path).unwrap();
    let header_and_toc = (0..64).chain(5078..whole.len());
    for at in header_and_toc.chain((64..5078).step_by(97)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        assert!(read_all(&path).is_err(), "a flipped bit at {at} was not seen");
    }
}

#[test]
fn another_version_and_another_file_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.trine");
    write(&path);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 9;
    fs::write(&path, &bytes).unwrap();
    let error = Reader::open(&path).unwrap_err().to_string();
    assert!(error.contains("format version 9") && error.contains("trine index"), "{error}");
    fs::write(&path, "# a text file").unwrap();
    let error = Reader::open(&path).unwrap_err().to_string();
    assert!(error.contains("is not a trine bundle"), "{error}");
    let error = Reader::open(&folder.path().join("none.trine")).unwrap_err().to_string();
    assert!(error.contains("none.trine"), "{error}");
}
