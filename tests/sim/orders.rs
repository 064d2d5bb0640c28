//! What the environment asks for: which worlds, how many, for how long; a mistake in it is an error, never a default.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use crate::world::Plan;

/// Worlds of a plain `cargo test`.
const SEEDS_DEFAULT: u64 = 24;
/// Worlds that a run of limited time must come to, if nothing else is said.
const LEAST_DEFAULT: u64 = 20;
/// Worlds run to find the smallest one that fails.
const TRIES_DEFAULT: u64 = 120;

const NAMES: &[&str] = &[
    "SIM_SEED",
    "SIM_UNTIL",
    "SIM_WITHOUT",
    "SIM_CLIENTS",
    "SIM_WATCHERS",
    "SIM_FIRST",
    "SIM_SEEDS",
    "SIM_SECONDS",
    "SIM_LEAST",
    "SIM_SHRINK",
];

/// See the module.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Orders {
    /// One world, perhaps made smaller, instead of many.
    pub(crate) one: Option<Smaller>,
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// No world begins later than this.
    pub(crate) seconds: Option<Duration>,
    /// Fewer worlds are a failure.
    pub(crate) least: u64,
    /// Worlds run to make a failing one smaller.
    pub(crate) tries: u64,
}

/// A world that is the seed's own but for what it does without.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Smaller {
    pub(crate) seed: u64,
    pub(crate) until: Option<u64>,
    pub(crate) without: BTreeSet<u64>,
    pub(crate) clients: Option<usize>,
    pub(crate) watchers: Option<usize>,
}

impl Smaller {
    pub(crate) fn plan(&self) -> Plan {
        Plan {
            until: self.until,
            without: self.without.clone(),
            clients: self.clients,
            watchers: self.watchers,
            ..Plan::of_seed(self.seed)
        }
    }
}

impl Orders {
    pub(crate) fn of_environment() -> Result<Self, String> {
        let known =
            |name: &str| NAMES.contains(&name) || ["SIM_TRACE", "SIM_DEBUG"].contains(&name);
        let mut names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        if let Some(name) = names.find(|name| name.starts_with("SIM_") && !known(name)) {
            return Err(format!("{name} is unknown; known are {}", NAMES.join(", ")));
        }
        Self::of(|name| std::env::var(name).ok())
    }

    /// As if the environment were this.
    pub(crate) fn of_pairs(set: &[(&str, &str)]) -> Result<Self, String> {
        let value = |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| *value);
        Self::of(|name| value(name).map(str::to_owned))
    }

    /// `value` is what a variable is set to.
    fn of(value: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name| parsed::<u64>(name, value(name));
        let seed = number("SIM_SEED")?;
        let first = number("SIM_FIRST")?;
        let seconds = number("SIM_SECONDS")?.map(Duration::from_secs);
        let seeds = number("SIM_SEEDS")?;
        let endless = seconds.map_or(SEEDS_DEFAULT, |_| u64::MAX / 4);
        let least = if seconds.is_some() { LEAST_DEFAULT } else { 1 };
        let smaller = Smaller {
            seed: seed.unwrap_or_default(),
            until: number("SIM_UNTIL")?,
            without: without(value("SIM_WITHOUT"))?,
            clients: parsed("SIM_CLIENTS", value("SIM_CLIENTS"))?,
            watchers: parsed("SIM_WATCHERS", value("SIM_WATCHERS"))?,
        };
        let is_whole = smaller == Smaller { seed: smaller.seed, ..Smaller::default() };
        let orders = Self {
            one: seed.map(|_| smaller),
            first: first.unwrap_or(0),
            count: seeds.unwrap_or(endless),
            seconds,
            least: number("SIM_LEAST")?.unwrap_or(least),
            tries: number("SIM_SHRINK")?.unwrap_or(TRIES_DEFAULT),
        };
        match () {
            () if orders.count == 0 => Err("SIM_SEEDS=0 asks for no world at all".to_owned()),
            () if orders.first.checked_add(orders.count).is_none() => {
                Err("SIM_FIRST and SIM_SEEDS go beyond the last seed".to_owned())
            }
            () if seconds == Some(Duration::ZERO) => Err("SIM_SECONDS=0 is no time".to_owned()),
            () if seed.is_some() && (first.is_some() || seeds.is_some() || seconds.is_some()) => {
                Err("SIM_SEED is one world: it goes with none of SIM_FIRST, SIM_SEEDS and SIM_SECONDS".to_owned())
            }
            () if seed.is_none() && !is_whole => {
                Err("SIM_UNTIL, SIM_WITHOUT, SIM_CLIENTS and SIM_WATCHERS go with SIM_SEED".to_owned())
            }
            () if smaller_than_one(&orders) => Err("a world has at least one client".to_owned()),
            () => Ok(orders),
        }
    }
}

fn smaller_than_one(orders: &Orders) -> bool {
    orders.one.as_ref().is_some_and(|one| one.clients == Some(0))
}

fn parsed<T: FromStr>(name: &str, value: Option<String>) -> Result<Option<T>, String> {
    let Some(value) = value else { return Ok(None) };
    match value.trim().parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(format!("{name}={value} is no number")),
    }
}

fn without(value: Option<String>) -> Result<BTreeSet<u64>, String> {
    let Some(value) = value else { return Ok(BTreeSet::new()) };
    let number = |text: &str| {
        let number = text.trim().parse();
        number.map_err(|_| format!("SIM_WITHOUT={value}: {text:?} is no fault's number"))
    };
    value.split(',').filter(|text| !text.trim().is_empty()).map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(set: &[(&str, &str)]) -> Result<Orders, String> {
        Orders::of_pairs(set)
    }

    #[test]
    fn what_is_asked_for_is_what_runs() {
        let plain = orders(&[]).unwrap();
        assert_eq!((plain.first, plain.count, plain.least), (0, SEEDS_DEFAULT, 1));
        let many = orders(&[("SIM_FIRST", "7"), ("SIM_SEEDS", "2000")]).unwrap();
        assert_eq!((many.first, many.count, many.one), (7, 2_000, None));
        let timed = orders(&[("SIM_SECONDS", "240"), ("SIM_FIRST", "1700000000000")]).unwrap();
        assert_eq!((timed.seconds, timed.least), (Some(Duration::from_secs(240)), LEAST_DEFAULT));
        let one = orders(&[
            ("SIM_SEED", "7"),
            ("SIM_UNTIL", "12"),
            ("SIM_WITHOUT", "3, 7"),
            ("SIM_CLIENTS", "2"),
            ("SIM_WATCHERS", "0"),
        ]);
        let plan = one.unwrap().one.unwrap().plan();
        assert_eq!((plan.seed, plan.until, plan.without), (7, Some(12), BTreeSet::from([3, 7])));
        assert_eq!((plan.clients, plan.watchers), (Some(2), Some(0)));
    }

    #[test]
    fn a_mistake_is_an_error() {
        let mistake = |set: &[(&str, &str)]| orders(set).unwrap_err();
        assert_eq!(mistake(&[("SIM_SEEDS", "x")]), "SIM_SEEDS=x is no number");
        assert_eq!(mistake(&[("SIM_SEEDS", "")]), "SIM_SEEDS= is no number");
        assert_eq!(mistake(&[("SIM_SEEDS", "0")]), "SIM_SEEDS=0 asks for no world at all");
        assert_eq!(mistake(&[("SIM_SEED", "-1")]), "SIM_SEED=-1 is no number");
        assert!(mistake(&[("SIM_SEED", "7"), ("SIM_SEEDS", "2")]).contains("one world"));
        assert!(mistake(&[("SIM_WITHOUT", "2")]).contains("go with SIM_SEED"));
        assert!(
            mistake(&[("SIM_SEED", "7"), ("SIM_WITHOUT", "2,x")]).contains("\"x\" is no fault")
        );
        assert!(mistake(&[("SIM_SECONDS", "0")]).contains("no time"));
        assert!(mistake(&[("SIM_SEED", "7"), ("SIM_CLIENTS", "0")]).contains("one client"));
        let last = u64::MAX.to_string();
        assert!(mistake(&[("SIM_FIRST", &last), ("SIM_SEEDS", "2")]).contains("beyond"));
    }
}
