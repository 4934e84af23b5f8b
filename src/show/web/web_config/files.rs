//! The files that the web configuration consists of, and whether one of them has changed.
//!
//! A look costs a stat(2) for each. The change time counts, not the modification time: no
//! program can set it back. A symbolic link that is turned, as Kubernetes does it for a
//! Secret, shows as another inode.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::digest::{SHA256, digest};

/// Certificates of a whole chain have a few ten thousand bytes; this stops a log that was
/// given by mistake.
const MOST_BYTES: u64 = 1024 * 1024;

/// The kernel's clock for files moves in steps of up to 10 ms: a file that was written
/// shortly before it was read may be written again and show the same time.
const SETTLED: Duration = Duration::from_secs(1);

/// What was read, in the order in which it was.
#[derive(Debug, Default)]
pub struct Files(Vec<Seen>);

#[derive(Debug)]
struct Seen {
    path: PathBuf,
    /// None when there was no such file.
    stamp: Option<Stamp>,
    /// The change was long enough ago for another one to show.
    is_settled: bool,
    /// Enough to tell two contents apart, and nothing of a key; none when it could not be read.
    digest: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: Duration,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: Duration::new(
                metadata.ctime().try_into().unwrap_or(0),
                metadata.ctime_nsec().try_into().unwrap_or(0),
            ),
        })
    }
}

impl Files {
    /// The whole file. A failure is remembered too: the file may come later.
    pub fn read(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let stamp = Stamp::of(path);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let read = read(path);
        self.0.push(Seen {
            path: path.to_owned(),
            stamp,
            is_settled: stamp
                .is_none_or(|stamp| now.is_ok_and(|now| stamp.changed + SETTLED < now)),
            digest: read
                .as_ref()
                .ok()
                .map(|bytes| digest(&SHA256, bytes).as_ref().to_vec()),
        });
        read
    }

    /// Whether another read may give something else.
    pub fn may_have_changed(&self) -> bool {
        let same = |seen: &Seen| seen.is_settled && Stamp::of(&seen.path) == seen.stamp;
        !self.0.iter().all(same)
    }

    /// Whether the same files were read with the same content.
    pub fn read_the_same(&self, other: &Self) -> bool {
        let is_same = |(a, b): (&Seen, &Seen)| (&a.path, &a.digest) == (&b.path, &b.digest);
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(is_same)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |why: &str| format!("cannot read {}: {why}", path.display());
    let explain = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => cannot("no such file; correct the path or create the file"),
        io::ErrorKind::PermissionDenied => {
            cannot("permission denied; let the user of the exporter read it")
        }
        _ => cannot(&error.to_string()),
    };
    // A pipe would keep the exporter waiting, and cannot be read again.
    if !fs::metadata(path).map_err(explain)?.is_file() {
        return Err(cannot("not a regular file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(explain)?;
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(explain)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(cannot(&format!("larger than {MOST_BYTES} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if it had been read long after its last change.
    fn settle(files: &mut Files) {
        files.0.iter_mut().for_each(|seen| seen.is_settled = true);
    }

    #[test]
    fn every_kind_of_change_shows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let read = || {
            let mut files = Files::default();
            let _ = files.read(&path);
            settle(&mut files);
            files
        };
        let absent = read();
        assert!(!absent.may_have_changed());
        fs::write(&path, "one").unwrap();
        assert!(absent.may_have_changed());
        let one = read();
        assert!(!one.may_have_changed());
        fs::write(&path, "longer").unwrap();
        assert!(one.may_have_changed());
        let longer = read();
        let other = directory.path().join("b");
        fs::write(&other, "longer").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(longer.may_have_changed());
        assert!(longer.read_the_same(&read()) && !longer.read_the_same(&one));
        let renamed = read();
        fs::remove_file(&path).unwrap();
        assert!(renamed.may_have_changed());
    }

    #[test]
    fn a_file_that_was_just_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "one").unwrap();
        let mut files = Files::default();
        assert_eq!(files.read(&path).unwrap(), b"one");
        assert!(files.may_have_changed());
    }

    #[test]
    fn what_is_no_file_is_refused_with_the_path() {
        let directory = tempfile::tempdir().unwrap();
        let refused = |path: &Path| Files::default().read(path).unwrap_err();
        let text = refused(directory.path());
        assert!(text.ends_with("not a regular file"), "{text}");
        let text = refused(&directory.path().join("x"));
        assert!(text.contains("/x: no such file"), "{text}");
        let large = directory.path().join("large");
        fs::write(&large, vec![b'a'; 1024 * 1024 + 1]).unwrap();
        let text = refused(&large);
        assert!(text.ends_with("larger than 1048576 bytes"), "{text}");
    }
}
