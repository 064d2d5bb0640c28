//! Tells whether files were written since, without reading them.

use std::fs::{self, Metadata};
use std::path::Path;
use std::time::SystemTime;

/// What the file system says of some files: equal stamps mean that nobody has written them, replaced them or pointed
/// their links elsewhere in between.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stamp(Vec<Option<File>>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct File {
    bytes: u64,
    modified: Option<SystemTime>,
    /// Another file in its place, though of the same size and age: device, number, and when its inode was written.
    identity: [i64; 4],
}

impl Stamp {
    /// Of these files now, through links; one that cannot be looked at counts as missing.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let file = |path: &Path| {
            let metadata = fs::metadata(path).ok()?;
            Some(File {
                bytes: metadata.len(),
                modified: metadata.modified().ok(),
                identity: identity(&metadata),
            })
        };
        Self(paths.into_iter().map(file).collect())
    }
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> [i64; 4] {
    use std::os::unix::fs::MetadataExt;
    [
        metadata.dev().cast_signed(),
        metadata.ino().cast_signed(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ]
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> [i64; 4] {
    [0; 4]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_happens_to_a_file_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a"), dir.path().join("b"));
        let now = || Stamp::of([path.as_path()]);
        let missing = now();
        fs::write(&path, "one").unwrap();
        let written = now();
        assert_ne!(missing, written);
        assert_eq!(written, now());
        // As `cp -p` and a rename do it: the same size, the same age.
        fs::write(&other, "two").unwrap();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::File::options().append(true).open(&other).unwrap().set_modified(modified).unwrap();
        fs::rename(&other, &path).unwrap();
        let replaced = now();
        assert_ne!(written, replaced);
        fs::remove_file(&path).unwrap();
        assert_eq!(now(), missing);
    }
}
