//! The state half of storage: layers, checkpoints, crashes, snapshots.
//!
//! Commands (rows are written `table/key=value`, a deleted row `table/key`):
//!
//! ```text
//!   create APPLIED ROW...     merge APPLIED ROW...     seal     checkpoint     sweep ROW...
//!   view NAME     get NAME table/key     scan NAME table [low=K] [high=K] [after=K] [down] [first=N]     close NAME
//!   crash     status     ls     copy     stage [cut=BYTES] [flip=BYTE] [applied=N]     install     discard
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::Read as _;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use goldenscript::{Command, Runner};
use quorate::base::Moment;
use quorate::storage::{
    Direction, Read, Rows, Sealed, SnapshotHeader, Staged, Stamp, Store, StoreConfig, Table, View,
    Write,
};

#[test]
fn store_scripts() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/store");
    let mut scripts: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for script in scripts {
        println!("{}", script.display());
        goldenscript::run(&mut World::new(), script).unwrap();
    }
}

type Outcome = Result<String, Box<dyn Error>>;

/// One store in a directory that vanishes, and what a script holds of it.
struct World {
    dir: tempfile::TempDir,
    views: BTreeMap<String, View>,
    sealed: Option<Sealed>,
    snapshot: Option<(SnapshotHeader, Vec<u8>)>,
    staged: Option<Staged>,
    store: Option<Arc<Store>>,
}

impl World {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            views: BTreeMap::new(),
            sealed: None,
            snapshot: None,
            staged: None,
            store: None,
        }
    }

    fn store(&self) -> Result<&Store, Box<dyn Error>> {
        Ok(self.store.as_deref().ok_or("no store")?)
    }

    fn view(&self, name: &str) -> Result<&View, Box<dyn Error>> {
        Ok(self.views.get(name).ok_or("no such view")?)
    }

    /// What a restart finds: everything in memory is gone.
    fn crash(&mut self) -> Outcome {
        self.views.clear();
        (self.sealed, self.staged, self.store) = (None, None, None);
        self.store = Some(Store::open(self.dir.path(), config())?);
        self.status()
    }

    fn status(&self) -> Outcome {
        let store = self.store()?;
        let (applied, durable) = (store.stamp(), store.durable());
        Ok(format!(
            "generation {} applied {} durable {} overlay {}",
            store.generation(),
            applied.applied,
            durable.applied,
            if store.overlay_bytes() == 0 { "empty" } else { "full" },
        ))
    }

    fn create(&mut self, applied: u64, rows: Rows) -> Outcome {
        self.store = Some(Store::create(self.dir.path(), config(), rows, stamp(applied))?);
        self.status()
    }

    fn seal(&mut self) -> Outcome {
        match self.store()?.seal() {
            Some(sealed) => {
                let text = format!("sealed at {}", sealed.stamp().applied);
                self.sealed = Some(sealed);
                Ok(text)
            }
            None => Ok("nothing sealed".to_owned()),
        }
    }

    fn checkpoint(&mut self) -> Outcome {
        let sealed = self.sealed.take().ok_or("nothing is sealed")?;
        let report = self.store()?.checkpoint(sealed)?;
        let ignored = if report.is_ignored { ", ignored" } else { "" };
        Ok(format!("{} rows, durable {}{ignored}", report.rows, report.stamp.applied))
    }

    fn sweep(&self, rows: Rows) -> Outcome {
        self.store()?.sweep(|sweep| {
            for ((table, key), value) in &rows {
                match value {
                    Some(value) => sweep.put(*table, key, value)?,
                    None => sweep.delete(*table, key)?,
                }
            }
            Ok(())
        })?;
        Ok(String::new())
    }

    fn scan(&self, command: &Command) -> Outcome {
        let mut args = command.consume_args();
        let low = args.lookup("low").map(|arg| arg.value.as_bytes());
        let after = args.lookup("after").map(|arg| arg.value.as_bytes());
        let high = args.lookup("high").map(|arg| arg.value.as_bytes());
        let first: usize = args.lookup_parse("first")?.unwrap_or(usize::MAX);
        let words = args.rest_pos();
        let [name, table_name] = [&words[0].value, &words[1].value];
        let is_down = words.get(2).is_some_and(|word| word.value == "down");
        let low = match (low, after) {
            (Some(low), _) => Bound::Included(low),
            (None, Some(after)) => Bound::Excluded(after),
            (None, None) => Bound::Unbounded,
        };
        let high = high.map_or(Bound::Unbounded, Bound::Excluded);
        let direction = if is_down { Direction::Descending } else { Direction::Ascending };
        let mut seen = Vec::new();
        self.view(name)?.scan(table(table_name)?, low, high, direction, &mut |row| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            seen.push(format!("{}={}", text(row.key), text(row.value)));
            if seen.len() < first { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(if seen.is_empty() { "nothing".to_owned() } else { seen.join(" ") })
    }

    fn get(&self, command: &Command) -> Outcome {
        let mut args = command.consume_args();
        let words = args.rest_pos();
        let (table_name, key) = words[1].value.split_once('/').ok_or("table/key expected")?;
        let value = self.view(&words[0].value)?.get(table(table_name)?, key.as_bytes())?;
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        Ok(text(value.as_deref().unwrap_or(b"nothing")))
    }

    fn copy(&mut self) -> Outcome {
        let mut copy = self.store()?.copy()?;
        let mut bytes = copy.header().encode().to_vec();
        copy.read_to_end(&mut bytes)?;
        let header = SnapshotHeader::decode(&bytes)?;
        assert_eq!(header, copy.header());
        bytes.drain(..SnapshotHeader::BYTES);
        let text = format!("applied {}, {} pages", header.stamp.applied, bytes.len() / 4096);
        self.snapshot = Some((header, bytes));
        Ok(text)
    }

    /// Receives the last copy, damaged as told.
    fn stage(&mut self, command: &Command) -> Outcome {
        let mut args = command.consume_args();
        let (mut header, mut bytes) = self.snapshot.clone().ok_or("no copy")?;
        if let Some(cut) = args.lookup_parse::<usize>("cut")? {
            bytes.truncate(bytes.len() - cut);
        }
        if let Some(extra) = args.lookup_parse::<usize>("extra")? {
            bytes.resize(bytes.len() + extra, 0);
        }
        if let Some(at) = args.lookup_parse::<usize>("flip")? {
            bytes[at] ^= 1;
        }
        if let Some(applied) = args.lookup_parse("applied")? {
            header.stamp.applied = applied;
        }
        if args.lookup("resealed").is_some() {
            header.length = bytes.len() as u64;
            let sum = ring::digest::digest(&ring::digest::SHA256, &bytes);
            header.sha256.copy_from_slice(sum.as_ref());
        }
        let mut encoded = header.encode().to_vec();
        if let Some(at) = args.lookup_parse::<usize>("flip_header")? {
            encoded[at] ^= 1;
        }
        let mut stage = self.store()?.stage(SnapshotHeader::decode(&encoded)?)?;
        for chunk in bytes.chunks(1_000) {
            stage.write(chunk)?;
        }
        let staged = stage.finish()?;
        let text = format!("staged {} at {}", staged.generation(), staged.stamp().applied);
        self.staged = Some(staged);
        Ok(text)
    }

    /// Changes the format number in the rows of the database that is not open.
    fn reformat(&mut self) -> Outcome {
        let generation = self.store()?.generation();
        self.views.clear();
        self.store = None;
        let path = self.dir.path().join(generation.to_string()).join("data.mdb");
        let mut bytes = fs::read(&path)?;
        let row = b"format\x00\x00\x00\x03";
        let at: Vec<usize> =
            (0..bytes.len() - row.len()).filter(|at| bytes[*at..].starts_with(row)).collect();
        assert!(!at.is_empty());
        for at in at {
            bytes[at + row.len() - 1] = 4;
        }
        fs::write(path, bytes)?;
        Ok(String::new())
    }

    fn ls(&self) -> Outcome {
        let mut names: Vec<String> = fs::read_dir(self.dir.path())?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect::<Result<_, _>>()?;
        names.sort();
        Ok(names.join(" "))
    }
}

impl Runner for World {
    fn run(&mut self, command: &Command) -> Outcome {
        let words: Vec<&str> = command.args.iter().map(|arg| arg.value.as_str()).collect();
        let outcome = match command.name.as_str() {
            "create" => self.create(words[0].parse()?, rows(command, 1)?),
            "merge" => {
                let stamp = stamp(words[0].parse()?);
                self.store()?.merge(rows(command, 1)?, stamp, Moment::ZERO);
                Ok(String::new())
            }
            "seal" => self.seal(),
            "checkpoint" => self.checkpoint(),
            "sweep" => self.sweep(rows(command, 0)?),
            "view" => {
                let view = self.store()?.view()?;
                let text = format!("at {}", view.stamp().applied);
                self.views.insert(words[0].to_owned(), view);
                Ok(text)
            }
            "close" => {
                self.views.remove(words[0]);
                Ok(String::new())
            }
            "get" => self.get(command),
            "scan" => self.scan(command),
            "crash" => self.crash(),
            "status" => self.status(),
            "copy" => self.copy(),
            "stage" => self.stage(command),
            "install" => {
                let staged = self.staged.take().ok_or("nothing is staged")?;
                self.store()?.install(staged)?;
                self.status()
            }
            "discard" => {
                let staged = self.staged.take().ok_or("nothing is staged")?;
                self.store()?.discard(staged);
                Ok(String::new())
            }
            "litter" => {
                for name in words {
                    fs::create_dir(self.dir.path().join(name))?;
                }
                Ok(String::new())
            }
            "reformat" => self.reformat(),
            "ls" => self.ls(),
            name => Err(format!("unknown command {name}").into()),
        };
        let dir = self.dir.path().display().to_string();
        outcome.map_err(|error| error.to_string().replace(&dir, "db").into())
    }
}

fn config() -> StoreConfig {
    StoreConfig { map_bytes: 16 << 20, readers: 16, ..StoreConfig::default() }
}

fn stamp(applied: u64) -> Stamp {
    Stamp { applied, term: 1, revision: i64::try_from(applied).unwrap(), compacted: 0 }
}

fn table(name: &str) -> Result<Table, Box<dyn Error>> {
    let found = Table::ALL.into_iter().find(|table| table.name() == name);
    Ok(found.ok_or_else(|| format!("no table {name}"))?)
}

/// `table/key=value` puts a row, `table/key` deletes one.
fn rows(command: &Command, skip: usize) -> Result<Rows, Box<dyn Error>> {
    let mut rows = Rows::new();
    for arg in &command.args[skip..] {
        let (place, value) = match &arg.key {
            Some(place) => (place.as_str(), Some(arg.value.clone().into())),
            None => (arg.value.as_str(), None),
        };
        let (table_name, key) = place.split_once('/').ok_or("table/key expected")?;
        rows.insert((table(table_name)?, key.as_bytes().to_vec().into()), value);
    }
    Ok(rows)
}
