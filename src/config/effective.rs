//! The settings as they count: all sources merged and checked, every mistake at once, and where each value comes from.

use serde_json::Value;

use super::check::{self, Start};
use super::keys::{KEYS, Key, Settings};
use super::layers::Layers;
use super::mistakes::Mistakes;
use super::sources::{Findings, Sources};

/// What a server would start with.
#[derive(Clone, Debug)]
pub struct Effective {
    /// Every key, in the order of [`KEYS`].
    pub settings: Vec<Setting>,
    pub start: Start,
}

#[derive(Clone, Debug)]
pub struct Setting {
    pub key: &'static Key,
    /// Lists as one text with commas.
    pub value: Value,
    /// `default`, `file:line`, a variable or a flag.
    pub source: String,
}

/// Reads, merges and checks everything a server starts with.
pub fn load(sources: &Sources) -> Result<Start, Mistakes> {
    effective(sources).map(|effective| effective.start)
}

/// The same, with the source of each value.
pub fn effective(sources: &Sources) -> Result<Effective, Mistakes> {
    let mut found = Findings::default();
    let Some(written) = sources.read(&mut found) else { return Err(found.mistakes) };
    let layers = Layers::new(written);
    let (settings, mistaken) = layers.settings(&mut found.mistakes);
    let is_written = |key: &str| layers.place(key).is_some();
    let mut start = match check::check(&settings, &is_written) {
        Ok(start) => found.mistakes.unless_any(start)?,
        Err(more) => {
            // What follows from a key that is told already is told by that.
            let doubtful: Vec<String> = found.meant.into_iter().chain(mistaken).collect();
            for line in more.lines() {
                if !doubtful.iter().any(|key| place_in(line, key).is_some()) {
                    found.mistakes.push(located(line, &layers));
                }
            }
            return Err(found.mistakes);
        }
    };
    let settings = KEYS.iter().map(|key| setting(key, &settings, &start, &layers)).collect();
    start.ignored = found.warnings;
    Ok(Effective { settings, start })
}

fn setting(key: &'static Key, settings: &Settings, start: &Start, layers: &Layers) -> Setting {
    let place = layers.place(key.name);
    let source = |meant: &str| match (&place, meant) {
        (Some(place), "") => place.clone(),
        (Some(place), meant) => format!("{place} ({meant})"),
        (None, "") => "default".to_owned(),
        (None, meant) => format!("default ({meant})"),
    };
    if let Some((value, meant)) = meant(key.name, settings, start) {
        return Setting { key, value, source: source(meant) };
    }
    let all = serde_json::to_value(settings).unwrap_or_default();
    Setting { key, value: all[key.name].clone(), source: source("") }
}

/// What an empty value stands for.
fn meant(key: &str, settings: &Settings, start: &Start) -> Option<(Value, &'static str)> {
    let node = &start.node;
    let joined = |urls: &[crate::transport::Url]| -> String {
        urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    };
    let advertised = joined(&node.advertise_peer_urls);
    match key {
        "data-dir" if settings.data_dir.is_empty() => {
            Some((node.data_dir.display().to_string().into(), "from name"))
        }
        "quota-backend-bytes" if settings.quota_backend_bytes == 0 => {
            Some((node.quota_bytes.unwrap_or_default().into(), "2 GiB"))
        }
        "initial-cluster" if node.srv.is_some() => Some(("".into(), "from discovery-srv")),
        "initial-cluster" if node.meeting.is_some() => Some(("".into(), "from discovery")),
        "discovery-password" if !settings.discovery_password.is_empty() => {
            Some(("***".into(), "not shown"))
        }
        "discovery-user" if settings.discovery_user.contains(':') => {
            let user = settings.discovery_user.split(':').next().unwrap_or_default();
            Some((format!("{user}:***").into(), "password not shown"))
        }
        "discovery" if settings.discovery.contains('@') => {
            let shown = node.meeting.as_ref().map(|it| it.place.cluster_token().to_owned());
            Some((shown.unwrap_or_default().into(), "user not shown"))
        }
        "discovery-proxy" if settings.discovery_proxy.contains('@') => {
            let proxy = node.meeting.as_ref().and_then(|it| it.proxy.as_ref());
            let shown = proxy.map(|(url, _)| url.to_string());
            Some((shown.unwrap_or_default().into(), "user not shown"))
        }
        "initial-cluster" if settings.initial_cluster.0.is_empty() => {
            Some((format!("{}={advertised}", node.name).into(), "this member alone"))
        }
        "initial-advertise-peer-urls"
            if advertised != settings.initial_advertise_peer_urls.to_string() =>
        {
            let is_in_roster = node.roster.members.iter().any(|it| it.name == node.name);
            let meant = if is_in_roster { "from initial-cluster" } else { "from listen-peer-urls" };
            Some((advertised.into(), meant))
        }
        _ => None,
    }
}

/// A mistake with the place of the first key it names that somebody has written.
fn located(line: &str, layers: &Layers) -> String {
    let mut named: Vec<(usize, &Key)> =
        KEYS.iter().filter_map(|key| Some((place_in(line, key.name)?, key))).collect();
    named.sort_by_key(|(at, _)| *at);
    match named.iter().find_map(|(_, key)| layers.place(key.name)) {
        Some(place) => format!("{place}: {line}"),
        None => line.to_owned(),
    }
}

/// Where a line names this very key.
fn place_in(line: &str, key: &str) -> Option<usize> {
    let is_part =
        |char: Option<char>| char.is_some_and(|char| char.is_ascii_alphanumeric() || char == '-');
    line.match_indices(key).map(|(at, _)| at).find(|&at| {
        !is_part(line[..at].chars().next_back()) && !is_part(line[at + key.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::has_server_settings;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn told(environment: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
        let sources =
            Sources { environment: pairs(environment), flags: pairs(flags), ..Sources::default() };
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
            ..Sources::default()
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
            told_of_file("name = 'a'\n\ninitial-clutser = 'x'\nunsafe-no-fsync = true\n"),
            "n.toml:3: unknown key initial-clutser; did you mean initial-cluster?\n\
             n.toml:4: unsafe-no-fsync does nothing here: it would lose acknowledged writes; remove it"
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
            told(&[("ETCD_DISCOVERY", "https://d")], &[]).starts_with(
                "ETCD_DISCOVERY: discovery is \"https://d\", and the token is missing"
            )
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
            load(&sources).unwrap().ignored.into_iter().filter(|it| it.contains("ETCD")).collect();
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

    #[test]
    fn every_mistake_is_told_at_once_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n.toml");
        let text = "nmae = 'n1'\nheartbeat-interval = 'often'\ninitial-cluster-state = 'old'\nsnapshot-count = 1\n";
        std::fs::write(&path, text).unwrap();
        let sources = Sources {
            file: Some(path),
            environment: pairs(&[("ETCD_LISTEN_CLIENT_URLS", "http://127.0.0.1:1")]),
            flags: pairs(&[("log-level", "loud"), ("unsafe-no-fsync", "true")]),
            ..Sources::default()
        };
        let told = load(&sources).unwrap_err().to_string();
        let told = told.replace(&format!("{}/", dir.path().display()), "");
        let lines: Vec<&str> = told.lines().collect();
        for (line, begins) in lines.iter().zip([
            "--unsafe-no-fsync: unsafe-no-fsync does nothing here: it would lose",
            "n.toml:1: unknown key nmae; did you mean name?",
            "n.toml:2: heartbeat-interval is string \"often\"; expected a whole number",
            "ETCD_LISTEN_CLIENT_URLS: advertise-client-urls is required when listen-client-urls",
            "n.toml:3: initial-cluster-state is \"old\"; it is new or existing",
            "--log-level: log-level is \"loud\"",
        ]) {
            assert!(line.starts_with(begins), "{line}");
        }
        assert_eq!(lines.len(), 6, "{told}");
    }

    #[test]
    fn each_value_knows_where_it_comes_from() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n.toml");
        let text = "# x\nname = 'file'\n\nelection-timeout = 500\n[initial-cluster]\nflag = 'http://h:1'\n";
        std::fs::write(&path, text).unwrap();
        let sources = Sources {
            file: Some(path.clone()),
            environment: pairs(&[("QUORATE_HEARTBEAT_INTERVAL", "50"), ("ETCD_MAX_WALS", "5")]),
            flags: pairs(&[("name", "flag")]),
            ..Sources::default()
        };
        let effective = effective(&sources).unwrap();
        let path = path.display();
        let of = |key: &str| {
            let setting = effective.settings.iter().find(|it| it.key.name == key).unwrap();
            (setting.value.clone(), setting.source.clone())
        };
        assert_eq!(of("name"), ("flag".into(), "--name".to_owned()));
        assert_eq!(of("election-timeout"), (500.into(), format!("{path}:4")));
        assert_eq!(of("heartbeat-interval"), (50.into(), "QUORATE_HEARTBEAT_INTERVAL".to_owned()));
        assert_eq!(of("log-format"), ("auto".into(), "default".to_owned()));
        assert_eq!(of("data-dir"), ("flag.etcd".into(), "default (from name)".to_owned()));
        assert_eq!(of("initial-cluster"), ("flag=http://h:1".into(), format!("{path}:5")));
        let advertised = of("initial-advertise-peer-urls");
        assert_eq!(advertised, ("http://h:1".into(), "default (from initial-cluster)".to_owned()));
        assert_eq!(effective.settings.len(), KEYS.len());
        let warned = &effective.start.ignored[0];
        assert!(
            warned.starts_with("ETCD_MAX_WALS is set, and max-wals does nothing here"),
            "{warned}"
        );
    }
}
