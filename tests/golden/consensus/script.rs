//! The commands of the transcripts, and how what happened is written down.
//!
//! ```text
//!   cluster 1 2 3 learners=4      start a cluster; `seed=1` and `small=true` may follow
//!   join 4                        start an empty member that is not in the cluster yet
//!   campaign 1 | tick 1 10 | propose 1 a b | change 1 learner 4 | transfer 1 2 | read 1 | step-down 1 | hold 1 on
//!   checkpoint 1 trim=0           make a checkpoint, and trim the log up to so many entries before it
//!   crash 1 | start 1
//!   deliver from=1 to=2 kind=Append     all waiting messages that match, and not those they cause
//!   drop from=1 to=2 | persist 1 | stabilize 1 2 | status 1 | log 1
//! ```

use std::error::Error;

use bytes::Bytes;
use goldenscript::Command;
use quorate::base::MemberId;
use quorate::consensus::wire::{Kind, RaftMessage};
use quorate::consensus::{
    Change, ChangeKind, Config, Effects, Outgoing, Refused, RoleKind, Status, decode_change,
};
use quorate::storage::{EntryKind, WalBatch};

use super::cluster::Cluster;
use super::member::Note;

type Output = Result<String, Box<dyn Error>>;

#[derive(Default)]
pub(super) struct Script {
    cluster: Option<Cluster>,
}

impl goldenscript::Runner for Script {
    fn run(&mut self, command: &Command) -> Output {
        let mut args = command.consume_args();
        if command.name == "cluster" {
            let learners: Option<u64> = args.lookup_parse("learners")?;
            let small = args.lookup_parse("small")?.unwrap_or(false);
            let seed = args.lookup_parse("seed")?.unwrap_or(0);
            let voters = ids(&mut args)?;
            let learners: Vec<u64> = learners.into_iter().collect();
            let configure: fn(&mut Config) = if small { small_messages } else { |_| {} };
            self.cluster = Some(Cluster::new(&voters, &learners, seed, configure));
            args.reject_rest()?;
            return Ok(self.first_turns());
        }
        let cluster = self.cluster.as_mut().ok_or("first start a cluster")?;
        match command.name.as_str() {
            "deliver" | "drop" => {
                let from = args.lookup_parse("from")?;
                let to = args.lookup_parse("to")?;
                let kind: Option<String> = args.lookup_parse("kind")?;
                args.reject_rest()?;
                return Ok(pass(cluster, command.name == "drop", from, to, kind.as_deref()));
            }
            "stabilize" => {
                let of = ids(&mut args)?;
                return Ok(stabilize(cluster, &of));
            }
            _ => {}
        }
        let id: u64 = args.next_pos().ok_or("which member?")?.parse()?;
        let trim: Option<u64> = args.lookup_parse("trim")?;
        let rest: Vec<String> = args.rest_pos().iter().map(|arg| arg.value.clone()).collect();
        match command.name.as_str() {
            "status" => return Ok(status(&cluster.up(id).ok_or("it is down")?.core.status())),
            "log" => return log(cluster, id),
            "crash" => {
                cluster.crash(id);
                return Ok(String::new());
            }
            "join" => {
                cluster.add(id, &[], &[]);
                let notes = cluster.turn(id);
                return Ok(written(id, &notes));
            }
            "start" => {
                let notes = cluster.start(id);
                return Ok(written(id, &notes));
            }
            "persist" => {
                let notes = cluster.write(id);
                return Ok(written(id, &notes));
            }
            "checkpoint" => {
                cluster.member(id).make_checkpoint();
                if let Some(behind) = trim {
                    cluster.member(id).trim(behind);
                }
                let notes = cluster.turn(id);
                return Ok(written(id, &notes));
            }
            _ => {}
        }
        call(cluster, id, &command.name, &rest)
    }
}

impl Script {
    fn first_turns(&mut self) -> String {
        let Some(cluster) = self.cluster.as_mut() else { return String::new() };
        let ids: Vec<u64> = cluster.members.keys().copied().collect();
        ids.into_iter().map(|id| written(id, &cluster.turn(id))).collect()
    }
}

fn small_messages(config: &mut Config) {
    config.message_bytes_max = 512;
}

fn ids(args: &mut goldenscript::ArgumentConsumer<'_>) -> Result<Vec<u64>, Box<dyn Error>> {
    args.rest_pos().iter().map(|arg| arg.parse()).collect()
}

/// One call of a member's Core.
fn call(cluster: &mut Cluster, id: u64, name: &str, args: &[String]) -> Output {
    let number = |at: usize| -> Result<u64, Box<dyn Error>> {
        Ok(args.get(at).ok_or("one argument more")?.parse()?)
    };
    let told = match name {
        "campaign" => cluster.call(id, |core| {
            core.campaign();
            String::new()
        }),
        "tick" => {
            let ticks = number(0).unwrap_or(1);
            return Ok((0..ticks)
                .filter_map(|_| cluster.call(id, |core| core.tick()))
                .map(|((), notes)| written(id, &notes))
                .collect());
        }
        "propose" => cluster.call(id, |core| {
            let each = |data: &String| answer(core.propose(Bytes::from(data.clone())));
            args.iter().map(each).collect()
        }),
        "change" => {
            let kind = match args.first().map(String::as_str) {
                Some("voter") => ChangeKind::AddVoter,
                Some("learner") => ChangeKind::AddLearner,
                _ => ChangeKind::Remove,
            };
            let member = MemberId(number(1)?);
            let change = Change { kind, member, context: Bytes::new() };
            cluster.call(id, |core| answer(core.propose_change(&change)))
        }
        "transfer" => {
            let to = MemberId(number(0)?);
            cluster.call(id, |core| refusal(core.transfer(to).err()))
        }
        "read" => {
            let refused = cluster.member(id).up.as_mut().and_then(|up| {
                // Asked only to learn of a refusal: it leaves no trace then.
                let status = up.core.status();
                (status.leader.is_none() || !status.ready && status.role == RoleKind::Leader)
                    .then(|| up.core.read())
            });
            if let Some(answered) = refused {
                return Ok(refusal(answered.err()));
            }
            return Ok(written(id, &cluster.read(id).unwrap_or_default()));
        }
        "step-down" => cluster.call(id, |core| {
            core.step_down();
            String::new()
        }),
        "hold" => {
            let held = args.first().is_some_and(|arg| arg == "on");
            cluster.call(id, |core| {
                core.hold(held);
                String::new()
            })
        }
        other => return Err(format!("no command {other}").into()),
    };
    let (answer, notes) = told.ok_or("it is down")?;
    Ok(answer + &written(id, &notes))
}

/// Delivers or drops the messages that are waiting and match; those they cause wait.
fn pass(
    cluster: &mut Cluster,
    drops: bool,
    from: Option<u64>,
    to: Option<u64>,
    kind: Option<&str>,
) -> String {
    let mut out = String::new();
    let mut waiting = cluster.network.len();
    let mut position = 0;
    while position < waiting {
        let message = &cluster.network[position].message;
        let matches = from.is_none_or(|from| from == message.message.from)
            && to.is_none_or(|to| to == message.to.0)
            && kind.is_none_or(|kind| kind == kind_name(&message.message));
        if !matches {
            position += 1;
            continue;
        }
        waiting -= 1;
        let to = message.to.0;
        if drops {
            out += &format!("lost    {}\n", line(&message.message));
            cluster.drop_message(position);
        } else {
            out += &format!("arrives {}\n", line(&message.message));
            let notes = cluster.deliver(position);
            out += &written(to, &notes);
        }
    }
    out
}

/// Delivers and writes until nothing is left to do; with members named, only what concerns them alone.
fn stabilize(cluster: &mut Cluster, of: &[u64]) -> String {
    let concerned = |id: u64| of.is_empty() || of.contains(&id);
    let mut out = String::new();
    for _ in 0..500 {
        let writer =
            cluster.members.iter().find(|(id, member)| concerned(**id) && member.has_writes());
        if let Some(id) = writer.map(|(id, _)| *id) {
            out += &written(id, &cluster.write(id));
            continue;
        }
        let position = cluster.network.iter().position(|envelope| {
            concerned(envelope.message.message.from) && concerned(envelope.message.to.0)
        });
        let Some(position) = position else { break };
        let message = &cluster.network[position].message;
        let to = message.to.0;
        out += &format!("arrives {}\n", line(&message.message));
        let notes = cluster.deliver(position);
        out += &written(to, &notes);
    }
    out
}

fn answer(result: Result<(u64, u64), Refused>) -> String {
    match result {
        Ok((term, index)) => format!("accepted at {index}, term {term}\n"),
        Err(refused) => refusal(Some(refused)),
    }
}

fn refusal(refused: Option<Refused>) -> String {
    match refused {
        None => String::new(),
        Some(Refused::NoLeader { leader: Some(leader) }) => {
            format!("refused: not the leader, {leader} is\n")
        }
        Some(refused) => format!("refused: {refused}\n"),
    }
}

fn written(id: u64, notes: &[Note]) -> String {
    notes.iter().map(|note| note_lines(id, note)).collect()
}

fn note_lines(id: u64, note: &Note) -> String {
    match note {
        Note::Effects(effects) => effects_lines(id, effects),
        Note::Applied(index, _, EntryKind::Normal, data) => {
            format!("{id} applies {index} {}\n", text(data))
        }
        Note::Applied(index, _, EntryKind::ConfChange, _) => format!("{id} applies {index}\n"),
        Note::Changed(change) => format!("{id} changes {}\n", change_text(change)),
        Note::Durable(number) => format!("{id} has #{number} on disk\n"),
        Note::Released => String::new(),
        Note::Installed(mark) => format!("{id} installs snapshot {}\n", mark.index),
        Note::ReadServed(read, index) => format!("{id} may serve read {} at {index}\n", read.0),
        Note::ReadLost(read) => format!("{id} lost read {}\n", read.0),
        Note::Sent(Outgoing { message, .. }, _) => format!("sends   {}\n", line(message)),
    }
}

fn effects_lines(id: u64, effects: &Effects) -> String {
    let mut out = String::new();
    if let Some(role) = effects.role {
        let leader = role.leader.map_or_else(|| "nobody".to_owned(), |leader| leader.to_string());
        let ready = if role.ready { ", has committed in it" } else { "" };
        let kind = role_text(role.kind);
        out += &format!("{id} is {kind} of term {}, led by {leader}{ready}\n", role.term);
    }
    if let Some(persist) = &effects.persist {
        let snapshot = persist.snapshot.as_ref();
        let snapshot = snapshot
            .map_or(String::new(), |mark| format!(" snapshot {}/{}", mark.index, mark.term));
        out +=
            &format!("{id} writes #{}{snapshot}{}\n", effects.number, batch_text(&persist.batch));
    }
    if effects.checkpoint_wanted {
        out += &format!("{id} wants a checkpoint\n");
    }
    for fetch in &effects.fetch {
        out += &format!("{id} fetches [{}, {})\n", fetch.low, fetch.high);
    }
    out
}

fn batch_text(batch: &WalBatch) -> String {
    let mut out = String::new();
    if let Some(from) = batch.truncate_from {
        out += &format!(" truncates from {from}");
    }
    for entry in &batch.entries {
        out += &match entry.kind {
            EntryKind::Normal => {
                format!(" {}/{}:{}", entry.index, entry.term, text(&entry.data))
            }
            EntryKind::ConfChange => {
                let change = decode_change(&entry.data).map(|change| change_text(&change));
                format!(" {}/{}:{}", entry.index, entry.term, change.unwrap_or_default())
            }
        };
    }
    if let Some(state) = batch.hard_state {
        out += &format!(" (term {} vote {} commit {})", state.term, state.vote, state.commit);
    }
    out
}

fn line(message: &RaftMessage) -> String {
    let mut out =
        format!("{}->{} {} term {}", message.from, message.to, kind_name(message), message.term);
    match message.known_kind().unwrap() {
        Kind::Append => {
            out += &format!(" after {}/{}", message.index, message.log_term);
            for entry in &message.entries {
                let data = if entry.kind == 0 {
                    text(&entry.data)
                } else {
                    decode_change(&entry.data).map(|it| change_text(&it)).unwrap_or_default()
                };
                out += &format!(" {}/{}:{data}", entry.index, entry.term);
            }
            out += &format!(" commit {}", message.commit);
        }
        Kind::AppendResponse if message.reject => {
            let (hint, term) = (message.reject_hint, message.log_term);
            out += &format!(" refuses {}, has {hint}/{term}", message.index);
        }
        Kind::AppendResponse => out += &format!(" has {}", message.index),
        Kind::Vote | Kind::PreVote => {
            out += &format!(" last {}/{}", message.index, message.log_term);
        }
        Kind::VoteResponse | Kind::PreVoteResponse => {
            out += if message.reject { " no" } else { " yes" };
        }
        Kind::Heartbeat => out += &format!(" commit {}", message.commit),
        Kind::ReadIndexResponse => out += &format!(" at {}", message.index),
        Kind::Snapshot => {
            if let Some(mark) = message.snapshot_mark() {
                out += &format!(" {}/{}", mark.index, mark.term);
            }
        }
        _ => {}
    }
    if let Some(counter) = message.context.get(16..24) {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(counter);
        let read = u64::from_be_bytes(bytes);
        if message.context.len() == 24 {
            out += &format!(" read {read}");
        }
    } else if !message.context.is_empty() {
        out += " transfer";
    }
    out
}

fn kind_name(message: &RaftMessage) -> String {
    format!("{:?}", message.known_kind().unwrap())
}

fn change_text(change: &Change) -> String {
    let kind = match change.kind {
        ChangeKind::AddVoter => "voter",
        ChangeKind::AddLearner => "learner",
        ChangeKind::Remove => "remove",
    };
    format!("{kind}({})", change.member)
}

fn text(data: &[u8]) -> String {
    if data.is_empty() { "-".to_owned() } else { String::from_utf8_lossy(data).into_owned() }
}

fn role_text(kind: RoleKind) -> &'static str {
    match kind {
        RoleKind::Follower => "follower",
        RoleKind::PreCandidate => "pre-candidate",
        RoleKind::Candidate => "candidate",
        RoleKind::Leader => "leader",
    }
}

fn status(status: &Status) -> String {
    let mut out = format!(
        "{} of term {}: log to {}, durable {}, commit {}, applied {}{}\n",
        role_text(status.role),
        status.term,
        status.last_index,
        status.persisted,
        status.commit,
        status.applied,
        if status.heard_quorum { ", hears a quorum" } else { "" },
    );
    for progress in &status.progress {
        out += &format!(
            "  {}{}: matched {} next {} {:?}{}\n",
            progress.member,
            if progress.learner { " (learner)" } else { "" },
            progress.matched,
            progress.next,
            progress.replication,
            if progress.active { "" } else { " silent" },
        );
    }
    out
}

fn log(cluster: &Cluster, id: u64) -> Output {
    let log = &cluster.up(id).ok_or("it is down")?.log;
    let mut out = format!("after {}:", log.first_index() - 1);
    let mut low = log.first_index();
    while low <= log.last_index() {
        let entries = log.read(low, log.last_index() + 1, usize::MAX)?;
        low += entries.len() as u64;
        out += &batch_text(&WalBatch { entries, ..WalBatch::default() });
    }
    Ok(out + "\n")
}
