//! A copy of a stopped member's data directory, as a directory of its own.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::storage::{DataDir, DataDirError};

/// Of this member's running alone: its lock, and what connections of its process are disowned by.
const LEFT_OUT: [&str; 2] = ["lock", "reset-secret"];
/// Ends the names of files that were being written.
const PART: &str = ".part";

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{0} holds no member: give the data directory of one")]
    NoMember(PathBuf),
    #[error("{0} is not empty: give a directory that is not there yet")]
    NotEmpty(PathBuf),
    #[error("{error}; a running member is copied by `snapshot save`")]
    InUse { error: DataDirError },
    #[error(transparent)]
    DataDir(DataDirError),
    #[error("cannot copy {}: {source}", path.display())]
    Copy { path: PathBuf, source: io::Error },
}

/// Copies the member's log and database into `to`, which is made; durable when it returns.
pub fn backup(from: &Path, to: &Path) -> Result<(), BackupError> {
    if !DataDir::holds_a_member(from) {
        return Err(BackupError::NoMember(from.to_owned()));
    }
    let _locked = DataDir::open(from).map_err(|error| match error {
        DataDirError::Locked { .. } => BackupError::InUse { error },
        error => BackupError::DataDir(error),
    })?;
    if fs::read_dir(to).is_ok_and(|mut found| found.next().is_some()) {
        return Err(BackupError::NotEmpty(to.to_owned()));
    }
    copy_dir(from, to)
}

fn copy_dir(from: &Path, to: &Path) -> Result<(), BackupError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::Copy { path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(to).map_err(failed(to))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).map_err(failed(to))?;
    for entry in fs::read_dir(from).map_err(failed(from))? {
        let entry = entry.map_err(failed(from))?;
        let (path, name) = (entry.path(), entry.file_name());
        if name.to_str().is_some_and(|name| LEFT_OUT.contains(&name) || name.ends_with(PART)) {
            continue;
        }
        let target = to.join(&name);
        // Through a link, where the log lies on another disk.
        if fs::metadata(&path).map_err(failed(&path))?.is_dir() {
            copy_dir(&path, &target)?;
            continue;
        }
        fs::copy(&path, &target).map_err(failed(&path))?;
        File::open(&target).and_then(|file| file.sync_all()).map_err(failed(&target))?;
    }
    File::open(to).and_then(|dir| dir.sync_all()).map_err(failed(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ClusterId, MemberId};
    use crate::storage::Identity;

    #[test]
    fn what_lives_is_copied_and_what_runs_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("backup/to"));
        assert!(matches!(backup(&from, &to), Err(BackupError::NoMember(_))));
        let mut data = DataDir::open(&from).unwrap();
        let (cluster, member) = (ClusterId(1), MemberId(2));
        data.write_identity(&Identity { cluster, member, name: "n".to_owned() }).unwrap();
        data.reset_secret([7; 32]).unwrap();
        fs::write(data.wal_dir().join("1"), "log").unwrap();
        fs::write(data.db_dir().join("copy-1.part"), "half").unwrap();
        let told = backup(&from, &to).unwrap_err().to_string();
        assert!(told.contains("in use") && told.contains("snapshot save"), "{told}");
        drop(data);
        backup(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("wal/1")).unwrap(), "log");
        for left_out in ["lock", "reset-secret", "db/copy-1.part"] {
            assert!(!to.join(left_out).exists(), "{left_out}");
        }
        let copied = DataDir::open(&to).unwrap();
        assert_eq!(copied.identity().unwrap().member, member);
        assert!(matches!(backup(&from, &to), Err(BackupError::NotEmpty(_))));
    }
}
