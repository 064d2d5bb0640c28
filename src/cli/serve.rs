//! `serve`: one member, from its settings to its last checkpoint.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::thread;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::oneshot;

use crate::config::{self, KEYS, Kind, Sources, Start};
use crate::node::{Config, Running, Stopped};
use crate::transport::{Listener, Url};

use super::exit::{Code, Exit};
use super::profile::SERVE_DIR;
use super::selfmade::{self, CERTS};
use super::{logging, notify};

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
        for name in unlisted() {
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
            .chain(unlisted())
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
            ..Sources::default()
        }
    }

    pub(super) fn run(self, environment: &[(String, String)]) -> Result<(), Exit> {
        let is_plain = self.is_plain(environment);
        let mut start = config::load(&self.sources(environment))
            .map_err(|mistakes| Exit::new(Code::InvalidInput, mistakes.to_string()))?;
        logging::start(&start.logging)?;
        if is_plain {
            start.node = plain(Path::new(SERVE_DIR))?;
            // They are of settings that are not used now.
            start.warnings.clear();
        }
        run_to_its_end(start).map(|_| ())
    }
}

/// From the first port that is opened to the last checkpoint; the signal that asked for it, if one did.
pub(super) fn run_to_its_end(start: Start) -> Result<Option<Asked>, Exit> {
    for warning in start.ignored.iter().chain(&start.warnings) {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let node = match runtime.block_on(started(start.node))? {
        Ok(node) => node,
        Err(asked) => return Ok(Some(asked)),
    };
    let end = runtime.block_on(serving(&node));
    notify::tell("STOPPING=1");
    if matches!(end, End::Asked(_)) {
        give_up_when_asked_again();
    }
    node.drain();
    match end {
        End::Asked(asked) => Ok(Some(asked)),
        End::Stopped(Stopped::Removed) => {
            tracing::warn!("the member has been permanently removed from the cluster");
            Ok(None)
        }
        End::Stopped(Stopped::Fault(text)) => Err(Exit::error(text)),
    }
}

/// Why a member does not serve any more.
pub(super) enum End {
    Asked(Asked),
    Stopped(Stopped),
}

/// A signal that asks to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    Interrupt,
    Terminate,
}

impl Asked {
    const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// Ends the process as this signal ends one that does not listen for it. Returns if that is not to be had: the first
    /// process of a container cannot be ended so.
    pub(super) fn die(self) {
        let number = match self {
            Self::Interrupt => signal_hook::consts::SIGINT,
            Self::Terminate => signal_hook::consts::SIGTERM,
        };
        if std::process::id() != 1 {
            // It returns where the signal could not be sent: then there is an exit code.
            let _ = signal_hook::low_level::emulate_default_handler(number);
        }
    }
}

/// Whoever asks twice does not want to wait.
fn give_up_when_asked_again() {
    let wait = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime {
            let asked = runtime.block_on(asked_to_stop());
            tracing::warn!("asked again: stopping at once; the log has everything");
            asked.die();
        }
    };
    // Without the thread one waits for the end, which comes anyway.
    let _ = thread::Builder::new().name("asked-again".to_owned()).spawn(wait);
}

/// The member, as soon as it is there; none if somebody asks to stop before, for others may be waited for without an end.
/// A start that is left in the middle is as one that was killed.
async fn started(config: Config) -> Result<Result<Running, Asked>, Exit> {
    open_many_files();
    let (tell, told) = oneshot::channel();
    thread::Builder::new().name("start".to_owned()).spawn(move || {
        // Nobody listens any more once somebody has asked to stop.
        let _ = tell.send(Running::start(config));
    })?;
    tokio::select! {
        started = told => match started {
            Ok(started) => started.map(Ok).map_err(|error| Exit::error(error.to_string())),
            Err(_) => Err(Exit::error("the start panicked")),
        },
        asked = asked_to_stop() => {
            tracing::info!(signal = asked.name(), "asked to stop");
            Ok(Err(asked))
        }
    }
}

/// As many as the system lets this process have, which is what Go's programs take: each connection of TCP is one, and bounds
/// leave some for the member (`transport::Bounds`).
fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if let Err(error) = raised {
        let most = limit.current.unwrap_or(u64::MAX);
        tracing::warn!(%error, most, "cannot raise the number of files that may be open; there is room for fewer clients");
    }
}

/// Until somebody asks to stop, or the member stops by itself.
pub(super) async fn serving(node: &Running) -> End {
    let tell_when_ready = async {
        node.ready().await;
        tracing::info!(name = node.name(), "ready to serve client requests");
        notify::tell("READY=1");
        std::future::pending().await
    };
    tokio::select! {
        stopped = node.stopped() => End::Stopped(stopped),
        asked = asked_to_stop() => {
            tracing::info!(signal = asked.name(), "asked to stop");
            End::Asked(asked)
        }
        end = tell_when_ready => end,
        end = reload_on_hangup(node) => end,
    }
}

/// SIGHUP: the certificate files are read again; unless a terminal hangs up, which ends the server as it ever did.
async fn reload_on_hangup(node: &Running) -> End {
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
pub(super) async fn asked_to_stop() -> Asked {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::warn!(%error, "cannot listen for SIGTERM");
            std::future::pending().await
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => Asked::Interrupt,
        _ = terminate.recv() => Asked::Terminate,
    }
}

/// Flags that no help shows: etcd's that are answered, and its other names of settings.
fn unlisted() -> impl Iterator<Item = String> {
    config::answered().chain(config::other_names())
}

/// Whether a word, without its dashes, is a flag of the server: a setting, or one of etcd's that is answered.
pub(super) fn is_flag(word: &str) -> bool {
    let name = word.split('=').next().unwrap_or_default();
    name == "config-file"
        || config::Key::find(name).is_some()
        || unlisted().any(|other| other == name)
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
