//! Which API some words are for: `ETCDCTL_API` decides, and without it a verb or a flag that only one of them has.

use std::collections::BTreeSet;
use std::ffi::OsString;

use super::super::args::grammar;
use super::super::called::Called;
use super::flags::takes_next;
use super::verbs::{GLOBALS, VERBS, Verb};

/// Verbs of v2 that are none of v3.
const VERBS_ALONE: [&str; 11] = [
    "set",
    "mk",
    "mkdir",
    "rm",
    "rmdir",
    "ls",
    "setdir",
    "update",
    "updatedir",
    "exec-watch",
    "cluster-health",
];
/// The same, which etcdctl's v3 had, too, under another name.
const BACKUP: &str = "backup";
const FLAGS_ALONE: [&str; 4] = ["--endpoint", "--peers", "-C", "--no-sync"];

/// Whether the words are for the v2 API. Where nobody said so but they themselves, stderr does.
pub(in super::super) fn is_asked_for(
    called: Called,
    words: &[OsString],
    environment: &[(String, String)],
) -> bool {
    if called == Called::Etcd {
        return false;
    }
    let version = environment.iter().find(|(name, _)| name == "ETCDCTL_API");
    let version = version.map_or("", |(_, version)| version.as_str());
    match (called, version) {
        (Called::Etcdctl, "2") => true,
        (_, "2") => begun(called, words).is_some(),
        (_, "") => match begun(called, words).filter(|begun| begun.is_alone) {
            Some(begun) => {
                eprintln!(
                    "`{}` is of etcd's v2 API, which is spoken now: ETCDCTL_API=2 says the same without this line",
                    begun.word
                );
                true
            }
            None => false,
        },
        _ => false,
    }
}

/// A verb of v2, or a flag before it.
struct Begun {
    word: String,
    /// No other API has it.
    is_alone: bool,
}

fn begun(called: Called, words: &[OsString]) -> Option<Begun> {
    let mut v3 = None;
    // A flag of v2 says nothing beside one that v2 does not have: v3 takes `--endpoint`, too.
    let (mut flag, mut is_v3) = (None, false);
    let mut words = words.iter().skip(1).map(|word| word.to_str().unwrap_or_default());
    while let Some(word) = words.next() {
        let name = word.split('=').next().unwrap_or_default();
        if !word.starts_with('-') {
            let is_alone = VERBS_ALONE.contains(&word) || word == BACKUP;
            let flag = flag.filter(|_| !is_v3 && !is_alone);
            let verb = Verb::named(&VERBS, word).map(|_| Begun { word: word.to_owned(), is_alone });
            return flag.or(verb);
        }
        if FLAGS_ALONE.contains(&name) {
            flag = Some(Begun { word: name.to_owned(), is_alone: true });
        }
        let v3 = v3.get_or_insert_with(|| flags_of_v3(called));
        let is_known = v3.switches.contains(name) || v3.values.contains(name);
        if !is_known && !is_of_v2(word) {
            // A server's, or nobody's.
            return None;
        }
        is_v3 |= !is_of_v2(word);
        if (v3.values.contains(name) && !word.contains('=')) || takes_next(&GLOBALS, word) {
            words.next();
        }
    }
    flag.filter(|_| !is_v3)
}

fn is_of_v2(word: &str) -> bool {
    let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
    GLOBALS.iter().any(|flag| flag.names.contains(&name))
}

/// v3's global flags, with their dashes.
struct Flags {
    values: BTreeSet<String>,
    switches: BTreeSet<String>,
}

fn flags_of_v3(called: Called) -> Flags {
    let mut flags = Flags { values: BTreeSet::new(), switches: BTreeSet::new() };
    for flag in grammar(called).get_arguments() {
        let takes = flag.get_action().takes_values() && !flag.is_require_equals_set();
        let to = if takes { &mut flags.values } else { &mut flags.switches };
        to.extend(flag.get_long().map(|name| format!("--{name}")));
        to.extend(flag.get_short().map(|name| format!("-{name}")));
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str, version: &str) -> bool {
        let mut words = text.split_whitespace().map(OsString::from).collect();
        let called = Called::take(&mut words);
        let environment = [("ETCDCTL_API".to_owned(), version.to_owned())];
        is_asked_for(called, &words, &environment)
    }

    #[test]
    fn the_variable_decides() {
        for text in
            ["etcdctl get k", "etcdctl put k v", "etcdctl", "quorate get k", "quorate -o json ls"]
        {
            assert!(chosen(text, "2"), "{text}");
            assert!(!chosen(text, "3"), "{text}");
        }
        for text in ["quorate serve", "quorate playground", "quorate", "quorate put k v", "etcd"] {
            assert!(!chosen(text, "2"), "{text}");
        }
    }

    #[test]
    fn without_it_a_word_that_only_v2_has() {
        for text in [
            "quorate set k v",
            "etcdctl --endpoints http://a:1 ls",
            "quorate --endpoint a:1 get k",
            "quorate --debug -C=a:1 get k",
            "etcdctl -o json --no-sync member list",
            "quorate --insecure-transport=false backup",
        ] {
            assert!(chosen(text, ""), "{text}");
        }
        for text in [
            "quorate get set",
            "quorate --endpoints set get k",
            "quorate --name set",
            "quorate member list",
            "quorate watch --no-sync k",
            "quorate --cacert ca.crt --endpoint a:1 get k",
            "quorate --endpoint a:1 -w json member list",
            "etcd set",
            "quorate serve set",
        ] {
            assert!(!chosen(text, ""), "{text}");
        }
    }
}
