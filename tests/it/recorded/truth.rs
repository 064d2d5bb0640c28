//! The committed log, read back from the members' own logs after they have stopped.
//!
//! A log that begins at entry 2 holds everything that was ever committed; entries that two members have must be equal.
//! The files are copied first: opening a log mends its end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use quorate::base::{ClusterId, MemberId};
use quorate::storage::{DirDisk, Entry, Log, Wal, WalConfig};

use crate::violation::{Verdict, Violation};

/// Bytes read at once.
const READ_BYTES: usize = 8 << 20;

/// Everything in the logs of these data directories. A log that was begun anew behind a snapshot is passed over; at
/// least one must be whole.
pub(crate) fn read(dirs: &[&Path]) -> Result<Vec<Vec<Entry>>, Violation> {
    let mut logs = Vec::new();
    let mut reasons = Vec::new();
    for dir in dirs {
        match entries(dir) {
            Ok(entries) => logs.push(entries),
            Err(reason) => reasons.push(format!("{}: {reason}", dir.display())),
        }
    }
    match logs.is_empty() {
        true => Err(Violation::new("truth", format!("no log is whole: {}", reasons.join("; ")))),
        false => Ok(logs),
    }
}

/// Members agree on every entry up to `last`.
pub(crate) fn agree(logs: &[Vec<Entry>], last: u64) -> Verdict {
    let mut known: BTreeMap<u64, &Entry> = BTreeMap::new();
    for entry in logs.iter().flatten().filter(|entry| entry.index <= last) {
        let before = known.entry(entry.index).or_insert(entry);
        if *before != entry {
            let text = format!("one member has {before:?}, another {entry:?}");
            return Err(Violation::new("log_matching", text));
        }
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<Entry>, String> {
    let copy = tempfile::tempdir().map_err(|error| error.to_string())?;
    let said = |error: std::io::Error| error.to_string();
    for file in std::fs::read_dir(dir.join("wal")).map_err(said)? {
        let path = file.map_err(said)?.path();
        if path.extension().is_some_and(|kind| kind == "wal") {
            std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).map_err(said)?;
        }
    }
    let identity = std::fs::read_to_string(dir.join("identity")).map_err(said)?;
    let id = |word: &str| {
        let line = identity.lines().find_map(|line| line.strip_prefix(word))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    let ids = id("cluster ").zip(id("member "));
    let (cluster, member) = ids.ok_or_else(|| format!("an identity of {identity:?}"))?;
    let config = WalConfig::new(ClusterId(cluster), MemberId(member));
    let disk = Arc::new(DirDisk::new(copy.path()));
    // Checkpoint number one is index 1 of term 1: whoever has its log from there on has all of it.
    let opened = Wal::open(disk, config, (1, 1), 1).map_err(|fault| fault.to_string())?;
    all(&opened.1).map_err(|fault| fault.to_string())
}

fn all(log: &Log) -> Result<Vec<Entry>, quorate::storage::Fault> {
    let mut entries = Vec::new();
    let (mut next, end) = (log.first_index(), log.last_index() + 1);
    while next < end {
        let read = log.read(next, end, READ_BYTES)?;
        if read.is_empty() {
            break;
        }
        next += read.len() as u64;
        entries.extend(read);
    }
    Ok(entries)
}
