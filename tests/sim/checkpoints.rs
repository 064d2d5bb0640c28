//! Crashes around and inside the commit of a checkpoint.

use quorate::base::Moment;

use crate::dice::Dice;
use crate::faults::When;
use crate::lmdb::Image;
use crate::node::Turn;
use crate::violation::{Verdict, Violation};
use crate::world::{Event, World};

impl World {
    /// The turn of a checkpoint thread whose member is to crash before, inside or after its next commit.
    pub(crate) fn checkpoint_in_danger(&mut self, id: u64, local: Moment) -> Verdict {
        let Some(when) = self.faults.crashes_in_checkpoint(id) else { return Ok(()) };
        let Some(node) = self.nodes.get(&id) else { return Ok(()) };
        let Some(up) = node.up.as_ref() else { return Ok(()) };
        if when == When::Before {
            return if up.store.is_sealed() {
                self.crash_in_checkpoint(id, "before")
            } else {
                self.take_turn(id, Turn::Checkpoint, local).map(drop)
            };
        }
        let (boot, durable, generation) = (node.boot, up.store.durable(), up.store.generation());
        let image = Image::take(&node.db_dir, generation).map_err(unreadable)?;
        if !self.take_turn(id, Turn::Checkpoint, local)? {
            return Ok(());
        }
        let Some(up) = self.nodes[&id].up.as_ref().filter(|_| self.nodes[&id].boot == boot) else {
            return Ok(());
        };
        let is_same = up.store.generation() == generation;
        let commits = if is_same { image.commits_since().map_err(unreadable)? } else { 0 };
        match when {
            When::After if up.store.durable() != durable => self.crash_in_checkpoint(id, "after"),
            // With two of them nobody knows what the first one left.
            When::Inside | When::InsideWithAll if commits == 1 => {
                self.crash_in_checkpoint(id, "inside")?;
                self.tear(id, &image, durable)?;
                if when == When::InsideWithAll {
                    self.totals.power_cuts += 1;
                    let mut dice = Dice::new(self.dice.between(0, u64::MAX));
                    self.crash_all(Some(id), &mut dice)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The commit that was under way did not come to its end.
    fn tear(&mut self, id: u64, image: &Image, durable: quorate::storage::Stamp) -> Verdict {
        let kept = image.tear(&mut self.dice).map_err(unreadable)?;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.last_durable = durable;
        }
        self.totals.torn_checkpoints += 1;
        self.note(id, "crash", format_args!("its commit is torn, {kept} pages of it are there"));
        Ok(())
    }

    pub(crate) fn crash_in_checkpoint(&mut self, id: u64, when: &str) -> Verdict {
        self.note(id, "crash", format_args!("{when} the commit of a checkpoint"));
        self.totals.crashes_inside_a_checkpoint += 1;
        self.faults.crashed_in_checkpoint(id);
        self.crash(id, true)?;
        let wait = self.ticks(1, 40);
        self.after(wait, Event::Start { node: id });
        Ok(())
    }
}

fn unreadable(error: std::io::Error) -> Violation {
    Violation::new("world", format!("cannot copy a database: {error}"))
}
