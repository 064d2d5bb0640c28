//! The log half of storage as transcripts, on a disk in memory.
//!
//! ```text
//!   create AFTER@TERM [segment=BYTES] [cache=BYTES]      open APPLIED@TERM [generation=N] [member=N]
//!   append [truncate=I] [I@TERM=TEXT|I@TERM=xBYTES|I@TERMc=TEXT ...] [hs=TERM/VOTE/COMMIT] [mark=I@TERM/GENERATION]
//!   extend I@TERM=TEXT...   (RAM alone)    write ...   (disk alone)    restart-ram I@TERM
//!   trim TO    restart I@TERM hs=TERM/VOTE/COMMIT        prepare
//!   log   ls   read LOW HIGH [bytes=N]   cached LOW HIGH [bytes=N]   hex FILE OFFSET BYTES
//!   crash keep=nothing|everything|BYTES                  kill (the page cache survives)
//!   burn OPERATIONS   fail-syncs N   capacity BYTES      damage FILE OFFSET HEX   remove FILE
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use goldenscript::{Argument, Command};
use quorate::base::{ClusterId, MemberId};
use quorate::storage::{
    Disk, Entry, EntryKind, HardState, InstallMark, Log, Wal, WalBatch, WalConfig,
};

use crate::sim_disk::{Keep, SimDisk};

#[test]
fn wal() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/storage");
    let mut scripts: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("wal_"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for script in scripts {
        if let Err(error) = goldenscript::run(&mut World::default(), &script) {
            panic!("{}: {error}", script.display());
        }
    }
}

#[derive(Default)]
struct World {
    disk: SimDisk,
    config: Option<WalConfig>,
    open: Option<(Wal, Arc<Log>)>,
}

type Answer<T = String> = Result<T, Box<dyn Error>>;

impl goldenscript::Runner for World {
    fn run(&mut self, command: &Command) -> Answer {
        let mut args = Args::new(command);
        let disk = self.disk.clone();
        let mut out = String::new();
        match command.name.as_str() {
            "create" => out = self.create(&mut args)?,
            "open" => out = self.reopen(&mut args)?,
            "append" => {
                let batch = args.batch()?;
                self.log()?.extend(&batch.entries);
                self.wal()?.append(batch)?;
            }
            "write" => self.wal()?.append(args.batch()?)?,
            "extend" => self.log()?.extend(&args.batch()?.entries),
            "restart-ram" => {
                let (index, term) = args.at(0)?;
                self.log()?.restart(index, term);
            }
            "trim" => self.wal()?.trim(args.number(0)?)?,
            "prepare" => self.wal()?.prepare()?,
            "restart" => {
                let (index, term) = args.at(0)?;
                let hard = args.batch()?.hard_state.ok_or("hs= is missing")?;
                self.wal()?.restart(index, term, hard)?;
            }
            "log" => out = self.describe_log()?,
            "ls" => out = self.list()?,
            "read" => {
                let (low, high) = (args.number(0)?, args.number(1)?);
                let entries = self.log()?.read(low, high, args.bytes()?)?;
                out = describe_entries(&entries);
            }
            "cached" => {
                let (low, high) = (args.number(0)?, args.number(1)?);
                let entries = self.log()?.cached(low, high, args.bytes()?);
                out = match entries {
                    Some(found) => describe_entries(&found),
                    None => "only on the disk".into(),
                };
            }
            "hex" => out = self.hex(&args)?,
            "crash" => {
                self.open = None;
                match args.key("keep").unwrap_or("nothing") {
                    "nothing" => disk.crash(Keep::Nothing),
                    "everything" => disk.crash(Keep::Everything),
                    count => disk.crash(Keep::Bytes(count.parse()?)),
                };
            }
            "kill" => {
                self.open = None;
                disk.restart();
            }
            "burn" => disk.burn_after(args.number(0)?),
            "fail-syncs" => disk.fail_syncs(args.number(0)?),
            "capacity" => disk.set_capacity(Some(args.number(0)?)),
            "remove" => disk.remove(args.word(0)?)?,
            "damage" => {
                let offset = args.number(1)? as usize;
                let bytes = u32::from_str_radix(args.word(2)?, 16)?.to_be_bytes();
                let bytes = &bytes[4 - args.word(2)?.len() / 2..];
                disk.damage(args.word(0)?, offset, bytes);
            }
            name => return Err(format!("unknown command {name}").into()),
        }
        Ok(out)
    }
}

impl World {
    fn wal(&mut self) -> Answer<&mut Wal> {
        Ok(&mut self.open.as_mut().ok_or("the log is closed")?.0)
    }

    fn log(&self) -> Answer<&Log> {
        Ok(&self.open.as_ref().ok_or("the log is closed")?.1)
    }

    fn create(&mut self, args: &mut Args<'_>) -> Answer {
        let mut config = WalConfig::new(ClusterId(0xc1), MemberId(0xa));
        config.segment_bytes = args.key("segment").unwrap_or("8192").parse()?;
        config.cache_bytes = args.key("cache").unwrap_or("1000000").parse()?;
        self.config = Some(config.clone());
        let after = args.at(0)?;
        let hard = HardState { term: after.1, vote: 0, commit: after.0 };
        self.open = Some(Wal::create(Arc::new(self.disk.clone()), config, after, hard)?);
        Ok(String::new())
    }

    fn reopen(&mut self, args: &mut Args<'_>) -> Answer {
        self.open = None;
        let mut config = self.config.clone().ok_or("nothing was created")?;
        if let Some(member) = args.key("member") {
            config.member = member.parse()?;
        }
        let generation = args.key("generation").unwrap_or("1").parse()?;
        let disk = Arc::new(self.disk.clone());
        let (wal, log, recovered) = Wal::open(disk, config, args.at(0)?, generation)?;
        self.open = Some((wal, log));
        let HardState { term, vote, commit } = recovered.hard_state;
        let mut out = format!(
            "entries {}..={} term {term} vote {vote} commit {commit}",
            recovered.first_index, recovered.last_index
        );
        if let Some(mark) = recovered.install {
            write!(out, "\nrestarted by the mark {}@{}", mark.index, mark.term)?;
        }
        if let Some(cut) = recovered.cut {
            write!(out, "\ncut {} bytes at {} offset {}", cut.bytes, cut.file, cut.offset)?;
        }
        Ok(out)
    }

    fn describe_log(&self) -> Answer {
        let log = self.log()?;
        let (first, last) = (log.first_index(), log.last_index());
        let mut out = format!("entries {first}..={last}, {} bytes kept\nterms", log.bytes_kept());
        for index in first - 1..=last {
            write!(out, " {}", log.term(index).ok_or("a term is missing")?)?;
        }
        Ok(out)
    }

    fn list(&self) -> Answer {
        let mut sizes = BTreeMap::new();
        for name in self.disk.list()? {
            let bytes = self.disk.open(&name)?.bytes()?;
            sizes.insert(name, bytes);
        }
        Ok(sizes.iter().map(|(name, bytes)| format!("{name} {bytes}\n")).collect())
    }

    fn hex(&self, args: &Args<'_>) -> Answer {
        let (name, from, count) =
            (args.word(0)?, args.number(1)? as usize, args.number(2)? as usize);
        let bytes = self.disk.durable(name).ok_or("no such file")?;
        let mut out = String::new();
        for (row, piece) in bytes[from..from + count].chunks(8).enumerate() {
            let hex: Vec<String> = piece.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(out, "{:>4}  {}  {}", from + 8 * row, hex.join(" "), piece.escape_ascii())?;
        }
        Ok(out)
    }
}

fn describe_entries(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "none".into();
    }
    let text = |entry: &Entry| {
        let Entry { term, index, kind, data } = entry;
        let mark = if *kind == EntryKind::ConfChange { "c" } else { "" };
        match data.len() {
            0..32 => format!("{index}@{term}{mark}={}", data.escape_ascii()),
            bytes => format!("{index}@{term}{mark}=x{bytes}"),
        }
    };
    entries.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// The arguments of one command.
struct Args<'a>(&'a [Argument]);

impl<'a> Args<'a> {
    fn new(command: &'a Command) -> Self {
        Self(&command.args)
    }

    fn word(&self, position: usize) -> Answer<&'a str> {
        let mut words = self.0.iter().filter(|arg| arg.key.is_none());
        Ok(&words.nth(position).ok_or("an argument is missing")?.value)
    }

    fn number(&self, position: usize) -> Answer<u64> {
        Ok(self.word(position)?.parse()?)
    }

    fn at(&self, position: usize) -> Answer<(u64, u64)> {
        parse_at(self.word(position)?)
    }

    fn key(&self, key: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|arg| arg.key.as_deref() == Some(key));
        found.map(|arg| arg.value.as_str())
    }

    fn bytes(&self) -> Answer<usize> {
        Ok(self.key("bytes").unwrap_or("1000000").parse()?)
    }

    fn batch(&self) -> Answer<WalBatch> {
        let mut batch = WalBatch::default();
        for Argument { key, value, .. } in self.0 {
            match key.as_deref() {
                None => {}
                Some("truncate") => batch.truncate_from = Some(value.parse()?),
                Some("hs") => {
                    let numbers =
                        value.split('/').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
                    let &[term, vote, commit] = numbers.as_slice() else {
                        return Err("hs=TERM/VOTE/COMMIT".into());
                    };
                    batch.hard_state = Some(HardState { term, vote, commit });
                }
                Some("mark") => {
                    let (at, generation) = value.split_once('/').ok_or("mark=I@TERM/GENERATION")?;
                    let (index, term) = parse_at(at)?;
                    let generation = generation.parse()?;
                    batch.install = Some(InstallMark { index, term, generation });
                }
                Some(at) => batch.entries.push(parse_entry(at, value)?),
            }
        }
        Ok(batch)
    }
}

fn parse_entry(at: &str, value: &str) -> Answer<Entry> {
    let (index, term) = parse_at(at.trim_end_matches('c'))?;
    let kind = if at.ends_with('c') { EntryKind::ConfChange } else { EntryKind::Normal };
    let data = match value.strip_prefix('x').and_then(|count| count.parse().ok()) {
        Some(count) => Bytes::from(vec![b'x'; count]),
        None => Bytes::copy_from_slice(value.as_bytes()),
    };
    Ok(Entry { term, index, kind, data })
}

fn parse_at(text: &str) -> Answer<(u64, u64)> {
    let (index, term) = text.split_once('@').ok_or("expected INDEX@TERM")?;
    Ok((index.parse()?, term.parse()?))
}
