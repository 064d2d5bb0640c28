//! Names that etcd has, or had, for settings that are keys here.

use super::keys::{Key, Kind};

/// Keys that etcd called `experimental-` before.
const EXPERIMENTAL: &[&str] = &[
    "watch-progress-notify-interval",
    "max-learners",
    "bootstrap-defrag-threshold-megabytes",
    "corrupt-check-time",
    "initial-corrupt-check",
];

/// etcd 2's: an authority alone, which meant that clients need a certificate of it; so it is with the keys of today.
const OLDER: &[(&str, &str)] =
    &[("ca-file", "trusted-ca-file"), ("peer-ca-file", "peer-trusted-ca-file")];

/// The key and the value that another name of it stands for; none for what is no other name of a key.
pub(super) fn meant(name: &str, value: &str) -> Option<(&'static str, String)> {
    if name == "debug" {
        // 3.4's switch.
        return ["true", "1", "t", "T", "TRUE", "True"]
            .contains(&value)
            .then(|| ("log-level", "debug".to_owned()));
    }
    let bare = name.strip_prefix("experimental-").filter(|bare| EXPERIMENTAL.contains(bare));
    let older = OLDER.iter().find(|(older, _)| *older == name).map(|(_, key)| *key);
    let key = Key::find(bare.or(older)?)?;
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let is_time = bare.is_some() && key.kind == Kind::Text;
    let value = if is_time && is_number { format!("{value}ns") } else { value.to_owned() };
    Some((key.name, value))
}

/// All of them.
pub fn other_names() -> impl Iterator<Item = String> {
    let experimental = EXPERIMENTAL.iter().map(|key| format!("experimental-{key}"));
    let older = OLDER.iter().map(|(older, _)| (*older).to_owned());
    experimental.chain(older).chain(["debug".to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_of_a_key() {
        for name in other_names() {
            assert!(Key::find(&name).is_none() && meant(&name, "true").is_some(), "{name}");
        }
        assert_eq!(meant("debug", "true"), Some(("log-level", "debug".to_owned())));
        assert_eq!((meant("debug", "false"), meant("name", "x")), (None, None));
    }
}
