//! The name that the program is called by. Through a link named `etcd`, `etcdctl` or `etcdutl` it is that program; so is `quorate etcd`,
//! because the entry point of an image is told by its users to run `/usr/local/bin/etcd`.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The version of etcd whose flags and commands these are.
const ETCD_VERSION: &str = "3.6.0";
const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of etcd's newest API.
pub(super) const API: &str = "3.6";

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Called {
    #[default]
    Quorate,
    /// A server, and nothing else.
    Etcd,
    /// A client, and nothing else; the folder's playground is not looked for.
    Etcdctl,
    /// What needs no server: snapshots and data directories.
    Etcdutl,
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
            "etcdutl" => Some(Self::Etcdutl),
            _ => None,
        }
    }

    /// The name itself.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Quorate => "quorate",
            Self::Etcd => "etcd",
            Self::Etcdctl => "etcdctl",
            Self::Etcdutl => "etcdutl",
        }
    }

    /// The number of its version.
    pub(super) fn number(self) -> &'static str {
        match self {
            Self::Quorate => OWN_VERSION,
            Self::Etcd | Self::Etcdctl | Self::Etcdutl => ETCD_VERSION,
        }
    }

    /// What it says of its version, and of the API that a client speaks.
    pub(super) fn version(self, api: &str) -> String {
        let number = self.number();
        match self {
            Self::Quorate => format!("quorate version: {number}\nAPI version: {api}"),
            Self::Etcd => format!("etcd Version: {number}\nQuorate Version: {OWN_VERSION}"),
            Self::Etcdctl | Self::Etcdutl => {
                let name = self.name();
                format!(
                    "{name} version: {number}\nAPI version: {api}\nquorate version: {OWN_VERSION}"
                )
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
        assert!(Called::Etcd.version(API).starts_with("etcd Version: 3.6.0\n"));
        assert!(
            Called::Etcdctl.version(API).starts_with("etcdctl version: 3.6.0\nAPI version: 3.6\n")
        );
        assert!(Called::Quorate.version(API).starts_with("quorate version: "));
    }
}
