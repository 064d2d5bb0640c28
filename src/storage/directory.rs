//! The directory of the database: one directory for each generation, and the file that names the live one.
//!
//! ```text
//!   db/CURRENT        "quorate db 1", "generation 7": written beside and renamed, the only switch point
//!   db/7/             data.mdb, lock.mdb of the live generation
//!   db/8.part/        a snapshot as it arrives; renamed to db/8 when it is whole and verified
//!   db/copy-3.part    a snapshot as it leaves; deleted when it has left
//! ```
//!
//! Promises: `switch_to` is atomic and durable when it returns; what a crash left behind is gone after
//! `remove_leftovers`. Knows nothing of: what is in a generation.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Fault;

/// What LMDB calls its file in a generation's directory.
pub(super) const DATA_FILE: &str = "data.mdb";

const CURRENT: &str = "CURRENT";
const CURRENT_PART: &str = "CURRENT.part";
/// First line of `CURRENT`; the number is the format of this directory.
const HEAD: &str = "quorate db 1";

pub(super) fn generation_dir(db_dir: &Path, generation: u64) -> PathBuf {
    db_dir.join(generation.to_string())
}

pub(super) fn part_dir(db_dir: &Path, generation: u64) -> PathBuf {
    db_dir.join(format!("{generation}.part"))
}

pub(super) fn copy_file(db_dir: &Path, number: u64) -> PathBuf {
    db_dir.join(format!("copy-{number}.part"))
}

/// The live generation; none when there is no database yet.
pub(super) fn current(db_dir: &Path) -> Result<Option<u64>, Fault> {
    let path = db_dir.join(CURRENT);
    let text = match fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Fault::io("read", path, error)),
    };
    let generation = text
        .strip_prefix(HEAD)
        .and_then(|rest| rest.strip_prefix("\ngeneration "))
        .and_then(|rest| rest.strip_suffix('\n'))
        .and_then(|digits| digits.parse().ok());
    match generation {
        Some(generation) => Ok(Some(generation)),
        None => Err(Fault::corrupt(
            format!("{:?} instead of a generation", text.chars().take(80).collect::<String>()),
            path.display().to_string(),
        )),
    }
}

/// The generation that `CURRENT` names, and its directory. One that is not there is not what was written, and whatever
/// is there instead must not be deleted for it.
pub(super) fn named(db_dir: &Path) -> Result<(u64, PathBuf), Fault> {
    let generation = current(db_dir)?.ok_or_else(|| {
        Fault::corrupt("no CURRENT, so no database", db_dir.display().to_string())
    })?;
    let dir = generation_dir(db_dir, generation);
    if dir.join(DATA_FILE).exists() {
        return Ok((generation, dir));
    }
    let what = format!("generation {generation}, which is not there,");
    Err(Fault::corrupt(what, db_dir.join(CURRENT).display().to_string()))
}

/// From here on `generation` is what a restart opens.
pub(super) fn switch_to(db_dir: &Path, generation: u64) -> Result<(), Fault> {
    let (part, path) = (db_dir.join(CURRENT_PART), db_dir.join(CURRENT));
    let write = || -> io::Result<()> {
        let mut file = File::create(&part)?;
        file.write_all(format!("{HEAD}\ngeneration {generation}\n").as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| Fault::io("write", &part, error))?;
    fs::rename(&part, &path).map_err(|error| Fault::io("rename", &path, error))?;
    sync_dir(db_dir)
}

/// Makes the complete directory `<generation>.part` the generation's own, durably; nobody opens it yet.
pub(super) fn adopt(db_dir: &Path, generation: u64) -> Result<(), Fault> {
    let (part, dir) = (part_dir(db_dir, generation), generation_dir(db_dir, generation));
    sync_dir(&part)?;
    fs::rename(&part, &dir).map_err(|error| Fault::io("rename", &part, error))?;
    sync_dir(db_dir)
}

/// Deletes what belongs to no live generation: pieces of snapshots, and generations that were never switched to or
/// were left by a crash behind a switch. Names that are not ours are left alone.
pub(super) fn remove_leftovers(db_dir: &Path, current: u64) -> Result<(), Fault> {
    let listing = |error| Fault::io("list", db_dir, error);
    for entry in fs::read_dir(db_dir).map_err(listing)? {
        let entry = entry.map_err(listing)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_old = name.parse::<u64>().is_ok_and(|generation| generation != current);
        if !is_old && !name.ends_with(".part") {
            continue;
        }
        remove(&entry.path())?;
    }
    Ok(())
}

/// Deletes a file or a directory with all in it; none there is as well.
pub(super) fn remove(path: &Path) -> Result<(), Fault> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Fault::io("delete", path, error))
        }
        _ => Ok(()),
    }
}

/// Makes created, renamed and deleted names in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), Fault> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| Fault::io("sync the directory", dir, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_current_generation_survives_an_open() {
        let dir = tempfile::tempdir().unwrap();
        let db_dir = dir.path();
        assert_eq!(current(db_dir).unwrap(), None);
        switch_to(db_dir, 7).unwrap();
        assert_eq!(current(db_dir).unwrap(), Some(7));
        switch_to(db_dir, 8).unwrap();
        for name in ["7", "8", "9", "9.part", "mine"] {
            fs::create_dir(db_dir.join(name)).unwrap();
        }
        for name in ["copy-1.part", "CURRENT.part", "note.txt", "7/data.mdb"] {
            fs::write(db_dir.join(name), name).unwrap();
        }
        remove_leftovers(db_dir, 8).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(db_dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["8", "CURRENT", "mine", "note.txt"]);
    }

    #[test]
    fn a_damaged_current_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for wrong in ["", "8\n", "quorate db 2\ngeneration 8\n", "quorate db 1\ngeneration 8"] {
            fs::write(dir.path().join(CURRENT), wrong).unwrap();
            let fault = current(dir.path()).unwrap_err().to_string();
            assert!(fault.contains("instead of a generation in"), "{fault}");
        }
    }
}
