//! A log on another disk than the data: the data directory's `wal` is a link to it then, so that whoever looks for the log
//! in the data directory finds it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;

/// The log's place in the data directory.
const LOG: &str = "wal";

/// Makes the link, unless the data directory has a log already: then that one counts, and the line that is returned says
/// so. To be called before the data directory is opened.
pub fn place_log(data_dir: &Path, wal_dir: &Path) -> io::Result<Option<String>> {
    let private = |dir: &Path| DirBuilder::new().recursive(true).mode(0o700).create(dir);
    private(data_dir)?;
    private(wal_dir)?;
    let (link, target) = (data_dir.join(LOG), wal_dir.canonicalize()?);
    match fs::symlink_metadata(&link) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            symlink(&target, &link)?;
            // With the entry in it, the directory is as durable as everything that is written later.
            File::open(data_dir)?.sync_all()?;
            Ok(None)
        }
        Err(error) => Err(error),
        Ok(_) if link.canonicalize()? == target => Ok(None),
        Ok(_) => Ok(Some(format!(
            "wal-dir is ignored: the log of this member is in {} already; to move it, stop the member, move the folder to {}, \
             and make a link to it in its place",
            link.display(),
            wal_dir.display()
        ))),
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
}
