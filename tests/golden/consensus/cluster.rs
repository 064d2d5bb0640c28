//! A cluster in memory, a network whose messages wait until they are delivered or dropped, and what must always hold.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::base::{Index, MemberId, Term};
use quorate::consensus::wire::Kind;
use quorate::consensus::{CheckpointMark, Config, Core, Outgoing, ReadId};

use super::member::{Database, Member, Note, Up};

/// One message on its way.
pub(super) struct Envelope {
    pub(super) message: Outgoing,
    copy: Option<Box<Database>>,
}

pub(super) struct Cluster {
    pub(super) members: BTreeMap<u64, Member>,
    pub(super) network: Vec<Envelope>,
    configure: fn(&mut Config),
    seed: u64,
    leaders: BTreeMap<Term, MemberId>,
    applied: BTreeMap<Index, (Term, Bytes)>,
    /// (index, term) -> data and the term before: what two logs that share an entry must agree on.
    entries: BTreeMap<(Index, Term), (Bytes, Term)>,
    /// Reads under way: member, boot and id -> what was committed when they were asked.
    reads: BTreeMap<(u64, ReadId), Index>,
    pub(super) counts: BTreeMap<&'static str, u64>,
}

impl Cluster {
    pub(super) fn new(
        voters: &[u64],
        learners: &[u64],
        seed: u64,
        configure: fn(&mut Config),
    ) -> Self {
        let mut cluster = Self {
            members: BTreeMap::new(),
            network: Vec::new(),
            configure,
            seed,
            leaders: BTreeMap::new(),
            applied: BTreeMap::new(),
            entries: BTreeMap::new(),
            reads: BTreeMap::new(),
            counts: BTreeMap::new(),
        };
        for &id in voters.iter().chain(learners) {
            cluster.add(id, voters, learners);
        }
        cluster
    }

    /// Starts another member; without voters it joins empty.
    pub(super) fn add(&mut self, id: u64, voters: &[u64], learners: &[u64]) {
        let mut config = Config::new(MemberId(id));
        config.seed = self.seed;
        (self.configure)(&mut config);
        let ids = |ids: &[u64]| ids.iter().copied().map(MemberId).collect::<Vec<_>>();
        self.members.insert(id, Member::new(config, &ids(voters), &ids(learners)));
    }

    pub(super) fn member(&mut self, id: u64) -> &mut Member {
        self.members.get_mut(&id).expect("a member of the cluster")
    }

    pub(super) fn up(&self, id: u64) -> Option<&Up> {
        self.members.get(&id)?.up.as_ref()
    }

    /// Calls a member's Core, if it is up, and carries out what it decides.
    pub(super) fn call<T>(
        &mut self,
        id: u64,
        call: impl FnOnce(&mut Core) -> T,
    ) -> Option<(T, Vec<Note>)> {
        let member = self.member(id);
        let result = call(&mut member.up.as_mut()?.core);
        let notes = member.turn();
        self.observe(id, &notes);
        Some((result, notes))
    }

    pub(super) fn turn(&mut self, id: u64) -> Vec<Note> {
        let notes = self.member(id).turn();
        self.observe(id, &notes);
        notes
    }

    pub(super) fn write(&mut self, id: u64) -> Vec<Note> {
        let notes = self.member(id).write();
        self.observe(id, &notes);
        notes
    }

    pub(super) fn crash(&mut self, id: u64) {
        self.member(id).crash();
        self.reads.retain(|(member, _), _| *member != id);
    }

    pub(super) fn start(&mut self, id: u64) -> Vec<Note> {
        self.member(id).start();
        self.turn(id)
    }

    /// Delivers the message at `position`; the sender of a snapshot hears of its end.
    pub(super) fn deliver(&mut self, position: usize) -> Vec<Note> {
        let envelope = self.network.remove(position);
        let (from, to) = (envelope.message.message.from, envelope.message.to.0);
        let copy = envelope.copy.map(|copy| *copy);
        let snapshot = copy.is_some();
        let Some(member) = self.members.get_mut(&to) else { return Vec::new() };
        let arrives = member.up.is_some();
        let notes = member.receive(&envelope.message, copy);
        self.observe(to, &notes);
        if snapshot {
            self.call(from, |core| core.snapshot_sent(MemberId(to), arrives));
        }
        notes
    }

    pub(super) fn drop_message(&mut self, position: usize) {
        let envelope = self.network.remove(position);
        let (from, to) = (envelope.message.message.from, envelope.message.to);
        if envelope.copy.is_some() {
            self.call(from, |core| core.snapshot_sent(to, false));
        } else {
            self.call(from, |core| core.unreachable(to));
        }
    }

    pub(super) fn duplicate(&mut self, position: usize) {
        let envelope = &self.network[position];
        if envelope.copy.is_none() {
            let message = envelope.message.clone();
            self.network.push(Envelope { message, copy: None });
        }
    }

    /// Asks for a read; its answer must not be older than what anybody has applied by now.
    pub(super) fn read(&mut self, id: u64) -> Option<Vec<Note>> {
        let newest = self.applied.last_key_value().map_or(0, |(index, _)| *index);
        let core = &mut self.member(id).up.as_mut()?.core;
        let read = core.read().ok()?;
        self.reads.insert((id, read), newest);
        Some(self.turn(id))
    }

    /// Everybody's view of who leads, if they agree on the newest term.
    pub(super) fn leader(&self) -> Option<u64> {
        let ups = self.members.iter().filter_map(|(id, member)| Some((id, member.up.as_ref()?)));
        let leads =
            ups.filter(|(_, up)| up.core.status().role == quorate::consensus::RoleKind::Leader);
        leads.max_by_key(|(_, up)| up.core.status().term).map(|(id, _)| *id)
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Checks what a member did against everything that was seen before, and puts its messages on the network.
    fn observe(&mut self, id: u64, notes: &[Note]) {
        for note in notes {
            match note {
                Note::Effects(effects) => {
                    if let Some(role) = effects.role.filter(|role| role.is_leader()) {
                        let first = *self.leaders.entry(role.term).or_insert(MemberId(id));
                        assert_eq!(first, MemberId(id), "two leaders in term {}", role.term);
                        if !role.ready {
                            self.count("elections");
                        }
                    }
                    if !effects.fetch.is_empty() {
                        self.count("fetches");
                    }
                }
                Note::Applied(index, term, _, data) => {
                    let first = self.applied.entry(*index).or_insert_with(|| (*term, data.clone()));
                    assert_eq!(
                        *first,
                        (*term, data.clone()),
                        "entry {index} was committed otherwise"
                    );
                    self.count("applied");
                }
                Note::Changed(_) => self.count("changes"),
                Note::Installed(mark) => self.check_install(id, mark),
                Note::ReadServed(read, index) => {
                    let asked = self.reads.remove(&(id, *read)).expect("a read that was asked");
                    assert!(*index >= asked, "a read at {index} of a cluster that was at {asked}");
                    self.count("reads");
                }
                Note::ReadLost(read) => {
                    self.reads.remove(&(id, *read));
                }
                Note::Sent(message, copy) => {
                    self.check_promise(id, message);
                    self.network.push(Envelope { message: message.clone(), copy: copy.clone() });
                }
                Note::Durable(_) => self.check_log(id),
                Note::Released => {}
            }
        }
    }

    /// Log matching, of what is durable: entries of one index and term are the same, and so are those before them.
    fn check_log(&mut self, id: u64) {
        let Some(up) = self.up(id) else { return };
        let (log, durable) = (up.log.clone(), up.durable_last);
        let low = log.first_index().max(durable.saturating_sub(8));
        for entry in log.read(low, durable + 1, usize::MAX).unwrap() {
            let before = log.term(entry.index - 1).unwrap_or_default();
            self.check_entry(entry.index, entry.term, entry.data, before);
        }
    }

    fn check_entry(&mut self, index: Index, term: Term, data: Bytes, before: Term) {
        let first = self.entries.entry((index, term)).or_insert_with(|| (data.clone(), before));
        assert_eq!(*first, (data, before), "entry {index} of term {term} differs");
    }

    fn check_install(&mut self, id: u64, mark: &CheckpointMark) {
        let history = self.up(id).map(|up| up.database.history.clone()).unwrap_or_default();
        for (index, term, data) in history {
            let first = self.applied.get(&index);
            assert_eq!(first, Some(&(term, data)), "snapshot {} holds another entry", mark.index);
        }
        self.count("installs");
    }

    /// Nothing leaves before what it promises is durable.
    fn check_promise(&mut self, id: u64, outgoing: &Outgoing) {
        let message = &outgoing.message;
        let mut before = message.log_term;
        for entry in &message.entries {
            self.check_entry(entry.index, entry.term, entry.data.clone(), before);
            before = entry.term;
        }
        let Some(up) = self.up(id) else { return };
        match message.known_kind().unwrap() {
            Kind::AppendResponse if !message.reject => {
                let (acked, durable) = (message.index, up.durable_last);
                assert!(acked <= durable, "{acked} acknowledged, {durable} durable");
            }
            Kind::Vote => assert_eq!((up.durable.term, up.durable.vote), (message.term, id)),
            Kind::VoteResponse if !message.reject && up.durable.term == message.term => {
                assert_eq!(up.durable.vote, message.to, "a vote that is not durable");
            }
            Kind::VoteResponse if !message.reject => assert!(up.durable.term > message.term),
            Kind::Append => assert!(up.durable.term >= message.term, "a term that is not durable"),
            _ => {}
        }
    }
}
