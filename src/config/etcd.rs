//! What counts where the program is called `etcd`: a configuration file alone, or flags and variables that do not speak of
//! the same setting. The file is YAML or JSON; one that ends in `.toml` is ours.

use std::path::{Path, PathBuf};

use super::keys::{Key, Kind};
use super::nearest::nearest;
use super::other_names::meant;
use super::sources::{
    Findings, Sources, Text, Written, from_environment, key_of, known_flags, read_toml,
};
use super::unbuilt::{Answer, answer_to};
use super::yaml::{self, Entry};

/// etcd's own words: scripts look for them.
const SHADOWED: &str = "is shadowed by corresponding command-line flag (either unset environment variable or disable flag))";

/// Times of the file, which are numbers of nanoseconds there.
const TIMES: [&str; 7] = [
    "grpc-keepalive-interval",
    "grpc-keepalive-timeout",
    "watch-progress-notify-interval",
    "discovery-dial-timeout",
    "discovery-request-timeout",
    "discovery-keepalive-time",
    "discovery-keepalive-timeout",
];

/// As [`Sources::read`], by etcd's rules.
pub(super) fn read(sources: &Sources, found: &mut Findings) -> Option<Written> {
    match sources.file.clone().or_else(|| named_by_variable(&sources.environment)) {
        Some(path) => read_file_alone(sources, path, found),
        None => {
            for (variable, _) in &sources.environment {
                let Some(key) = variable.strip_prefix("ETCD_").and_then(|_| key_of(variable))
                else {
                    continue;
                };
                if sources.flags.iter().any(|(flag, _)| *flag == key) {
                    found
                        .mistakes
                        .push(format!("conflicting environment variable {variable} {SHADOWED}"));
                }
            }
            let environment = from_environment(&sources.environment, found);
            let flags = known_flags(&sources.flags, found);
            Some(Written { file: None, environment, flags })
        }
    }
}

fn named_by_variable(environment: &[(String, String)]) -> Option<PathBuf> {
    let named = |name: &str| {
        environment.iter().find(|(variable, value)| variable == name && !value.is_empty())
    };
    let (_, path) = named("ETCD_CONFIG_FILE").or_else(|| named("QUORATE_CONFIG_FILE"))?;
    Some(PathBuf::from(path))
}

fn read_file_alone(sources: &Sources, path: PathBuf, found: &mut Findings) -> Option<Written> {
    let flags = sources.flags.iter().map(|(flag, _)| format!("--{flag}"));
    let is_setting = |variable: &str| {
        key_of(variable).is_some_and(|key| Key::find(&key).is_some() || meant(&key, "").is_some())
    };
    let variables = sources.environment.iter().map(|(variable, _)| variable.clone());
    let ignored: Vec<String> = flags.chain(variables.filter(|it| is_setting(it))).collect();
    if !ignored.is_empty() {
        let shown = path.display();
        found
            .warnings
            .push(format!("{shown} counts alone, as in etcd: {} ignored", ignored.join(", ")));
    }
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    let text = if is_toml { read_toml(&path, found) } else { read_yaml(&path, found) };
    match text {
        Ok(text) => Some(Written { file: Some((path, text)), ..Written::default() }),
        Err(mistake) => {
            found.mistakes.push(mistake);
            None
        }
    }
}

fn read_yaml(path: &Path, found: &mut Findings) -> Result<Text, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read the configuration file {shown}: {error}"))?;
    let entries = yaml::read(&text).map_err(|(line, what)| format!("{shown}:{line}: {what}"))?;
    let mut known = Vec::new();
    for entry in entries {
        let place = format!("{shown}:{}", entry.line);
        let said = said(&entry);
        if let Some((name, said)) = meant(&entry.key, &said) {
            let key = Key::find(name);
            let value = key.map(|key| value_of(key, &entry, said.clone()));
            known.push((name, entry.line, value.unwrap_or_else(|| said.into())));
        } else if let Some(key) = Key::find(&entry.key) {
            known.push((key.name, entry.line, value_of(key, &entry, said)));
        } else {
            match answer_to(&entry.key, &said) {
                Some(Answer::Refused(_)) => found.no_key(&place, &entry.key, &said),
                Some(Answer::WithoutEffect(why)) => {
                    found.warnings.push(format!("{place}: {} does nothing here: {why}", entry.key))
                }
                // etcd passes over it without a word.
                None => found.warnings.push(unknown(&place, &entry.key)),
            }
        }
    }
    Ok(Text::Yaml(known))
}

fn unknown(place: &str, key: &str) -> String {
    match nearest(key, super::keys::KEYS.iter().map(|key| key.name)) {
        Some(right) => {
            format!("{place}: {key} is no setting and is ignored; did you mean {right}?")
        }
        None => format!("{place}: {key} is no setting and is ignored"),
    }
}

/// As a flag would have it.
fn said(entry: &Entry) -> String {
    match &entry.value {
        yaml::Written::One(text) => text.clone(),
        yaml::Written::Many(texts) => texts.join(","),
    }
}

fn value_of(key: &Key, entry: &Entry, said: String) -> serde_json::Value {
    let is_number = !said.is_empty() && said.bytes().all(|byte| byte.is_ascii_digit());
    match (key.kind, &entry.value) {
        (Kind::Number, _) => said.parse::<i64>().map_or_else(|_| said.into(), Into::into),
        (Kind::Switch, _) => match said.as_str() {
            // YAML's older words for them, which etcd's reader knows.
            "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => true.into(),
            "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
                false.into()
            }
            _ => said.into(),
        },
        (Kind::List, yaml::Written::Many(texts)) => texts.clone().into(),
        (Kind::Text, _) if is_number && TIMES.contains(&key.name) => format!("{said}ns").into(),
        _ => said.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sources::Rules;
    use super::super::{Start, load};
    use super::*;

    fn start(
        file: Option<&str>,
        environment: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<Start, String> {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etcd.conf.yml");
        if let Some(text) = file {
            std::fs::write(&path, text).unwrap();
        }
        let file = file.map(|_| path);
        let sources = Sources {
            file,
            environment: pairs(environment),
            flags: pairs(flags),
            rules: Rules::Etcd,
        };
        let told = load(&sources).map_err(|mistakes| mistakes.to_string());
        told.map_err(|text| text.replace(&format!("{}/", dir.path().display()), ""))
    }

    #[test]
    fn a_variable_and_a_flag_of_one_setting_are_one_too_many() {
        let told = start(None, &[("ETCD_NAME", "")], &[("name", "b")]).unwrap_err();
        assert!(
            told.starts_with("conflicting environment variable ETCD_NAME is shadowed by"),
            "{told}"
        );
        let told = start(None, &[("ETCD_NAME", "a")], &[("data-dir", "x")]).unwrap();
        assert_eq!((told.node.name.as_str(), told.node.data_dir.to_str()), ("a", Some("x")));
    }

    #[test]
    fn a_file_counts_alone() {
        let text = "name: n1\nheartbeat-interval: 50\nelection-timeout: 500\ngrpc-keepalive-interval: 7200000000000\n\
                    pre-vote: yes\nunheard-of: 1\nexperimental-max-learners: 2\nexperimental-watch-progress-notify-interval: 5000000000\n";
        let start = start(Some(text), &[("ETCD_NAME", "a")], &[("data-dir", "x")]).unwrap();
        assert_eq!(start.node.name, "n1");
        assert_eq!(start.node.data_dir.to_str(), Some("n1.etcd"));
        assert_eq!(start.node.election_timeout.as_millis(), 500);
        assert_eq!(start.node.tcp.keep_alive.map(|it| it.as_secs()), Some(7_200));
        assert_eq!((start.node.watch_progress_interval.as_secs(), start.node.learners_max), (5, 2));
        let told = start.ignored.join("\n");
        assert!(told.contains("--data-dir, ETCD_NAME ignored"), "{told}");
        assert!(told.contains(":6: unheard-of is no setting and is ignored"), "{told}");
    }

    #[test]
    fn a_mistake_in_a_file_has_its_line() {
        let told = |text| start(Some(text), &[], &[]).unwrap_err();
        assert_eq!(
            told("name: n1\n\nelection-timeout: 1s\n"),
            "etcd.conf.yml:3: election-timeout is string \"1s\"; expected a whole number"
        );
        assert!(told("name: [a\n").starts_with("etcd.conf.yml:2: "));
        assert!(told("unsafe-no-fsync: true\n").contains("it would lose acknowledged writes"));
    }
}
