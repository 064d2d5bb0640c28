//! Bits that flip in the log or in the database of a member that is down, and what is done about a member that found
//! out.
//!
//! A member whose log is damaged must refuse to start; one whose database is must stop when anybody reads the row, and
//! must not answer from it. The fault names the file, and the member is replaced as it says: removed, and another one
//! added. Bits that nobody reads any more may flip unnoticed. Only a minority is ever hit: what a majority has lost,
//! nobody can bring back.
//!
//! Spared is the very last batch of the log: damaged, it cannot be told from a torn one, and is cut (docs/storage.md).

use std::time::Duration;

use quorate::proto::quorate::log::member_change::Kind;
use quorate::state::Command;
use quorate::storage::{EntryKind, Fault};

use crate::churn::{addition, removal};
use crate::dice::Dice;
use crate::lmdb::flip_row;
use crate::node::Node;
use crate::violation::{Verdict, Violation, ensure};
use crate::workload::Op;
use crate::world::{Event, World};

/// A log is read this far back for changes of members that are under way.
const READ_BYTES: usize = 1 << 20;

impl World {
    /// Crashes a member and flips bits in its log, if the others can do without it.
    pub(crate) fn flip_bits(&mut self, id: u64, down: Duration, dice: &mut Dice) -> Verdict {
        if !self.is_dispensable(id) {
            return Ok(());
        }
        let up = self.nodes.get(&id).and_then(|node| node.up.as_ref());
        let generation = up.map_or(0, |up| up.store.generation());
        self.crash(id, true)?;
        self.after(down, Event::Start { node: id });
        if dice.in_thousand(500) {
            return self.flip_rows(id, generation, dice);
        }
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        node.image = Some(node.disk.image());
        let count = dice.between(1, 3);
        let flips: Vec<String> = (0..count)
            .filter_map(|_| node.disk.flip_bit(dice.raw()))
            .map(|(name, at)| format!("{name} at {at}"))
            .collect();
        node.is_flipped = true;
        self.totals.flipped_bits += flips.len() as u64;
        self.note(id, "damage", format_args!("a bit flips in {}", flips.join(", ")));
        Ok(())
    }

    /// In a few rows of the history. Whoever reads one finds out; some time later the operator makes a copy, which
    /// reads all of them.
    fn flip_rows(&mut self, id: u64, generation: u64, dice: &mut Dice) -> Verdict {
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        for _ in 0..dice.between(1, 6) {
            let flipped = flip_row(&node.db_dir, generation, dice)
                .map_err(|error| Violation::new("world", format!("no bit flips: {error}")))?;
            let Some((_, at)) = flipped else { break };
            node.has_flipped_rows = true;
            self.totals.flipped_bits_of_databases += 1;
            let text = format_args!("a bit flips in its database at {at}");
            self.trace.note(self.now, id, "damage", text);
        }
        let wait = dice.span(self.limits.tick * 100, self.limits.tick * 1_000);
        self.after(wait, Event::Copy { node: id });
        Ok(())
    }

    /// Makes a copy of a member's database and throws it away. It fails if a row is damaged, and then the member stops
    /// by itself; otherwise all rows that are in use are sound.
    pub(crate) fn copy_database(&mut self, id: u64) -> Verdict {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.has_flipped_rows) else {
            return Ok(());
        };
        let handle = node.handle().filter(|_| !node.is_paused).cloned();
        let Some(handle) = handle else {
            if !node.is_damaged && !node.is_retired {
                let wait = self.ticks(50, 100);
                self.after(wait, Event::Copy { node: id });
            }
            return Ok(());
        };
        match handle.snapshot() {
            Ok(_) => {
                node.has_flipped_rows = false;
                self.note(id, "damage", format_args!("none: a copy can be made"));
            }
            Err(fault) => {
                let text = self.without_paths(&fault.to_string());
                self.note(id, "damage", format_args!("no copy can be made: {text}"));
            }
        }
        drop(handle);
        self.poke(id);
        Ok(())
    }

    /// At the end: true when every database in which bits flipped is known to be damaged, or sound.
    pub(crate) fn finds_damage(&mut self) -> bool {
        let is_open = |node: &&Node| node.has_flipped_rows && !node.is_damaged && !node.is_retired;
        let ids: Vec<u64> = self.nodes.values().filter(is_open).map(|node| node.id).collect();
        for &id in &ids {
            // It says what it finds through the member's next turn.
            let _ = self.copy_database(id);
        }
        ids.is_empty()
    }

    /// The event log of a seed is always the same, wherever its databases lie.
    pub(crate) fn without_paths(&self, text: &str) -> String {
        text.replace(&self.dir.display().to_string(), "")
    }

    /// Whether a fault that somebody met at a member is the damage that was done to its database.
    pub(crate) fn is_of_flipped_rows(&self, id: u64, fault: &Fault) -> bool {
        matches!(fault, Fault::Corrupt { .. })
            && self.nodes.get(&id).is_some_and(|node| node.has_flipped_rows)
    }

    /// Whether a majority of the voters is sound without this member, and stays one: no change of members is under
    /// way.
    fn is_dispensable(&self, id: u64) -> bool {
        let voters = self.checker.roll.voters();
        let sound = voters.iter().filter(|voter| **voter != id && !self.is_suspect(**voter));
        sound.count() > voters.len() / 2
            && self.checker.roll.contains(id)
            && self.clients.member_step.is_none()
            && !self.clients.changes_members()
            && !self.nodes.values().any(|node| node.changes_members())
    }

    /// Whether what the member's disk holds is damaged, or may turn out to be.
    pub(crate) fn is_suspect(&self, id: u64) -> bool {
        self.nodes
            .get(&id)
            .is_some_and(|node| node.is_damaged || node.is_flipped || node.has_flipped_rows)
    }

    /// Members on the roll whose disks are damaged, or may be.
    pub(crate) fn suspects(&self) -> Vec<u64> {
        let members = self.checker.roll.list().into_iter().map(|member| member.id);
        members.filter(|id| self.is_suspect(*id)).collect()
    }

    /// A member refuses to go on with what its disk holds.
    pub(crate) fn refused(&mut self, id: u64, text: &str) -> Verdict {
        let is_named = text.contains("wal") || text.contains("data.mdb");
        let cures = ["remove this member", "start this member", "member resync"];
        let is_helpful = cures.iter().any(|cure| text.contains(cure));
        ensure(is_named && is_helpful, "corruption_named", || {
            format!("{id} refuses what its disk holds, and names neither file nor cure: {text}")
        })?;
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        node.is_damaged = true;
        match node.has_flipped_rows {
            true => self.totals.damaged_databases += 1,
            false => self.totals.damaged_logs += 1,
        }
        let text = self.without_paths(text);
        self.note(id, "damage", format_args!("it goes on no more: {text}"));
        let wait = self.ticks(1, 60);
        self.after(wait, Event::Replace { node: id });
        Ok(())
    }

    /// The operator does what the fault says: removes the member, and adds another one when that is done.
    pub(crate) fn replace(&mut self, id: u64) -> Verdict {
        let change = if self.checker.roll.contains(id) {
            removal(id)
        } else if self.checker.roll.voters().len() < 7 {
            addition(Kind::AddVoter, self.clients.new_member())
        } else {
            return Ok(());
        };
        if self.checker.roll.contains(id) {
            let wait = self.ticks(30, 200);
            self.after(wait, Event::Replace { node: id });
        }
        self.clients.member_step = Some(change);
        Ok(())
    }

    /// At the end: true when no damaged member is left; begins to remove one when nobody is at it.
    pub(crate) fn remove_damaged(&mut self) -> bool {
        let damaged: Vec<u64> = self.suspects();
        let is_damaged = |id: &u64| self.nodes.get(id).is_some_and(|node| node.is_damaged);
        let Some(id) = damaged.into_iter().find(is_damaged) else { return true };
        if let Some(leader) = self.leader().filter(|_| self.clients.is_idle()) {
            let op = Op::Command(Command::MemberChange(removal(id)));
            // Its outcome is checked like any other's; if it is lost, another one follows.
            let _ = self.begin(0, leader, op);
        }
        false
    }

    /// A change of members that was on its way when a bit flipped may have left the sound ones without a majority:
    /// then the disk comes back from an image of before.
    pub(crate) fn restore_images(&mut self) {
        let voters = self.checker.roll.voters();
        for id in voters.iter().copied() {
            let sound = voters.iter().filter(|voter| !self.is_suspect(**voter)).count();
            if sound > voters.len() / 2 {
                return;
            }
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            if let Some(image) = node.image.take().filter(|_| node.up.is_none()) {
                node.disk.restore(image);
                node.is_damaged = false;
                node.is_flipped = false;
                self.totals.restored_disks += 1;
                self.note(id, "damage", format_args!("its disk is restored"));
            }
        }
    }
}

impl Node {
    /// Whether its log holds a change of members that it has not seen committed.
    fn changes_members(&self) -> bool {
        let (log, applied) = match &self.up {
            Some(up) => (Some(&up.log), up.store.stamp().applied),
            None => (self.last_log.as_ref(), self.last_durable.applied),
        };
        let Some(log) = log else { return false };
        let mut low = (applied + 1).max(log.first_index());
        while low <= log.last_index() {
            // What cannot be read any more is taken for one.
            let Ok(entries) = log.read(low, log.last_index() + 1, READ_BYTES) else { return true };
            if entries.iter().any(|entry| entry.kind == EntryKind::ConfChange) {
                return true;
            }
            let Some(last) = entries.last() else { break };
            low = last.index + 1;
        }
        false
    }
}
