//! The gathering: registers this member, and waits until all have come; or only looks who they are.

use std::future::Future;

use tokio::time::sleep;

use super::entry::{Registered, founders, id_text, size, written};
use super::error::{Failure, GatherError};
use crate::base::{Backoff, limits};
use crate::transport::Url;

/// This member, as the others are to know it.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    pub name: &'a str,
    /// Where the others reach it.
    pub urls: &'a [Url],
    /// See [`super::Venue::cluster_token`].
    pub token: &'a str,
}

/// Who has come: id and entry, the first ones first.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub entries: Vec<(String, String)>,
    /// When that was so, in the registry's own count.
    pub at: u64,
}

/// The keys of one token.
pub trait Registry {
    /// How many are to come, as it is written.
    fn size(&mut self) -> impl Future<Output = Result<String, Failure>>;

    fn entries(&mut self) -> impl Future<Output = Result<Listing, Failure>>;

    /// Writes an entry, unless one of that id is there; which of both it was tells the list.
    fn register(&mut self, id: &str, entry: &str) -> impl Future<Output = Result<(), Failure>>;

    /// Resolves when entries may have changed since then; after a while in any case.
    fn change(&mut self, since: u64) -> impl Future<Output = Result<(), Failure>>;
}

/// The founders in the order in which they came; this member is one of them. Takes for as long as some are missing.
/// `connect` is told how many attempts there were before.
pub async fn gather<R: Registry>(
    own: Own<'_>,
    mut connect: impl AsyncFnMut(usize) -> Result<R, Failure>,
) -> Result<Vec<Registered>, GatherError> {
    let meeting = Gathering { own, id: id_text(own.urls, own.token) };
    let meet =
        async |registry: &mut R, backoff: &mut Backoff| meeting.meet(registry, backoff).await;
    again(&mut connect, meet).await
}

/// The founders, for somebody who is none of them: he registers nobody, and waits until all have come.
pub async fn founded<R: Registry>(
    token: &str,
    mut connect: impl AsyncFnMut(usize) -> Result<R, Failure>,
) -> Result<Vec<Registered>, GatherError> {
    let look = async |registry: &mut R, backoff: &mut Backoff| {
        let size = size(&registry.size().await?)?;
        let mut listing = registry.entries().await?;
        loop {
            let founders = founders(&listing.entries, size, token)?;
            backoff.reset();
            tell(&founders, size);
            if founders.len() == size {
                return Ok(founders);
            }
            registry.change(listing.at).await?;
            listing = changed(listing, registry).await?;
        }
    };
    again(&mut connect, look).await
}

/// Who is there now. Where nothing has changed, whoever said so is not asked again without a pause: a wait may end at once
/// each time, as one whose history is gone, or behind a proxy that remembers its answer.
async fn changed<R: Registry>(before: Listing, registry: &mut R) -> Result<Listing, Failure> {
    let now = registry.entries().await?;
    if now.entries == before.entries {
        sleep(limits::DISCOVERY_RETRY_FIRST).await;
    }
    Ok(now)
}

/// Tries until it works, or fails with what time does not mend.
async fn again<R: Registry, T>(
    connect: &mut impl AsyncFnMut(usize) -> Result<R, Failure>,
    mut ask: impl AsyncFnMut(&mut R, &mut Backoff) -> Result<T, Failure>,
) -> Result<T, GatherError> {
    let mut backoff = Backoff::new(limits::DISCOVERY_RETRY_FIRST, limits::DISCOVERY_RETRY_MAX);
    for attempt in 0.. {
        let asked = match connect(attempt).await {
            Ok(mut registry) => ask(&mut registry, &mut backoff).await,
            Err(failure) => Err(failure),
        };
        match asked {
            Ok(found) => return Ok(found),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Passing(what)) => {
                let wait = backoff.next_wait();
                tracing::warn!(
                    what,
                    retry_in_ms = wait.as_millis(),
                    "discovery: the service does not answer as it should; trying again"
                );
                sleep(wait).await;
            }
        }
    }
    Err(GatherError::Settings("too many retries".to_owned()))
}

struct Gathering<'a> {
    own: Own<'a>,
    id: String,
}

impl Gathering<'_> {
    async fn meet<R: Registry>(
        &self,
        registry: &mut R,
        backoff: &mut Backoff,
    ) -> Result<Vec<Registered>, Failure> {
        let size = size(&registry.size().await?)?;
        let mut listing = registry.entries().await?;
        let before = founders(&listing.entries, size, self.own.token)?;
        if listing.entries.iter().any(|(id, _)| *id == self.id) {
            tracing::info!(id = self.id, "discovery: this member is registered already");
        } else {
            self.has_room(&before, size)?;
            self.is_new(&before)?;
            registry.register(&self.id, &written(self.own.name, self.own.urls)).await?;
            tracing::info!(id = self.id, "discovery: this member is registered");
            listing = registry.entries().await?;
        }
        let mut was_seen = false;
        loop {
            let founders = founders(&listing.entries, size, self.own.token)?;
            match founders.iter().find(|it| it.id == self.id) {
                Some(it) if it.name == self.own.name => was_seen = true,
                Some(it) => {
                    let (id, other) = (self.id.clone(), it.name.clone());
                    return Err(GatherError::DuplicateId { id, other }.into());
                }
                None => {
                    self.has_room(&founders, size)?;
                    if was_seen {
                        return Err(GatherError::Gone.into());
                    }
                    let what = "this member was registered, and cannot be seen yet".to_owned();
                    return Err(Failure::Passing(what));
                }
            }
            backoff.reset();
            tell(&founders, size);
            if founders.len() == size {
                return Ok(founders);
            }
            registry.change(listing.at).await?;
            listing = changed(listing, registry).await?;
        }
    }

    fn has_room(&self, founders: &[Registered], size: usize) -> Result<(), GatherError> {
        match founders.len() < size {
            true => Ok(()),
            false => Err(GatherError::Full { members: founders.to_vec() }),
        }
    }

    /// Nobody has its name: told before anything is written that would spoil the token for the others.
    fn is_new(&self, before: &[Registered]) -> Result<(), GatherError> {
        match before.iter().find(|it| it.name == self.own.name) {
            None => Ok(()),
            Some(other) => Err(GatherError::DuplicateName {
                first: other.id.clone(),
                second: self.id.clone(),
                name: other.name.clone(),
            }),
        }
    }
}

fn tell(founders: &[Registered], size: usize) {
    let here: Vec<String> = founders.iter().map(|it| written(&it.name, &it.urls)).collect();
    let (here, missing) = (here.join(" "), size - founders.len());
    match missing {
        0 => tracing::info!(here, size, "discovery: all members have come"),
        _ => tracing::info!(here, missing, size, "discovery: waiting for members"),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::base::{Clock, SystemClock};

    /// A registry in memory.
    #[derive(Default)]
    struct State {
        size: Option<&'static str>,
        entries: Vec<(String, String)>,
        /// Who comes while somebody waits.
        coming: Vec<(String, String)>,
        /// What a wait says once.
        breaks: bool,
        /// Waits that end and nothing has changed.
        idle: usize,
        written: usize,
    }

    #[derive(Clone)]
    struct Memory(Rc<RefCell<State>>);

    impl Registry for Memory {
        async fn size(&mut self) -> Result<String, Failure> {
            let size = self.0.borrow().size.map(str::to_owned);
            size.ok_or_else(|| GatherError::SizeNotFound { place: "here".to_owned() }.into())
        }

        async fn entries(&mut self) -> Result<Listing, Failure> {
            Ok(Listing { entries: self.0.borrow().entries.clone(), at: 0 })
        }

        async fn register(&mut self, id: &str, entry: &str) -> Result<(), Failure> {
            let mut state = self.0.borrow_mut();
            state.written += 1;
            state.entries.push((id.to_owned(), entry.to_owned()));
            Ok(())
        }

        async fn change(&mut self, _since: u64) -> Result<(), Failure> {
            let mut state = self.0.borrow_mut();
            if std::mem::take(&mut state.breaks) {
                return Err(Failure::Passing("it is restarted".to_owned()));
            }
            if state.idle > 0 {
                state.idle -= 1;
                return Ok(());
            }
            let next = state.coming.remove(0);
            state.entries.push(next);
            Ok(())
        }
    }

    fn of(name: &str, port: u16) -> (String, String) {
        let urls = [format!("http://h:{port}").parse().unwrap()];
        (id_text(&urls, "t"), written(name, &urls))
    }

    fn three(entries: &[(String, String)], coming: &[(String, String)]) -> State {
        let (entries, coming) = (entries.to_vec(), coming.to_vec());
        State { size: Some("3"), entries, coming, ..State::default() }
    }

    /// Who founds, or what is told; and how often something was written.
    fn run(state: State, name: &str, port: u16) -> (Result<Vec<String>, String>, usize) {
        let memory = Memory(Rc::new(RefCell::new(state)));
        let urls = [format!("http://h:{port}").parse().unwrap()];
        let own = Own { name, urls: &urls, token: "t" };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let found = runtime.block_on(gather(own, async |_| Ok(memory.clone())));
        let found = found.map(|all| all.into_iter().map(|it| it.name).collect());
        (found.map_err(|error| error.to_string()), memory.0.borrow().written)
    }

    #[test]
    fn it_waits_for_all_and_keeps_their_order() {
        let (found, written) = run(three(&[of("b", 2)], &[of("c", 3), of("d", 4)]), "a", 1);
        assert_eq!((found.unwrap(), written), (vec!["b".into(), "a".into(), "c".into()], 1));
    }

    #[test]
    fn who_only_looks_waits_and_writes_nothing() {
        let memory = Memory(Rc::new(RefCell::new(three(&[of("b", 2)], &[of("c", 3), of("d", 4)]))));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let found = runtime.block_on(founded("t", async |_| Ok(memory.clone()))).unwrap();
        let names: Vec<&str> = found.iter().map(|it| it.name.as_str()).collect();
        assert_eq!((names, memory.0.borrow().written), (vec!["b", "c", "d"], 0));
    }

    #[test]
    fn who_was_ended_goes_on_where_it_was() {
        let mut state = three(&[of("a", 1), of("b", 2)], &[of("c", 3)]);
        state.breaks = true;
        let (found, written) = run(state, "a", 1);
        assert_eq!((found.unwrap(), written), (vec!["a".into(), "b".into(), "c".into()], 0));
    }

    #[test]
    fn a_service_that_does_not_let_us_wait_is_asked_with_pauses() {
        let idle = 2;
        let state = State { idle, ..three(&[of("a", 1), of("b", 2)], &[of("c", 3)]) };
        let clock = SystemClock::new();
        let began = clock.now();
        let (found, _) = run(state, "a", 1);
        assert_eq!(found.unwrap().len(), 3);
        let waited = clock.now().since(began);
        assert!(waited >= limits::DISCOVERY_RETRY_FIRST * u32::try_from(idle).unwrap());
    }

    #[test]
    fn mistakes_are_told_before_anything_is_written() {
        let told = |state: State| {
            let (found, written) = run(state, "a", 1);
            assert_eq!(written, 0);
            found.unwrap_err()
        };
        assert!(told(State::default()).starts_with("discovery: size key not found"));
        let twin = told(three(&[of("a", 2)], &[]));
        assert!(twin.starts_with("discovery: found duplicate name"), "{twin}");
        let same = told(three(&[of("b", 1)], &[]));
        assert!(same.starts_with("discovery: found duplicate id"), "{same}");
        let full = told(three(&[of("b", 2), of("c", 3), of("d", 4)], &[]));
        assert!(full.starts_with("discovery: cluster is full"), "{full}");
        assert!(full.contains("its 3 members (b, c, d)"), "{full}");
        // One that came too late before, and was started again.
        let late = told(three(&[of("b", 2), of("c", 3), of("d", 4), of("a", 1)], &[]));
        assert!(late.starts_with("discovery: cluster is full"), "{late}");
    }
}
