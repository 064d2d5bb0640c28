//! The name that the program is called by. Through a link named `etcd` or `etcdctl` it is that program; so is `quorate etcd`,
//! because the entry point of an image is told by its users to run `/usr/local/bin/etcd`.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The version of etcd whose flags and commands these are.
const ETCD_VERSION: &str = "3.6.0";

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Called {
    #[default]
    Quorate,
    /// A server, and nothing else.
    Etcd,
    /// A client, and nothing else; the folder's playground is not looked for.
    Etcdctl,
}

impl Called {
    /// Takes the name off the words; the first of them is then what it was called by.
    pub(super) fn take(words: &mut Vec<OsString>) -> Self {
        let of = |word: Option<&OsString>| word.and_then(|word| Self::named(word));
        if let Some(called) = of(words.first()) {
            return called;
        }
        let called = of(words.get(1));
        if called.is_some() {
            words.remove(0);
        }
        called.unwrap_or_default()
    }

    fn named(word: &OsStr) -> Option<Self> {
        match Path::new(word).file_name()?.to_str()? {
            "etcd" => Some(Self::Etcd),
            "etcdctl" => Some(Self::Etcdctl),
            _ => None,
        }
    }

    /// What it says of its version.
    pub(super) fn version(self) -> String {
        let own = env!("CARGO_PKG_VERSION");
        match self {
            Self::Quorate => format!("quorate version: {own}\nAPI version: 3.6"),
            Self::Etcd => format!("etcd Version: {ETCD_VERSION}\nQuorate Version: {own}"),
            Self::Etcdctl => {
                format!("etcdctl version: {ETCD_VERSION}\nAPI version: 3.6\nquorate version: {own}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(words: &[&str]) -> (Called, Vec<OsString>) {
        let mut words = words.iter().map(OsString::from).collect();
        (Called::take(&mut words), words)
    }

    #[test]
    fn a_link_and_a_first_word_name_the_program() {
        for (words, called, rest) in [
            (&["/usr/local/bin/etcdctl", "get", "k"][..], Called::Etcdctl, &["get", "k"][..]),
            (&["/quorate", "/usr/local/bin/etcd", "--name", "n"], Called::Etcd, &["--name", "n"]),
            (&["./quorate", "etcdctl", "get", "etcd"], Called::Etcdctl, &["get", "etcd"]),
            (&["quorate", "get", "etcd"], Called::Quorate, &["get", "etcd"]),
            (&["etcd"], Called::Etcd, &[]),
            (&["quorate"], Called::Quorate, &[]),
        ] {
            let (found, left) = take(words);
            assert_eq!(
                (found, &left[1..]),
                (called, &rest.iter().map(OsString::from).collect::<Vec<_>>()[..])
            );
        }
        assert_eq!(take(&[]), (Called::Quorate, Vec::new()));
    }

    #[test]
    fn each_tells_its_own_version_first() {
        assert!(Called::Etcd.version().starts_with("etcd Version: 3.6.0\n"));
        assert!(
            Called::Etcdctl.version().starts_with("etcdctl version: 3.6.0\nAPI version: 3.6\n")
        );
        assert!(Called::Quorate.version().starts_with("quorate version: "));
    }
}
