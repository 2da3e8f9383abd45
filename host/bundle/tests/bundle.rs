//! A bundle is read back whole, or refused by name: every cut and every flipped bit.

use std::fs;
use std::path::Path;

use trine_bundle::{Appender, BundleError, Reader, Writer};

fn write(path: &Path) -> String {
    let mut writer = Writer::create(path).unwrap();
    writer.section("bundle.json", br#"{"passages":3}"#).unwrap();
    writer.section("app.wasm", &(0..=255u8).cycle().take(5000).collect::<Vec<_>>()).unwrap();
    writer.section("empty", b"").unwrap();
    writer.finish().unwrap()
}

fn read_all(path: &Path) -> Result<usize, BundleError> {
    let reader = Reader::open(path)?;
    reader.sections().iter().map(|s| reader.read(&s.name).map(|bytes| bytes.len())).sum()
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.trine"), folder.path().join("b.trine"));
    let digest = write(&a);
    assert_eq!(digest, write(&b), "equal contents, equal digests");
    let reader = Reader::open(&a).unwrap();
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
    // Between the slots and behind the empty one lies nothing.
    let slot_and_toc = (0..104).chain(8192 + 5014..whole.len());
    for at in slot_and_toc.chain((8192..8192 + 5014).step_by(97)) {
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

/// The bundle of [`write`] with a second generation: a section replaced, one removed, one added.
fn append(path: &Path) -> String {
    let mut appender = Appender::open(path, &|| ()).unwrap();
    appender.section("bundle.json", br#"{"passages":4}"#).unwrap();
    appender.remove("empty");
    appender.section("delta", &[7; 3000]).unwrap();
    appender.commit().unwrap()
}

fn is_new(path: &Path) -> bool {
    let reader = Reader::open(path).unwrap();
    match reader.read("bundle.json").unwrap().as_slice() {
        br#"{"passages":3}"# => {
            assert_eq!((reader.generation(), read_all(path).unwrap()), (1, 5014));
            false
        }
        br#"{"passages":4}"# => {
            assert_eq!((reader.generation(), read_all(path).unwrap()), (2, 8014));
            true
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_appended_generation_takes_the_place_of_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.trine");
    let first = write(&path);
    let old = Reader::open(&path).unwrap();
    let second = append(&path);
    assert_ne!(first, second);
    assert!(is_new(&path));
    assert_eq!(Reader::latest(&path).unwrap(), second);
    assert_eq!(old.read("bundle.json").unwrap(), br#"{"passages":3}"#, "a reader keeps its own");
    assert!(Reader::open(&path).unwrap().dead_bytes() > 14);
    for generation in 3..10 {
        append(&path);
        assert_eq!(Reader::open(&path).unwrap().generation(), generation);
    }
    let mut whole = Writer::create(&path).unwrap();
    whole.section("bundle.json", b"{}").unwrap();
    whole.replace(Appender::open(&path, &|| ()).unwrap()).unwrap();
    let reader = Reader::open(&path).unwrap();
    assert_eq!((reader.generation(), reader.dead_bytes()), (10, 0));

    let appender = Appender::open(&path, &|| ()).unwrap();
    write(&path);
    let replaced = appender.commit();
    assert!(matches!(replaced, Err(BundleError::Replaced { .. })), "{replaced:?}");
}

/// Every prefix of what an append writes, in the order it writes it, and every byte of it changed.
#[test]
fn torn_anywhere_it_is_the_old_bundle_or_the_new() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.trine");
    write(&path);
    let old = fs::read(&path).unwrap();
    append(&path);
    let new = fs::read(&path).unwrap();
    let tail = old.len();
    assert_eq!(new[..4096], old[..4096], "the slot that counts is not touched");
    for length in tail..=new.len() {
        let mut torn = new[..length].to_vec();
        torn[..8192].copy_from_slice(&old[..8192]);
        fs::write(&path, &torn).unwrap();
        assert!(!is_new(&path), "{length}");
    }
    for written in 0..=104 {
        let mut torn = new.clone();
        torn[4096 + written..8192].copy_from_slice(&old[4096 + written..8192]);
        fs::write(&path, &torn).unwrap();
        assert_eq!(is_new(&path), written == 104, "{written}");
    }
    let table = new.len() - Reader::open(&path).unwrap().sections().len() * 20;
    for at in (4096..4096 + 104).chain(table..new.len()) {
        let mut torn = new.clone();
        torn[at] ^= 1 << (at % 8);
        fs::write(&path, &torn).unwrap();
        assert!(!is_new(&path), "{at}");
        append(&path);
        assert!(is_new(&path), "a bundle with a damaged slot can be changed: {at}");
    }
}

#[test]
fn what_a_killed_writer_left_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.trine");
    write(&path);
    let mut torn = fs::read(&path).unwrap();
    let length = torn.len();
    torn.extend([9; 100_000]);
    fs::write(&path, &torn).unwrap();
    append(&path);
    assert!(is_new(&path));
    assert!((fs::metadata(&path).unwrap().len() as usize) < length + 10_000);
}

#[test]
fn changes_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.trine");
    write(&path);
    let appenders: Vec<_> = (0..4)
        .map(|thread| {
            let path = path.clone();
            std::thread::spawn(move || {
                for round in 0..25 {
                    let mut appender = Appender::open(&path, &|| ()).unwrap();
                    let name = format!("{thread}/{round}");
                    if round % 5 == 4 {
                        let mut writer = Writer::create(&path).unwrap();
                        for section in appender.reader().sections() {
                            let bytes = appender.reader().read(&section.name).unwrap();
                            writer.section(&section.name, &bytes).unwrap();
                        }
                        writer.section(&name, &[0]).unwrap();
                        writer.replace(appender).unwrap();
                    } else {
                        appender.section(&name, &[0]).unwrap();
                        appender.commit().unwrap();
                    }
                }
            })
        })
        .collect();
    appenders.into_iter().for_each(|thread| thread.join().unwrap());
    let reader = Reader::open(&path).unwrap();
    assert_eq!((reader.generation(), reader.sections().len()), (101, 103));
}
