//! One bug in one world.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock};

use quorate::base::Sabotage;

use super::harm::{Harm, inflict};
use crate::violation::{Verdict, Violation, ensure};
use crate::world::{Plan, World};

/// Operations and faults of a world: small ones, which begin anew more often.
const OPERATIONS: u64 = 700;
const FAULTS: u64 = 12;
/// Worlds that are tried when the recorded one has become another.
const WORLDS_MAX: u64 = 60;
/// Many times what such a world takes.
const STEPS_MAX: u64 = 500_000;

/// Where a bug is looked for.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Usual,
    /// Worlds of so many founders.
    Members(u64),
    Story(fn(u64) -> Verdict),
}

/// A bug to be found.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) stands_for: &'static str,
    pub(super) code: Option<Sabotage>,
    pub(super) harm: Option<Harm>,
    /// Checks that may find it; the reason for more than one stands beside them.
    pub(super) checks: &'static [&'static str],
    pub(super) shape: Shape,
}

impl Case {
    /// A bug of the program.
    pub(super) const fn code(
        code: Sabotage,
        checks: &'static [&'static str],
        stands_for: &'static str,
    ) -> Self {
        let (code, shape) = (Some(code), Shape::Usual);
        Self { name: "", stands_for, code, harm: None, checks, shape }
    }

    /// A bug of disk or network.
    pub(super) const fn world(
        harm: Harm,
        checks: &'static [&'static str],
        stands_for: &'static str,
    ) -> Self {
        let (harm, shape) = (Some(harm), Shape::Usual);
        Self { name: "", stands_for, code: None, harm, checks, shape }
    }

    /// In worlds where this happens, too, and harms no program without the bug.
    pub(super) const fn among(self, harm: Harm) -> Self {
        Self { harm: Some(harm), ..self }
    }

    pub(super) const fn members(self, count: u64) -> Self {
        Self { shape: Shape::Members(count), ..self }
    }

    pub(super) const fn story(self, story: fn(u64) -> Verdict) -> Self {
        Self { shape: Shape::Story(story), ..self }
    }

    /// As people read it.
    pub(super) fn title(&self) -> String {
        self.name.replace('_', " ")
    }

    /// With the bug.
    pub(super) fn sabotaged(&self, seed: u64) -> Verdict {
        run(self.shape, seed, self.code, self.harm)
    }

    /// Without it. Several bugs meet the same world: it is run once.
    pub(super) fn clean(&self, seed: u64) -> Verdict {
        static KNOWN: Mutex<BTreeMap<String, Arc<OnceLock<Verdict>>>> = Mutex::new(BTreeMap::new());
        let harm = if self.code.is_some() { self.harm } else { None };
        let shape = match self.shape {
            Shape::Usual => "usual".to_owned(),
            Shape::Members(count) => format!("{count} members"),
            Shape::Story(story) => format!("story {:p}", story as *const ()),
        };
        let world = format!("{shape} {harm:?} {seed}");
        let known = Arc::clone(KNOWN.lock().unwrap().entry(world).or_default());
        known.get_or_init(|| run(self.shape, seed, None, harm)).clone()
    }
}

fn run(shape: Shape, seed: u64, code: Option<Sabotage>, harm: Option<Harm>) -> Verdict {
    choose(code);
    inflict(harm);
    let usual = Plan { operations: OPERATIONS, faults: FAULTS, tree: false, ..Plan::of_seed(seed) };
    let ended = catch_unwind(AssertUnwindSafe(|| match shape {
        Shape::Usual => live(usual),
        Shape::Members(count) => live(Plan { members: Some(count), ..usual }),
        Shape::Story(story) => story(seed),
    }));
    choose(None);
    inflict(None);
    ended.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Violation::new("panic", text.unwrap_or_default()))
    })
}

fn live(plan: Plan) -> Verdict {
    let mut world = World::new(plan)?;
    let mut steps = 0;
    while !world.clients.is_done() {
        // A bug may make members talk for ever, and their clients wait.
        steps += 1;
        ensure(steps < STEPS_MAX, "liveness", || format!("no end:\n{}", world.describe()))?;
        world.step()?;
    }
    world.run()
}

#[cfg(feature = "sabotage")]
fn choose(code: Option<Sabotage>) {
    quorate::base::choose_sabotage(code);
}

#[cfg(not(feature = "sabotage"))]
fn choose(code: Option<Sabotage>) {
    assert_eq!(code, None, "this build has no bugs to choose: it wants --features sabotage");
}

/// The recorded world: without the bug it keeps its promises, with it it breaks the recorded one. When the worlds have
/// changed since, one of the first finds it.
pub(super) fn judge(case: &Case) {
    let name = case.name;
    let recorded = super::recorded::RECORDED.iter().find(|recorded| recorded.0 == name);
    let Some(&(_, seed, check)) = recorded else { panic!("{name} is not recorded: search for it") };
    assert!(case.checks.contains(&check), "{check} is not meant to find {name}");
    let is_found = |seed: u64| case.sabotaged(seed).is_err_and(|found| found.check == check);
    let seed = if is_found(seed) {
        seed
    } else {
        println!("{name} is not found in world {seed} any more: record the worlds anew");
        let found = (0..WORLDS_MAX).find(|seed| is_found(*seed));
        found.unwrap_or_else(|| panic!("{check} finds {name} in none of {WORLDS_MAX} worlds"))
    };
    let clean = case.clean(seed);
    assert!(clean.is_ok(), "without the bug, world {seed}: {}", clean.unwrap_err());
}
