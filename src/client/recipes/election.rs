//! An election: candidates queue up, the oldest leads, anybody may look on.

use std::collections::VecDeque;
use std::future::IntoFuture;

use bytes::Bytes;

use super::place::{Entered, Place, by_age, in_turn, prefix_of};
use super::session::{Session, patiently};
use crate::client::mvccpb::{Event, KeyValue, event::EventType};
use crate::client::{Client, Compare, Error, Put, SortOrder, Txn, Watcher, etcdserverpb as pb};

/// An election with a name: etcd's `concurrency.Election`.
///
/// ```no_run
/// # async fn example(client: quorate::client::Client) -> Result<(), quorate::client::Error> {
/// use quorate::client::{Election, Session};
///
/// let session = Session::start(&client, 10).await?;
/// let leadership = Election::new(&client, "scheduler").campaign(&session, "host-7").await?;
/// // We lead, until this resolves or we resign.
/// let error = leadership.lost().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Election {
    client: Client,
    prefix: Bytes,
}

/// Who leads, as the store says.
#[derive(Clone, Debug, PartialEq)]
pub struct Leader {
    /// The leader's key with the value it proclaims; its create revision grows from leader to leader.
    pub kv: KeyValue,
    /// The header of the answer that said so.
    pub header: pb::ResponseHeader,
}

impl Election {
    /// The keys of `name` are `name/<lease>`.
    pub fn new(client: &Client, name: impl Into<Bytes>) -> Self {
        Self { client: client.clone(), prefix: prefix_of(name) }
    }

    /// Waits until we lead. Dropped while it waits, it withdraws.
    ///
    /// Errors, and what may stay of a call that is dropped while it enters, are those of
    /// [`Mutex::lock`](crate::client::Mutex::lock).
    pub async fn campaign(
        &self,
        session: &Session,
        value: impl Into<Bytes>,
    ) -> Result<Leadership, Error> {
        let value = value.into();
        let turn = session.turn(&Place::key(session, &self.prefix));
        let turn = session.unless_lost(async { Ok(turn.lock_owned().await) }).await?;
        let Entered { place, value_before, is_first } =
            Place::enter(session, &self.prefix, value.clone(), turn).await?;
        let mut leadership = Leadership { place };
        if value_before.is_some_and(|before| before != value) {
            leadership.proclaim(value).await?;
        }
        if !is_first {
            leadership.place.wait().await?;
        }
        Ok(leadership)
    }

    /// Who leads now, asked of a majority; none if nobody does.
    pub async fn leader(&self) -> Result<Option<Leader>, Error> {
        let request: pb::RangeRequest = by_age(&self.prefix, SortOrder::Ascend).into();
        Ok(leader_in(self.client.send(request).await?))
    }

    /// Follows the election: each leader and each value it proclaims.
    pub fn observe(&self) -> Observer {
        let election = self.clone();
        Observer { election, state: State::Unknown, events: VecDeque::new(), told: 0 }
    }
}

fn leader_in(response: pb::RangeResponse) -> Option<Leader> {
    let kv = response.kvs.into_iter().next()?;
    Some(Leader { kv, header: response.header.unwrap_or_default() })
}

/// We lead until [`Leadership::resign`], until it is dropped, or until the session is lost.
#[derive(Debug)]
#[must_use = "dropped, it resigns"]
pub struct Leadership {
    place: Place,
}

in_turn!(Leadership);

impl Leadership {
    /// Tells observers another value without another election. [`Error::NotHeld`] if we do not lead any more.
    pub async fn proclaim(&mut self, value: impl Into<Bytes>) -> Result<(), Error> {
        let Place { session, key, .. } = &self.place;
        let put = Put::new(key.clone(), value).lease(session.lease());
        let request: pb::TxnRequest = Txn::new().when(self.is_held()).then(put).into();
        let response = session.unless_lost(session.client().send(request)).await?;
        if !response.succeeded {
            return Err(self.place.not_held());
        }
        self.place.revision = response.header.map_or(0, |header| header.revision);
        Ok(())
    }

    /// Lets the next one lead. [`Error::NotHeld`] if we did not lead any more.
    pub async fn resign(self) -> Result<(), Error> {
        self.place.leave().await
    }
}

/// Leaders as they come: a new one, or a new value of the same one. Goes on through lost connections.
#[derive(Debug)]
pub struct Observer {
    election: Election,
    state: State,
    events: VecDeque<(Event, pb::ResponseHeader)>,
    /// When what was told last was put: it is not told again.
    told: i64,
}

#[derive(Debug)]
enum State {
    /// The store must be asked.
    Unknown,
    /// There was none at this revision: the first key is the leader's.
    Vacant { seen: i64, watcher: Option<Watcher> },
    /// This key's, as told up to this revision.
    Led { key: Bytes, seen: i64, watcher: Option<Watcher> },
}

impl Observer {
    /// The next leader or value. Safe to drop while it waits. Whoever led for a moment only may be left out.
    pub async fn next(&mut self) -> Result<Leader, Error> {
        loop {
            let leader = self.next_seen().await?;
            if std::mem::replace(&mut self.told, leader.kv.mod_revision) != leader.kv.mod_revision {
                return Ok(leader);
            }
        }
    }

    async fn next_seen(&mut self) -> Result<Leader, Error> {
        loop {
            if let State::Unknown = self.state
                && let Some(leader) = self.look().await?
            {
                return Ok(leader);
            }
            while let Some((event, header)) = self.events.pop_front() {
                if let Some(leader) = self.take(event, header) {
                    return Ok(leader);
                }
            }
            if let State::Unknown = self.state {
                continue;
            }
            match self.response().await {
                Ok(response) => {
                    let header = response.header.unwrap_or_default();
                    self.events.extend(response.events.into_iter().map(|it| (it, header)));
                }
                Err(Error::Compacted { .. }) => self.state = State::Unknown,
                Err(error) => return Err(error),
            }
        }
    }

    async fn look(&mut self) -> Result<Option<Leader>, Error> {
        let Election { client, prefix } = &self.election;
        let request: pb::RangeRequest = by_age(prefix, SortOrder::Ascend).into();
        let response = patiently(|| client.send(request.clone())).await?;
        let seen = response.header.as_ref().map_or(0, |header| header.revision);
        // What is left of the last leader's watch is older than this answer.
        self.events.clear();
        let leader = leader_in(response);
        self.state = match &leader {
            Some(leader) => State::Led { key: leader.kv.key.clone(), seen, watcher: None },
            None => State::Vacant { seen, watcher: None },
        };
        Ok(leader)
    }

    /// The next response of the watch that the state needs.
    async fn response(&mut self) -> Result<pb::WatchResponse, Error> {
        let Election { client, prefix } = &self.election;
        let (watch, watcher) = match &mut self.state {
            State::Unknown => return Err(Error::Closed),
            State::Vacant { seen, watcher } => (
                client.watch(prefix.clone()).prefix().no_delete().start_revision(*seen + 1),
                watcher,
            ),
            State::Led { key, seen, watcher } => {
                (client.watch(key.clone()).start_revision(*seen + 1), watcher)
            }
        };
        let open = match watcher {
            Some(open) => open,
            None => watcher.insert(patiently(|| watch.clone().into_future()).await?),
        };
        open.next().await.unwrap_or(Err(Error::Closed))
    }

    fn take(&mut self, event: Event, header: pb::ResponseHeader) -> Option<Leader> {
        let is_deletion = event.r#type() == EventType::Delete;
        let kv = event.kv?;
        match &self.state {
            State::Led { .. } if is_deletion => {
                self.state = State::Unknown;
                None
            }
            State::Led { .. } => Some(Leader { kv, header }),
            // The first of them is the oldest; what follows it is its own watch's to tell.
            State::Vacant { .. } if !is_deletion => {
                let (key, seen) = (kv.key.clone(), kv.mod_revision);
                self.events.clear();
                self.state = State::Led { key, seen, watcher: None };
                Some(Leader { kv, header: pb::ResponseHeader { revision: seen, ..header } })
            }
            State::Vacant { .. } | State::Unknown => None,
        }
    }
}
