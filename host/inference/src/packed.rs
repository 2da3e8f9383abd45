//! Matrices as a device prepares them, kept in a file for the next start.
//!
//! A file's name says which weights it was made of, by their SHA-256, and how they lie in it:
//! `SHA256-LAYOUT.packed`. It holds a header of 16 words, see [`header`], the number of words of each
//! matrix, zeros up to a multiple of 16 words, and the matrices' words one after another, all in
//! the byte order of the machine, which the header's first word gives away. What does not fit is
//! left aside with a warning and written anew.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use trine_kernels::{Device, KernelError, Shared};

use crate::Model;
use crate::bert::Matrix;
use crate::mapped::Mapped;

/// "TPK1" where the machine puts the lowest byte first.
const MAGIC: u32 = u32::from_le_bytes(*b"TPK1");
/// Words of the header, and of what the rest begins at multiples of: a line of the cache.
const LINE: usize = 16;

/// A model's matrices on a device, in the order of [`crate::bert::BertWeights::matrices`]: from the
/// file of an earlier start if there is one, or prepared now and kept in a file. Without a folder
/// for such files, and on a device that prepares none, prepared now.
pub(crate) fn upload<D: Device>(device: &D, model: &Model) -> Result<Vec<D::Linear>, KernelError> {
    let matrices: Vec<&Matrix> = model.weights().matrices().collect();
    let prepare = || matrices.iter().map(|matrix| matrix.upload(device)).collect();
    let Some(path) = place(device, model) else { return prepare() };
    match restore(device, &matrices, &path) {
        Ok(restored) => return Ok(restored),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "packed weights are made anew")
        }
    }
    let prepared: Vec<D::Linear> = prepare()?;
    let words: Vec<&[u32]> = prepared.iter().map(|matrix| device.words(matrix)).collect();
    // From the file even now, so that the first start takes no more memory than the next.
    let kept = write(&path, &words).and_then(|()| restore(device, &matrices, &path));
    kept.or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "packed weights cannot be kept");
        Ok(prepared)
    })
}

/// Where a model's matrices are kept. `None` where they are not.
fn place<D: Device>(device: &D, model: &Model) -> Option<PathBuf> {
    let (folder, layout) = (model.weight_cache()?, device.layout()?);
    let digest = model.key().inspect_err(|error| tracing::warn!(%error, "weights have no digest"));
    Some(folder.join(format!("{}-{layout}.packed", digest.ok()??)))
}

/// Magic, matrices, all of their words in two halves, and the checksum of these, of the
/// lengths and of the words; zeros.
fn header(lengths: &[u32], words: &[&[u32]]) -> [u32; LINE] {
    let all: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
    let mut header = [0; LINE];
    header[..4].copy_from_slice(&[MAGIC, lengths.len() as u32, all as u32, (all >> 32) as u32]);
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(bytemuck::cast_slice(&header[..4]));
    checksum.update(bytemuck::cast_slice(lengths));
    words.iter().for_each(|words| checksum.update(bytemuck::cast_slice(words)));
    header[4] = checksum.finalize();
    header
}

/// The words before those of the matrices.
fn head(words: &[&[u32]]) -> io::Result<Vec<u32>> {
    let length = |words: &&[u32]| u32::try_from(words.len()).map_err(io::Error::other);
    let lengths = words.iter().map(length).collect::<io::Result<Vec<u32>>>()?;
    let mut head = header(&lengths, words).to_vec();
    head.extend(lengths);
    head.resize(head.len().next_multiple_of(LINE), 0);
    Ok(head)
}

/// Writes a file beside its place, then puts it there, so that nobody sees half of one.
fn write(path: &Path, words: &[&[u32]]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytemuck::cast_slice(&head(words)?))?;
    words.iter().try_for_each(|words| file.write_all(bytemuck::cast_slice(words)))?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// The words of each matrix of a file that [`write`] wrote.
fn read(path: &Path) -> io::Result<Vec<Shared<u32>>> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let map = Mapped::new(&File::open(path)?)?;
    let all: &[u32] =
        bytemuck::try_cast_slice(map.bytes()).map_err(|_| broken("it is cut short"))?;
    let (found, rest) = all.split_first_chunk::<LINE>().ok_or_else(|| broken("it is cut short"))?;
    let count = found[1] as usize;
    if found[0] != MAGIC {
        return Err(broken("it is of another kind"));
    }
    let lengths = rest.get(..count).ok_or_else(|| broken("it is cut short"))?;
    let mut at = (LINE + count).next_multiple_of(LINE);
    let mut parts = Vec::with_capacity(count);
    for &length in lengths {
        parts.push(at..at + length as usize);
        at += length as usize;
    }
    if at != all.len() {
        return Err(broken("it is cut short, or too long"));
    }
    let words: Vec<&[u32]> = parts.iter().map(|part| &all[part.clone()]).collect();
    if header(lengths, &words) != *found {
        return Err(broken("its checksum is wrong"));
    }
    let numbers = |part: std::ops::Range<usize>| map.numbers(part.start * 4..part.end * 4);
    parts.into_iter().map(|part| numbers(part).ok_or_else(|| broken("it is not aligned"))).collect()
}

fn restore<D: Device>(device: &D, matrices: &[&Matrix], path: &Path) -> io::Result<Vec<D::Linear>> {
    let words = read(path)?;
    if words.len() != matrices.len() {
        return Err(io::Error::other(format!("{} matrices, not {}", words.len(), matrices.len())));
    }
    let restore = |(matrix, words): (&&Matrix, Shared<u32>)| {
        device.restore_linear(words, &matrix.bias, [matrix.n, matrix.k]).map_err(io::Error::other)
    };
    matrices.iter().zip(words).map(restore).collect()
}

#[cfg(test)]
mod tests {
    use trine_kernels::{CpuDevice, Precision};

    use super::*;

    fn model(cache: &Path) -> Model {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-cross-encoder");
        Model::open(folder).unwrap().with_weight_cache(cache.to_owned())
    }

    fn words(device: &CpuDevice, model: &Model) -> Vec<Vec<u32>> {
        let linears = upload(device, model).unwrap();
        linears.iter().map(|linear| device.words(linear).to_vec()).collect()
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn the_second_start_reads_what_the_first_packed() {
        for precision in Precision::ALL {
            let cache = tempfile::tempdir().unwrap();
            let device = CpuDevice::with_precision(1, precision).unwrap();
            let model = model(cache.path());
            let expected: Vec<Vec<u32>> = {
                let prepared = model.weights().matrices().map(|m| m.upload(&device).unwrap());
                prepared.map(|linear| device.words(&linear).to_vec()).collect()
            };
            assert_eq!(words(&device, &model), expected);
            let [file] = &files(cache.path())[..] else { panic!("one file, and no temporary one") };
            // What the file holds is what counts: other words with a right checksum are taken.
            let other: Vec<Vec<u32>> = expected.iter().map(|m| vec![0; m.len()]).collect();
            write(file, &other.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
            assert_eq!(words(&device, &model), other);
        }
    }

    #[test]
    fn a_precision_has_a_file_of_its_own() {
        let cache = tempfile::tempdir().unwrap();
        let model = model(cache.path());
        for precision in Precision::ALL {
            words(&CpuDevice::with_precision(1, precision).unwrap(), &model);
        }
        assert_eq!(files(cache.path()).len(), 3);
    }

    #[test]
    fn a_damaged_file_is_written_anew() {
        let cache = tempfile::tempdir().unwrap();
        let device = CpuDevice::new(1).unwrap();
        let model = model(cache.path());
        let expected = words(&device, &model);
        let [path] = &files(cache.path())[..] else { panic!() };
        let good = fs::read(path).unwrap();
        let last = good.len() - 1;
        let damages: [fn(&mut Vec<u8>); 8] = [
            |file| file.clear(),
            |file| file.truncate(64),
            |file| file.truncate(file.len() - 4),
            |file| file.truncate(file.len() - 1),
            |file| file.extend([0; 4]),
            |file| file[0] ^= 1,
            |file| file[4..8].fill(0xff),
            |file| file[64..68].fill(0xff),
        ];
        let flip = |at: usize| move |file: &mut Vec<u8>| file[at] ^= 0x10;
        let flips = [8, 16, 17, 64, last / 2, last].map(flip);
        let check = |damage: &dyn Fn(&mut Vec<u8>)| {
            let mut file = good.clone();
            damage(&mut file);
            fs::write(path, file).unwrap();
            assert!(read(path).is_err());
            assert_eq!(words(&device, &model), expected);
            assert_eq!(fs::read(path).unwrap(), good, "written anew");
        };
        damages.iter().for_each(|damage| check(damage));
        flips.iter().for_each(|flip| check(flip));
        // Whole, and of another model.
        write(path, &[&[1, 2, 3]]).unwrap();
        assert_eq!(words(&device, &model), expected);
        assert_eq!(fs::read(path).unwrap(), good);
    }

    #[test]
    fn where_nothing_can_be_kept_weights_are_packed_all_the_same() {
        let cache = tempfile::NamedTempFile::new().unwrap();
        let device = CpuDevice::new(1).unwrap();
        let model = model(&cache.path().join("below a file"));
        assert_eq!(words(&device, &model).len(), model.weights().matrices().count());
    }
}
