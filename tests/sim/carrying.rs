//! From the members' outboxes through the network to other members.

use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;
use quorate::base::{MemberId, Moment};
use quorate::engine::AskKind;
use quorate::storage::{SnapshotCopy, SnapshotHeader};

use crate::post::Posted;
use crate::sabotage::Harm;
use crate::violation::Verdict;
use crate::world::{Body, Event, Transfer, World};

/// Events held for one paused member at most: its sockets' buffers.
const HELD_MAX: usize = 500;

impl World {
    /// Takes what a member wants to send and decides its fate.
    pub(crate) fn collect(&mut self, id: u64) {
        let Some(node) = self.nodes.get(&id) else { return };
        let boot = node.boot;
        let Some(up) = node.up.as_ref() else { return };
        for posted in up.post.collect() {
            match posted {
                Posted::Messages { to, messages, .. } => self.send(id, to, messages),
                Posted::Ask { id: ask, to, kind, body, deadline } => {
                    self.send_ask(id, ask, to, kind, body, deadline);
                }
                Posted::Reply { id: ask, body } => self.send_reply(id, ask, body),
                Posted::Snapshot { to, header, copy } => {
                    self.send_snapshot(id, boot, to, header, copy);
                }
            }
        }
    }

    fn send_snapshot(&mut self, id: u64, boot: u64, to: u64, header: Bytes, copy: SnapshotCopy) {
        let Some(at) = self.net.alone(id, to, self.age(), &mut self.dice) else {
            drop(copy);
            let wait = self.ticks(1, 20);
            self.after(wait, Event::SnapshotSent { from: id, boot, to, ok: false });
            return;
        };
        let mut body = Body::Copy(copy);
        if self.dice.in_thousand(self.mix.snapshots_twice) {
            let bytes = body.read();
            // At the same time as the first one, or long after: then there may be a newer one by now.
            let late =
                if self.dice.in_thousand(500) { self.ticks(0, 5) } else { self.ticks(20, 300) };
            self.launch(id, boot, to, &header, Body::Bytes(bytes.clone()), at + late, true);
            body = Body::Bytes(bytes);
        }
        self.launch(id, boot, to, &header, body, at, false);
    }

    #[expect(clippy::too_many_arguments, reason = "a transfer, field by field")]
    fn launch(
        &mut self,
        from: u64,
        from_boot: u64,
        to: u64,
        header: &Bytes,
        body: Body,
        at: Duration,
        is_again: bool,
    ) {
        let id = self.next_transfer;
        self.next_transfer += 1;
        let sent = Transfer { from, from_boot, to, header: header.clone(), body, is_again };
        self.transfers.insert(id, sent);
        self.at(Moment::ZERO + at, Event::SnapshotBegins { id });
    }

    fn age(&self) -> Duration {
        Duration::from_nanos(self.now.0)
    }

    fn send(&mut self, from: u64, to: u64, messages: Vec<Bytes>) {
        let arrivals = self.net.arrivals(from, to, self.age(), &mut self.dice);
        if arrivals.is_empty() && self.dice.in_thousand(200) {
            let wait = self.ticks(0, 5);
            self.after(wait, Event::Unreachable { node: from, peer: to });
        }
        for at in arrivals {
            let messages = messages.clone();
            self.at(Moment::ZERO + at, Event::Messages { from, to, messages });
        }
    }

    fn send_ask(
        &mut self,
        from: u64,
        id: u64,
        to: u64,
        kind: AskKind,
        body: Bytes,
        deadline: Moment,
    ) {
        // Whatever happens, at its deadline the asker is told that it was lost.
        if let Some(node) = self.nodes.get(&from) {
            let at = node.drift.world(deadline);
            self.at(at, Event::Answer { id, to: from, body: None });
        }
        match self.net.alone(from, to, self.age(), &mut self.dice) {
            Some(at) => {
                if Harm::DoubledAsks.is_on() {
                    let body = body.clone();
                    self.at(Moment::ZERO + at, Event::Ask { id, from, to, kind, body });
                }
                self.at(Moment::ZERO + at, Event::Ask { id, from, to, kind, body });
            }
            None if self.dice.in_thousand(500) => {
                let wait = self.ticks(0, 10);
                self.after(wait, Event::Answer { id, to: from, body: None });
            }
            None => {}
        }
    }

    fn send_reply(&mut self, from: u64, id: u64, body: Option<Bytes>) {
        let to = id >> 48;
        if let Some(at) = self.net.alone(from, to, self.age(), &mut self.dice) {
            self.at(Moment::ZERO + at, Event::Answer { id, to, body });
        }
    }

    /// Whether `to` takes anything from `from` now; what comes to a paused member waits.
    fn is_open(&self, from: u64, to: u64) -> bool {
        let Some(node) = self.nodes.get(&to) else { return false };
        let Some(up) = node.up.as_ref() else { return false };
        // The transport refuses whoever was removed.
        !up.parts.applier.machine().members().is_removed(MemberId(from))
    }

    fn hold_if_paused(&mut self, to: u64, event: Event) -> Option<Event> {
        if self.nodes.get(&to).is_some_and(|node| node.is_paused) {
            if self.held.len() < HELD_MAX {
                self.held.push(event);
            }
            return None;
        }
        Some(event)
    }

    pub(crate) fn deliver(&mut self, from: u64, to: u64, messages: Vec<Bytes>) -> Verdict {
        if !self.is_open(from, to) {
            return Ok(());
        }
        let event = Event::Messages { from, to, messages };
        let Some(Event::Messages { messages, .. }) = self.hold_if_paused(to, event) else {
            return Ok(());
        };
        let bytes: usize = messages.iter().map(Bytes::len).sum();
        let sum = messages.iter().fold(0, |sum, message| crc32c_of(sum, message));
        let count = messages.len();
        let text = format_args!("{count} messages of n{from}, {bytes} bytes {sum:08x}");
        self.note(to, "receives", text);
        if let Some(handle) = self.nodes[&to].handle() {
            handle.peer_messages(MemberId(from), messages);
        }
        self.poke(to);
        Ok(())
    }

    pub(crate) fn unreachable(&mut self, id: u64, peer: u64) -> Verdict {
        if let Some(handle) = self.nodes.get(&id).and_then(|node| node.handle()) {
            handle.peer_unreachable(MemberId(peer));
            self.poke(id);
        }
        Ok(())
    }

    pub(crate) fn deliver_ask(
        &mut self,
        id: u64,
        from: u64,
        to: u64,
        kind: AskKind,
        body: Bytes,
    ) -> Verdict {
        if !self.is_open(from, to) {
            let wait = self.ticks(0, 5);
            self.after(wait, Event::Answer { id, to: from, body: None });
            return Ok(());
        }
        let event = Event::Ask { id, from, to, kind, body };
        let Some(Event::Ask { body, .. }) = self.hold_if_paused(to, event) else { return Ok(()) };
        let sum = crc32c_of(0, &body);
        self.note(to, "asked", format_args!("by n{from} {kind:?} {sum:08x}"));
        let Some(node) = self.nodes.get(&to) else { return Ok(()) };
        node.drift.show(self.now, &node.clock);
        if let Some(up) = &node.up {
            let reply = up.post.reply_to(id);
            up.handle.peer_ask(Some(MemberId(from)), kind, body, reply);
        }
        self.poke(to);
        self.collect(to);
        self.complete()
    }

    pub(crate) fn deliver_answer(&mut self, id: u64, to: u64, body: Option<Bytes>) -> Verdict {
        let event = Event::Answer { id, to, body };
        let Some(Event::Answer { body, .. }) = self.hold_if_paused(to, event) else {
            return Ok(());
        };
        let Some(node) = self.nodes.get(&to) else { return Ok(()) };
        node.drift.show(self.now, &node.clock);
        let Some(up) = &node.up else { return Ok(()) };
        let lost = body.is_none();
        if up.post.answer(id, body) {
            self.note(to, "answered", format_args!("{id:x} lost {lost}"));
            self.poke(to);
            self.collect(to);
            return self.complete();
        }
        Ok(())
    }

    pub(crate) fn snapshot_begins(&mut self, id: u64) -> Verdict {
        let Some(transfer) = self.transfers.get_mut(&id) else { return Ok(()) };
        let (from, to) = (transfer.from, transfer.to);
        let header = transfer.header.clone();
        let mut bytes = std::mem::replace(&mut transfer.body, Body::Read).read();
        if Harm::DamagedCopies.is_on() && id.is_multiple_of(2) {
            bytes = Harm::damaged(&bytes);
        }
        let is_open = self.is_open(from, to) && !self.nodes[&to].is_paused;
        let half = bytes.len() / 2;
        let begun = is_open.then(|| self.nodes.get_mut(&to).and_then(|node| node.up.as_mut()));
        let is_begun = match begun.flatten() {
            None => false,
            Some(up) => match up.handle.incoming_snapshot(MemberId(from), header) {
                Err(_) => false,
                Ok(mut incoming) => {
                    let written = incoming.write(&bytes[..half]).is_ok();
                    up.incoming.insert(id, (incoming, bytes.slice(half..)));
                    written
                }
            },
        };
        self.note(to, "snapshot", format_args!("{id} of n{from} begins: {is_begun}, {half} bytes"));
        if is_begun {
            let wait = self.ticks(0, 20);
            self.after(wait, Event::SnapshotEnds { id });
        } else if let Some(transfer) = self.transfers.remove(&id) {
            self.tell_sender(&transfer, false);
        }
        Ok(())
    }

    pub(crate) fn snapshot_ends(&mut self, id: u64) -> Verdict {
        let Some(transfer) = self.transfers.remove(&id) else {
            // The sender is gone: its stream breaks.
            for up in self.nodes.values_mut().filter_map(|node| node.up.as_mut()) {
                up.incoming.remove(&id);
            }
            return Ok(());
        };
        let (from, to) = (transfer.from, transfer.to);
        let up = self.nodes.get_mut(&to).and_then(|node| node.up.as_mut());
        let applied = up.as_ref().map_or(0, |up| up.store.stamp().applied);
        let others = up.as_ref().is_some_and(|up| up.incoming.len() > 1);
        let incoming = up.and_then(|up| up.incoming.remove(&id));
        let broken = self.net.is_cut(from, to);
        let ok = match incoming.filter(|_| !broken) {
            None => false,
            Some((mut incoming, rest)) => {
                incoming.write(&rest).is_ok() && incoming.finish().is_ok()
            }
        };
        if ok {
            let index = SnapshotHeader::decode(&transfer.header).map_or(0, |it| it.stamp.applied);
            self.totals.snapshots_again += u64::from(transfer.is_again);
            self.totals.snapshots_side_by_side += u64::from(others);
            self.totals.snapshots_stale += u64::from(index < applied);
        }
        self.note(to, "snapshot", format_args!("{id} of n{from} ends: {ok}"));
        self.poke(to);
        let told = ok && self.net.alone(to, from, self.age(), &mut self.dice).is_some();
        self.tell_sender(&transfer, told);
        Ok(())
    }

    /// Nobody waits for what the network sent once more.
    fn tell_sender(&mut self, transfer: &Transfer, ok: bool) {
        let &Transfer { from, from_boot: boot, to, is_again, .. } = transfer;
        let wait = self.ticks(0, 5);
        if !is_again {
            self.after(wait, Event::SnapshotSent { from, boot, to, ok });
        }
    }

    pub(crate) fn snapshot_sent(&mut self, from: u64, boot: u64, to: u64, ok: bool) -> Verdict {
        let node = self.nodes.get(&from).filter(|node| node.boot == boot);
        if let Some(handle) = node.and_then(|node| node.handle()) {
            handle.snapshot_sent(MemberId(to), ok);
            self.poke(from);
        }
        Ok(())
    }
}

impl Body {
    fn read(self) -> Bytes {
        match self {
            Self::Copy(mut copy) => {
                let mut bytes = Vec::new();
                copy.read_to_end(&mut bytes).unwrap();
                Bytes::from(bytes)
            }
            Self::Bytes(bytes) => bytes,
            Self::Read => Bytes::new(),
        }
    }
}

/// A digest for the event log.
fn crc32c_of(sum: u32, bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(sum ^ 0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
