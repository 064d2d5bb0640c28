//! From the process's arguments to its exit code.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgMatches, FromArgMatches};

use crate::config::{self, LogFormat, Logging};

use super::args::{Cli, Command, Globals, LOCAL, grammar, without_go_switches};
use super::connect::{Session, printer};
use super::exit::{Code, Exit};
use super::snapshot::Snapshot;
use super::{cert, logging, mistyped, serve};

/// The whole program.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let words = with_command(words.into_iter().collect(), &environment);
    let (globals, command) = match parse(words.clone()) {
        Ok(parsed) => parsed,
        Err(error) => return mistyped(&error, &words),
    };
    match carry_out(command, &globals, &environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => ended(&exit),
    }
}

fn ended(exit: &Exit) -> ExitCode {
    if !exit.text.is_empty() {
        eprintln!("Error: {exit}");
    }
    ExitCode::from(exit.code.number())
}

/// `serve` is understood where the first word is a server's flag, or where there is none and the environment has
/// server settings.
fn with_command(mut words: Vec<OsString>, environment: &[(String, String)]) -> Vec<OsString> {
    let is_serve = match words.get(1).and_then(|word| word.to_str()) {
        None => words.len() == 1 && config::has_server_settings(environment),
        Some(word) => word.strip_prefix('-').is_some_and(|flag| {
            let flag = flag.trim_start_matches('-');
            // A client's, too.
            serve::is_flag(flag) && flag.split('=').next() != Some("debug")
        }),
    };
    if is_serve {
        words.insert(1, OsString::from("serve"));
    }
    if words.get(1).is_some_and(|word| word == "serve" || word == "config") {
        words = serve::without_single_dashes(words);
    }
    words
}

/// The words after the grammar was applied: global flags, and the command.
pub(super) fn parse(
    words: impl IntoIterator<Item = OsString>,
) -> Result<(Globals, Command), clap::Error> {
    let grammar = grammar();
    let words = without_go_switches(&grammar, words);
    let matches = grammar.try_get_matches_from(words)?;
    let cli = Cli::from_arg_matches(&matches)?;
    let is_client = matches.subcommand_name().is_some_and(|name| !LOCAL.contains(&name));
    let behind =
        if is_client { Globals::from_arg_matches(leaf(&matches))? } else { Globals::default() };
    Ok((behind.over(cli.globals), cli.command))
}

fn leaf(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| leaf(inner))
}

fn mistyped(error: &clap::Error, words: &[OsString]) -> ExitCode {
    if let Some(exit) = mistyped::told(error, &grammar(), words) {
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
            println!("quorate version: {}\nAPI version: 3.6", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Command::Completion(completion) => completion.run(&mut std::io::stdout().lock()),
        // They ask no server: whatever is said of one need not be sound.
        Command::Snapshot(Snapshot::Status(status)) => status.run(printer(globals, environment)?),
        Command::Snapshot(Snapshot::Restore(restore)) => restore.run(),
        client => {
            if globals.debug {
                let filter = "quorate=debug".to_owned();
                logging::start(&Logging { filter, format: LogFormat::Console });
            }
            let folder = std::env::current_dir()?;
            let session = Session::new(globals, environment, &folder)?;
            // It has threads and runtimes of its own.
            if let Command::Bench(bench) = client {
                return bench.run(&session);
            }
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
        Command::MoveLeader(move_leader) => move_leader.run(session).await,
        Command::Lock(lock) => lock.run(session).await,
        Command::Elect(elect) => elect.run(session).await,
        Command::MakeMirror(make_mirror) => make_mirror.run(session).await,
        Command::Check(check) => check.run(session).await,
        Command::Defrag(defrag) => defrag.run(session).await,
        Command::Alarm(alarm) => alarm.run(session).await,
        Command::Snapshot(Snapshot::Save(save)) => save.run(session).await,
        Command::Snapshot(Snapshot::Status(_) | Snapshot::Restore(_))
        | Command::Playground(_)
        | Command::Serve(_)
        | Command::Config(_)
        | Command::Cert(_)
        | Command::Completion(_)
        | Command::Version
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
        with_command(words.iter().map(OsString::from).collect(), &environment).into_iter().nth(1)
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
    }

    #[test]
    fn mistyped_words_get_a_suggestion() {
        let told =
            |words: &[&str]| parse(words.iter().map(OsString::from)).unwrap_err().to_string();
        assert!(told(&["quorate", "wacth", "k"]).contains("'watch'"));
        assert!(told(&["quorate", "get", "--prefx", "k"]).contains("--prefix"));
        assert!(
            told(&["quorate", "serve", "--initial-clutser", "x"]).contains("--initial-cluster")
        );
    }
}
