//! The layers: defaults < TOML file < environment < flags, through figment.
//!
//! Every layer is looked at before figment merges them, because only then is it known which file line or which
//! variable a mistaken key came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::error::Kind as ErrorKind;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map};
use figment::{Figment, Metadata, Profile, Provider};

use super::check::{self, Start};
use super::keys::{KEYS, Key, Settings, refusal};
use super::mistakes::Mistakes;
use super::nearest::nearest;

/// Where settings are read from. Nothing is read behind its back: a test can hand in any world.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config-file`; ETCD_CONFIG_FILE and QUORATE_CONFIG_FILE count when it is none.
    pub file: Option<PathBuf>,
    /// All variables of the process; others than ETCD_* and QUORATE_* are not looked at.
    pub environment: Vec<(String, String)>,
    /// Key and value, as given.
    pub flags: Vec<(String, String)>,
}

const PREFIXES: [&str; 2] = ["ETCD_", "QUORATE_"];

/// Variables with our prefixes that are no settings of a server.
const FOREIGN: [&str; 3] = ["ETCD_UNSUPPORTED_ARCH", "ETCD_VERIFY", "QUORATE_PLAYGROUND"];

/// Reads, merges and checks everything a server starts with.
pub fn load(sources: &Sources) -> Result<Start, Mistakes> {
    let mut mistakes = Mistakes::default();
    let mut warnings = Vec::new();
    let mut environment = from_environment(&sources.environment, &mut mistakes, &mut warnings);
    let from_variable = environment.remove("config-file").map(|(_, path)| PathBuf::from(path));
    let file = sources.file.clone().or(from_variable);
    let text = match &file {
        Some(path) => read_file(path, &mut mistakes).map_err(|mistake| mistakes.push(mistake)).ok(),
        None => None,
    };
    for (key, _) in &sources.flags {
        if Key::find(key).is_none() {
            mistakes.push(unknown(&format!("--{key}"), key));
        }
    }
    mistakes.unless_any(())?;

    let file = file.zip(text);
    let figment = layers(file.as_ref(), &environment, &sources.flags);
    let settings: Settings = figment.extract_lossy().map_err(|errors| {
        let mut mistakes = Mistakes::default();
        for error in errors {
            mistakes.push(explain(&error, file.as_ref()));
        }
        mistakes
    })?;
    let is_written =
        |key: &str| figment.find_metadata(key).is_some_and(|metadata| metadata.name != DEFAULTS);
    let mut start = check::check(&settings, &is_written)?;
    start.warnings.splice(0..0, warnings);
    Ok(start)
}

fn layers(
    file: Option<&(PathBuf, String)>,
    environment: &Environment,
    flags: &[(String, String)],
) -> Figment {
    let defaults = Serialized::defaults(Settings::default());
    let mut figment = Figment::from(Named::new(DEFAULTS, &defaults));
    if let Some((path, text)) = file {
        figment = figment.merge(Named::new(path.display().to_string(), &Toml::string(text)));
    }
    for (key, (variable, value)) in environment {
        let one = Serialized::default(key, value);
        figment = figment.merge(Named::new(variable.clone(), &one));
    }
    for (key, value) in flags {
        figment = figment.merge(Named::new(format!("--{key}"), &Serialized::default(key, value)));
    }
    figment
}

/// Whether the environment alone says that a server is wanted.
pub fn has_server_settings(environment: &[(String, String)]) -> bool {
    environment.iter().any(|(variable, value)| {
        !value.is_empty()
            && key_of(variable).is_some_and(|key| key == "config-file" || Key::find(&key).is_some())
    })
}

type Environment = BTreeMap<&'static str, (String, String)>;

/// Key -> (variable, value). Two variables that name one key must agree.
fn from_environment(
    variables: &[(String, String)],
    mistakes: &mut Mistakes,
    warnings: &mut Vec<String>,
) -> Environment {
    let mut found = Environment::new();
    let mut sorted: Vec<&(String, String)> = variables.iter().collect();
    sorted.sort();
    for (variable, value) in sorted {
        let Some(key) = key_of(variable) else { continue };
        if value.is_empty() || FOREIGN.contains(&variable.as_str()) {
            continue;
        }
        let known = if key == "config-file" {
            Some("config-file")
        } else {
            Key::find(&key).map(|key| key.name)
        };
        let Some(name) = known else {
            if let Some(why) = refusal(&key) {
                mistakes.push(format!(
                    "{variable} is set, and {key} does nothing here: {why}; unset it"
                ));
            } else if !is_container_noise(variable) {
                warnings.push(unknown_variable(variable, &key));
            }
            continue;
        };
        match found.get(name) {
            Some((other, before)) if before != value => mistakes.push(format!(
                "{other} is {before:?} and {variable} is {value:?}: both mean {name}; unset one of them"
            )),
            Some(_) => {}
            None => {
                found.insert(name, (variable.clone(), value.clone()));
            }
        }
    }
    found
}

/// `ETCD_DATA_DIR` -> `data-dir`.
fn key_of(variable: &str) -> Option<String> {
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

/// What is wrong with a key that `place` names.
fn unknown(place: &str, key: &str) -> String {
    if let Some(why) = refusal(key) {
        return format!("{place}: {key} does nothing here: {why}; remove it");
    }
    let underscored = key.replace('_', "-");
    let right = Key::find(&underscored)
        .map(|key| key.name)
        .or_else(|| nearest(key, KEYS.iter().map(|key| key.name)));
    match right {
        Some(right) => format!("{place}: unknown key {key}; did you mean {right}?"),
        None => format!("{place}: unknown key {key}; config/default.toml lists every key"),
    }
}

/// The file's text, after its syntax and its keys were found to be right.
fn read_file(path: &Path, mistakes: &mut Mistakes) -> Result<String, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read the configuration file {shown}: {error}"))?;
    let document = toml_edit::Document::parse(text.as_str()).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(&text, span.start));
        format!("{shown}:{line}: {}", error.message().replace('\n', ", "))
    })?;
    for (key, _) in document.iter() {
        if Key::find(key).is_none() {
            let line = line_of(&text, &[key.to_owned()]).unwrap_or(1);
            mistakes.push(unknown(&format!("{shown}:{line}"), key));
        }
    }
    Ok(text)
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|&&byte| byte == b'\n').count()
}

/// The line of a key path; of its longest known part.
fn line_of(text: &str, path: &[String]) -> Option<usize> {
    let document = toml_edit::Document::parse(text).ok()?;
    let mut table: &dyn toml_edit::TableLike = document.as_table();
    let mut line = None;
    for part in path {
        let (key, item) = table.get_key_value(part)?;
        if let Some(span) = key.span() {
            line = Some(line_at(text, span.start));
        }
        match item.as_table_like() {
            Some(inner) => table = inner,
            None => break,
        }
    }
    line
}

/// One of figment's errors, with the place a person finds it at.
fn explain(error: &figment::Error, file: Option<&(PathBuf, String)>) -> String {
    let key = error.path.first().map_or("?", String::as_str);
    let mut place = error.metadata.as_ref().map_or_else(String::new, |it| it.name.to_string());
    if let Some((path, text)) = file.filter(|(path, _)| path.display().to_string() == place) {
        let line = line_of(text, &error.path).unwrap_or(1);
        place = format!("{}:{line}", path.display());
    }
    let expected = Key::find(key).map_or("another type", Key::expected);
    match &error.kind {
        ErrorKind::InvalidType(found, _) | ErrorKind::InvalidValue(found, _) => {
            format!("{place}: {key} is {found}; expected {expected}")
        }
        other => format!("{place}: {key}: {other}; expected {expected}"),
    }
}

const DEFAULTS: &str = "defaults";

/// A layer that says its name as a person knows it: a file's path, a variable, a flag.
struct Named {
    name: String,
    data: Result<Map<Profile, Dict>, Box<figment::Error>>,
}

impl Named {
    fn new(name: impl Into<String>, layer: &impl Provider) -> Self {
        Self { name: name.into(), data: layer.data().map_err(Box::new) }
    }
}

impl Provider for Named {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        self.data.clone().map_err(|error| *error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn told(environment: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
        let sources = Sources { file: None, environment: pairs(environment), flags: pairs(flags) };
        load(&sources).unwrap_err().to_string()
    }

    fn told_of_file(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n.toml");
        std::fs::write(&path, text).unwrap();
        let sources = Sources { file: Some(path), ..Sources::default() };
        let told = load(&sources).unwrap_err().to_string();
        told.replace(&format!("{}/", dir.path().display()), "")
    }

    #[test]
    fn flags_beat_environment_beats_file_beats_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n.toml");
        let text = "name = 'file'\nheartbeat-interval = 50\nelection-timeout = 500\n";
        std::fs::write(&path, text).unwrap();
        let sources = Sources {
            file: Some(path),
            environment: pairs(&[("ETCD_NAME", "variable"), ("QUORATE_ELECTION_TIMEOUT", "600")]),
            flags: pairs(&[("name", "flag")]),
        };
        let node = load(&sources).unwrap().node;
        assert_eq!(node.name, "flag");
        assert_eq!(node.election_timeout.as_millis(), 600);
        assert_eq!(node.heartbeat_interval.as_millis(), 50);
        assert_eq!(node.data_dir, PathBuf::from("flag.etcd"));
    }

    #[test]
    fn two_variables_of_one_key_must_agree() {
        let same = [("ETCD_NAME", "a"), ("QUORATE_NAME", "a")];
        let sources = Sources { environment: pairs(&same), ..Sources::default() };
        assert_eq!(load(&sources).unwrap().node.name, "a");
        assert_eq!(
            told(&[("ETCD_NAME", "a"), ("QUORATE_NAME", "b")], &[]),
            "ETCD_NAME is \"a\" and QUORATE_NAME is \"b\": both mean name; unset one of them"
        );
    }

    #[test]
    fn a_mistaken_line_of_a_file_is_named_and_mended() {
        assert_eq!(
            told_of_file("name = 'a'\n\ninitial-clutser = 'x'\nwal-dir = '/x'\n"),
            "n.toml:3: unknown key initial-clutser; did you mean initial-cluster?\n\
             n.toml:4: wal-dir does nothing here: the log lies inside the data directory, in wal/: \
             put data-dir on the fast disk; remove it"
        );
        assert_eq!(
            told_of_file("\nelection-timeout = '1s'\n"),
            "n.toml:2: election-timeout is string \"1s\"; expected a whole number"
        );
        assert_eq!(
            told_of_file("# x\ninitial-cluster = 'https://h:1'\n"),
            "n.toml:2: initial-cluster: \"https://h:1\" is not name=url; \
             expected \"name=url,name=url\", or a table of name = url"
        );
        assert!(told_of_file("name = \n").starts_with("n.toml:1: "));
        assert_eq!(
            told_of_file("data_dir = 'x'\n"),
            "n.toml:1: unknown key data_dir; did you mean data-dir?"
        );
    }

    #[test]
    fn a_mistaken_variable_or_flag_is_named() {
        assert_eq!(
            told(&[("ETCD_ELECTION_TIMEOUT", "1s")], &[]),
            "ETCD_ELECTION_TIMEOUT: election-timeout is string \"1s\"; expected a whole number"
        );
        assert_eq!(
            told(&[], &[("client-cert-auth", "maybe")]),
            "--client-cert-auth: client-cert-auth is string \"maybe\"; expected true or false"
        );
        assert!(
            told(&[("ETCD_DISCOVERY", "https://d")], &[]).contains("discovery is not built yet")
        );
    }

    #[test]
    fn an_unknown_variable_is_a_warning_and_container_noise_is_not() {
        let environment = pairs(&[
            ("ETCD_NMAE", "a"),
            ("ETCD_PORT_2379_TCP", "tcp://10.0.0.1:2379"),
            ("ETCD_SERVICE_HOST", "10.0.0.1"),
            ("ETCDCTL_ENDPOINTS", "x"),
        ]);
        assert!(!has_server_settings(&environment));
        let sources = Sources { environment, ..Sources::default() };
        let told: Vec<String> =
            load(&sources).unwrap().warnings.into_iter().filter(|it| it.contains("ETCD")).collect();
        assert_eq!(told, ["ETCD_NMAE is no setting and is ignored; did you mean ETCD_NAME?"]);
        assert!(has_server_settings(&pairs(&[("QUORATE_DATA_DIR", "/x")])));
    }

    #[test]
    fn the_initial_cluster_may_be_a_table() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n.toml");
        let text =
            "name = 'n2'\n[initial-cluster]\nn1 = 'http://h:1'\nn2 = ['http://localhost:2380']\n";
        std::fs::write(&path, text).unwrap();
        let node = load(&Sources { file: Some(path), ..Sources::default() }).unwrap().node;
        let names: Vec<&str> = node.roster.members.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["n1", "n2"]);
    }
}
