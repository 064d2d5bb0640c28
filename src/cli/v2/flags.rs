//! Flags as etcdctl's v2 commands read them, which is as Go's package `flag` does: one dash or two, `--switch=false`, and the
//! first word that is none ends them. clap has other rules for each of these; pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::duration::parse_duration;
use super::super::go::{parse_bool, quote};

/// A flag, by its first name.
#[derive(Debug)]
pub(super) struct Flag {
    pub names: &'static [&'static str],
    pub kind: Kind,
    /// What the help calls its value.
    pub value: &'static str,
    pub usage: &'static str,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Switch,
    Text,
    /// A text with a default, as the help shows it.
    Default(&'static str),
    /// Zero by default.
    Number,
    /// With its default.
    Time(&'static str),
    /// May be given several times.
    List,
}

impl Flag {
    pub(super) fn id(&self) -> &'static str {
        self.names[0]
    }

    fn named<'a>(flags: &'a [Self], name: &str) -> Option<&'a Self> {
        flags.iter().find(|flag| flag.names.contains(&name))
    }
}

/// What was typed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Words {
    values: BTreeMap<&'static str, Vec<String>>,
    /// Help was asked for.
    pub help: bool,
    /// Behind the flags.
    pub rest: Vec<String>,
}

impl Words {
    pub(super) fn switch(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// Empty if it was not given.
    pub(super) fn text(&self, name: &str) -> &str {
        self.list(name).last().map_or("", String::as_str)
    }

    pub(super) fn list(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn number(&self, name: &str) -> i64 {
        parse_number(self.text(name)).unwrap_or_default()
    }

    pub(super) fn time(&self, name: &str) -> Option<Duration> {
        parse_duration(self.text(name)).ok()
    }

    /// The word at that place behind the flags.
    pub(super) fn word(&self, place: usize) -> Option<&str> {
        self.rest.get(place).map(String::as_str)
    }
}

/// A verb's words: its flags may stand anywhere before `--`.
pub(super) fn parse_anywhere(flags: &[Flag], words: &[String]) -> Result<Words, String> {
    let (mut first, mut behind) = (Vec::new(), Vec::new());
    let mut may_be_value = false;
    for (place, word) in words.iter().enumerate() {
        let is_flag = is_one_of(flags, word);
        if may_be_value && !is_flag {
            may_be_value = false;
            first.push(word.clone());
        } else if word == "--" {
            behind.insert(0, word.clone());
            behind.extend_from_slice(&words[place + 1..]);
            break;
        } else if is_flag {
            // A switch's, too: etcdctl does not know yet which of them it is.
            may_be_value = !word.contains('=');
            first.push(word.clone());
        } else {
            behind.push(word.clone());
        }
    }
    first.extend(behind);
    parse(flags, &first)
}

/// The same of a verb whose words behind `--` are a command: they stay as they are, behind their `--`.
pub(super) fn parse_before_terminator(flags: &[Flag], words: &[String]) -> Result<Words, String> {
    let Some(place) = words.iter().position(|word| word == "--").filter(|place| *place > 0) else {
        return parse_anywhere(flags, words);
    };
    let mut found = parse_anywhere(flags, &words[..place])?;
    found.rest.extend_from_slice(&words[place..]);
    Ok(found)
}

/// The words up to the first that is no flag.
pub(super) fn parse(flags: &[Flag], words: &[String]) -> Result<Words, String> {
    let mut found = Words::default();
    let mut given: BTreeMap<&str, &str> = BTreeMap::new();
    let mut words = words.iter();
    while let Some(word) = words.clone().next() {
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else { break };
        words.next();
        if name == "-" {
            break;
        }
        let name = name.strip_prefix('-').unwrap_or(name);
        if name.starts_with(['-', '=']) {
            return Err(format!("bad flag syntax: {word}"));
        }
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        let Some(flag) = Flag::named(flags, name) else {
            if matches!(name, "help" | "h") {
                found.help = true;
                continue;
            }
            return Err(format!("flag provided but not defined: -{name}"));
        };
        let value = match (value, flag.kind) {
            (Some(value), _) => value,
            (None, Kind::Switch) => "true".to_owned(),
            (None, _) => {
                let next = words.next();
                next.cloned().ok_or_else(|| format!("flag needs an argument: -{name}"))?
            }
        };
        let value = checked(flag.kind, name, value)?;
        if let Some(other) = given.insert(flag.id(), name).filter(|other| *other != name) {
            let (later, earlier) = in_order(flag, name, other);
            return Err(format!("Cannot use two forms of the same flag: {later} {earlier}"));
        }
        found.values.entry(flag.id()).or_default().push(value);
    }
    found.rest = words.cloned().collect();
    Ok(found)
}

/// The names as they are told: the one that stands later in the flag's list first.
fn in_order<'a>(flag: &Flag, one: &'a str, other: &'a str) -> (&'a str, &'a str) {
    let place = |name: &str| flag.names.iter().position(|known| *known == name);
    if place(one) > place(other) { (one, other) } else { (other, one) }
}

fn checked(kind: Kind, name: &str, value: String) -> Result<String, String> {
    let quoted = || quote(value.as_bytes());
    let why = match kind {
        Kind::Switch => match parse_bool(&value) {
            Ok(is_on) => return Ok(is_on.to_string()),
            Err(_) => {
                return Err(format!("invalid boolean value {} for -{name}: parse error", quoted()));
            }
        },
        Kind::Number => parse_number(&value).err(),
        Kind::Time(_) => parse_duration(&value).err().map(|_| "parse error"),
        Kind::Text | Kind::Default(_) | Kind::List => None,
    };
    match why {
        None => Ok(value),
        Some(why) => Err(format!("invalid value {} for flag -{name}: {why}", quoted())),
    }
}

/// Go's `ParseInt` with base 0.
fn parse_number(text: &str) -> Result<i64, &'static str> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let bases = [("0x", 16), ("0o", 8), ("0b", 2)];
    let based = bases.iter().find_map(|(prefix, base)| Some((lower.strip_prefix(prefix)?, *base)));
    let (digits, base) = match based {
        Some(based) => based,
        None if lower.len() > 1 && lower.starts_with('0') => (&lower[1..], 8),
        None => (lower.as_str(), 10),
    };
    if digits.starts_with(['+', '-']) {
        return Err("parse error");
    }
    i64::from_str_radix(&format!("{sign}{digits}"), base).map_err(|error| match error.kind() {
        PosOverflow | NegOverflow => "value out of range",
        _ => "parse error",
    })
}

/// Whether a word is one of these flags, with or without its value.
fn is_one_of(flags: &[Flag], word: &str) -> bool {
    flag_of(flags, word).is_some()
}

fn flag_of<'a>(flags: &'a [Flag], word: &str) -> Option<&'a Flag> {
    let name = word.strip_prefix('-')?;
    let name = name.strip_prefix('-').unwrap_or(name);
    Flag::named(flags, name.split('=').next()?)
}

/// Whether the word behind this one belongs to it.
pub(super) fn takes_next(flags: &[Flag], word: &str) -> bool {
    !word.contains('=') && flag_of(flags, word).is_some_and(|flag| flag.kind != Kind::Switch)
}

#[cfg(test)]
mod tests {
    use super::super::verbs::{GLOBALS, VERBS, Verb};
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn of(verb: &str, text: &str) -> Result<Words, String> {
        parse_anywhere(Verb::named(&VERBS, verb).unwrap().flags, &words(text))
    }

    #[test]
    fn a_verbs_flags_stand_anywhere() {
        for text in ["k v --ttl 5", "k --ttl 5 v", "-ttl=5 k v", "k -ttl 5 v --ttl=0x5"] {
            let found = of("set", text).unwrap();
            assert_eq!((found.number("ttl"), found.rest.as_slice()), (5, &words("k v")[..]));
        }
        let found = of("set", "--ttl 5 -- -k --ttl").unwrap();
        assert_eq!(found.rest, words("-k --ttl"));
        assert_eq!(of("set", "k -5").unwrap().rest, words("k -5"));
        let found = of("ls", "-r / -q=f").unwrap();
        assert!(found.switch("recursive") && !found.switch("quorum") && !found.switch("sort"));
    }

    #[test]
    fn global_flags_end_at_the_verb() {
        let found = parse(&GLOBALS, &words("-o json -C a,b --timeout 1m get --sort k")).unwrap();
        assert_eq!((found.text("output"), found.text("peers")), ("json", "a,b"));
        assert_eq!(found.time("timeout"), Some(Duration::from_secs(60)));
        assert_eq!(found.rest, words("get --sort k"));
    }

    #[test]
    fn mistakes_are_told_in_gos_words() {
        for (verb, text, told) in [
            ("set", "--nope", "flag provided but not defined: -nope"),
            ("set", "k v --ttl x", "invalid value \"x\" for flag -ttl: parse error"),
            ("set", "k v --ttl", "invalid value \"k\" for flag -ttl: parse error"),
            (
                "set",
                "--ttl=99999999999999999999 k v",
                "invalid value \"99999999999999999999\" for flag -ttl: value out of range",
            ),
            ("set", "--swap-with-value", "flag needs an argument: -swap-with-value"),
            ("get", "--sort=maybe k", "invalid boolean value \"maybe\" for -sort: parse error"),
            ("get", "---q k", "bad flag syntax: ---q"),
            ("get", "-=x k", "bad flag syntax: -=x"),
            ("get", "-q --quorum k", "Cannot use two forms of the same flag: q quorum"),
        ] {
            assert_eq!(of(verb, text).unwrap_err(), told, "{verb} {text}");
        }
    }
}
