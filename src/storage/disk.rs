//! The directory under the log: real, or simulated with crashes, torn tails and stalls.
//!
//! Promises of every implementation: what `sync_data` returned for survives a crash; a file that `create` returned has
//! its full length, reads as zeros and is in the directory for good; `rename` and `remove` are in the directory when
//! they return. Nothing else survives: a crash may keep any part of what was written and not synced.
//! Knows nothing of: segments, batches, LMDB (which has files of its own).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Zeros are written in pieces of this many bytes.
const ZERO_BYTES: usize = 1 << 20;

/// A flat directory of files.
pub trait Disk: Send + Sync + 'static {
    /// Names of the files, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A new file of `bytes` zeros; its data and its name are synced. Fails if the name is taken.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>>;

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives the file another name, in place of a file that has it; the directory is synced. Open handles stay good.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A file of fixed length: nothing here extends it.
pub trait DiskFile: Send + Sync {
    /// Length, bytes.
    fn bytes(&self) -> io::Result<u64>;

    /// Fills `buf`, or fails.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `buf`, or fails; durable after the next [`sync_data`](Self::sync_data).
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Everything written before is on the disk when this returns. After an error nobody knows what is.
    fn sync_data(&self) -> io::Result<()>;
}

/// A directory of the machine; files are readable by their owner alone.
#[derive(Clone, Debug)]
pub struct DirDisk {
    dir: PathBuf,
}

impl DirDisk {
    /// `dir` exists.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

impl Disk for DirDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in self.dir.read_dir()? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.dir.join(name))?;
        let zeros = vec![0; ZERO_BYTES];
        let mut offset = 0;
        while offset < bytes {
            let piece = usize::try_from(bytes - offset).unwrap_or(usize::MAX).min(ZERO_BYTES);
            file.write_all_at(&zeros[..piece], offset)?;
            offset += piece as u64;
        }
        file.sync_all()?;
        self.sync_dir()?;
        Ok(Arc::new(DirFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.dir.join(name))?;
        Ok(Arc::new(DirFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.dir.join(from), self.dir.join(to))?;
        self.sync_dir()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.dir.join(name))?;
        self.sync_dir()
    }
}

struct DirFile(File);

impl DiskFile for DirFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_zeroed_renamed_and_private() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let disk = DirDisk::new(dir.path());
        let file = disk.create("a", 3 << 20).unwrap();
        assert_eq!(file.bytes().unwrap(), 3 << 20);
        file.write_at(b"end", (3 << 20) - 3).unwrap();
        file.sync_data().unwrap();
        disk.rename("a", "b").unwrap();
        let mut six = [9; 6];
        disk.open("b").unwrap().read_at(&mut six, (3 << 20) - 6).unwrap();
        assert_eq!(&six, b"\0\0\0end");
        assert!(file.read_at(&mut six, (3 << 20) - 5).is_err(), "a short read is an error");
        assert!(disk.create("b", 1).is_err(), "a name is taken once");
        assert_eq!(disk.list().unwrap(), ["b"]);
        let mode = std::fs::metadata(dir.path().join("b")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        disk.remove("b").unwrap();
        assert!(disk.list().unwrap().is_empty());
    }
}
