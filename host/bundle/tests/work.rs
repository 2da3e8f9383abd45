//! A work file gives back the rows that were put in, or fewer, whatever becomes of its bytes.

use std::fs;
use std::path::{Path, PathBuf};

use trine_bundle::{BundleError, Key, Work};

const WIDTH: usize = 5;
const BINDING: Key = [7; 32];
const HEADER: usize = 48;
const RECORD: usize = 32 + 4 * WIDTH + 32;

fn key(number: u8) -> Key {
    [number; 32]
}

fn row(number: u8) -> Vec<f32> {
    (0..WIDTH).map(|i| f32::from(number) + i as f32 / 8.0).collect()
}

fn open(path: &Path) -> Work {
    Work::open(path, BINDING, WIDTH, true).unwrap()
}

/// A folder with a work file of rows 0 to 9.
fn ten() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.work");
    let mut work = open(&path);
    for numbers in [0..1, 1..7, 7..10] {
        work.append(numbers.map(|number| (key(number), row(number)))).unwrap();
    }
    (folder, path)
}

/// How many of the rows it has from the start, which must be the first ones and as they were.
fn kept(work: &Work) -> usize {
    let count = work.found() as usize;
    for number in 0..10 {
        let expected = (usize::from(number) < count).then(|| row(number));
        assert_eq!(work.row(&key(number)).unwrap(), expected);
        assert_eq!(work.has(&key(number)), expected.map(|_| true));
    }
    count
}

#[test]
fn rows_come_back_and_go_on() {
    let (_folder, path) = ten();
    let mut work = open(&path);
    assert_eq!(kept(&work), 10);
    // A key keeps its row; a row of another width is none.
    let more = [(key(3), row(4)), (key(10), row(10)), (key(11), vec![1.0])];
    work.append(more).unwrap();
    assert_eq!(work.row(&key(3)).unwrap(), Some(row(3)));
    assert_eq!((work.has(&key(10)), work.has(&key(11))), (Some(false), None));
    drop(work);
    let work = open(&path);
    assert_eq!(work.found(), 11);
    work.remove().unwrap();
    assert!(!path.exists());
}

#[test]
fn every_truncation_keeps_the_whole_records_before_it() {
    let (_folder, path) = ten();
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.len(), HEADER + 10 * RECORD);
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let mut work = open(&path);
        assert_eq!(kept(&work), length.saturating_sub(HEADER) / RECORD, "{length}");
        // What was cut off is not read again behind what comes next.
        work.append([(key(9), row(9))]).unwrap();
        drop(work);
        assert_eq!(open(&path).row(&key(9)).unwrap(), Some(row(9)), "{length}");
    }
}

#[test]
fn every_flipped_bit_costs_rows_and_changes_none() {
    let (_folder, path) = ten();
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        match Work::open(&path, BINDING, WIDTH, true) {
            Ok(work) => {
                let expected = at.checked_sub(HEADER).map_or(0, |at| at / RECORD);
                assert_eq!(kept(&work), expected, "{at}");
            }
            Err(error) => assert!(at < 8 && matches!(error, BundleError::NotWork { .. }), "{at}"),
        }
    }
}

#[test]
fn rows_that_change_under_it_are_refused() {
    let (_folder, path) = ten();
    let work = open(&path);
    let mut bytes = fs::read(&path).unwrap();
    bytes[HEADER + 3 * RECORD + 40] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(work.row(&key(3)), Err(BundleError::Damaged { .. })));
    assert_eq!(work.row(&key(4)).unwrap(), Some(row(4)));
}

#[test]
fn what_was_computed_otherwise_is_thrown_away() {
    let others: [(Key, usize, bool); 3] =
        [([8; 32], WIDTH, true), (BINDING, WIDTH + 1, true), (BINDING, WIDTH, false)];
    for (binding, width, resume) in others {
        let (_folder, path) = ten();
        let work = Work::open(&path, binding, width, resume).unwrap();
        assert_eq!((work.found(), work.has(&key(0))), (0, None));
        drop(work);
        assert!(!path.exists(), "without a row there is nothing to keep");
    }
    // Records of one file, spliced into another that was bound otherwise.
    let (_folder, path) = ten();
    let mut bytes = fs::read(&path).unwrap();
    bytes[16..48].copy_from_slice(&[8; 32]);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(Work::open(&path, [8; 32], WIDTH, true).unwrap().found(), 0);
}

#[test]
fn a_work_file_has_one_owner_and_others_files_are_left_alone() {
    let (_folder, path) = ten();
    let _work = open(&path);
    let second = Work::open(&path, BINDING, WIDTH, true);
    assert!(matches!(second, Err(BundleError::Busy { .. })));
    let other = path.with_extension("txt");
    fs::write(&other, "notes").unwrap();
    let opened = Work::open(&other, BINDING, WIDTH, false);
    assert!(matches!(opened, Err(BundleError::NotWork { .. })));
    assert_eq!(fs::read_to_string(&other).unwrap(), "notes");
}
