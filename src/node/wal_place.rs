//! A log on another disk than the data: the data directory's `wal` is a link to it then, so that whoever looks for the log
//! in the data directory finds it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

/// The log's place in the data directory.
const LOG: &str = "wal";

/// Makes the link, unless the data directory has a log already: then that one counts. Where there are files already, of a
/// log that was put aside or of another member's, the log lies in a folder of its own. The line that is returned says what
/// somebody may not expect. To be called before the data directory is opened.
pub fn place_log(data_dir: &Path, wal_dir: &Path) -> io::Result<Option<String>> {
    let private = |dir: &Path| DirBuilder::new().recursive(true).mode(0o700).create(dir);
    private(data_dir)?;
    private(wal_dir)?;
    let (link, whole) = (data_dir.join(LOG), wal_dir.canonicalize()?);
    match fs::symlink_metadata(&link) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let target = free(&whole)?;
            private(&target)?;
            symlink(&target, &link)?;
            // With the entries in them, the directories are as durable as everything that is written later.
            for dir in [target.parent().unwrap_or(&whole), data_dir] {
                File::open(dir)?.sync_all()?;
            }
            Ok((target != whole).then(|| {
                format!(
                    "wal-dir {} holds files already, which no log of this data directory is: its own lies in {}",
                    whole.display(),
                    target.display()
                )
            }))
        }
        Err(error) => Err(error),
        Ok(_) if link.canonicalize()?.starts_with(&whole) => Ok(None),
        Ok(_) => Ok(Some(format!(
            "wal-dir is ignored: the log of this member is in {} already; to move it, stop the member, move the folder to {}, \
             and make a link to it in its place",
            link.display(),
            wal_dir.display()
        ))),
    }
}

/// The folder, if nothing is in it, or else the first of its folders 2, 3 and so on that is not there.
fn free(whole: &Path) -> io::Result<PathBuf> {
    let mut is_free = true;
    for entry in fs::read_dir(whole)? {
        // A file system of its own has that from its beginning.
        is_free &= entry?.file_name() == "lost+found";
    }
    if is_free {
        return Ok(whole.to_owned());
    }
    let mut number = 2;
    loop {
        let folder = whole.join(number.to_string());
        if !folder.exists() {
            return Ok(folder);
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_where_it_was_first() {
        let dir = tempfile::tempdir().unwrap();
        let (data, log) = (dir.path().join("data"), dir.path().join("fast/log"));
        assert_eq!(place_log(&data, &log).unwrap(), None);
        fs::write(data.join("wal/x"), "x").unwrap();
        assert!(log.join("x").exists());
        assert_eq!(place_log(&data, &log).unwrap(), None);
        let told = place_log(&data, &dir.path().join("other")).unwrap().unwrap();
        assert!(told.starts_with("wal-dir is ignored"), "{told}");
        let inside = dir.path().join("inside");
        fs::create_dir_all(inside.join("wal")).unwrap();
        assert!(place_log(&inside, &log).unwrap().is_some());
    }

    #[test]
    fn no_log_comes_to_lie_among_files_of_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let (data, log) = (dir.path().join("data"), dir.path().join("log"));
        fs::create_dir_all(log.join("lost+found")).unwrap();
        place_log(&data, &log).unwrap();
        fs::write(data.join("wal/x"), "precious").unwrap();
        assert!(log.join("x").exists());
        // As a re-sync puts it aside: the link goes, what it led to stays.
        fs::rename(data.join("wal"), data.join("damaged")).unwrap();
        let told = place_log(&data, &log).unwrap().unwrap();
        assert!(told.contains("holds files already"), "{told}");
        assert!(fs::read_dir(data.join("wal")).unwrap().next().is_none());
        assert_eq!(fs::read(data.join("damaged/x")).unwrap(), b"precious");
        assert_eq!(place_log(&data, &log).unwrap(), None);
        let other = dir.path().join("other");
        place_log(&other, &log).unwrap();
        assert!(log.join("3").is_dir());
    }
}
