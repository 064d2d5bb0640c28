//! What was written, and where: a TOML file, variables, flags. Every key is looked at here, before the layers are one,
//! because only now is it known which line, variable or flag a mistaken key came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::keys::{KEYS, Key, Kind};
use super::layers::{line_at, line_of};
use super::mistakes::Mistakes;
use super::nearest::nearest;
use super::other_names::meant;
use super::types::switch;
use super::unbuilt::{Answer, answer_to};

/// Where settings are read from. Nothing is read behind its back: a test can hand in any world.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config-file`; ETCD_CONFIG_FILE and QUORATE_CONFIG_FILE count when it is none.
    pub file: Option<PathBuf>,
    /// All variables of the process; others than ETCD_* and QUORATE_* are not looked at.
    pub environment: Vec<(String, String)>,
    /// Key and value, as given.
    pub flags: Vec<(String, String)>,
    pub rules: Rules,
}

/// Which source counts where several speak.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Rules {
    /// A TOML file < variables < flags.
    #[default]
    Quorate,
    /// Those of the program `etcd`.
    Etcd,
}

/// Key -> (variable, value).
pub(super) type Environment = BTreeMap<&'static str, (String, String)>;

/// The known keys of every source.
#[derive(Default)]
pub(super) struct Written {
    pub(super) file: Option<(PathBuf, Text)>,
    pub(super) environment: Environment,
    pub(super) flags: Vec<(String, String)>,
}

/// What a file says.
pub(super) enum Text {
    Toml(String),
    /// Keys with their lines and values.
    Yaml(Vec<(&'static str, usize, serde_json::Value)>),
}

/// What was found on the way.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) mistakes: Mistakes,
    pub(super) warnings: Vec<String>,
    /// Keys that somebody probably meant to write.
    pub(super) meant: Vec<String>,
}

impl Findings {
    /// `place` names a key that is none.
    pub(super) fn no_key(&mut self, place: &str, key: &str, value: &str) {
        match answer_to(key, value) {
            Some(Answer::Refused(why)) => {
                self.mistakes.push(format!("{place}: {key} does nothing here: {why}; remove it"));
            }
            Some(Answer::WithoutEffect(why)) => {
                self.warnings.push(format!("{place}: {key} does nothing here: {why}"));
            }
            None => {
                let underscored = key.replace('_', "-");
                let right = Key::find(&underscored)
                    .map(|key| key.name)
                    .or_else(|| nearest(key, KEYS.iter().map(|key| key.name)));
                self.meant.extend(right.map(str::to_owned));
                self.mistakes.push(match right {
                    Some(right) => format!("{place}: unknown key {key}; did you mean {right}?"),
                    None => {
                        format!("{place}: unknown key {key}; config/default.toml lists every key")
                    }
                });
            }
        }
    }
}

const PREFIXES: [&str; 2] = ["ETCD_", "QUORATE_"];

/// Variables with our prefixes that are no settings of a server.
const FOREIGN: [&str; 3] = ["ETCD_UNSUPPORTED_ARCH", "ETCD_VERIFY", "QUORATE_PLAYGROUND"];

impl Sources {
    /// Everything with a known key; the rest is found to be wrong. None if there is a file that cannot be read at all.
    pub(super) fn read(&self, found: &mut Findings) -> Option<Written> {
        if self.rules == Rules::Etcd {
            return super::etcd::read(self, found);
        }
        let mut environment = from_environment(&self.environment, found);
        let from_variable = environment.remove("config-file").map(|(_, path)| PathBuf::from(path));
        let flags = known_flags(&self.flags, found);
        let file = match self.file.clone().or(from_variable) {
            None => None,
            Some(path) => match read_toml(&path, found) {
                Ok(text) => Some((path, text)),
                Err(mistake) => {
                    found.mistakes.push(mistake);
                    return None;
                }
            },
        };
        Some(Written { file, environment, flags })
    }
}

/// Those flags that are keys, by whatever name; the others are told.
pub(super) fn known_flags(
    flags: &[(String, String)],
    found: &mut Findings,
) -> Vec<(String, String)> {
    let mut known = Vec::new();
    for (name, value) in flags {
        if let Some((key, value)) = meant(name, value) {
            known.push((key.to_owned(), value));
        } else if let Some(key) = Key::find(name) {
            known.push((name.clone(), as_written(key, value)));
        } else if !(name == "debug" && switch(value) == Some(false)) {
            found.no_key(&format!("--{name}"), name, value);
        }
    }
    known
}

/// Go's words for a switch become ours.
fn as_written(key: &Key, value: &str) -> String {
    match switch(value).filter(|_| key.kind == Kind::Switch) {
        Some(switch) => switch.to_string(),
        None => value.to_owned(),
    }
}

/// Whether the environment alone says that a server is wanted.
pub fn has_server_settings(environment: &[(String, String)]) -> bool {
    environment.iter().any(|(variable, value)| {
        !value.is_empty()
            && key_of(variable).is_some_and(|key| key == "config-file" || Key::find(&key).is_some())
    })
}

/// Key -> (variable, value). Two variables that name one key must agree.
pub(super) fn from_environment(
    variables: &[(String, String)],
    findings: &mut Findings,
) -> Environment {
    let mut found = Environment::new();
    let mut sorted: Vec<&(String, String)> = variables.iter().collect();
    sorted.sort();
    for (variable, value) in sorted {
        let Some(key) = key_of(variable) else { continue };
        if value.is_empty() || FOREIGN.contains(&variable.as_str()) {
            continue;
        }
        let known = match (key.as_str(), meant(&key, value), Key::find(&key)) {
            ("config-file", ..) => Some(("config-file", value.clone())),
            (_, Some(meant), _) => Some(meant),
            (_, None, Some(key)) => Some((key.name, as_written(key, value))),
            _ => None,
        };
        let Some((name, value)) = known else {
            match answer_to(&key, value) {
                Some(Answer::Refused(why)) => findings.mistakes.push(format!(
                    "{variable} is set, and {key} does nothing here: {why}; unset it"
                )),
                Some(Answer::WithoutEffect(why)) => findings
                    .warnings
                    .push(format!("{variable} is set, and {key} does nothing here: {why}")),
                None if is_container_noise(variable) => {}
                None => findings.warnings.push(unknown_variable(variable, &key)),
            }
            continue;
        };
        match found.get(name) {
            Some((other, before)) if *before != value => findings.mistakes.push(format!(
                "{other} is {before:?} and {variable} is {value:?}: both mean {name}; unset one of them"
            )),
            Some(_) => {}
            None => {
                found.insert(name, (variable.clone(), value));
            }
        }
    }
    found
}

/// `ETCD_DATA_DIR` -> `data-dir`.
pub(super) fn key_of(variable: &str) -> Option<String> {
    let rest = PREFIXES.iter().find_map(|prefix| variable.strip_prefix(prefix))?;
    Some(rest.to_ascii_lowercase().replace('_', "-"))
}

/// Kubernetes and Docker describe services named etcd by such variables.
fn is_container_noise(variable: &str) -> bool {
    variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || variable.ends_with("_PORT")
        || variable.contains("_PORT_")
}

fn unknown_variable(variable: &str, key: &str) -> String {
    let prefix = &variable[..variable.find('_').map_or(0, |end| end + 1)];
    match nearest(key, KEYS.iter().map(|key| key.name)) {
        Some(right) => {
            let right = right.to_ascii_uppercase().replace('-', "_");
            format!("{variable} is no setting and is ignored; did you mean {prefix}{right}?")
        }
        None => format!("{variable} is no setting and is ignored"),
    }
}

/// The file's text, after its syntax was found to be right and its keys were looked at.
pub(super) fn read_toml(path: &Path, found: &mut Findings) -> Result<Text, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read the configuration file {shown}: {error}"))?;
    let document = toml_edit::Document::parse(text.as_str()).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(&text, span.start));
        format!("{shown}:{line}: {}", error.message().replace('\n', ", "))
    })?;
    for (key, item) in document.iter() {
        if Key::find(key).is_none() {
            let line = line_of(&text, &[key.to_owned()]).unwrap_or(1);
            let value = item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            found.no_key(&format!("{shown}:{line}"), key, value.trim());
        }
    }
    Ok(Text::Toml(text))
}
