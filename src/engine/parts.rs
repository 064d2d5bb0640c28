//! The engine, built but not running: every turn, and the door.
//!
//! Threads run the turns in earnest (`threads`), the simulation in the order of its seed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use super::applier::{Applier, leases_of};
use super::checkpoint::Checkpoint;
use super::config::Config;
use super::driver::Driver;
use super::handle::Handle;
use super::hub::HubTurn;
use super::inbox::Inbox;
use super::lessor::Lessor;
use super::log_turn::LogTurn;
use super::meters::Meters;
use super::outbox::Outbox;
use super::readers::Readers;
use super::shared::{DRIVER_INBOX_MAX, Shared};
use super::snapshots::Snapshots;
use super::status::RaftStatus;
use super::tree::TreeMeters;
use super::waiters::Waiters;
use crate::base::{Clock, limits};
use crate::consensus::{self, CheckpointMark, Core};
use crate::state::Machine;
use crate::storage::{HardState, Log, Store, Wal};

/// What the engine is built on: opened, recovered and checked by whoever builds it.
pub struct Foundation {
    pub store: Arc<Store>,
    pub wal: Wal,
    pub log: Arc<Log>,
    pub hard_state: HardState,
    pub outbox: Arc<dyn Outbox>,
    pub clock: Arc<dyn Clock>,
}

/// See the module.
pub struct Parts {
    pub driver: Driver,
    pub log: LogTurn,
    pub applier: Applier,
    pub checkpoint: Checkpoint,
    pub snapshots: Snapshots,
    pub hub: HubTurn,
    pub handle: Handle,
    pub(super) shared: Arc<Shared>,
}

impl Parts {
    pub fn build(config: Config, foundation: Foundation) -> Result<Self, consensus::Error> {
        let Foundation { store, wal, log, hard_state, outbox, clock } = foundation;
        let stamp = store.stamp();
        let machine = Machine::load(&store.view()?, stamp)?;
        let (voters, learners) = (machine.members().voters(), machine.members().learners());
        let mut lessor = Lessor::default();
        lessor.load(leases_of(&machine));
        let mark = CheckpointMark {
            index: stamp.applied,
            term: stamp.term,
            voters: voters.clone(),
            learners: learners.clone(),
        };
        let raft = consensus::Config {
            election_ticks: config.election_ticks,
            heartbeat_ticks: config.heartbeat_ticks,
            seed: config.seed,
            boot_nonce: config.boot_nonce,
            ..consensus::Config::new(config.member)
        };
        let core =
            Core::new(raft, Arc::clone(&log), hard_state, stamp.applied, &voters, &learners, mark)?;
        let now = clock.now();
        let shared = Arc::new(Shared {
            driver: Inbox::new(DRIVER_INBOX_MAX),
            log_inbox: Inbox::new(DRIVER_INBOX_MAX),
            applier: Inbox::new(DRIVER_INBOX_MAX),
            checkpoint: Inbox::new(DRIVER_INBOX_MAX),
            hub: Inbox::new(limits::HUB_INBOX_MAX),
            snapshots: Inbox::new(limits::MEMBERS_MAX),
            readers: Readers::default(),
            waiters: Mutex::new(Waiters::new(stamp.applied)),
            lessor: Mutex::new(lessor),
            tokens: Mutex::default(),
            state: machine.shared(),
            status: RwLock::new(RaftStatus::default()),
            reads_waiting: Mutex::new(BTreeMap::new()),
            members_version: tokio::sync::watch::Sender::new(0),
            tree_index: tokio::sync::watch::Sender::new(0),
            tree_meters: TreeMeters::default(),
            counter: AtomicU64::new(1),
            watch_streams: AtomicU64::new(1),
            applied: AtomicU64::new(stamp.applied),
            applied_term: AtomicU64::new(stamp.term),
            committed: AtomicU64::new(stamp.applied),
            write_since: AtomicU64::new(0),
            confirmed_at: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            fault: OnceLock::new(),
            meters: Meters::default(),
            config,
            clock,
            store,
            log,
            outbox,
        });
        Ok(Self {
            driver: Driver::new(Arc::clone(&shared), core, now),
            log: LogTurn::new(Arc::clone(&shared), wal),
            applier: Applier::new(Arc::clone(&shared), machine, stamp.applied, stamp.term),
            checkpoint: Checkpoint::new(Arc::clone(&shared), stamp.compacted),
            snapshots: Snapshots::new(Arc::clone(&shared)),
            hub: HubTurn::new(Arc::clone(&shared), stamp.revision, stamp.compacted),
            handle: Handle { shared: Arc::clone(&shared) },
            shared,
        })
    }
}
