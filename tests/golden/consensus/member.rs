//! One member in memory: Core over the real log on files in RAM, with a driver that does what the engine does.
//!
//! The state machine is the list of what was applied; a checkpoint is a copy of it. A crash keeps what the log and the
//! last checkpoint hold.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use quorate::base::{ClusterId, Index, MemberId, Term};
use quorate::consensus::wire::{Invalid, RaftMessage};
use quorate::consensus::{
    Change, ChangeKind, CheckpointMark, Config, Core, Effects, Outgoing, Persist, ReadId, Stepped,
    decode_change,
};
use quorate::storage::{
    Disk, DiskFile, EntryKind, HardState, InstallMark, Log, Wal, WalBatch, WalConfig,
};

/// What a member's database would hold: the applied position, its history, the members.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Database {
    pub(super) mark: CheckpointMark,
    pub(super) history: Vec<(Index, Term, Bytes)>,
}

/// What a member tells the world after a step.
#[derive(Debug)]
pub(super) enum Note {
    Effects(Effects),
    Applied(Index, Term, EntryKind, Bytes),
    Changed(Change),
    Durable(u64),
    Released,
    Installed(CheckpointMark),
    ReadServed(ReadId, Index),
    ReadLost(ReadId),
    Sent(Outgoing, Option<Box<Database>>),
}

pub(super) struct Member {
    pub(super) id: MemberId,
    config: Config,
    disk: Arc<RamDisk>,
    generation: u64,
    /// Survives a crash.
    pub(super) checkpoint: Database,
    /// None while it is down.
    pub(super) up: Option<Up>,
    boots: u64,
}

/// What a crash takes.
pub(super) struct Up {
    pub(super) core: Core,
    pub(super) log: Arc<Log>,
    wal: Wal,
    /// Batches that the log thread has not written, oldest first.
    writes: VecDeque<(u64, Persist)>,
    /// Messages that wait for a write.
    waiting: VecDeque<(u64, Vec<Outgoing>)>,
    pub(super) database: Database,
    staged: Option<Database>,
    pub(super) durable: HardState,
    pub(super) durable_last: Index,
}

impl Member {
    /// A member of a new cluster: checkpoint number one and a log behind it. Without voters: a joiner, who has nothing.
    pub(super) fn new(config: Config, voters: &[MemberId], learners: &[MemberId]) -> Self {
        let index = u64::from(!voters.is_empty());
        let mark = CheckpointMark {
            index,
            term: index,
            voters: voters.to_vec(),
            learners: learners.to_vec(),
        };
        let disk = Arc::new(RamDisk::default());
        let hard_state = HardState { term: index, vote: 0, commit: index };
        Wal::create(disk.clone(), wal_config(config.id), (index, index), hard_state).unwrap();
        let checkpoint = Database { mark, history: Vec::new() };
        let id = config.id;
        let mut member = Self { id, config, disk, generation: 1, checkpoint, up: None, boots: 0 };
        member.start();
        member
    }

    pub(super) fn start(&mut self) {
        self.boots += 1;
        self.config.boot_nonce = self.boots;
        let mark = &self.checkpoint.mark;
        let disk: Arc<dyn Disk> = self.disk.clone();
        let at = (mark.index, mark.term);
        let (wal, log, found) = Wal::open(disk, wal_config(self.id), at, self.generation).unwrap();
        let core = Core::new(
            self.config.clone(),
            Arc::clone(&log),
            found.hard_state,
            mark.index,
            &mark.voters,
            &mark.learners,
            mark.clone(),
        )
        .unwrap();
        self.up = Some(Up {
            core,
            log,
            wal,
            writes: VecDeque::new(),
            waiting: VecDeque::new(),
            database: self.checkpoint.clone(),
            staged: None,
            durable: found.hard_state,
            durable_last: found.last_index,
        });
    }

    pub(super) fn crash(&mut self) {
        self.up = None;
    }

    /// Collects effects until there are none, and carries them out as the engine would; the disk waits for `write`.
    pub(super) fn turn(&mut self) -> Vec<Note> {
        let mut notes = Vec::new();
        while let Some(effects) = self.up.as_mut().and_then(|up| up.core.effects()) {
            self.carry_out(effects, &mut notes);
        }
        notes
    }

    fn carry_out(&mut self, effects: Effects, notes: &mut Vec<Note>) {
        notes.push(Note::Effects(effects.clone()));
        let Some(up) = self.up.as_mut() else { return };
        send(&self.checkpoint, effects.send, notes);
        if let Some(persist) = effects.persist {
            up.writes.push_back((effects.number, persist));
        }
        if !effects.after_persist.is_empty() {
            up.waiting.push_back((effects.number, effects.after_persist));
        }
        notes.extend(effects.lost_reads.into_iter().map(Note::ReadLost));
        up.apply(effects.commit, notes);
        notes.extend(effects.reads.into_iter().map(|(id, index)| Note::ReadServed(id, index)));
        for fetch in effects.fetch {
            let read = up.log.read(fetch.low, fetch.high, fetch.bytes_max).unwrap();
            up.core.entries_fetched(fetch.token, &read);
        }
        if effects.checkpoint_wanted {
            self.make_checkpoint();
        }
    }

    /// The log thread writes one batch; the messages that waited for it leave.
    pub(super) fn write(&mut self) -> Vec<Note> {
        let mut notes = Vec::new();
        let Some(up) = self.up.as_mut() else { return notes };
        let Some((number, persist)) = up.writes.pop_front() else { return notes };
        let mut batch = persist.batch;
        if let Some(mark) = persist.snapshot {
            let hard_state = batch.hard_state.take().unwrap();
            self.generation += 1;
            let install =
                InstallMark { index: mark.index, term: mark.term, generation: self.generation };
            up.wal
                .append(WalBatch {
                    hard_state: Some(hard_state),
                    install: Some(install),
                    ..WalBatch::default()
                })
                .unwrap();
            let staged = up.staged.take().unwrap();
            assert_eq!(staged.mark, mark, "the copy is what the message says");
            self.checkpoint = staged.clone();
            up.database = staged;
            up.wal.restart(mark.index, mark.term, hard_state).unwrap();
            up.durable = hard_state;
            up.durable_last = mark.index;
            up.core.checkpointed(mark.clone());
            notes.push(Note::Installed(mark));
        }
        up.wrote(&batch);
        up.wal.append(batch).unwrap();
        notes.push(Note::Durable(number));
        up.core.persisted(number);
        up.core.applied(up.database.mark.index);
        while up.waiting.front().is_some_and(|(waits_for, _)| *waits_for <= number) {
            if let Some((_, messages)) = up.waiting.pop_front() {
                notes.push(Note::Released);
                send(&self.checkpoint, messages, &mut notes);
            }
        }
        notes.extend(self.turn());
        notes
    }

    /// Everything is written at once, and nothing is applied: the applier is behind.
    pub(super) fn turn_without_applying(&mut self) {
        let Some(up) = self.up.as_mut() else { return };
        while let Some(effects) = up.core.effects() {
            if let Some(persist) = effects.persist {
                up.wrote(&persist.batch);
                up.wal.append(persist.batch).unwrap();
                up.core.persisted(effects.number);
            }
        }
    }

    pub(super) fn has_writes(&self) -> bool {
        self.up.as_ref().is_some_and(|up| !up.writes.is_empty())
    }

    /// A durable checkpoint of what is applied.
    pub(super) fn make_checkpoint(&mut self) {
        let Some(up) = self.up.as_mut() else { return };
        // An install on its way replaces what is applied.
        if up.writes.iter().any(|(_, persist)| persist.snapshot.is_some()) {
            return;
        }
        if up.database.mark.index > up.durable_last {
            return;
        }
        let hard_state = HardState { commit: up.database.mark.index, ..up.durable };
        up.wal.append(WalBatch { hard_state: Some(hard_state), ..WalBatch::default() }).unwrap();
        self.checkpoint = up.database.clone();
        up.core.checkpointed(self.checkpoint.mark.clone());
    }

    /// Forgets the log up to `behind` entries before the checkpoint.
    pub(super) fn trim(&mut self, behind: u64) {
        let to = self.checkpoint.mark.index.saturating_sub(behind);
        if let Some(up) = self.up.as_mut() {
            up.wal.trim(to).unwrap();
        }
    }

    /// A message arrived; a snapshot's copy is staged first.
    pub(super) fn receive(&mut self, message: &Outgoing, copy: Option<Database>) -> Vec<Note> {
        if self.up.is_some() {
            self.try_receive(message, copy).unwrap();
        }
        self.turn()
    }

    /// The same for a message that may be refused.
    pub(super) fn try_receive(
        &mut self,
        message: &Outgoing,
        copy: Option<Database>,
    ) -> Result<(), Invalid> {
        let Some(up) = self.up.as_mut() else { return Ok(()) };
        let from = MemberId(message.message.from);
        let decoded = RaftMessage::decode(message.message.encode())?;
        assert_eq!(decoded, message.message);
        if up.core.step(from, decoded)? == Stepped::Restored {
            up.staged = copy;
        }
        Ok(())
    }
}

fn send(checkpoint: &Database, messages: Vec<Outgoing>, notes: &mut Vec<Note>) {
    for mut outgoing in messages {
        let copy = outgoing.message.snapshot_mark().map(|claim| {
            assert!(checkpoint.mark.index >= claim.index);
            outgoing.message.set_snapshot(&checkpoint.mark);
            Box::new(checkpoint.clone())
        });
        notes.push(Note::Sent(outgoing, copy));
    }
}

impl Up {
    fn apply(&mut self, to: Index, notes: &mut Vec<Note>) {
        // A snapshot on its way has restarted the log: what it replaces is not applied any more.
        if self.log.first_index() > self.database.mark.index + 1 {
            return;
        }
        while self.database.mark.index < to {
            let low = self.database.mark.index + 1;
            for entry in self.log.read(low, to + 1, 256).unwrap() {
                let (index, term) = (entry.index, entry.term);
                self.database.mark.index = index;
                self.database.mark.term = term;
                self.database.history.push((index, term, entry.data.clone()));
                notes.push(Note::Applied(index, term, entry.kind, entry.data.clone()));
                if entry.kind == EntryKind::ConfChange {
                    let change = decode_change(&entry.data).unwrap();
                    self.database.mark.change(&change);
                    self.core.apply_change(&change).unwrap();
                    notes.push(Note::Changed(change));
                }
            }
        }
        self.core.applied(to);
    }

    fn wrote(&mut self, batch: &WalBatch) {
        if let Some(from) = batch.truncate_from {
            self.durable_last = from - 1;
        }
        if let Some(last) = batch.entries.last() {
            self.durable_last = last.index;
        }
        self.durable = batch.hard_state.unwrap_or(self.durable);
    }
}

trait Members {
    fn change(&mut self, change: &Change);
}

impl Members for CheckpointMark {
    fn change(&mut self, change: &Change) {
        self.voters.retain(|member| *member != change.member);
        self.learners.retain(|member| *member != change.member);
        match change.kind {
            ChangeKind::AddVoter => self.voters.push(change.member),
            ChangeKind::AddLearner => self.learners.push(change.member),
            ChangeKind::Remove => {}
        }
        self.voters.sort_unstable();
        self.learners.sort_unstable();
    }
}

fn wal_config(member: MemberId) -> WalConfig {
    WalConfig {
        segment_bytes: 4096,
        // Older entries are fetched from the disk.
        cache_bytes: 1024,
        ..WalConfig::new(ClusterId(1), member)
    }
}

/// Files in RAM; every write that returned is kept, since a crash between writes is what is looked at here.
#[derive(Default)]
pub(super) struct RamDisk {
    files: Mutex<BTreeMap<String, Arc<RamFile>>>,
}

struct RamFile(Mutex<Vec<u8>>);

impl Disk for RamDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().unwrap().keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = Arc::new(RamFile(Mutex::new(vec![0; bytes as usize])));
        self.files.lock().unwrap().insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let files = self.files.lock().unwrap();
        let file = files.get(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Arc::clone(file) as Arc<dyn DiskFile>)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock().unwrap();
        let file = files.remove(from).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().unwrap().remove(name);
        Ok(())
    }
}

impl DiskFile for RamFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.0.lock().unwrap();
        let from = offset as usize;
        let part = bytes.get(from..from + buf.len());
        buf.copy_from_slice(part.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let from = offset as usize;
        self.0.lock().unwrap()[from..from + buf.len()].copy_from_slice(buf);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}
