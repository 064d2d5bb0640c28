//! One member of the world: its disk, its clock, and, while it is up, the engine's turns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate::base::{ClusterId, MemberId, Moment};
use quorate::engine::{Config, Foundation, Handle, IncomingSnapshot, Parts, WatchStream};
use quorate::keepers::{Expiry, Recorder, TreeExpiry};
use quorate::proto::etcdserverpb::Member;
use quorate::state::Machine;
use quorate::storage::{
    Fault, HardState, Log, Recovered, Rows, Stamp, Store, StoreConfig, Wal, WalConfig,
};
use quorate::watch;

use crate::clock::{Drift, SimClock};
use crate::dice::Dice;
use crate::disk::{DiskImage, Keep, SimDisk};
use crate::post::Post;
use crate::violation::Violation;

pub(crate) const CLUSTER: ClusterId = ClusterId(0x51);

/// The turns of a member, in the order of [`Turn::ALL`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    Driver,
    Log,
    Applier,
    Checkpoint,
    Snapshots,
    Hub,
}

impl Turn {
    pub(crate) const ALL: [Self; 6] =
        [Self::Driver, Self::Log, Self::Applier, Self::Checkpoint, Self::Snapshots, Self::Hub];
}

/// Small limits, so that checkpoints, trims and snapshots happen in every world.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) tick: Duration,
    pub(crate) segment_bytes: u64,
    pub(crate) cache_bytes: usize,
    pub(crate) seal_bytes: usize,
    pub(crate) seal_age: Duration,
    pub(crate) log_kept_entries: u64,
    pub(crate) log_kept_ticks: u64,
    pub(crate) apply_batch_bytes: usize,
    pub(crate) compaction_rows: usize,
    pub(crate) watch: watch::Config,
}

impl Limits {
    pub(crate) fn draw(tick: Duration, dice: &mut Dice) -> Self {
        Self {
            tick,
            segment_bytes: 8 * 1024,
            cache_bytes: dice.between(1_000, 40_000) as usize,
            seal_bytes: dice.between(4, 24) as usize * 1024,
            seal_age: tick * dice.between(5, 200) as u32,
            log_kept_entries: dice.between(8, 64),
            log_kept_ticks: dice.between(20, 60),
            apply_batch_bytes: dice.between(1, 20_000) as usize,
            compaction_rows: dice.between(1, 200) as usize,
            watch: watch::Config {
                stream_queue_bytes_max: dice.between(500, 8_000) as usize,
                watchers_per_stream_max: 10,
                progress_interval: tick * 20,
                catchup_revisions_max: dice.between(1, 40) as usize,
                catchup_bytes_max: dice.between(500, 20_000) as usize,
                recent_revisions_max: dice.between(0, 30) as usize,
                recent_bytes_max: dice.between(0, 8_000) as usize,
                ..watch::Config::default()
            },
        }
    }

    fn store(&self) -> StoreConfig {
        StoreConfig {
            seal_bytes: self.seal_bytes,
            seal_age: self.seal_age,
            map_bytes: 256 << 20,
            readers: 64,
            ..StoreConfig::default()
        }
    }
}

pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) db_dir: PathBuf,
    pub(crate) disk: SimDisk,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) drift: Drift,
    /// Of the one that is running, or ran last.
    pub(crate) boot: u64,
    pub(crate) up: Option<Up>,
    pub(crate) is_paused: bool,
    pub(crate) stalled_until: Moment,
    /// A turn that does not run, as if its thread were never scheduled.
    pub(crate) frozen: Option<Turn>,
    /// Removed from the cluster and switched off.
    pub(crate) is_retired: bool,
    /// Bits flipped in its log, and it has not been started since.
    pub(crate) is_flipped: bool,
    /// Bits flipped in rows of its database, and nobody has looked at all of them since.
    pub(crate) has_flipped_rows: bool,
    /// It has refused to go on with what its disk holds.
    pub(crate) is_damaged: bool,
    /// Its disk before the bits flipped.
    pub(crate) image: Option<DiskImage>,
    /// What the disk held at the crash: counted as durable while it is down.
    pub(crate) last_log: Option<Arc<Log>>,
    pub(crate) last_durable: Stamp,
}

struct Opened {
    store: Arc<Store>,
    wal: Wal,
    log: Arc<Log>,
    hard_state: HardState,
    /// None: they are new.
    recovered: Option<Recovered>,
}

/// Why a member did not start.
pub(crate) enum Unopened {
    /// What its disk holds was damaged, and it says so.
    Damaged(String),
    Broken(Violation),
}

/// A member that is running.
pub(crate) struct Up {
    pub(crate) parts: Parts,
    pub(crate) handle: Handle,
    pub(crate) store: Arc<Store>,
    pub(crate) log: Arc<Log>,
    pub(crate) post: Post,
    pub(crate) expiry: Expiry,
    pub(crate) recorder: Recorder,
    pub(crate) tree: TreeExpiry,
    pub(crate) scheduled: [bool; 6],
    /// Snapshots on their way in, and what of them has not arrived.
    pub(crate) incoming: BTreeMap<u64, (IncomingSnapshot, Bytes)>,
    /// Its clients' watches.
    pub(crate) streams: BTreeMap<usize, WatchStream>,
    /// Its own command (expiry, record, publication) is on its way.
    pub(crate) is_proposing: bool,
}

impl Node {
    pub(crate) fn new(id: u64, dir: &Path, now: Moment, dice: &mut Dice) -> Self {
        let local = Moment::from_millis(dice.between(0, 100_000));
        let drift = Drift::new(now, local);
        Self {
            id,
            db_dir: dir.join(id.to_string()),
            disk: SimDisk::new(),
            clock: Arc::new(SimClock::new(local)),
            drift,
            boot: 0,
            up: None,
            is_paused: false,
            stalled_until: Moment::ZERO,
            frozen: None,
            is_retired: false,
            is_flipped: false,
            has_flipped_rows: false,
            is_damaged: false,
            image: None,
            last_log: None,
            last_durable: Stamp::EMPTY,
        }
    }

    pub(crate) fn member(&self) -> MemberId {
        MemberId(self.id)
    }

    /// Opens what is there, or makes it: a founder's checkpoint number one, or the empty store of a member that joins.
    pub(crate) fn start(
        &mut self,
        limits: &Limits,
        founders: Option<&[Member]>,
        now: Moment,
    ) -> Result<Option<Recovered>, Unopened> {
        self.boot += 1;
        self.drift.show(now, &self.clock);
        let Opened { store, wal, log, hard_state, recovered } = self.open(limits, founders)?;
        let post = Post::new((self.id << 48) | (self.boot << 32));
        let foundation = Foundation {
            store: Arc::clone(&store),
            wal,
            log: Arc::clone(&log),
            hard_state,
            outbox: Arc::new(post.clone()),
            clock: Arc::clone(&self.clock) as _,
        };
        let mut parts =
            Parts::build(self.config(limits), foundation).map_err(|error| self.broken(&error))?;
        parts.hub.configure(limits.watch);
        self.up = Some(Up {
            handle: parts.handle.clone(),
            parts,
            store,
            log,
            post,
            expiry: Expiry::default(),
            recorder: Recorder::default(),
            tree: TreeExpiry::default(),
            scheduled: [false; 6],
            incoming: BTreeMap::new(),
            streams: BTreeMap::new(),
            is_proposing: false,
        });
        self.last_log = None;
        self.is_paused = false;
        self.is_flipped = false;
        self.image = None;
        Ok(recovered)
    }

    /// Store and log as they are found, or new ones.
    fn open(&self, limits: &Limits, founders: Option<&[Member]>) -> Result<Opened, Unopened> {
        let wal_config = WalConfig {
            segment_bytes: limits.segment_bytes,
            cache_bytes: limits.cache_bytes,
            ..WalConfig::new(CLUSTER, self.member())
        };
        let broken = |fault: Fault| self.broken(&fault);
        let disk = Arc::new(self.disk.clone());
        if !Store::exists(&self.db_dir) {
            let (rows, stamp) = match founders {
                Some(members) => Machine::genesis(CLUSTER, members),
                None => (Rows::new(), Stamp::EMPTY),
            };
            let store = Store::create(&self.db_dir, limits.store(), rows, stamp).map_err(broken)?;
            let hard_state = HardState { term: stamp.term, vote: 0, commit: stamp.applied };
            let begin = (stamp.applied, stamp.term);
            let (wal, log) = Wal::create(disk, wal_config, begin, hard_state).map_err(broken)?;
            return Ok(Opened { store, wal, log, hard_state, recovered: None });
        }
        let store = Store::open(&self.db_dir, limits.store()).map_err(broken)?;
        let stamp = store.stamp();
        let applied = (stamp.applied, stamp.term);
        let (wal, log, recovered) = Wal::open(disk, wal_config, applied, store.generation())
            .map_err(|fault| match self.is_flipped {
                true => Unopened::Damaged(fault.to_string()),
                false => broken(fault),
            })?;
        let hard_state = recovered.hard_state;
        Ok(Opened { store, wal, log, hard_state, recovered: Some(recovered) })
    }

    fn broken(&self, what: &dyn std::fmt::Display) -> Unopened {
        if self.has_flipped_rows {
            return Unopened::Damaged(what.to_string());
        }
        let text = format!("member {} does not open: {what}", self.id);
        Unopened::Broken(Violation::new("recovery", text))
    }

    fn config(&self, limits: &Limits) -> Config {
        Config {
            tick: limits.tick,
            read_retry: limits.tick * 5,
            overlay_admit_bytes_max: 4 * limits.seal_bytes,
            overlay_apply_bytes_max: 16 * limits.seal_bytes,
            log_kept_entries: limits.log_kept_entries,
            log_kept_bytes_max: 512 * 1024,
            log_kept_ticks: limits.log_kept_ticks,
            apply_batch_bytes: limits.apply_batch_bytes,
            compaction_rows: limits.compaction_rows,
            lease_ttl_s_min: 1,
            ..Config::new(CLUSTER, self.member(), (self.id << 32) | self.boot)
        }
    }

    /// The process ends at once. Everything that knew it must have been told before. Returns how many files were torn.
    pub(crate) fn crash(&mut self, keep: Option<Keep<'_>>) -> Result<u64, Violation> {
        let Some(up) = self.up.take() else { return Ok(0) };
        let Up { parts, handle, store, log, post, incoming, streams, .. } = up;
        self.last_durable = store.durable();
        post.forget();
        // Only to break circles between callbacks and what they are kept in: nothing is written.
        handle.stop();
        drop((incoming, streams, parts, handle));
        post.forget();
        let store = {
            let weak = Arc::downgrade(&store);
            drop(store);
            weak
        };
        self.last_log = Some(log);
        self.is_paused = false;
        self.stalled_until = Moment::ZERO;
        if store.upgrade().is_some() {
            let text = format!("something holds on to the store of member {}", self.id);
            return Err(Violation::new("no_leak", text));
        }
        Ok(match keep {
            Some(keep) => self.disk.crash(keep),
            None => {
                self.disk.restart();
                0
            }
        })
    }

    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.up.as_ref().map(|up| &up.handle)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.up.is_some() && !self.is_paused
    }

    pub(crate) fn local(&self, world: Moment) -> Moment {
        self.drift.local(world)
    }
}

/// With its world: otherwise callbacks and what they are kept in would hold each other, and LMDB's map with them.
impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // What still holds the store then is told by a test of it.
            let _ = self.crash(None);
        }
    }
}

impl Up {
    pub(crate) fn turn(&mut self, turn: Turn, now: Moment) -> Result<bool, Fault> {
        match turn {
            Turn::Driver => self.parts.driver.turn(now),
            Turn::Log => self.parts.log.turn(now),
            Turn::Applier => {
                self.parts.applier.turn(now).map(|busy| busy || self.parts.applier.has_work())
            }
            Turn::Checkpoint => {
                self.parts.checkpoint.turn(now).map(|busy| busy || self.parts.checkpoint.has_work())
            }
            Turn::Snapshots => self.parts.snapshots.turn(now),
            Turn::Hub => self.parts.hub.turn(now).map(|busy| busy || self.parts.hub.has_work()),
        }
    }
}
