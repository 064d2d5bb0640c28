//! After the copy: every change of the source, as it is watched, until somebody says that it is enough.
//!
//! ```text
//!   watch from the mark on ─► steps ─► leases granted ─► packed ─► one transaction each, the mark in it
//!   now and then: leases that came, went or were lost; users; how far behind
//!   compacted, or a lease lost ─► a pass (pass.rs) at a newer revision, and on from there
//! ```

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::base::{Clock, Moment, SystemClock};
use crate::cli::changes::{Change, Step, steps};
use crate::cli::exit::Exit;
use crate::client::{Error, Watcher};
use crate::proto::etcdserverpb::WatchResponse;

use super::destination::Destination;
use super::leases::{Leases, Look};
use super::mark::State;
use super::pack::pack;
use super::pass::{Pass, Tally};
use super::patience::{Failure, patiently};
use super::source::{self, Source};
use super::users::{self, Passwords};

/// Between two looks at where the source is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Between two looks at its leases: a list of all, which may be long. Those of watched keys are granted at once.
const LEASES_EVERY: Duration = Duration::from_secs(2);

/// Between two looks at its users.
const USERS_EVERY: Duration = Duration::from_secs(10);

/// Between two lines that say how far behind it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A source that is written to for so long after it was to be quiet has clients still.
const NOISE_MAX: Duration = Duration::from_secs(10);

/// Watched events that are packed together.
const EVENTS_MAX: usize = 4_096;

/// Passes in a row that came to nothing: the source is compacted faster than it is read.
const PASSES_MAX: u32 = 10;

/// A migration as far as this process knows it.
pub(super) struct Migration {
    pub source: Source,
    pub destination: Destination,
    pub leases: Leases,
    pub users: Option<Passwords>,
    /// Changes of one transaction at the destination.
    pub ops_max: usize,
    /// The source's users, as they were carried last.
    pub users_revision: Option<u64>,
}

/// When to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Until {
    Stopped,
    CaughtUp,
    /// The same; and it fails if the source is written to behind this revision of it and goes on with that.
    Quiet(i64),
}

/// Why a session is over.
enum Over {
    CaughtUp,
    /// What cannot be followed any more is copied again.
    Again(&'static str),
}

impl Migration {
    /// Makes the destination what the source is at one revision, however often that takes.
    pub(super) async fn copy(&mut self, is_empty: bool) -> Result<Tally, Exit> {
        let mut is_empty = is_empty;
        for _ in 0..PASSES_MAX {
            let pass = Pass {
                source: &self.source,
                destination: &mut self.destination,
                leases: &mut self.leases,
                ops_max: self.ops_max,
                is_empty: std::mem::take(&mut is_empty),
            };
            match pass.run().await {
                Ok(tally) => return Ok(tally),
                Err(Failure::Exit(exit)) => return Err(exit),
                Err(Failure::Compacted) => {
                    println!("The source was compacted meanwhile: on with what has changed.");
                }
                Err(Failure::LeaseGone) => {
                    println!(
                        "A lease ended at the destination meanwhile: on with what is missing."
                    );
                }
            }
        }
        Err(Exit::error(format!(
            "{PASSES_MAX} passes in a row were overtaken: the source is compacted faster than it is read (raise its auto-compaction-retention), or its leases are too short for this network"
        )))
    }

    /// The source's users and roles; the new ones whose passwords nobody knows.
    pub(super) async fn carry_users(&mut self) -> Result<(), Failure> {
        let Some(passwords) = &self.users else { return Ok(()) };
        let before = users::revision(&self.source.client).await.map_err(source::failed)?;
        if before.is_some() && before == self.users_revision {
            return Ok(());
        }
        self.destination.hold().await?;
        let (from, to) = (&self.source.client, &self.destination.client);
        let without = users::carry(from, to, passwords).await?;
        self.users_revision = before;
        if !without.is_empty() {
            let names: Vec<String> = without.into_iter().collect();
            println!(
                "No API tells passwords: nobody knows those of the new users {}. Set each with `quorate user passwd NAME`, or write them into a file for --passwords.",
                names.join(", ")
            );
        }
        Ok(())
    }

    /// Up to which revision of the source everything was written.
    pub(super) fn written(&self) -> i64 {
        self.destination.mark.revision
    }

    /// From the mark on, until it is time to end.
    pub(super) async fn follow(&mut self, until: Until) -> Result<(), Exit> {
        let is_copying = self.destination.mark.state == State::Copying;
        let mut again = is_copying.then_some("The copy did not end");
        let mut passes = 0;
        loop {
            if let Some(why) = again {
                passes += 1;
                if passes > PASSES_MAX {
                    return Err(Exit::error(format!("{why}, {PASSES_MAX} times in a row")));
                }
                let tally = self.copy(false).await?;
                println!(
                    "{why}: compared {} keys and wrote {} at revision {} of the source.",
                    tally.keys, tally.written, tally.revision
                );
            }
            let from = self.written();
            match self.session(until).await {
                Ok(Over::CaughtUp) => return Ok(()),
                Ok(Over::Again(why)) => again = Some(why),
                Err(Failure::Compacted) => {
                    again = Some("The source was compacted before it was followed")
                }
                Err(Failure::LeaseGone) => again = Some("A lease has ended at the destination"),
                Err(Failure::Exit(exit)) => return Err(exit),
            }
            if self.written() > from {
                passes = 0;
            }
        }
    }

    /// As long as nothing goes wrong.
    async fn session(&mut self, until: Until) -> Result<Over, Failure> {
        self.leases.resume(&self.source, &self.destination, self.written()).await?;
        let watching = self.source.client.own_watches();
        let start = self.written() + 1;
        let watcher =
            patiently(async || watching.watch("").prefix().start_revision(start).await).await;
        let mut watcher = watcher.map_err(source::failed)?;
        let mut look = Looking::new();
        loop {
            tokio::select! {
                response = watcher.next() => {
                    let steps = steps(gathered(&mut watcher, response)?);
                    self.write(steps).await?;
                }
                _ = look.ticks.tick() => {
                    if let Some(over) = self.look(&mut look, until).await? {
                        return Ok(over);
                    }
                }
            }
        }
    }

    async fn write(&mut self, mut steps: Vec<Step>) -> Result<(), Failure> {
        let changes = steps.iter().flat_map(|step| &step.changes);
        let leased: Vec<i64> = changes.filter_map(Change::lease).collect();
        let ended = self.leases.ensure(&self.source, &self.destination, leased.into_iter()).await?;
        for change in steps.iter_mut().flat_map(|step| &mut step.changes) {
            // It has ended since, and what the end did to the key is still to come.
            if change.lease().is_some_and(|lease| ended.contains(&lease)) {
                *change = Change::Delete(change.key().clone());
            }
        }
        for write in pack(steps, self.ops_max) {
            match write.reaches {
                None => self.destination.write(&write.changes).await?,
                Some(revision) => {
                    let mark = self.destination.mark.at(State::Following, revision);
                    self.destination.advance(&write.changes, mark).await?;
                }
            }
        }
        Ok(())
    }

    async fn look(&mut self, look: &mut Looking, until: Until) -> Result<Option<Over>, Failure> {
        let revision = self.source.revision().await?;
        let behind = (revision - self.written()).max(0);
        let is_over = behind == 0 && until != Until::Stopped;
        if let Until::Quiet(at) = until
            && behind > 0
            && self.written() >= at
            && look.hears_noise()
        {
            return Err(still_written(self.written(), revision).into());
        }
        // The last look, too: what has ended there is not to stay here.
        if look.leases.is_due() || is_over {
            self.destination.hold().await?;
            let written = self.written();
            if let Look::Lost = self.leases.look(&self.source, &self.destination, written).await? {
                return Ok(Some(Over::Again("A lease has ended at the destination")));
            }
        }
        if look.users.is_due() {
            self.carry_users().await?;
        }
        if is_over {
            return Ok(Some(Over::CaughtUp));
        }
        let is_first = behind == 0 && !std::mem::replace(&mut look.was_caught_up, true);
        if look.tell.is_due() || is_first {
            println!(
                "revision {} of {revision}, {behind} behind, {} leases",
                self.written(),
                self.leases.len()
            );
        }
        Ok(None)
    }
}

/// What is looked at now and then.
struct Looking {
    clock: SystemClock,
    ticks: Interval,
    leases: Due,
    users: Due,
    tell: Due,
    /// Told once.
    was_caught_up: bool,
    /// Since when the source has been written to that was to be quiet.
    noisy: Option<Moment>,
}

/// Of `finish`, whom the source runs away from.
pub(super) fn still_written(written: i64, now: i64) -> Exit {
    Exit::error(format!(
        "the source is still written to (revision {written} has become {now}): stop its clients, and finish again"
    ))
}

impl Looking {
    fn new() -> Self {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (leases, users) = (Due::every(LEASES_EVERY), Due::every(USERS_EVERY));
        let (clock, tell) = (SystemClock::new(), Due::every(TELL_EVERY));
        Self { clock, ticks, leases, users, tell, was_caught_up: false, noisy: None }
    }

    /// Whether it is too long.
    fn hears_noise(&mut self) -> bool {
        let now = self.clock.now();
        now.since(*self.noisy.get_or_insert(now)) >= NOISE_MAX
    }
}

/// Something that is done again after a while; the first time at once.
struct Due {
    clock: SystemClock,
    every: Duration,
    next: Moment,
}

impl Due {
    fn every(every: Duration) -> Self {
        let clock = SystemClock::new();
        Self { clock, every, next: clock.now() }
    }

    fn is_due(&mut self) -> bool {
        let now = self.clock.now();
        let is_due = now >= self.next;
        if is_due {
            self.next = now + self.every;
        }
        is_due
    }
}

type Answer = Option<Result<WatchResponse, Error>>;

/// The events of a response, and of those that have come behind it.
fn gathered(
    watcher: &mut Watcher,
    response: Answer,
) -> Result<Vec<crate::proto::mvccpb::Event>, Failure> {
    let events = |response: Answer| match response {
        Some(Ok(response)) => Ok(response.events),
        Some(Err(error)) => Err(source::failed(error)),
        None => Err(Failure::from(Exit::error("the watch of the source has ended"))),
    };
    let mut gathered = events(response)?;
    while gathered.len() < EVENTS_MAX
        && let Some(response) = watcher.next().now_or_never()
    {
        gathered.extend(events(response)?);
    }
    Ok(gathered)
}
