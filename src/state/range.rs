//! One Range: where it reads, what it keeps, in which order, and how much in one slice.
//!
//! ```text
//!   plain        key order, no filter      stops at its limit; the count comes from the index
//!   filtered     any revision filter       visits every key, keeps what passes
//!   sorted       another order or target   visits every key, keeps versions without values, sorts, cuts, then loads
//!   target only  order NONE, target set    etcd's quirk: cut to limit + 1 in key order, and only then sorted
//! ```
//!
//! A run is fed slice by slice, each on a fresh view of the same revision, so that no reader holds a view for long.
//! Promises: the slices make no difference to the answer. Knows nothing of: who may read, linearizability.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::reply::Rejection;
use super::stop::Stop;
use super::wire;
use crate::base::KeyRange;
use crate::mvcc::{End, Found, KeyValue, RangeOptions, Reader, Version, Whole};
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::etcdserverpb::{RangeRequest, RangeResponse};
use crate::storage::{Fault, Read};

/// One state that ranges are read from.
pub(super) trait Source {
    type Rows: Read;

    /// The newest revision, own writes included.
    fn current(&self) -> i64;

    /// The oldest readable revision; -1 when nothing was compacted.
    fn compacted(&self) -> i64;

    fn reader(&self, revision: i64) -> Reader<'_, Self::Rows>;

    /// What the count index knows of the range.
    fn whole(&self, range: &KeyRange) -> Option<Whole>;
}

/// How much one slice may read.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Keys and values handed out, bytes; passed by at most one pair.
    pub bytes_max: usize,
    /// Rows of the index visited.
    pub visits_max: usize,
}

impl Budget {
    /// Everything at once, as apply must.
    pub const NONE: Self = Self { bytes_max: usize::MAX, visits_max: usize::MAX };
}

/// How often a run of the current revision begins again because compaction overtook it.
const RESTARTS_MAX: u32 = 3;
/// What a sorted run keeps beyond its limit before it sorts and drops the rest, versions.
const SORT_SLACK: usize = 1_024;

/// A Range on its way.
#[derive(Debug)]
pub struct RangeRun {
    request: RangeRequest,
    plan: Plan,
    restarts: u32,
    place: Option<Place>,
}

/// How far a run has come.
#[derive(Debug)]
struct Place {
    /// The revision it reads, and the current one when it began.
    revision: i64,
    header: i64,
    /// What is not visited yet.
    rest: Option<KeyRange>,
    visited: i64,
    found: Vec<Version>,
    kvs: Vec<KeyValue>,
    /// The answer's `more`.
    more: bool,
    /// Not every key was visited, so the count must come from the index.
    uncounted: bool,
}

/// What the request's options come to.
#[derive(Clone, Copy, Debug)]
struct Plan {
    limit: Option<usize>,
    /// Keys after which nothing more is fetched.
    fetch: Option<usize>,
    filtered: bool,
    /// Target and whether ascending; none is key order.
    sort: Option<(SortTarget, bool)>,
}

impl Plan {
    fn new(request: &RangeRequest) -> Self {
        let limit = usize::try_from(request.limit).ok().filter(|&limit| limit > 0);
        let filtered = request.min_mod_revision != 0
            || request.max_mod_revision != 0
            || request.min_create_revision != 0
            || request.max_create_revision != 0;
        let sort = match (request.sort_order(), request.sort_target()) {
            (SortOrder::None | SortOrder::Ascend, SortTarget::Key) => None,
            (SortOrder::Descend, target) => Some((target, false)),
            (SortOrder::None | SortOrder::Ascend, target) => Some((target, true)),
        };
        let quirk = sort.is_some() && request.sort_order() == SortOrder::None && !filtered;
        let fetch = if quirk { limit.map(|limit| limit.saturating_add(1)) } else { None };
        Self { limit, fetch, filtered, sort }
    }

    fn is_plain(&self) -> bool {
        !self.filtered && self.sort.is_none()
    }

    fn sorts_values(&self) -> bool {
        matches!(self.sort, Some((SortTarget::Value, _)))
    }
}

impl RangeRun {
    /// The request's shape was checked ([`check::range`](super::check::range)).
    pub fn new(request: RangeRequest) -> Self {
        Self { plan: Plan::new(&request), request, restarts: 0, place: None }
    }

    /// Whether all that is asked is how many keys there were at a revision, for which no index has the answer.
    pub fn counts_the_past(&self) -> bool {
        let request = &self.request;
        request.count_only && request.revision > 0 && !request.range_end.is_empty()
    }

    /// Reads on; the answer when it is whole.
    pub(super) fn slice<S: Source>(
        &mut self,
        source: &S,
        budget: Budget,
    ) -> Result<Option<RangeResponse>, Stop> {
        let mut place = self.place(source)?;
        let reader = source.reader(place.revision);
        let range = self.range();
        if self.request.count_only {
            let count = count(source, place.revision, &range)?;
            return Ok(Some(place.response(count)));
        }
        let done = match self.plan.is_plain() {
            true => self.read(&reader, &mut place, budget)?,
            false => {
                self.collect(&reader, &mut place, budget)?
                    && self.load(&reader, &mut place, budget)?
            }
        };
        if !done {
            self.place = Some(place);
            return Ok(None);
        }
        let count = match place.uncounted {
            true => count(source, place.revision, &range)?,
            false => place.visited,
        };
        self.finish(&mut place);
        Ok(Some(place.response(count)))
    }

    fn range(&self) -> KeyRange {
        KeyRange::new(self.request.key.clone(), self.request.range_end.clone())
    }

    /// Where it stands; the first time at the revision that the request names or the source is at.
    fn place<S: Source>(&mut self, source: &S) -> Result<Place, Stop> {
        let asked = self.request.revision;
        if let Some(place) = self.place.take() {
            if place.revision >= source.compacted() {
                return Ok(place);
            }
            self.restarts += 1;
            if asked > 0 || self.restarts > RESTARTS_MAX {
                return Err(Rejection::Compacted.into());
            }
        }
        let header = source.current();
        let revision = if asked <= 0 { header } else { asked };
        if revision > header {
            return Err(Rejection::FutureRev.into());
        }
        if revision < source.compacted() {
            return Err(Rejection::Compacted.into());
        }
        Ok(Place {
            revision,
            header,
            rest: Some(self.range()),
            visited: 0,
            found: Vec::new(),
            kvs: Vec::new(),
            more: false,
            uncounted: false,
        })
    }

    /// A slice in key order, without filters; true at the end.
    fn read<R: Read>(
        &self,
        reader: &Reader<'_, R>,
        place: &mut Place,
        budget: Budget,
    ) -> Result<bool, Fault> {
        let Some(range) = place.rest.take() else { return Ok(true) };
        let options = RangeOptions {
            limit: self.plan.limit.map(|limit| limit - place.kvs.len()),
            keys_only: self.request.keys_only,
            bytes_max: Some(budget.bytes_max),
            visits_max: Some(budget.visits_max),
        };
        let slice = reader.range(&range, options)?;
        place.kvs.extend(slice.kvs);
        place.visited = place.kvs.len() as i64;
        match slice.end {
            End::Complete => {}
            End::Limit(_) => (place.more, place.uncounted) = (true, true),
            End::Budget(key) => place.rest = Some(from(&range, key)),
        }
        Ok(place.rest.is_none())
    }

    /// Visits keys and keeps their versions; true when all are visited and (unless by value) sorted and cut.
    fn collect<R: Read>(
        &self,
        reader: &Reader<'_, R>,
        place: &mut Place,
        budget: Budget,
    ) -> Result<bool, Fault> {
        let Some(range) = place.rest.take() else { return Ok(true) };
        let Place { visited, found, uncounted, .. } = &mut *place;
        let unvisited = reader.walk(&range, Some(budget.visits_max), &mut |version| {
            if self.plan.fetch.is_some_and(|fetch| found.len() >= fetch) {
                *uncounted = true;
                return ControlFlow::Break(());
            }
            *visited += 1;
            if self.passes(&version) {
                found.push(version.version());
                self.prune(found);
            }
            ControlFlow::Continue(())
        })?;
        place.rest = unvisited.map(|key| from(&range, key));
        if place.rest.is_some() {
            return Ok(false);
        }
        if !self.plan.sorts_values() {
            self.sort(&mut place.found);
            place.more = cut(&mut place.found, self.plan.limit);
        }
        Ok(true)
    }

    /// Drops what cannot be in the answer any more, once that is worth a sort.
    fn prune(&self, found: &mut Vec<Version>) {
        if let Some(limit) = self.plan.limit
            && !self.plan.sorts_values()
            && found.len() > limit.saturating_mul(2).saturating_add(SORT_SLACK)
        {
            self.sort(found);
            found.truncate(limit + 1);
        }
    }

    /// Ties stay in key order.
    fn sort(&self, found: &mut [Version]) {
        let Some((target, ascending)) = self.plan.sort else { return };
        found.sort_by(|a, b| {
            let order = match target {
                SortTarget::Key => a.key.cmp(&b.key),
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.create_revision.cmp(&b.create_revision),
                SortTarget::Mod => a.revision.main.cmp(&b.revision.main),
                SortTarget::Value => Ordering::Equal,
            };
            directed(order, ascending)
        });
    }

    /// Loads the values of what was kept; true at the end.
    fn load<R: Read>(
        &self,
        reader: &Reader<'_, R>,
        place: &mut Place,
        budget: Budget,
    ) -> Result<bool, Fault> {
        let needs_values = !self.request.keys_only || self.plan.sorts_values();
        let mut bytes = 0;
        while let Some(version) = place.found.get(place.kvs.len()) {
            if bytes >= budget.bytes_max {
                return Ok(false);
            }
            let kv = match needs_values {
                true => reader.load(version)?,
                false => version.with_value(Bytes::new()),
            };
            bytes += kv.key.len() + kv.value.len();
            place.kvs.push(kv);
        }
        Ok(true)
    }

    /// What only the loaded values can decide.
    fn finish(&self, place: &mut Place) {
        let Some((SortTarget::Value, ascending)) = self.plan.sort else { return };
        place.kvs.sort_by(|a, b| directed(a.value.cmp(&b.value), ascending));
        place.more = cut(&mut place.kvs, self.plan.limit);
        if self.request.keys_only {
            for kv in &mut place.kvs {
                kv.value = Bytes::new();
            }
        }
    }

    fn passes(&self, version: &Found<'_>) -> bool {
        let RangeRequest {
            min_mod_revision,
            max_mod_revision,
            min_create_revision,
            max_create_revision,
            ..
        } = self.request;
        let within = |revision: i64, min: i64, max: i64| {
            (min == 0 || revision >= min) && (max == 0 || revision <= max)
        };
        within(version.revision.main, min_mod_revision, max_mod_revision)
            && within(version.create_revision(), min_create_revision, max_create_revision)
    }
}

impl Place {
    fn response(self, count: i64) -> RangeResponse {
        RangeResponse {
            header: wire::header(self.header),
            kvs: self.kvs.into_iter().map(wire::to_wire).collect(),
            more: self.more,
            count,
        }
    }
}

/// The whole answer at once.
pub(super) fn whole_range<S: Source>(
    source: &S,
    request: &RangeRequest,
) -> Result<RangeResponse, Stop> {
    let mut run = RangeRun::new(request.clone());
    loop {
        if let Some(response) = run.slice(source, Budget::NONE)? {
            return Ok(response);
        }
    }
}

/// Live keys of the range at the revision, whatever limits and filters say.
fn count<S: Source>(source: &S, revision: i64, range: &KeyRange) -> Result<i64, Fault> {
    let keys = source.reader(revision).count(range, source.whole(range))?;
    Ok(i64::try_from(keys).unwrap_or(i64::MAX))
}

/// The rest of `range`, from `key` on.
pub(super) fn from(range: &KeyRange, key: Bytes) -> KeyRange {
    match range {
        KeyRange::Single(_) => KeyRange::Single(key),
        KeyRange::Span { end, .. } => KeyRange::Span { start: key, end: end.clone() },
        KeyRange::From(_) => KeyRange::From(key),
    }
}

fn directed(order: Ordering, ascending: bool) -> Ordering {
    if ascending { order } else { order.reverse() }
}

/// Cuts to the limit; whether something fell off.
fn cut<T>(items: &mut Vec<T>, limit: Option<usize>) -> bool {
    let Some(limit) = limit.filter(|&limit| items.len() > limit) else { return false };
    items.truncate(limit);
    true
}
