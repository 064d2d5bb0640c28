//! Words as Go's flag package reads them, with its texts of mistakes: `-x v`, `--x v`, `-x=v`, and switches without a
//! value. The first word that is no flag ends them. Pure.

use std::path::PathBuf;

use crate::base::parse_duration;
use crate::config::{self, Key, Kind, switch};

use super::super::go::quote;

/// What the words ask for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    Help,
    Version,
    Serve(Flags),
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Flags {
    pub(super) config_file: Option<PathBuf>,
    /// The last of two equal ones counts.
    pub(super) flags: Vec<(String, String)>,
}

/// What is wrong with them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Wrong {
    /// A flag: etcd shows its usage, and ends with 2.
    Flag(String),
    /// A word that is none.
    Word(String),
}

pub(super) fn parse(words: &[String]) -> Result<Asked, Wrong> {
    let mut found = Flags::default();
    let mut asks_version = false;
    let mut words = words.iter();
    let mut left = None;
    while let Some(word) = words.next() {
        let Some(bare) = word.strip_prefix('-').filter(|bare| !bare.is_empty()) else {
            left = Some(word);
            break;
        };
        let bare = bare.strip_prefix('-').unwrap_or(bare);
        if bare.is_empty() {
            left = words.next();
            break;
        }
        if bare.starts_with(['-', '=']) {
            return Err(Wrong::Flag(format!("bad flag syntax: {word}")));
        }
        let (name, value) = match bare.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (bare, None),
        };
        match name {
            "help" | "h" => return Ok(Asked::Help),
            "version" => asks_version = as_switch(name, value.as_deref())?,
            "config-file" => {
                found.config_file = Some(PathBuf::from(argument(name, value, &mut words)?));
            }
            _ => {
                let value = valued(name, value, &mut words)?;
                found.flags.retain(|(other, _)| other != name);
                found.flags.push((name.to_owned(), value));
            }
        }
    }
    match left {
        Some(word) => Err(Wrong::Word(format!("{} is not a valid flag", quote(word.as_bytes())))),
        None if asks_version => Ok(Asked::Version),
        None => Ok(Asked::Serve(found)),
    }
}

/// Flags that take one of a few words, which Go's reader knows.
const CHOICES: &[(&str, &[&str])] = &[
    ("initial-cluster-state", &["new", "existing"]),
    ("discovery-fallback", &["exit", "proxy"]),
    ("proxy", &["off", "on", "readonly"]),
];

/// The others, by their names without `experimental-`: numbers that may be below zero, numbers that are no settings here,
/// times, lists of URLs.
const SIGNED: &[&str] = &[
    "backend-batch-limit",
    "compaction-batch-limit",
    "distributed-tracing-sampling-rate",
    "max-learners",
    "quota-backend-bytes",
];
const COUNTS: &[&str] =
    &["max-snapshots", "max-wals", "snapshot-catchup-entries", "snapshot-count"];
const TIMES: &[&str] = &[
    "backend-batch-interval",
    "compact-hash-check-time",
    "compaction-sleep-interval",
    "corrupt-check-time",
    "discovery-dial-timeout",
    "discovery-keepalive-time",
    "discovery-keepalive-timeout",
    "discovery-request-timeout",
    "downgrade-check-time",
    "grpc-keepalive-interval",
    "grpc-keepalive-min-time",
    "grpc-keepalive-timeout",
    "raft-read-timeout",
    "raft-write-timeout",
    "warning-apply-duration",
    "warning-unary-request-duration",
    "watch-progress-notify-interval",
];
const URLS: &[&str] = &[
    "advertise-client-urls",
    "initial-advertise-peer-urls",
    "listen-client-http-urls",
    "listen-client-urls",
    "listen-metrics-urls",
    "listen-peer-urls",
];
const SCHEMES: [&str; 4] = ["http", "https", "unix", "unixs"];

fn valued<'a>(
    name: &str,
    value: Option<String>,
    words: &mut impl Iterator<Item = &'a String>,
) -> Result<String, Wrong> {
    let key = Key::find(name);
    let is_known = key.is_some()
        || config::answer(name).is_some()
        || config::other_names().any(|other| other == name);
    if !is_known {
        return Err(Wrong::Flag(format!("flag provided but not defined: -{name}")));
    }
    if key.is_some_and(|key| key.kind == Kind::Switch) || config::is_switch(name) {
        return as_switch(name, value.as_deref()).map(|switch| switch.to_string());
    }
    let value = argument(name, value, words)?;
    let bare = name.strip_prefix("experimental-").unwrap_or(name);
    match mistake(bare, &value) {
        None => Ok(value),
        Some(what) => {
            let shown = quote(value.as_bytes());
            Err(Wrong::Flag(format!("invalid value {shown} for flag -{name}: {what}")))
        }
    }
}

/// What Go's reader finds wrong with a value.
fn mistake(bare: &str, value: &str) -> Option<String> {
    let choices = CHOICES.iter().find(|(flag, _)| *flag == bare).map(|(_, choices)| *choices);
    if choices.is_some_and(|choices| !choices.contains(&value)) {
        return Some("invalid value".to_owned());
    }
    if bare == "max-concurrent-streams" && value.parse::<u32>().is_err() {
        let shown = quote(value.as_bytes());
        return Some(format!("strconv.ParseUint: parsing {shown}: invalid syntax"));
    }
    if URLS.contains(&bare) {
        let is_url = |url: &&str| {
            let scheme = url.split_once("://").map(|(scheme, _)| scheme);
            url.is_empty() || scheme.is_some_and(|scheme| SCHEMES.contains(&scheme))
        };
        let wrong = value.split(',').map(str::trim).find(|url| !is_url(url));
        return wrong.map(|url| format!("URL scheme must be http, https, unix, or unixs: {url}"));
    }
    let is_number = Key::find(bare).is_some_and(|key| key.kind == Kind::Number);
    let is_wrong = if SIGNED.contains(&bare) {
        value.parse::<i64>().is_err()
    } else if is_number || COUNTS.contains(&bare) {
        value.parse::<u64>().is_err()
    } else if TIMES.contains(&bare) {
        parse_duration(value.strip_prefix('-').unwrap_or(value)).is_err()
    } else {
        false
    };
    is_wrong.then(|| "parse error".to_owned())
}

fn as_switch(name: &str, value: Option<&str>) -> Result<bool, Wrong> {
    let Some(value) = value else { return Ok(true) };
    switch(value).ok_or_else(|| {
        let shown = quote(value.as_bytes());
        Wrong::Flag(format!("invalid boolean value {shown} for -{name}: parse error"))
    })
}

fn argument<'a>(
    name: &str,
    value: Option<String>,
    words: &mut impl Iterator<Item = &'a String>,
) -> Result<String, Wrong> {
    value
        .or_else(|| words.next().cloned())
        .ok_or_else(|| Wrong::Flag(format!("flag needs an argument: -{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Asked, Wrong> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        parse(&words)
    }

    fn flags(words: &[&str]) -> Vec<(String, String)> {
        match parsed(words).unwrap() {
            Asked::Serve(found) => found.flags,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn words_are_read_as_go_reads_them() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            flags(&[
                "-name",
                "a",
                "--data-dir=x=y",
                "--client-cert-auth",
                "-pre-vote=F",
                "--name=b"
            ]),
            [
                pair("data-dir", "x=y"),
                pair("client-cert-auth", "true"),
                pair("pre-vote", "false"),
                pair("name", "b")
            ]
        );
        assert_eq!(
            flags(&[
                "--experimental-initial-corrupt-check=true",
                "--enable-pprof",
                "--snapshot-count",
                "5"
            ]),
            [
                pair("experimental-initial-corrupt-check", "true"),
                pair("enable-pprof", "true"),
                pair("snapshot-count", "5")
            ]
        );
        assert_eq!(parsed(&["--name", "a", "--version"]), Ok(Asked::Version));
        assert_eq!(parsed(&["-h"]), Ok(Asked::Help));
        assert_eq!(
            parsed(&["--name", "--version"]),
            Ok(Asked::Serve(Flags { config_file: None, flags: vec![pair("name", "--version")] }))
        );
    }

    #[test]
    fn mistakes_have_gos_texts() {
        let flag = |text: &str| Err(Wrong::Flag(text.to_owned()));
        assert_eq!(parsed(&["--nope"]), flag("flag provided but not defined: -nope"));
        assert_eq!(parsed(&["--name"]), flag("flag needs an argument: -name"));
        assert_eq!(
            parsed(&["--client-cert-auth=maybe"]),
            flag("invalid boolean value \"maybe\" for -client-cert-auth: parse error")
        );
        assert_eq!(
            parsed(&["--election-timeout", "1s"]),
            flag("invalid value \"1s\" for flag -election-timeout: parse error")
        );
        assert_eq!(
            parsed(&["--initial-cluster-state", "old"]),
            flag("invalid value \"old\" for flag -initial-cluster-state: invalid value")
        );
        let word = Err(Wrong::Word("\"foo\" is not a valid flag".to_owned()));
        assert_eq!(parsed(&["foo"]), word);
        assert_eq!(parsed(&["--pre-vote", "foo"]), word);
        assert_eq!(parsed(&["--", "foo"]), word);
    }
}
