//! From the process's arguments to its exit code.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgMatches, FromArgMatches};

use crate::config::{self, LogFormat, Logging};

use super::args::{Cli, Command, Globals, LOCAL, Wire, grammar, without_go_switches};
use super::called::{API, Called};
use super::connect::{ENDPOINT_DEFAULT, Session, printer};
use super::exit::{Code, Exit};
use super::snapshot::Snapshot;
use super::{cert, discovery, etcd, etcdutl, logging, mistyped, serve, v2};

/// The whole program.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let mut words: Vec<OsString> = words.into_iter().collect();
    let called = Called::take(&mut words);
    match called {
        Called::Etcd => return etcd::main(words, &environment),
        Called::Etcdutl => return etcdutl::main(words, &environment),
        Called::Quorate | Called::Etcdctl => {}
    }
    if v2::is_asked_for(called, &words, &environment) {
        return v2::main(called, words, environment);
    }
    let words = with_command(called, words, &environment);
    let (mut globals, command) = match parse(called, words.clone()) {
        Ok(parsed) => parsed,
        Err(error) => return mistyped(called, &error, &words),
    };
    if called == Called::Etcdctl && globals.endpoints.is_empty() {
        globals.endpoints.extend(endpoints_without_folder(&environment));
    }
    let says_wire = environment.iter().any(|(name, _)| name == "ETCDCTL_WIRE");
    if called == Called::Etcdctl && !says_wire {
        globals.wire = globals.wire.or(Some(Wire::Either));
    }
    match carry_out(called, command, &globals, &environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => ended(&exit),
    }
}

pub(super) fn ended(exit: &Exit) -> ExitCode {
    if !exit.text.is_empty() {
        eprintln!("Error: {exit}");
    }
    ExitCode::from(exit.code.number())
}

/// `serve` is understood where the first word is a server's flag, or where there is none and the environment has
/// server settings.
fn with_command(
    called: Called,
    mut words: Vec<OsString>,
    environment: &[(String, String)],
) -> Vec<OsString> {
    let first = words.get(1).and_then(|word| word.to_str()).unwrap_or_default();
    let is_serve = match called {
        Called::Etcd | Called::Etcdctl | Called::Etcdutl => return words,
        Called::Quorate if first.is_empty() => {
            words.len() == 1 && config::has_server_settings(environment)
        }
        Called::Quorate
            if first == "discovery"
                && (words.len() == 2 || begins_with_a_servers_flag(&words[2..])) =>
        {
            discovery::as_serve(&mut words, environment);
            false
        }
        Called::Quorate => begins_with_a_servers_flag(&words[1..]),
    };
    if is_serve {
        words.insert(1, OsString::from("serve"));
    }
    if words.get(1).is_some_and(|word| word == "serve" || word == "config") {
        words = serve::without_single_dashes(words);
    }
    words
}

/// Flags of both: they decide nothing, but where no command follows.
const OF_BOTH: [&str; 3] = ["discovery-srv", "discovery-srv-name", "dns-server"];

fn begins_with_a_servers_flag(words: &[OsString]) -> bool {
    let mut words = words.iter().map(|word| word.to_str().unwrap_or_default());
    let mut is_of_both = false;
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix('-').map(|flag| flag.trim_start_matches('-')) else {
            return false;
        };
        let name = flag.split('=').next().unwrap_or_default();
        if !OF_BOTH.contains(&name) {
            // A client's, too, that takes no value.
            return serve::is_flag(flag) && name != "debug";
        }
        is_of_both = true;
        if !flag.contains('=') {
            words.next();
        }
    }
    is_of_both
}

/// The words after the grammar was applied: global flags, and the command.
pub(super) fn parse(
    called: Called,
    words: impl IntoIterator<Item = OsString>,
) -> Result<(Globals, Command), clap::Error> {
    let grammar = grammar(called);
    let words = without_go_switches(&grammar, words);
    let matches = grammar.try_get_matches_from(words)?;
    let cli = Cli::from_arg_matches(&matches)?;
    let is_client = matches.subcommand_name().is_some_and(|name| !LOCAL.contains(&name));
    let behind =
        if is_client { Globals::from_arg_matches(leaf(&matches))? } else { Globals::default() };
    Ok((behind.over(cli.globals), cli.command))
}

/// Where etcdctl looks if nobody says where: not in this folder.
fn endpoints_without_folder(environment: &[(String, String)]) -> Option<String> {
    let is_said = environment.iter().any(|(name, _)| name == "ETCDCTL_ENDPOINTS");
    (!is_said).then(|| ENDPOINT_DEFAULT.to_owned())
}

fn leaf(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| leaf(inner))
}

fn mistyped(called: Called, error: &clap::Error, words: &[OsString]) -> ExitCode {
    if let Some(exit) = mistyped::told(error, &grammar(called), words) {
        return ended(&exit);
    }
    // stdout or stderr may be closed; then there is nobody to tell.
    let _ = match error.kind() {
        // Who asks for nothing is shown what there is, which is no mistake.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            write!(std::io::stdout(), "{}", error.render())
        }
        _ => error.print(),
    };
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => ExitCode::SUCCESS,
        _ => ExitCode::from(Code::BadArgs.number()),
    }
}

fn carry_out(
    called: Called,
    command: Command,
    globals: &Globals,
    environment: &[(String, String)],
) -> Result<(), Exit> {
    match command {
        Command::Playground(playground) => playground.run(),
        Command::Serve(serve) => serve.run(environment),
        Command::Config(config) => config.run(environment),
        Command::Cert(args) => cert::run(args, &mut std::io::stdout().lock())
            .map_err(|error| Exit::error(error.to_string())),
        Command::Version => {
            println!("{}", called.version(API));
            Ok(())
        }
        Command::Completion(completion) => completion.run(called, &mut std::io::stdout().lock()),
        // They ask no server: whatever is said of one need not be sound.
        Command::Snapshot(Snapshot::Status(status)) => status.run(printer(globals, environment)?),
        Command::Snapshot(Snapshot::Restore(restore)) => restore.run(),
        client => {
            if globals.debug {
                logging::start(&Logging::new("quorate=debug", LogFormat::Console))?;
            }
            let folder = std::env::current_dir()?;
            let session = Session::new(globals, environment, &folder)?;
            // They have threads and runtimes of their own.
            let client = match client {
                Command::Bench(bench) => return bench.run(&session),
                Command::Proxy(proxy) => return proxy.run(&session, globals.debug),
                other => other,
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let done = runtime.block_on(ask(client, &session, environment));
            // A read of stdin that nobody waits for must not hold the process.
            runtime.shutdown_background();
            done
        }
    }
}

async fn ask(
    command: Command,
    session: &Session,
    environment: &[(String, String)],
) -> Result<(), Exit> {
    match command {
        Command::Get(get) => get.run(session).await,
        Command::Put(put) => put.run(session).await,
        Command::Del(del) => del.run(session).await,
        Command::Txn(txn) => txn.run(session).await,
        Command::Watch(watch) => watch.run(session, environment).await,
        Command::Compaction(compaction) => compaction.run(session).await,
        Command::Lease(lease) => lease.run(session).await,
        Command::Member(member) => member.run(session, environment).await,
        Command::Endpoint(endpoint) => endpoint.run(session).await,
        Command::Discovery(discovery) => discovery.run(session).await,
        Command::MoveLeader(move_leader) => move_leader.run(session).await,
        Command::Lock(lock) => lock.run(session).await,
        Command::Elect(elect) => elect.run(session).await,
        Command::MakeMirror(make_mirror) => make_mirror.run(session).await,
        Command::Migrate(migrate) => migrate.run(session).await,
        Command::Check(check) => check.run(session).await,
        Command::Defrag(defrag) => defrag.run(session).await,
        Command::Auth(auth) => auth.run(session).await,
        Command::User(user) => user.run(session).await,
        Command::Role(role) => role.run(session).await,
        Command::Alarm(alarm) => alarm.run(session).await,
        Command::Downgrade(downgrade) => downgrade.run(session).await,
        Command::Snapshot(Snapshot::Save(save)) => save.run(session).await,
        Command::Snapshot(Snapshot::Status(_) | Snapshot::Restore(_))
        | Command::Playground(_)
        | Command::Serve(_)
        | Command::Config(_)
        | Command::Cert(_)
        | Command::Completion(_)
        | Command::Version
        | Command::Proxy(_)
        | Command::Bench(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(words: &[&str], environment: &[(&str, &str)]) -> Option<OsString> {
        let environment: Vec<(String, String)> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut words = words.iter().map(OsString::from).collect();
        let called = Called::take(&mut words);
        with_command(called, words, &environment).into_iter().nth(1)
    }

    #[test]
    fn a_servers_flag_or_environment_means_serve() {
        assert_eq!(first(&["quorate", "--name", "n1"], &[]), Some("serve".into()));
        assert_eq!(first(&["quorate", "-name=n1"], &[]), Some("serve".into()));
        assert_eq!(first(&["quorate", "--wal-dir=x"], &[]), Some("serve".into()));
        assert_eq!(first(&["quorate", "--debug", "get", "k"], &[]), Some("--debug".into()));
        assert_eq!(first(&["quorate"], &[("ETCD_NAME", "n1")]), Some("serve".into()));
        assert_eq!(first(&["quorate"], &[("ETCDCTL_ENDPOINTS", "x")]), None);
        assert_eq!(first(&["quorate", "get", "k"], &[("ETCD_NAME", "n1")]), Some("get".into()));
        assert_eq!(first(&["quorate", "--endpoints", "x"], &[]), Some("--endpoints".into()));
        assert_eq!(first(&["quorate", "discovery"], &[]), Some("serve".into()));
        assert_eq!(first(&["quorate", "discovery", "--name", "d"], &[]), Some("serve".into()));
        assert_eq!(first(&["quorate", "discovery", "list"], &[]), Some("discovery".into()));
        assert_eq!(first(&["quorate", "discovery", "--help"], &[]), Some("discovery".into()));
        assert_eq!(first(&["etcdctl"], &[("ETCD_NAME", "n1")]), None);
        assert_eq!(first(&["etcdctl", "--name"], &[]), Some("--name".into()));
        let of_both = |words: &[&str]| {
            first(
                &[&["quorate", "--discovery-srv", "d", "--dns-server=1.1.1.1"], words].concat(),
                &[],
            )
        };
        assert_eq!(of_both(&["get", "k"]), Some("--discovery-srv".into()));
        assert_eq!(of_both(&["--cacert", "c", "get", "k"]), Some("--discovery-srv".into()));
        assert_eq!(of_both(&["--name", "n1"]), Some("serve".into()));
        assert_eq!(of_both(&[]), Some("serve".into()));
    }

    #[test]
    fn mistyped_words_get_a_suggestion() {
        let told = |words: &[&str]| {
            parse(Called::Quorate, words.iter().map(OsString::from)).unwrap_err().to_string()
        };
        assert!(told(&["quorate", "wacth", "k"]).contains("'watch'"));
        assert!(told(&["quorate", "get", "--prefx", "k"]).contains("--prefix"));
        assert!(
            told(&["quorate", "serve", "--initial-clutser", "x"]).contains("--initial-cluster")
        );
    }

    #[test]
    fn etcdctl_is_a_client_alone() {
        let parsed = |words: &[&str]| parse(Called::Etcdctl, words.iter().map(OsString::from));
        assert!(parsed(&["etcdctl", "get", "k"]).is_ok());
        assert!(parsed(&["etcdctl", "--endpoints", "a:1", "member", "list"]).is_ok());
        for command in ["serve", "playground", "proxy", "cert", "config", "bench", "migrate"] {
            let words = ["etcdctl", command].map(OsString::from);
            let error = parse(Called::Etcdctl, words.clone()).unwrap_err();
            let told = mistyped::told(&error, &grammar(Called::Etcdctl), &words).unwrap();
            let text = format!("unknown command \"{command}\" for \"etcdctl\"");
            assert_eq!(told.text.lines().next(), Some(text.as_str()));
        }
        let environment = |name: &str| vec![(name.to_owned(), "a:1".to_owned())];
        assert_eq!(endpoints_without_folder(&environment("ETCDCTL_ENDPOINTS")), None);
        let found = endpoints_without_folder(&environment("ETCD_NAME"));
        assert_eq!(found.as_deref(), Some("127.0.0.1:2379"));
    }
}
