//! Scripts of the state machine: entries in, answers out; a row or an event is printed only where a tag asks for it.
//!
//! Every request passes the shape check first, as at every door. After every entry the machine is loaded anew from the
//! rows and must be what it was; every range is also read in the smallest slices and must be the same.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use goldenscript::{Argument, Command as Line};
use quorate::base::{ClusterId, MemberId, RequestId, limits};
use quorate::proto::etcdserverpb::alarm_request::AlarmAction;
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::{
    AlarmRequest, AlarmType, CompactionRequest, LeaseGrantRequest, Member, MemberAddRequest,
    MemberUpdateRequest, RangeRequest, RequestOp, TxnRequest,
};
use quorate::proto::quorate::log::member_change::Kind;
use quorate::proto::quorate::log::{
    LeaseCheckpoint, LeaseRevoke, MemberChange, MemberPublish, V2Sync, lease_checkpoint::Remaining,
};
use quorate::state::check;
use quorate::state::{
    Asker, Budget, Command, Envelope, LeaseNote, Machine, Outcome, Query, RangeRun, Reply, cost,
    encode,
};
use quorate::storage::{Batch, Nothing, Read, Row, Table};

use crate::state_print::{
    malformed_line, print_answer, print_kv, print_member, print_range, print_reply, print_txn, text,
};
use crate::state_tree;
use crate::state_users;
use crate::state_words::{
    compare, delete_request, flags, key, number, positional, put_request, range_request,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[test]
fn state_scripts() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/state");
    let mut scripts: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for script in scripts {
        println!("{}", script.display());
        goldenscript::run(&mut World::new(), script).unwrap();
    }
}

/// A store in memory and its machine.
struct World {
    rows: Batch<'static, Nothing>,
    machine: Machine,
    term: u64,
    counter: u64,
    /// Time of the proposals.
    now_ms: i64,
    /// Who proposes.
    asker: Asker,
    /// Transactions being written down, outermost first, with the branch that each inner one goes to.
    open: Vec<(TxnRequest, bool)>,
}

impl World {
    fn new() -> Self {
        let members = [member(1, "http://10.0.0.1:2380", false)];
        let (rows, stamp) = Machine::genesis(ClusterId(0xc), &members);
        let mut world = Batch::new(&Nothing);
        merge(&mut world, rows);
        let machine = Machine::load(&world, stamp).unwrap();
        let (asker, open) = (Asker::default(), Vec::new());
        Self { rows: world, machine, term: 1, counter: 0, now_ms: 0, asker, open }
    }

    fn query(&self) -> Query<&Batch<'static, Nothing>> {
        Query::new(&self.rows, self.machine.stamp(), self.machine.shared())
    }

    fn apply(&mut self, line: &Line, command: Command, leader_term: u64) -> Result<String> {
        self.counter += 1;
        let request = RequestId { member: MemberId(1), nonce: 7, counter: self.counter };
        let proposed_at_ms = self.now_ms;
        let Asker { user, auth_revision } = self.asker.clone();
        let envelope = Envelope {
            leader_term,
            proposed_at_ms,
            user,
            auth_revision,
            ..Envelope::new(request, command)
        };
        let index = self.machine.stamp().applied + 1;
        let before = self.machine.stamp();
        let outcome = self.machine.apply(&self.rows, index, self.term, &encode(&envelope))?;
        assert_eq!(outcome.request, request);
        if outcome.result.is_err() {
            assert!(
                outcome.rows.is_empty() && outcome.events.is_none() && outcome.leases.is_empty()
            );
            assert!(outcome.auth.is_none());
            assert_eq!(
                (outcome.stamp.revision, outcome.stamp.compacted),
                (before.revision, before.compacted)
            );
        }
        assert_eq!(outcome.events.is_some(), outcome.stamp.revision > before.revision);
        let printed = self.print_outcome(line, &outcome)?;
        merge(&mut self.rows, outcome.rows);
        self.machine.publish();
        self.assert_restart_changes_nothing();
        Ok(printed)
    }

    fn assert_restart_changes_nothing(&self) {
        let again = Machine::load(&self.rows, self.machine.stamp()).unwrap();
        assert_eq!(again.members(), self.machine.members());
        assert_eq!(again.cluster(), self.machine.cluster());
        let (again, shared) = (again.shared(), self.machine.shared());
        assert_eq!(again.leases(), shared.leases());
        assert_eq!(again.alarms(), shared.alarms());
        assert_eq!(again.key_count(), shared.key_count());
        assert_eq!(again.v2_index(), shared.v2_index());
        assert_eq!(again.auth(), shared.auth());
        assert_eq!(again.v2_next_expiry_ms(), shared.v2_next_expiry_ms());
    }

    fn print_outcome(&self, line: &Line, outcome: &Outcome) -> Result<String> {
        let mut out = match &outcome.result {
            Ok(reply) => print_reply(reply)?,
            Err(rejection) => format!("rejected: {rejection}\n"),
        };
        if line.tags.contains("events") {
            for event in outcome.events.iter().flat_map(|batch| &batch.events) {
                let kv = print_kv(&quorate::state::to_wire(event.kv.clone()));
                let prev = event.prev.map(|prev| format!(" replacing {prev}")).unwrap_or_default();
                writeln!(out, "event {:?} {kv}{prev}", event.kind)?;
            }
        }
        if line.tags.contains("rows") {
            for ((table, key), value) in &outcome.rows {
                let value = value.as_ref().map_or_else(|| "gone".to_owned(), |value| text(value));
                writeln!(out, "row {} {} = {value}", table.name(), text(key))?;
            }
        }
        for note in &outcome.leases {
            match note {
                LeaseNote::Granted { id, ttl, .. } => {
                    writeln!(out, "lessor: granted {id} for {ttl}s")?
                }
                LeaseNote::Revoked { id, .. } => writeln!(out, "lessor: revoked {id}")?,
                LeaseNote::Checkpointed { id, remaining, .. } => {
                    writeln!(out, "lessor: {id} has {remaining}s left")?;
                }
            }
        }
        if let Some(change) = &outcome.members_changed {
            let id = change.member.as_ref().map_or(0, |member| member.id);
            writeln!(out, "changed: {:?} {id}", change.kind())?;
        }
        if let Some(note) = &outcome.auth {
            writeln!(out, "tokens: {note:?}")?;
        }
        if let Some(revision) = outcome.compact_to {
            writeln!(out, "compaction: to {revision}")?;
        }
        Ok(out)
    }

    fn range(&self, request: &RangeRequest) -> Result<String> {
        if let Err(malformed) = check::range(request) {
            return Ok(malformed_line(&malformed));
        }
        let whole = self.query().range(request)?;
        let mut run = RangeRun::new(request.clone());
        let budget = Budget { bytes_max: 1, visits_max: 1 };
        let sliced = loop {
            match self.query().range_slice(&mut run, budget)? {
                Ok(None) => {}
                Ok(Some(response)) => break Ok(response),
                Err(rejection) => break Err(rejection),
            }
        };
        assert_eq!(sliced, whole, "slices make a difference");
        print_answer(whole, |response| print_range(&response))
    }

    fn txn(&mut self, line: &Line, request: TxnRequest) -> Result<String> {
        if let Err(malformed) = check::txn(&request, limits::TXN_OPS_MAX) {
            return Ok(malformed_line(&malformed));
        }
        if !check::is_read_only(&request) {
            return self.apply(line, Command::Txn(request), 0);
        }
        let barrier = if check::needs_barrier(&request) { "after a barrier" } else { "locally" };
        let printed = print_answer(self.query().txn(&request)?, |response| print_txn(&response))?;
        Ok(format!("read {barrier}\n{printed}"))
    }

    fn operation(&mut self, line: &Line) -> Result<()> {
        let mut words = line.consume_args();
        let success = line.name == "then";
        let verb = positional(&mut words)?;
        if verb == "txn" {
            self.open.push((TxnRequest::default(), success));
            return Ok(());
        }
        let request = match verb.as_str() {
            "put" => Some(Request::RequestPut(put_request(&mut words)?)),
            "range" => Some(Request::RequestRange(range_request(&mut words)?)),
            "delete" => Some(Request::RequestDeleteRange(delete_request(&mut words)?)),
            "nothing" => None,
            other => return Err(format!("no operation {other}").into()),
        };
        self.add(RequestOp { request }, success)
    }

    fn add(&mut self, op: RequestOp, success: bool) -> Result<()> {
        let (txn, _) = self.open.last_mut().ok_or("no txn is open")?;
        if success {
            txn.success.push(op)
        } else {
            txn.failure.push(op)
        }
        Ok(())
    }

    fn end(&mut self, line: &Line) -> Result<String> {
        let (txn, success) = self.open.pop().ok_or("no txn is open")?;
        if self.open.is_empty() {
            return self.txn(line, txn);
        }
        self.add(RequestOp { request: Some(Request::RequestTxn(txn)) }, success)?;
        Ok(String::new())
    }

    fn lease(&mut self, line: &Line) -> Result<String> {
        let mut words = line.consume_args();
        let term = words.lookup_parse("term")?.unwrap_or(0);
        let as_of = words.lookup_parse("as_of")?.unwrap_or(0);
        let command = match line.name.as_str() {
            "grant" => {
                let request =
                    LeaseGrantRequest { id: number(&mut words)?, ttl: number(&mut words)? };
                if let Err(malformed) = check::lease_grant(&request) {
                    return Ok(malformed_line(&malformed));
                }
                Command::LeaseGrant(request)
            }
            "revoke" => {
                let ids = words.rest_pos().iter().map(|id| id.parse()).collect::<Result<_>>()?;
                Command::LeaseRevoke(LeaseRevoke { ids, as_of })
            }
            _ => {
                let record = |arg: &&Argument| -> Result<Remaining> {
                    let id = arg.name().parse()?;
                    Ok(Remaining { id, remaining_ttl_s: arg.parse()? })
                };
                let leases = words.rest_key().iter().map(record).collect::<Result<_>>()?;
                Command::LeaseCheckpoint(LeaseCheckpoint { leases, as_of })
            }
        };
        words.reject_rest()?;
        self.apply(line, command, term)
    }

    fn leases(&self) -> Result<String> {
        let mut out = String::new();
        let query = self.query();
        for (id, lease) in query.leases() {
            let keys: Vec<String> = query.lease_keys(id)?.iter().map(|key| text(key)).collect();
            let keys = keys.join(" ");
            writeln!(
                out,
                "lease {id} ttl={} remaining={} keys=[{keys}]",
                lease.ttl, lease.remaining
            )?;
        }
        Ok(out)
    }

    fn member(&mut self, line: &Line) -> Result<String> {
        let mut words = line.consume_args();
        let verb = positional(&mut words)?;
        let id = number(&mut words)?;
        let url = words.next_pos().map(|arg| arg.value.clone()).unwrap_or_default();
        let peer_ur_ls = if url.is_empty() { Vec::new() } else { vec![url] };
        let mut changed = Member { id, peer_ur_ls: peer_ur_ls.clone(), ..Member::default() };
        let kind = match verb.as_str() {
            "add" | "learner" => {
                let is_learner = verb == "learner";
                if let Err(malformed) =
                    check::member_add(&MemberAddRequest { peer_ur_ls, is_learner })
                {
                    return Ok(malformed_line(&malformed));
                }
                if is_learner { Kind::AddLearner } else { Kind::AddVoter }
            }
            "promote" => Kind::Promote,
            "remove" => Kind::Remove,
            "update" => {
                if let Err(malformed) =
                    check::member_update(&MemberUpdateRequest { id, peer_ur_ls })
                {
                    return Ok(malformed_line(&malformed));
                }
                Kind::Update
            }
            "publish" => {
                changed.name = positional(&mut words)?;
                changed.client_ur_ls = std::mem::take(&mut changed.peer_ur_ls);
                let publish = MemberPublish { member: Some(changed) };
                return self.apply(line, Command::MemberPublish(publish), 0);
            }
            other => return Err(format!("no change {other}").into()),
        };
        words.reject_rest()?;
        let change = MemberChange { kind: kind as i32, member: Some(changed), learners_max: 0 };
        self.apply(line, Command::MemberChange(change), 0)
    }

    fn members(&self) -> Result<String> {
        let members = self.query().members();
        let mut out = String::new();
        for member in members.list() {
            writeln!(out, "{}", print_member(&member))?;
        }
        writeln!(out, "voters={:?} learners={:?}", members.voters(), members.learners())?;
        Ok(out)
    }

    fn alarm(&mut self, line: &Line) -> Result<String> {
        let mut words = line.consume_args();
        let action = positional(&mut words)?.to_uppercase();
        let alarm = positional(&mut words)?.to_uppercase();
        let request = AlarmRequest {
            action: AlarmAction::from_str_name(&action).ok_or("action?")? as i32,
            alarm: AlarmType::from_str_name(&alarm).ok_or("alarm?")? as i32,
            member_id: words.lookup_parse("member")?.unwrap_or(0),
        };
        words.reject_rest()?;
        self.apply(line, Command::Alarm(request), 0)
    }

    fn hash(&self, line: &Line) -> Result<String> {
        let mut words = line.consume_args();
        let revision = words.lookup_parse("rev")?.unwrap_or(0);
        print_answer(self.query().hash_kv(revision)?, |answer| {
            let compacted = answer.compact_revision;
            Ok(format!(
                "hash={:08x} compact={compacted} to={}\n",
                answer.hash, answer.hash_revision
            ))
        })
    }

    fn history(&self, line: &Line) -> Result<String> {
        let mut words = line.consume_args();
        let from = number(&mut words)?;
        let with_previous = !flags(&mut words, &["prev"])?.is_empty();
        let query = self.query();
        print_answer(query.history(from, i64::MAX, usize::MAX, usize::MAX)?, |history| {
            let mut out = String::new();
            for batch in history.batches {
                let previous = query.previous(&batch)?;
                for (event, previous) in batch.events.into_iter().zip(previous) {
                    let kv = print_kv(&quorate::state::to_wire(event.kv));
                    writeln!(out, "{} {:?} {kv}", batch.revision, event.kind)?;
                    if let Some(previous) = previous.filter(|_| with_previous) {
                        writeln!(
                            out,
                            "  before: {}",
                            print_kv(&quorate::state::to_wire(previous))
                        )?;
                    }
                }
            }
            writeln!(out, "through {}", history.through)?;
            Ok(out)
        })
    }

    fn tree(&mut self, line: &Line) -> Result<String> {
        let mut words = line.consume_args();
        self.now_ms = words.lookup_parse("now")?.unwrap_or(self.now_ms);
        let request = state_tree::request(&mut words)?;
        self.apply(line, Command::V2(request), 0)
    }

    fn users(&mut self, line: &Line) -> Result<String> {
        match line.name.as_str() {
            "as" => self.ask_as(line).map(|()| String::new()),
            "auth" => {
                let change = state_users::change(&mut line.consume_args())?;
                self.apply(line, Command::Auth(change), 0)
            }
            _ => Ok(state_users::print(&self.machine.shared().auth())),
        }
    }

    fn next_term(&mut self, term: u64) -> Result<String> {
        self.term = term;
        let index = self.machine.stamp().applied + 1;
        let outcome = self.machine.apply(&self.rows, index, term, &[])?;
        assert_eq!(outcome.result, Ok(Reply::Nothing));
        self.machine.publish();
        Ok(String::new())
    }

    /// Who asks from now on; without a revision at the current one.
    fn ask_as(&mut self, line: &Line) -> Result<()> {
        let mut words = line.consume_args();
        let user = words.next_pos().map(|arg| arg.value.clone()).unwrap_or_default();
        let now = if user.is_empty() { 0 } else { self.machine.shared().auth().revision() };
        let auth_revision = words.lookup_parse("revision")?.unwrap_or(now);
        words.reject_rest()?;
        self.asker = Asker { user, auth_revision };
        Ok(())
    }

    fn table(&self, line: &Line) -> Result<String> {
        let name = positional(&mut line.consume_args())?;
        let table =
            Table::ALL.into_iter().find(|table| table.name() == name).ok_or("no such table")?;
        let mut out = String::new();
        let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        let direction = quorate::storage::Direction::Ascending;
        self.rows.scan(table, all.0, all.1, direction, &mut |Row { key, value }| {
            out += &format!("{} = {}\n", text(key), text(value));
            std::ops::ControlFlow::Continue(())
        })?;
        Ok(out)
    }
}

impl goldenscript::Runner for World {
    fn run(&mut self, line: &Line) -> Result<String> {
        let mut words = line.consume_args();
        match line.name.as_str() {
            "put" => {
                let request = put_request(&mut words)?;
                match check::put(&request) {
                    Ok(()) => self.apply(line, Command::Put(request), 0),
                    Err(malformed) => Ok(malformed_line(&malformed)),
                }
            }
            "delete" => {
                let request = delete_request(&mut words)?;
                match check::delete_range(&request) {
                    Ok(()) => self.apply(line, Command::DeleteRange(request), 0),
                    Err(malformed) => Ok(malformed_line(&malformed)),
                }
            }
            "range" => self.range(&range_request(&mut words)?),
            "txn" => {
                self.open.push((TxnRequest::default(), true));
                Ok(String::new())
            }
            "if" => {
                let compare = compare(&mut words)?;
                let (txn, _) = self.open.last_mut().ok_or("no txn is open")?;
                txn.compare.push(compare);
                Ok(String::new())
            }
            "then" | "else" => self.operation(line).map(|()| String::new()),
            "end" => self.end(line),
            "as" | "auth" | "users" => self.users(line),
            "cost" => {
                let (txn, _) = self.open.pop().ok_or("no txn is open")?;
                Ok(format!("{} bytes\n", cost(&Command::Txn(txn))))
            }
            "compact" => {
                let request = CompactionRequest { revision: number(&mut words)?, physical: false };
                self.apply(line, Command::Compact(request), 0)
            }
            "grant" | "revoke" | "checkpoint" => self.lease(line),
            "leases" => self.leases(),
            "member" => self.member(line),
            "members" => self.members(),
            "alarm" => self.alarm(line),
            "hash" => self.hash(line),
            "history" => self.history(line),
            "table" => self.table(line),
            "v2" => self.tree(line),
            "expire" => {
                let sync = V2Sync { time_ms: number(&mut words)? };
                let term = words.lookup_parse("term")?.unwrap_or(self.term);
                self.now_ms = sync.time_ms;
                self.apply(line, Command::V2Sync(sync), term)
            }
            "ls" => {
                let (path, recursive) = (key(&mut words), words.next_pos().is_some());
                Ok(state_tree::print(self.query().v2(&path, recursive, self.now_ms)?))
            }
            "heard" => state_tree::heard(&mut words, &self.machine.shared()),
            "term" => self.next_term(number(&mut words)?),
            other => Err(format!("no command {other}").into()),
        }
    }
}

fn merge(store: &mut Batch<'static, Nothing>, rows: quorate::storage::Rows) {
    for ((table, key), value) in rows {
        match value {
            Some(value) => store.put(table, key, value),
            None => store.delete(table, key),
        }
    }
}

fn member(id: u64, url: &str, is_learner: bool) -> Member {
    Member { id, peer_ur_ls: vec![url.to_owned()], is_learner, ..Member::default() }
}
