//! `serve`: one member, from its settings to its last checkpoint.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::thread;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};
use tokio::sync::oneshot;

use crate::config::{self, KEYS, Kind, Sources};
use crate::node::{Config, Running, Stopped};
use crate::transport::{Listener, Url};

use super::exit::{Code, Exit};
use super::logging;
use super::profile::SERVE_DIR;
use super::selfmade::{self, CERTS};

/// The server's flags: one for each key of the settings.
#[derive(Clone, Debug, Default)]
pub(super) struct Serve {
    config_file: Option<PathBuf>,
    flags: Vec<(String, String)>,
}

impl Args for Serve {
    fn augment_args(command: clap::Command) -> clap::Command {
        let file = Arg::new("config-file")
            .long("config-file")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("Settings as TOML; config/default.toml lists them all");
        let mut command = command.arg(file);
        for key in KEYS {
            let arg = Arg::new(key.name)
                .long(key.name)
                .help(key.help.trim())
                .help_heading(key.section.title())
                .allow_hyphen_values(key.kind == Kind::Number)
                .action(ArgAction::Set);
            command = command.arg(match key.kind {
                Kind::Switch => arg
                    .value_name("BOOL")
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true"),
                Kind::Number => arg.value_name("N"),
                Kind::List => arg.value_name("LIST"),
                Kind::Initial => arg.value_name("NAME=URL,.."),
                Kind::Text => arg.value_name("TEXT"),
            });
        }
        for name in config::answered() {
            let arg = Arg::new(name.clone()).long(name).hide(true).num_args(0..=1);
            command = command.arg(arg.default_missing_value("true").action(ArgAction::Set));
        }
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Serve {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut serve = Self::default();
        serve.update_from_arg_matches(matches)?;
        Ok(serve)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config_file = matches.get_one::<PathBuf>("config-file").cloned();
        self.flags = KEYS
            .iter()
            .map(|key| key.name.to_owned())
            .chain(config::answered())
            .filter_map(|name| {
                let value = matches.get_one::<String>(&name)?.clone();
                Some((name, value))
            })
            .collect();
        Ok(())
    }
}

impl Serve {
    /// Nobody has set anything.
    pub(super) fn is_plain(&self, environment: &[(String, String)]) -> bool {
        self.config_file.is_none()
            && self.flags.is_empty()
            && !config::has_server_settings(environment)
    }

    pub(super) fn sources(&self, environment: &[(String, String)]) -> Sources {
        Sources {
            file: self.config_file.clone(),
            environment: environment.to_vec(),
            flags: self.flags.clone(),
        }
    }

    /// `is_etcd`: without a setting it starts as etcd does, and not as we would have it.
    pub(super) fn run(self, environment: &[(String, String)], is_etcd: bool) -> Result<(), Exit> {
        let is_plain = !is_etcd && self.is_plain(environment);
        let mut start = config::load(&self.sources(environment))
            .map_err(|mistakes| Exit::new(Code::InvalidInput, mistakes.to_string()))?;
        logging::start(&start.logging);
        if is_plain {
            start.node = plain(Path::new(SERVE_DIR))?;
            // They are of settings that are not used now.
            start.warnings.clear();
        }
        for warning in start.ignored.iter().chain(&start.warnings) {
            tracing::warn!("{warning}");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let Some(node) = runtime.block_on(started(start.node))? else { return Ok(()) };
        let stopped = runtime.block_on(serving(&node));
        node.drain();
        match stopped {
            None => Ok(()),
            Some(Stopped::Removed) => {
                tracing::warn!("the member has been permanently removed from the cluster");
                Ok(())
            }
            Some(Stopped::Fault(text)) => Err(Exit::error(text)),
        }
    }
}

/// The member, as soon as it is there; none if somebody asks to stop before, for others may be waited for without an end.
/// A start that is left in the middle is as one that was killed.
async fn started(config: Config) -> Result<Option<Running>, Exit> {
    let (tell, told) = oneshot::channel();
    thread::Builder::new().name("start".to_owned()).spawn(move || {
        // Nobody listens any more once somebody has asked to stop.
        let _ = tell.send(Running::start(config));
    })?;
    tokio::select! {
        started = told => match started {
            Ok(started) => started.map(Some).map_err(|error| Exit::error(error.to_string())),
            Err(_) => Err(Exit::error("the start panicked")),
        },
        signal = asked_to_stop() => {
            tracing::info!(signal, "asked to stop");
            Ok(None)
        }
    }
}

/// Until somebody asks to stop (none), or the member stops by itself.
pub(super) async fn serving(node: &Running) -> Option<Stopped> {
    let tell_when_ready = async {
        node.ready().await;
        tracing::info!(name = node.name(), "ready to serve client requests");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        stopped = node.stopped() => Some(stopped),
        signal = asked_to_stop() => {
            tracing::info!(signal, "asked to stop");
            None
        }
        () = tell_when_ready => None,
        () = reload_on_hangup(node) => None,
    }
}

/// SIGHUP: the certificate files are read again; unless a terminal hangs up, which ends the server as it ever did.
async fn reload_on_hangup(node: &Running) {
    use tokio::signal::unix::{SignalKind, signal};
    if std::io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    match signal(SignalKind::hangup()) {
        Ok(mut hangups) => {
            while hangups.recv().await.is_some() {
                tracing::info!("asked to read the certificate files again");
                node.reload();
            }
        }
        Err(error) => tracing::warn!(%error, "cannot listen for SIGHUP: it will end this member"),
    }
    std::future::pending().await
}

/// Without a single setting: one member, one port for everything, mutual TLS with certificates that it makes.
fn plain(dir: &Path) -> Result<Config, Exit> {
    let certs = dir.join(CERTS);
    selfmade::certificates(&certs)?;
    let endpoint = "https://127.0.0.1:2379";
    let unwritable =
        |error| Exit::new(Code::Io, format!("cannot write into {}: {error}", dir.display()));
    selfmade::profile(vec![endpoint.to_owned()]).write(dir).map_err(unwritable)?;
    let parsed: Result<Url, _> = endpoint.parse();
    let urls: Vec<Url> = parsed.into_iter().collect();
    let mut config = Config::new("default", dir);
    config.listeners =
        Listener::of(&urls, &urls).map_err(|error| Exit::error(error.to_string()))?;
    config.advertise_peer_urls.clone_from(&urls);
    config.advertise_client_urls = urls;
    config.keychain = selfmade::keychain(&certs);
    Ok(config)
}

/// SIGINT or SIGTERM.
pub(super) async fn asked_to_stop() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::warn!(%error, "cannot listen for SIGTERM");
            std::future::pending().await
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}

/// Whether a word, without its dashes, is a flag of the server: a setting, or one of etcd's that is answered.
pub(super) fn is_flag(word: &str) -> bool {
    let name = word.split('=').next().unwrap_or_default();
    name == "config-file" || config::Key::find(name).is_some() || config::answer(name).is_some()
}

/// Go's `-name value` beside `--name value`.
pub(super) fn without_single_dashes(words: Vec<OsString>) -> Vec<OsString> {
    words
        .into_iter()
        .map(|word| match word.to_str().and_then(|word| word.strip_prefix('-')) {
            Some(name) if is_flag(name) => OsString::from(format!("--{name}")),
            _ => word,
        })
        .collect()
}
