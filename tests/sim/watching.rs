//! Watching clients in the world: what they do next, and at which member.

use quorate::watch::Spec;

use crate::mix::WatchAct;
use crate::violation::{Verdict, Violation};
use crate::watchers::told_revision;
use crate::world::{Event, World};

impl World {
    pub(crate) fn watcher_acts(&mut self, number: usize) -> Verdict {
        if self.clients.stopped {
            return Ok(());
        }
        let at = self.clients.watchers[number].at;
        let alive = at.filter(|(id, boot)| {
            self.nodes.get(id).is_some_and(|node| node.boot == *boot && node.up.is_some())
        });
        match alive {
            None => self.watch_elsewhere(number)?,
            Some((id, _)) if self.nodes[&id].is_paused => {}
            Some((id, _)) => match self.dice.weighted(&self.mix.watch.acts) {
                WatchAct::Create if self.clients.watchers[number].len() < 6 => {
                    let starts = &self.mix.watch.starts;
                    let watcher = &mut self.clients.watchers[number];
                    let spec =
                        watcher.draw(&self.checker.model, starts, &mut self.dice, &mut self.totals);
                    self.create_watcher(id, number, spec);
                }
                WatchAct::Cancel => {
                    if let Some(watcher) = self.clients.watchers[number].cancel(&mut self.dice) {
                        self.with_stream(id, number, |stream| stream.cancel(watcher));
                    }
                }
                WatchAct::Progress => self.with_stream(id, number, |stream| stream.progress()),
                WatchAct::Elsewhere => self.watch_elsewhere(number)?,
                WatchAct::Rest => {}
                WatchAct::Create | WatchAct::Take => self.take_deliveries(number)?,
            },
        }
        let wait = self.ticks(0, self.mix.watch.rest);
        self.after(wait, Event::Watch(number));
        Ok(())
    }

    /// Asks for a watcher. What the member shows now is no news to it: "from now" begins there or later.
    fn create_watcher(&mut self, id: u64, number: usize, spec: Spec) {
        let up = self.nodes.get(&id).and_then(|node| node.up.as_ref());
        let shown = up.map_or(0, |up| up.store.stamp().revision);
        self.clients.watchers[number].asked(&spec, shown);
        self.with_stream(id, number, |stream| stream.create(spec));
    }

    fn with_stream(
        &mut self,
        id: u64,
        number: usize,
        work: impl FnOnce(&quorate::engine::WatchStream),
    ) {
        let up = self.nodes.get(&id).and_then(|node| node.up.as_ref());
        if let Some(stream) = up.and_then(|up| up.streams.get(&number)) {
            work(stream);
            self.poke(id);
        }
    }

    /// Opens the stream at another member (or the same again) and asks for everything from where it was heard.
    pub(crate) fn watch_elsewhere(&mut self, number: usize) -> Verdict {
        if let Some((old, boot)) = self.clients.watchers[number].at.take()
            && let Some(node) = self.nodes.get_mut(&old).filter(|node| node.boot == boot)
            && let Some(up) = node.up.as_mut()
        {
            up.streams.remove(&number);
        }
        let Some(id) = self.reachable() else { return Ok(()) };
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        let boot = node.boot;
        let Some(up) = node.up.as_mut() else { return Ok(()) };
        let stream = up.handle.watch_stream();
        let shown = up.store.stamp().revision;
        let watcher = &mut self.clients.watchers[number];
        for spec in watcher.reconnected(&mut self.totals) {
            watcher.asked(&spec, shown);
            stream.create(spec);
        }
        up.streams.insert(number, stream);
        self.clients.watchers[number].at = Some((id, boot));
        self.note(id, "watch", format_args!("client {number} is here"));
        self.poke(id);
        Ok(())
    }

    /// Everything that waits on a stream; true if there was anything.
    pub(crate) fn take_deliveries(&mut self, number: usize) -> Result<(), Violation> {
        let Some((id, boot)) = self.clients.watchers[number].at else { return Ok(()) };
        let node = self.nodes.get(&id).filter(|node| node.boot == boot);
        let stream = node.and_then(|node| node.up.as_ref()).and_then(|up| up.streams.get(&number));
        let Some(deliveries) = stream.and_then(|stream| stream.take()) else { return Ok(()) };
        let text = format_args!("client {number} takes {}", deliveries.len());
        self.trace.note(self.now, id, "watch", text);
        for delivered in &deliveries {
            self.checker.saw(told_revision(&delivered.delivery));
        }
        let watcher = &mut self.clients.watchers[number];
        let again = watcher.take(&deliveries, &self.checker.model, &mut self.totals)?;
        self.poke(id);
        for spec in again {
            self.create_watcher(id, number, spec);
        }
        Ok(())
    }
}
