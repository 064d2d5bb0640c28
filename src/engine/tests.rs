//! Three members in one thread: the turns are called by hand, the network is a queue.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::shared::DriverMessage;
use super::*;
use crate::base::{Clock, ClusterId, MemberId, Moment, limits};
use crate::consensus::Class;
use crate::proto::etcdserverpb::{Member, PutRequest, RangeRequest};
use crate::state::{Command, Machine, Reply};
use crate::storage::{DirDisk, HardState, SnapshotCopy, Store, StoreConfig, Wal, WalConfig};

#[derive(Default)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> Moment {
        Moment::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn wall_ms(&self) -> i64 {
        0
    }
}

enum Letter {
    Messages(MemberId, MemberId, Vec<Bytes>),
    Ask(MemberId, MemberId, AskKind, Bytes, Answered),
    Snapshot(MemberId, MemberId, Bytes, SnapshotCopy),
}

const LONG: std::time::Duration = std::time::Duration::from_secs(60);

/// What became of a command, once it is known.
type Slot = Arc<Mutex<Option<Result<Applied, Error>>>>;

type Post = Arc<Mutex<VecDeque<Letter>>>;

struct Office(MemberId, Post);

impl Outbox for Office {
    fn send(&self, to: MemberId, _: Class, messages: Vec<Bytes>) {
        self.1.lock().unwrap().push_back(Letter::Messages(self.0, to, messages));
    }

    fn ask(&self, to: MemberId, kind: AskKind, body: Bytes, _: Moment, answered: Answered) {
        self.1.lock().unwrap().push_back(Letter::Ask(self.0, to, kind, body, answered));
    }

    fn send_snapshot(&self, to: MemberId, header: Bytes, copy: SnapshotCopy) {
        self.1.lock().unwrap().push_back(Letter::Snapshot(self.0, to, header, copy));
    }
}

struct World {
    clock: Arc<Hands>,
    post: Post,
    nodes: Vec<Parts>,
    away: Option<MemberId>,
    /// Asks to who is away are lost without a word, as when a machine dies; they lie here.
    held: Option<Mutex<Vec<Letter>>>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new(count: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clock, post) = (Arc::new(Hands::default()), Post::default());
        let members: Vec<Member> = (1..=count)
            .map(|id| Member { id, name: format!("n{id}"), ..Member::default() })
            .collect();
        let nodes = (1..=count)
            .map(|id| open(&dir.path().join(id.to_string()), id, &members, &clock, &post))
            .collect();
        Self { clock, post, nodes, away: None, held: None, _dir: dir }
    }

    /// Lets time pass until `done` holds.
    fn until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..5_000 {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("it did not happen within 5,000 steps");
    }

    fn step(&mut self) {
        self.clock.0.fetch_add(5, Ordering::Relaxed);
        let now = self.clock.now();
        for node in &mut self.nodes {
            node.driver.turn(now).unwrap();
            node.log.turn(now).unwrap();
            node.applier.turn(now).unwrap();
            node.checkpoint.turn(now).unwrap();
            node.snapshots.turn(now).unwrap();
            node.hub.turn(now).unwrap();
        }
        let letters = std::mem::take(&mut *self.post.lock().unwrap());
        for letter in letters {
            self.deliver(letter);
        }
    }

    fn deliver(&self, letter: Letter) {
        let is_away = |id: MemberId| self.away == Some(id);
        match letter {
            Letter::Messages(from, to, messages) => {
                if !is_away(from) && !is_away(to) {
                    self.handle(to).peer_messages(from, messages);
                }
            }
            Letter::Ask(from, to, kind, body, answered) => {
                if is_away(from) || is_away(to) {
                    return match &self.held {
                        Some(held) => {
                            let letter = Letter::Ask(from, to, kind, body, answered);
                            held.lock().unwrap().push(letter);
                        }
                        None => answered(Err(Lost)),
                    };
                }
                let reply = Box::new(move |bytes| answered(Ok(bytes)));
                self.handle(to).peer_ask(Some(from), kind, body, reply);
            }
            Letter::Snapshot(from, to, header, mut copy) => {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut copy, &mut bytes).unwrap();
                let mut incoming = self.handle(to).incoming_snapshot(from, header).unwrap();
                incoming.write(&bytes).unwrap();
                incoming.finish().unwrap();
                self.handle(from).snapshot_sent(to, true);
            }
        }
    }

    fn handle(&self, id: MemberId) -> &Handle {
        &self.nodes[id.0 as usize - 1].handle
    }

    fn leader(&self) -> Option<MemberId> {
        let handles = self.nodes.iter().map(|node| &node.handle);
        let led = handles.map(|handle| handle.shared.raft_status().leader);
        led.reduce(|a, b| if a == b { a } else { None }).flatten()
    }

    fn put(&mut self, on: MemberId, key: &str, value: &str) -> Result<Applied, Error> {
        let result = self.submit_put(on, key, value);
        self.until(|_| result.lock().unwrap().is_some());
        result.lock().unwrap().take().unwrap()
    }

    /// Nobody waits for it yet.
    fn submit_put(&self, on: MemberId, key: &str, value: &str) -> Slot {
        let result = Slot::default();
        let slot = Arc::clone(&result);
        let command = Command::Put(PutRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::copy_from_slice(value.as_bytes()),
            ..PutRequest::default()
        });
        let deadline = self.clock.now() + std::time::Duration::from_secs(5);
        let done = Box::new(move |result| *slot.lock().unwrap() = Some(result));
        self.handle(on).submit(command, deadline, done);
        result
    }

    /// A linearizable get.
    fn get(&mut self, on: MemberId, key: &str) -> Option<Bytes> {
        let result = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&result);
        let deadline = self.clock.now() + std::time::Duration::from_secs(5);
        let done = Box::new(move |result| *slot.lock().unwrap() = Some(result));
        self.handle(on).barrier(deadline, done);
        self.until(|_| result.lock().unwrap().is_some());
        result.lock().unwrap().take().unwrap().unwrap();
        let request =
            RangeRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..RangeRequest::default() };
        let response = self.handle(on).query().unwrap().range(&request).unwrap().unwrap();
        response.kvs.first().map(|kv| kv.value.clone())
    }
}

fn open(dir: &Path, id: u64, members: &[Member], clock: &Arc<Hands>, post: &Post) -> Parts {
    let (cluster, member) = (ClusterId(7), MemberId(id));
    let (wal_dir, db_dir) = (dir.join("wal"), dir.join("db"));
    std::fs::create_dir_all(&wal_dir).unwrap();
    let (rows, stamp) = Machine::genesis(cluster, members);
    let store_config = StoreConfig { map_bytes: 64 << 20, readers: 64, ..StoreConfig::default() };
    let store = Store::create(&db_dir, store_config, rows, stamp).unwrap();
    let wal_config = WalConfig { segment_bytes: 64 << 10, ..WalConfig::new(cluster, member) };
    let hard_state = HardState { term: 1, vote: 0, commit: 1 };
    let (wal, log) =
        Wal::create(Arc::new(DirDisk::new(wal_dir)), wal_config, (1, 1), hard_state).unwrap();
    let config =
        Config { log_kept_entries: 10, log_kept_ticks: 20, ..Config::new(cluster, member, id) };
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    let outbox = Arc::new(Office(member, Arc::clone(post)));
    Parts::build(config, Foundation { store, wal, log, hard_state, outbox, clock }).unwrap()
}

#[test]
fn three_members_elect_a_leader_and_serve_on_each() {
    let mut world = World::new(3);
    world.until(|world| world.leader().is_some());
    for id in 1..=3 {
        let applied = world.put(MemberId(id), "greeting", &format!("hello {id}")).unwrap();
        assert_eq!(applied.revision, 1 + id as i64);
        assert!(matches!(applied.reply, Reply::Put(_)));
        for reader in 1..=3 {
            let value = world.get(MemberId(reader), "greeting").unwrap();
            assert_eq!(value, format!("hello {id}"));
        }
    }
}

#[test]
fn a_member_that_was_away_catches_up_by_log_and_by_snapshot() {
    let mut world = World::new(3);
    world.until(|world| world.leader().is_some());
    let leader = world.leader().unwrap();
    let away = MemberId(leader.0 % 3 + 1);
    for count in [3, 60] {
        world.away = Some(away);
        for n in 0..count {
            world.put(leader, &format!("key {n}"), "value").unwrap();
        }
        if count > 3 {
            // A member that is silent for long does not hold the log back: only a snapshot helps it then.
            let durable = |world: &World| world.handle(leader).shared.store.durable().applied;
            let applied = world.handle(leader).applied();
            world.until(|world| durable(world) >= applied);
            world.until(|world| world.handle(leader).shared.log.first_index() > 30);
        }
        world.away = None;
        let applied = world.handle(leader).applied();
        world.until(|world| world.handle(away).applied() >= applied);
        let last = format!("key {}", count - 1);
        assert_eq!(world.get(away, &last).unwrap(), "value");
    }
    let (mine, theirs) =
        (world.handle(leader).query().unwrap(), world.handle(away).query().unwrap());
    assert_eq!(mine.hash_kv(0).unwrap().unwrap().hash, theirs.hash_kv(0).unwrap().unwrap().hash);
    assert_eq!(world.handle(away).shared.store.generation(), 2);
}

#[test]
fn what_a_dead_leader_was_asked_for_is_decided_by_the_next_leaders_first_entry() {
    let mut world = World::new(3);
    world.until(|world| world.leader().is_some());
    let dead = world.leader().unwrap();
    let asker = MemberId(dead.0 % 3 + 1);
    world.put(asker, "k", "before").unwrap();
    (world.away, world.held) = (Some(dead), Some(Mutex::default()));
    let began = world.clock.now();
    let error = world.put(asker, "k", "lost").unwrap_err();
    assert!(matches!(error, Error::LeaderChanged), "{error}");
    assert_eq!(error.retry(), Retry::NotProposed);
    let elections = world.handle(asker).shared.config.election_timeout() * 3;
    assert!(world.clock.now().since(began) < elections, "long before any deadline");

    // It leads again, and only now hears the question: what was called not proposed is not proposed.
    world.away = None;
    world.until(|world| world.leader().is_some());
    let (leader, deadline) = (world.leader().unwrap(), world.clock.now() + LONG);
    let shared = &world.handle(leader).shared;
    let done: Finished = Box::new(|_| {});
    shared.driver.push_internal(DriverMessage::Transfer { to: dead, deadline, done });
    world.until(|world| world.leader() == Some(dead));
    let held = world.held.take().unwrap().into_inner().unwrap();
    assert!(held.iter().any(|letter| matches!(letter, Letter::Ask(_, to, ..) if *to == dead)));
    for letter in held {
        world.deliver(letter);
    }
    world.put(asker, "other", "1").unwrap();
    assert_eq!(world.get(asker, "k").unwrap(), "before");
}

#[test]
fn a_slow_leader_is_asked_a_bounded_number_of_questions_and_answers_everything() {
    let mut world = World::new(3);
    world.until(|world| world.leader().is_some());
    let leader = world.leader().unwrap();
    let asker = MemberId(leader.0 % 3 + 1);
    // One turn for each put, and no post: each would be a question of its own.
    let slots: Vec<Slot> = (0..3 * limits::FORWARDS_MAX)
        .map(|n| {
            let slot = world.submit_put(asker, &format!("k{n}"), "v");
            let now = world.clock.now();
            world.nodes[asker.0 as usize - 1].driver.turn(now).unwrap();
            slot
        })
        .collect();
    let is_question = |letter: &&Letter| matches!(letter, Letter::Ask(..));
    let questions = world.post.lock().unwrap().iter().filter(is_question).count();
    assert_eq!(questions, limits::FORWARDS_MAX as usize);
    world.until(|_| slots.iter().all(|slot| slot.lock().unwrap().is_some()));
    let failed = slots.iter().filter(|slot| matches!(*slot.lock().unwrap(), Some(Err(_))));
    assert_eq!(failed.count(), 0);
}

#[test]
fn a_single_member_serves_at_once() {
    let mut world = World::new(1);
    assert_eq!(world.put(MemberId(1), "a", "1").unwrap().revision, 2);
    assert_eq!(world.get(MemberId(1), "a").unwrap(), "1");
}

#[test]
fn a_watcher_hears_the_past_the_present_and_previous_values() {
    let mut world = World::new(3);
    world.until(|world| world.leader().is_some());
    let (writer, watcher) = (MemberId(1), MemberId(2));
    world.put(writer, "a", "1").unwrap();
    world.put(writer, "b", "1").unwrap();
    world.until(|world| world.handle(watcher).query().unwrap().revision() == 3);
    let stream = world.handle(watcher).watch_stream();
    stream.create(crate::watch::Spec {
        denied: None,
        range: crate::base::KeyRange::Single(Bytes::from("a")),
        start_revision: 2,
        progress_notify: false,
        no_put: false,
        no_delete: false,
        prev_kv: true,
        fragment: false,
        id: None,
    });
    world.put(writer, "a", "2").unwrap();
    let mut told = Vec::new();
    for _ in 0..50 {
        world.step();
        for delivered in stream.take().unwrap_or_default() {
            if let crate::watch::Delivery::Events { batch, .. } = &delivered.delivery {
                let previous = delivered.previous.unwrap();
                let before = previous[0].as_ref().map(|kv| kv.value.clone());
                told.push((batch.revision, batch.events[0].kv.value.clone(), before));
            }
        }
    }
    let (one, two) = (Bytes::from("1"), Bytes::from("2"));
    assert_eq!(told, [(2, one.clone(), None), (4, two, Some(one))]);
}
