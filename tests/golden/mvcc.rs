//! Transcripts of the store: versions, counts, history, hashes, compaction.

use std::error::Error;
use std::fmt::Write as _;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use goldenscript::Command;
use quorate::base::{KeyRange, Revision};
use quorate::mvcc::{
    self, Counts, End, Event, EventKind, KeyValue, RangeOptions, Reader, Version, Writer,
};
use quorate::storage::{Batch, Direction, Nothing, Read, Rows, Table};

#[test]
fn mvcc() {
    let mut scripts: Vec<_> = std::fs::read_dir("tests/golden/mvcc")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for script in scripts {
        goldenscript::run(&mut Store::new(), script).unwrap();
    }
}

/// A store in memory, and the writing transaction that is being written down.
struct Store {
    rows: Batch<'static, Nothing>,
    counts: Counts,
    revision: i64,
    compacted: i64,
    queued: Option<Vec<Command>>,
}

impl Store {
    fn new() -> Self {
        let rows = Batch::new(&Nothing);
        let counts = Counts::load(&rows, 1).unwrap();
        Self { rows, counts, revision: 1, compacted: 0, queued: None }
    }

    /// Runs the commands as one writing transaction.
    fn transaction(&mut self, commands: &[Command], keep: bool) -> Result<String, Box<dyn Error>> {
        let mut batch = Batch::new(&self.rows);
        let mut writer = Writer::new(&mut batch, &self.counts, self.revision + 1);
        let mut told = String::new();
        for command in commands {
            told += &step(&mut writer, command)?;
        }
        let finished = if keep { writer.finish()? } else { None };
        let Some((events, delta)) = finished else {
            writeln!(told, "no new revision")?;
            return Ok(told);
        };
        writeln!(told, "revision {}", events.revision)?;
        for event in &events.events {
            writeln!(told, "  {}", show_event(event))?;
        }
        let rows = batch.into_rows();
        self.merge(rows);
        self.counts.commit(delta);
        self.revision = events.revision;
        Ok(told)
    }

    fn merge(&mut self, rows: Rows) {
        for ((table, key), value) in rows {
            match value {
                Some(value) => self.rows.put(table, key, value),
                None => self.rows.delete(table, key),
            }
        }
    }

    fn dump(&self, table: Table) -> Result<String, Box<dyn Error>> {
        let mut told = String::new();
        let all = Bound::Unbounded;
        self.rows.scan(table, all, all, Direction::Ascending, &mut |row| {
            let value = row.value.escape_ascii().to_string();
            let value = if value.len() > 60 { format!("{}...", &value[..60]) } else { value };
            let _ = writeln!(told, "{} -> {value}", row.key.escape_ascii());
            ControlFlow::Continue(())
        })?;
        Ok(told)
    }

    fn read(&mut self, command: &Command) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let revision = args.lookup_parse("at")?.unwrap_or(self.revision);
        let reader = Reader::at(&self.rows, revision);
        let mut told = String::new();
        match command.name.as_str() {
            "get" => {
                let kv = reader.get(&key(&args.next_pos().ok_or("key?")?.value))?;
                writeln!(told, "{}", show_or_none(kv.as_ref()))?;
            }
            "range" => {
                let options = RangeOptions {
                    limit: args.lookup_parse("limit")?,
                    keys_only: args.lookup_parse("keys_only")?.unwrap_or(false),
                    bytes_max: args.lookup_parse("bytes")?,
                    visits_max: args.lookup_parse("visits")?,
                };
                let slice = reader.range(&range(&mut args)?, options)?;
                for kv in &slice.kvs {
                    writeln!(told, "{}", show(kv))?;
                }
                match slice.end {
                    End::Complete => writeln!(told, "complete")?,
                    End::Limit(key) => writeln!(told, "more, from {}", key.escape_ascii())?,
                    End::Budget(key) => {
                        writeln!(told, "budget spent, go on at {}", key.escape_ascii())?
                    }
                }
            }
            "count" => {
                let range = range(&mut args)?;
                let whole = self.counts.whole(&range, self.revision);
                writeln!(told, "{}", reader.count(&range, whole)?)?;
            }
            "value_at" => {
                let at = args.next_pos().ok_or("main.sub?")?.value.clone();
                let (main, sub) = at.split_once('.').ok_or("main.sub?")?;
                let kv = mvcc::value_at(&self.rows, Revision::new(main.parse()?, sub.parse()?))?;
                writeln!(told, "{}", show_or_none(kv.as_ref()))?;
            }
            "history" => {
                let from = args.next_pos().ok_or("from?")?.parse()?;
                let to = args.next_pos().map_or(Ok(self.revision), |to| to.parse())?;
                let revisions = args.lookup_parse("revisions")?.unwrap_or(1_000);
                let bytes = args.lookup_parse("bytes")?.unwrap_or(1 << 20);
                let history = mvcc::history(&self.rows, from, to, revisions, bytes)?;
                for batch in &history.batches {
                    writeln!(told, "revision {}", batch.revision)?;
                    for event in &batch.events {
                        writeln!(told, "  {}", show_event(event))?;
                    }
                }
                writeln!(told, "told through {}", history.through)?;
            }
            "hash" => {
                writeln!(told, "{:08x}", mvcc::hash(&self.rows, revision, self.compacted)?)?;
            }
            other => return Err(format!("unknown command {other}").into()),
        }
        args.reject_rest()?;
        Ok(told)
    }
}

fn step<R: Read>(
    writer: &mut Writer<'_, '_, R>,
    command: &Command,
) -> Result<String, Box<dyn Error>> {
    let mut args = command.consume_args();
    let mut told = String::new();
    match command.name.as_str() {
        "put" => {
            let key = key(&args.next_pos().ok_or("key?")?.value);
            let long =
                args.lookup_parse::<usize>("bytes")?.map(|length| Bytes::from(vec![b'x'; length]));
            let value =
                long.or_else(|| args.next_pos().map(|value| Bytes::from(value.value.clone())));
            let lease = match args.lookup("lease").map(|lease| lease.value.as_str()) {
                Some("keep") => None,
                Some(id) => Some(id.parse()?),
                None => Some(0),
            };
            if let Some(prev) = writer.put(key, value, lease)? {
                writeln!(told, "replaced {}", show_version(&prev))?;
            }
        }
        "del" => {
            for version in writer.delete_range(&range(&mut args)?)? {
                writeln!(told, "deleted {}", show_version(&version))?;
            }
        }
        "get" => {
            let kv = writer.reader().get(&key(&args.next_pos().ok_or("key?")?.value))?;
            writeln!(told, "{}", show_or_none(kv.as_ref()))?;
        }
        "count" => {
            let revision = args.lookup_parse("at")?.unwrap_or_else(|| writer.revision());
            let range = range(&mut args)?;
            let whole = writer.whole(&range);
            writeln!(told, "{}", writer.reader_at(revision).count(&range, whole)?)?;
        }
        other => return Err(format!("{other} is no part of a transaction").into()),
    }
    args.reject_rest()?;
    Ok(told)
}

impl goldenscript::Runner for Store {
    fn run(&mut self, command: &Command) -> Result<String, Box<dyn Error>> {
        match command.name.as_str() {
            "begin" => self.queued = Some(Vec::new()),
            "commit" | "drop" => {
                let commands = self.queued.take().ok_or("begin first")?;
                return self.transaction(&commands, command.name == "commit");
            }
            _ if self.queued.is_some() => self.queued.as_mut().unwrap().push(command.clone()),
            "put" | "del" => return self.transaction(std::slice::from_ref(command), true),
            "fill" => {
                for number in 0..command.consume_args().next_pos().ok_or("how many?")?.parse()? {
                    let key = Bytes::from(format!("{number:05}"));
                    let mut batch = Batch::new(&self.rows);
                    let mut writer = Writer::new(&mut batch, &self.counts, self.revision + 1);
                    writer.put(key, Some(Bytes::from("v")), None)?;
                    let (_, delta) = writer.finish()?.unwrap();
                    let rows = batch.into_rows();
                    self.merge(rows);
                    self.counts.commit(delta);
                    self.revision += 1;
                }
            }
            "compact" => {
                let mut args = command.consume_args();
                let target = args.next_pos().ok_or("revision?")?.parse()?;
                self.compacted = self.compacted.max(target);
                let visits = args.lookup_parse("visits")?.unwrap_or(1_000);
                let mut batch = Batch::new(&self.rows);
                let progress = mvcc::compact_slice(&mut batch, target, visits)?;
                let rows = batch.into_rows();
                self.merge(rows);
                return Ok(format!("{progress:?}"));
            }
            "keys" => return self.dump(Table::Keys),
            "revisions" => return self.dump(Table::Revisions),
            "counts" => return self.dump(Table::Counts),
            _ => return self.read(command),
        }
        Ok(String::new())
    }
}

/// `\0` in a script is one zero byte.
fn key(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

/// One word: that key. `from`: from that key on. `prefix`: keys that begin so. Two words: a span.
fn range(args: &mut goldenscript::ArgumentConsumer<'_>) -> Result<KeyRange, Box<dyn Error>> {
    if let Some(from) = args.lookup("from") {
        return Ok(KeyRange::From(key(&from.value)));
    }
    if let Some(prefix) = args.lookup("prefix") {
        return Ok(KeyRange::prefix(prefix.value.as_bytes()));
    }
    let start = key(&args.next_pos().ok_or("key?")?.value);
    Ok(match args.next_pos() {
        Some(end) => KeyRange::Span { start, end: key(&end.value) },
        None => KeyRange::Single(start),
    })
}

fn show_or_none(kv: Option<&KeyValue>) -> String {
    kv.map(show).unwrap_or_else(|| "none".to_owned())
}

fn show(kv: &KeyValue) -> String {
    let value = match kv.value.len() {
        0..40 => kv.value.escape_ascii().to_string(),
        length => format!("({length} bytes)"),
    };
    format!(
        "{} = {value}  create {} mod {} version {} lease {}",
        kv.key.escape_ascii(),
        kv.create_revision,
        kv.mod_revision,
        kv.version,
        kv.lease
    )
}

fn show_version(version: &Version) -> String {
    format!(
        "{} of {}, {} bytes, version {}, lease {}",
        version.key.escape_ascii(),
        version.revision,
        version.value_bytes,
        version.version,
        version.lease
    )
}

fn show_event(event: &Event) -> String {
    let prev = event.prev.map(|prev| format!("  (replaced {prev})")).unwrap_or_default();
    match event.kind {
        EventKind::Put => format!("put {}{prev}", show(&event.kv)),
        EventKind::Delete => {
            format!("delete {} mod {}{prev}", event.kv.key.escape_ascii(), event.kv.mod_revision)
        }
    }
}
