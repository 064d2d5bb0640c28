//! The log alone in a world of its own: appends, replacements, trims and snapshots under crashes in the middle of
//! anything. What `append` returned for is there; what was being written is there whole or not at all.

use std::sync::Arc;

use bytes::Bytes;
use quorate::base::{ClusterId, MemberId};
use quorate::storage::{Entry, EntryKind, HardState, InstallMark, Log, Wal, WalBatch, WalConfig};

use crate::disk::{Keep, SimDisk};

/// What a log should hold.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    /// Index and term that the log starts after, at the latest.
    base: (u64, u64),
    entries: Vec<Entry>,
    hard: HardState,
    generation: u64,
}

impl Model {
    fn last(&self) -> u64 {
        self.base.0 + self.entries.len() as u64
    }

    fn term(&self, index: u64) -> u64 {
        if index == self.base.0 { self.base.1 } else { self.at(index).term }
    }

    fn at(&self, index: u64) -> &Entry {
        &self.entries[(index - self.base.0 - 1) as usize]
    }

    fn append(&mut self, batch: &WalBatch) {
        let first = batch.entries.first().map(|entry| entry.index);
        if let Some(cut) = batch.truncate_from.into_iter().chain(first).min() {
            self.entries.truncate((cut - self.base.0 - 1) as usize);
        }
        self.entries.extend(batch.entries.iter().cloned());
        if let Some(hard) = batch.hard_state {
            self.hard = hard;
        }
    }
}

struct World {
    dice: fastrand::Rng,
    disk: SimDisk,
    config: WalConfig,
    model: Model,
    /// What the disk may hold instead, because it was being written.
    maybe: Option<Model>,
    applied: u64,
    open: Option<(Wal, Arc<Log>)>,
    torn: u64,
}

fn run(seed: u64) -> u64 {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut config = WalConfig::new(ClusterId(1), MemberId(2));
    config.segment_bytes = dice.u64(1..8) * 1024;
    config.cache_bytes = dice.usize(..4000);
    let disk = SimDisk::new();
    let hard = HardState { term: 1, vote: 0, commit: 1 };
    let model = Model { base: (1, 1), entries: Vec::new(), hard, generation: 1 };
    let open = Some(Wal::create(Arc::new(disk.clone()), config.clone(), (1, 1), hard).unwrap());
    let mut world = World { dice, disk, config, model, maybe: None, applied: 1, open, torn: 0 };
    for _ in 0..200 {
        world.step();
    }
    world.torn
}

impl World {
    fn step(&mut self) {
        if self.dice.u32(..12) == 0 {
            self.disk.burn_after(self.dice.u64(1..8));
        }
        let (mut wal, log) = self.open.take().expect("the log is open");
        let worked = match self.dice.u32(..10) {
            0 => wal.trim(self.dice.u64(1..=self.applied)).is_ok(),
            1 if self.dice.bool() => self.install(&mut wal, &log),
            1 => wal.prepare().is_ok(),
            _ => self.append(&mut wal, &log),
        };
        self.open = Some((wal, log));
        if worked {
            assert_eq!(self.maybe, None);
            self.check();
            self.applied = self.dice.u64(self.applied..=self.model.hard.commit);
        }
        if !worked || self.dice.u32(..20) == 0 {
            self.crash();
        }
    }

    fn append(&mut self, wal: &mut Wal, log: &Log) -> bool {
        let model = &self.model;
        let (commit, last) = (model.hard.commit, model.last());
        let mut batch = WalBatch::default();
        let mut term = model.hard.term;
        let mut first = last + 1;
        if self.dice.u32(..4) == 0 {
            term += 1;
            first = self.dice.u64(commit + 1..=last + 1);
        }
        let before = model.term(first - 1);
        term = term.max(before);
        let large = if self.dice.u32(..10) == 0 { 3000 } else { 200 };
        for index in first..first + self.dice.u64(..5) {
            let byte = self.dice.u8(..);
            let data = Bytes::from(vec![byte; self.dice.usize(..large)]);
            batch.entries.push(Entry { term, index, data, ..Entry::default() });
        }
        if term > model.hard.term || self.dice.bool() || batch.entries.is_empty() {
            let end = batch.entries.last().map_or(last, |entry| entry.index);
            let commit = self.dice.u64(commit..=end);
            batch.hard_state = Some(HardState { term, vote: self.dice.u64(..3), commit });
        }
        let mut after = model.clone();
        after.append(&batch);
        log.extend(&batch.entries);
        self.maybe = Some(after);
        let worked = wal.append(batch).is_ok();
        if worked {
            self.model = self.maybe.take().expect("set above");
        }
        worked
    }

    /// The steps of an install: mark, switch of the database, restart of the log; a crash may fall between any two.
    fn install(&mut self, wal: &mut Wal, log: &Log) -> bool {
        let index = self.model.last() + self.dice.u64(1..20);
        let term = self.model.hard.term + self.dice.u64(..2);
        let hard = HardState { term, vote: 0, commit: index };
        let generation = self.model.generation + 1;
        log.restart(index, term);
        let mark = InstallMark { index, term, generation };
        let batch = WalBatch { hard_state: Some(hard), install: Some(mark), ..WalBatch::default() };
        // Term and vote may arrive; the commit only with the database.
        let commit = self.model.hard.commit;
        let voted = HardState { commit, ..hard };
        self.maybe = Some(Model { hard: voted, ..self.model.clone() });
        if wal.append(batch).is_err() {
            return false;
        }
        self.model = self.maybe.take().expect("set above");
        if self.dice.u32(..5) == 0 {
            return false;
        }
        self.model = Model { base: (index, term), entries: Vec::new(), hard, generation };
        self.applied = index;
        if self.dice.u32(..5) == 0 {
            return false;
        }
        wal.restart(index, term, hard).is_ok()
    }

    fn crash(&mut self) {
        self.open = None;
        loop {
            match self.dice.u32(..4) {
                0 => self.disk.restart(),
                _ => self.torn += self.disk.crash(Keep::Dice(&mut self.dice)),
            }
            if self.dice.u32(..4) == 0 {
                self.disk.burn_after(self.dice.u64(1..5));
            }
            let applied = (self.applied, self.model.term(self.applied));
            let disk = Arc::new(self.disk.clone());
            match Wal::open(disk, self.config.clone(), applied, self.model.generation) {
                Ok((wal, log, recovered)) => {
                    self.settle(&log, recovered.hard_state);
                    self.open = Some((wal, log));
                    return self.check();
                }
                Err(fault) => assert!(self.disk.is_burnt(), "{fault}"),
            }
        }
    }

    /// What was being written arrived, or it did not.
    fn settle(&mut self, log: &Log, hard: HardState) {
        let fits = |model: &Model| {
            let commit = model.hard.commit.max(self.applied);
            log.last_index() == model.last()
                && hard == HardState { commit, ..model.hard }
                && log.term(log.last_index()) == Some(model.term(model.last()))
        };
        if let Some(maybe) = self.maybe.take()
            && !fits(&self.model)
        {
            self.model = maybe;
        }
        assert!(fits(&self.model), "{hard:?} {:?}, and not {:?}", log.last_index(), self.model);
        self.model.hard.commit = hard.commit;
    }

    /// Every entry that may still be asked for is the one that was appended.
    fn check(&mut self) {
        let (_, log) = self.open.as_ref().expect("the log is open");
        assert_eq!(log.last_index(), self.model.last());
        assert!(log.first_index() <= self.applied + 1);
        let mut low = log.first_index().max(self.model.base.0 + 1);
        while low <= self.model.last() {
            assert_eq!(log.term(low), Some(self.model.term(low)));
            let entries = log.read(low, self.model.last() + 1, self.dice.usize(..2000)).unwrap();
            for entry in &entries {
                assert_eq!(entry, self.model.at(entry.index));
            }
            assert!(!entries.is_empty());
            low += entries.len() as u64;
        }
    }
}

#[test]
fn the_log_keeps_what_it_promised() {
    let seeds = std::env::var("SIM_SEED").ok().and_then(|seed| seed.parse().ok());
    let range = seeds.map_or(0..300, |seed: u64| seed..seed + 1);
    let mut torn = 0;
    for seed in range.clone() {
        let world = std::panic::catch_unwind(|| run(seed));
        torn += world.unwrap_or_else(|_| {
            panic!("SIM_SEED={seed} cargo test --release --test sim wal::the_log_keeps")
        });
    }
    println!("{} worlds, {torn} torn files", range.end - range.start);
    assert!(torn > 100 || seeds.is_some(), "too few torn tails to mean anything: {torn}");
}

/// Half of a large segment was taken for a spare of the usual length, and no large batch was ever written again.
#[test]
fn half_of_a_large_segment_is_in_nobodys_way() {
    const SEGMENT_BYTES: u64 = 4_096;
    let disk = SimDisk::new();
    let mut config = WalConfig::new(ClusterId(1), MemberId(2));
    config.segment_bytes = SEGMENT_BYTES;
    let hard = HardState { term: 1, vote: 0, commit: 1 };
    let large = || {
        let data = Bytes::from(vec![7; SEGMENT_BYTES as usize]);
        let entry = Entry { index: 2, term: 1, kind: EntryKind::Normal, data };
        WalBatch { entries: vec![entry], ..WalBatch::default() }
    };
    let (mut wal, log) = Wal::create(Arc::new(disk.clone()), config.clone(), (1, 1), hard).unwrap();
    log.extend(&large().entries);
    disk.burn_after(1);
    assert!(wal.append(large()).is_err(), "the power goes while the segment is made");
    drop((wal, log));
    disk.crash(Keep::Everything);
    let left = disk.durable("large.spare").map(|bytes| bytes.len() as u64);
    assert_eq!(left, Some(SEGMENT_BYTES), "as long as a usual one");
    let (mut wal, log, _) = Wal::open(Arc::new(disk.clone()), config, (1, 1), 1).unwrap();
    assert_eq!(disk.durable("large.spare"), None);
    log.extend(&large().entries);
    wal.append(large()).unwrap();
    assert_eq!(log.durable_index(), 2);
}
