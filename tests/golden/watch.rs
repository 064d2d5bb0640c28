//! Transcripts of the watch hub: each rule of what a watcher may and must be told.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use goldenscript::{ArgumentConsumer, Command};
use quorate::base::{KeyRange, Moment, Revision};
use quorate::mvcc::{Event, EventBatch, EventKind, History, KeyValue};
use quorate::watch::{self, Config, Delivery, HistoryWanted, Hub, Spec, StreamId};

#[test]
fn watch() {
    let mut scripts: Vec<_> = std::fs::read_dir("tests/golden/watch")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for script in scripts {
        goldenscript::run(&mut World::new(), script).unwrap();
    }
}

/// A hub, the history it may ask for, and clients that take at once unless their stream is held.
struct World {
    hub: Hub,
    now: Moment,
    history: Vec<EventBatch>,
    compacted: i64,
    wanted: Option<HistoryWanted>,
    held: BTreeMap<StreamId, VecDeque<Delivery>>,
}

impl World {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        Self {
            hub: Hub::new(config, 1, 0),
            now: Moment::ZERO,
            history: Vec::new(),
            compacted: 0,
            wanted: None,
            held: BTreeMap::new(),
        }
    }

    fn revision(&self) -> i64 {
        1 + self.history.len() as i64
    }

    /// `key=value` puts, `key` alone deletes.
    fn write(&mut self, command: &Command) -> Arc<EventBatch> {
        let revision = self.revision() + 1;
        let event = |arg: &goldenscript::Argument| {
            let put = arg.key.is_some();
            let (key, value) = arg.key.as_ref().map_or((&arg.value, ""), |key| (key, &arg.value));
            let kv = KeyValue {
                key: Bytes::from(key.clone()),
                value: match value.strip_suffix("bytes") {
                    Some(length) => Bytes::from(vec![b'x'; length.parse().unwrap()]),
                    None => Bytes::from(value.to_owned()),
                },
                mod_revision: revision,
                ..KeyValue::default()
            };
            let kind = if put { EventKind::Put } else { EventKind::Delete };
            Event { kind, kv, prev: (!put).then(|| Revision::new(revision - 1, 0)) }
        };
        let batch = EventBatch { revision, events: command.args.iter().map(event).collect() };
        self.history.push(batch.clone());
        Arc::new(batch)
    }

    fn create(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
        let stream = stream(args)?;
        let key = Bytes::from(args.next_pos().ok_or("key?")?.value.clone());
        let end = args.next_pos().map(|end| Bytes::from(end.value.clone())).unwrap_or_default();
        let mut range = watch::range(key, end);
        if let Some(prefix) = args.lookup("prefix") {
            range = KeyRange::prefix(prefix.value.as_bytes());
        }
        let spec = Spec {
            denied: None,
            range,
            start_revision: args.lookup_parse("start")?.unwrap_or(0),
            progress_notify: args.lookup_parse("notify")?.unwrap_or(false),
            no_put: args.lookup_parse("no_put")?.unwrap_or(false),
            no_delete: args.lookup_parse("no_delete")?.unwrap_or(false),
            prev_kv: args.lookup_parse("prev_kv")?.unwrap_or(false),
            fragment: args.lookup_parse("fragment")?.unwrap_or(false),
            id: args.lookup_parse("id")?,
        };
        let seen = args.lookup_parse("seen")?.unwrap_or(0);
        self.hub.create(stream, spec, seen, self.now);
        Ok(())
    }

    /// Answers the slice that the hub has asked for.
    fn answer(&mut self) -> Result<(), Box<dyn Error>> {
        let wanted = self.wanted.take().ok_or("nothing is wanted")?;
        let all = self.history.iter();
        let all = all.filter(|b| wanted.from <= b.revision && b.revision <= wanted.to);
        let batches: Vec<EventBatch> = all.take(wanted.revisions_max).cloned().collect();
        let cut = batches.len() == wanted.revisions_max;
        let last = batches.last().map_or(wanted.to, |batch| batch.revision);
        let through = if cut { last } else { wanted.to };
        self.hub.history(wanted.number, History { batches, through }, self.compacted);
        Ok(())
    }

    fn shown(&mut self) -> String {
        let mut told = String::new();
        for (stream, delivery) in self.hub.take_deliveries() {
            if let Some(held) = self.held.get_mut(&stream) {
                let _ = writeln!(told, "{stream} holds a message of {} bytes", delivery.bytes());
                held.push_back(delivery);
            } else {
                self.hub.drained(stream, delivery.bytes());
                told += &show(stream, &delivery);
            }
        }
        told
    }
}

impl goldenscript::Runner for World {
    fn run(&mut self, command: &Command) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let mut told = String::new();
        match command.name.as_str() {
            "config" => *self = Self::with(config(&mut args)?),
            "open" => self.hub.open(stream(&mut args)?),
            "close" => self.hub.close(stream(&mut args)?),
            "create" => self.create(&mut args)?,
            "cancel" => {
                let stream = stream(&mut args)?;
                self.hub.cancel(stream, args.next_pos().ok_or("id?")?.parse()?);
            }
            "progress" => {
                let stream = stream(&mut args)?;
                self.hub.progress(stream, args.lookup_parse("seen")?.unwrap_or(0));
            }
            // The store changes; `publish` tells the hub at once, `write` does not.
            "publish" => {
                let batch = self.write(command);
                self.hub.publish(batch);
                args.rest();
            }
            "write" => {
                self.write(command);
                args.rest();
            }
            "hear" => {
                let batch = self.history.iter().find(|b| b.revision > self.hub.revision()).cloned();
                self.hub.publish(Arc::new(batch.ok_or("the hub has heard everything")?));
            }
            "compacted" => {
                self.compacted = args.next_pos().ok_or("revision?")?.parse()?;
                self.hub.compacted(self.compacted);
            }
            "restarted" => self.hub.restarted(self.revision(), self.compacted),
            "slice" => {
                let wanted = self.hub.next_slice();
                match &wanted {
                    Some(wanted) => writeln!(told, "wants {}..={}", wanted.from, wanted.to)?,
                    None => writeln!(told, "wants no more history")?,
                }
                self.wanted = wanted.or(self.wanted);
            }
            "answer" if self.wanted.is_none() => writeln!(told, "nothing to answer")?,
            "answer" => self.answer()?,
            "hold" => {
                self.held.insert(stream(&mut args)?, VecDeque::new());
            }
            "release" => {
                let stream = stream(&mut args)?;
                for delivery in self.held.remove(&stream).ok_or("not held")? {
                    told += &show(stream, &delivery);
                    self.hub.drained(stream, delivery.bytes());
                }
            }
            "after" => {
                let seconds = args.next_pos().ok_or("seconds?")?.parse()?;
                self.now = self.now + Duration::from_secs(seconds);
                self.hub.tick(self.now);
            }
            other => return Err(format!("unknown command {other}").into()),
        }
        args.reject_rest()?;
        Ok(told + &self.shown())
    }
}

fn config(args: &mut ArgumentConsumer<'_>) -> Result<Config, Box<dyn Error>> {
    let default = Config::default();
    let mut bound = |name, default| -> Result<usize, Box<dyn Error>> {
        Ok(args.lookup_parse(name)?.unwrap_or(default))
    };
    Ok(Config {
        stream_queue_bytes_max: bound("queue", default.stream_queue_bytes_max)?,
        watchers_per_stream_max: bound("watchers", default.watchers_per_stream_max)?,
        catchup_revisions_max: bound("slice", default.catchup_revisions_max)?,
        recent_revisions_max: bound("recent", default.recent_revisions_max)?,
        ..default
    })
}

fn stream(args: &mut ArgumentConsumer<'_>) -> Result<StreamId, Box<dyn Error>> {
    Ok(StreamId(args.next_pos().ok_or("stream?")?.parse()?))
}

fn show(stream: StreamId, delivery: &Delivery) -> String {
    match delivery {
        Delivery::Created { id, revision } => {
            format!("{stream}: watcher {id} created, revision {revision}\n")
        }
        Delivery::Refused { reason, revision } => {
            format!("{stream}: watcher -1 created and canceled, revision {revision}: {reason}\n")
        }
        Delivery::Events { batch, watchers } => {
            let mut told = String::new();
            for matched in watchers {
                let event = |event: &Event| {
                    let key = event.kv.key.escape_ascii();
                    match event.kind {
                        EventKind::Put => format!(" put {key}={}", value(&event.kv.value)),
                        EventKind::Delete => format!(" delete {key}"),
                    }
                };
                let events: String = matched.events.of(batch).into_iter().map(event).collect();
                let prev_kv = if matched.prev_kv { ", with prev_kv" } else { "" };
                let fragment = if matched.fragment { ", may be cut" } else { "" };
                let (id, revision) = (matched.id, batch.revision);
                let _ = writeln!(
                    told,
                    "{stream}: watcher {id} events, revision {revision}:{events}{prev_kv}{fragment}"
                );
            }
            told
        }
        Delivery::Progress { id, revision } => {
            format!("{stream}: watcher {id} progress, revision {revision}\n")
        }
        Delivery::Canceled { id, revision, compact_revision: None } => {
            format!("{stream}: watcher {id} canceled, revision {revision}\n")
        }
        Delivery::Canceled { id, revision, compact_revision: Some(compacted) } => {
            format!(
                "{stream}: watcher {id} canceled, revision {revision}, compacted at {compacted}\n"
            )
        }
    }
}

fn value(value: &Bytes) -> String {
    match value.len() {
        0..20 => value.escape_ascii().to_string(),
        length => format!("({length} bytes)"),
    }
}
