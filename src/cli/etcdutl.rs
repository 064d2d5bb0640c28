//! Called `etcdutl`: what needs no server, with etcdutl's words and exit codes, on our own files.
//!
//! Whatever goes wrong, the code is 1, as etcdutl's. Verbs that are of bbolt's file are refused, with what takes their
//! place.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::args::{Format, Globals, Wire, without_go_switches};
use super::called::{API, Called};
use super::completion::Completion;
use super::connect::{Session, printer};
use super::exit::{Code, Exit};
use super::go::parse_int;
use super::progress::Progress;
use super::run::ended;
use super::snapshot::Snapshot;
use crate::node;

/// Takes care of a member's files while it does not run.
#[derive(Debug, Parser)]
#[command(
    name = "etcdutl",
    disable_version_flag = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Utl {
    /// How to show the answer [default: simple]
    #[arg(short = 'w', long = "write-out", value_name = "FORMAT", global = true)]
    write_out: Option<Format>,
    // 3.7's: there is no lock that is waited for.
    #[arg(long, value_name = "TIME", global = true, hide = true)]
    timeout: Option<String>,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Copy a stopped member's data directory
    Backup(Backup),
    /// Print a script that completes words in a shell
    Completion(Completion),
    /// Give freed space of a stopped member's database back to the disk
    Defrag(Defrag),
    /// Hash the history of a saved snapshot, as `etcdctl endpoint hashkv` does a member's
    Hashkv(Hashkv),
    /// Refused: there is no older version of these files
    Migrate(Migrate),
    /// Check saved snapshots, and make a member of one
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Refused: there is no bbolt file
    #[command(hide = true)]
    Bbolt(Bbolt),
    /// Print the version
    Version,
}

#[derive(Args, Debug)]
struct Backup {
    /// The stopped member's
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The directory to make
    #[arg(long, value_name = "DIR")]
    backup_dir: PathBuf,
    // Both logs are found in the data directories.
    #[arg(long, value_name = "DIR", hide = true)]
    wal_dir: Option<PathBuf>,
    #[arg(long, value_name = "DIR", hide = true)]
    backup_wal_dir: Option<PathBuf>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")]
    with_v3: Option<String>,
}

#[derive(Args, Debug)]
struct Defrag {
    /// A data directory that nobody uses
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

#[derive(Args, Debug)]
struct Hashkv {
    /// A file that `snapshot save` wrote
    file: PathBuf,
    /// The last revision to hash [default: the newest]
    #[arg(long, value_name = "N", value_parser = parse_int, default_value = "0", hide_default_value = true)]
    rev: i64,
}

#[derive(Args, Debug)]
struct Migrate {
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[arg(long, value_name = "VERSION")]
    target_version: Option<String>,
    #[arg(long)]
    force: bool,
}

#[derive(Args, Debug)]
struct Bbolt {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _words: Vec<OsString>,
}

/// Its grammar, for help and completion.
pub(super) fn grammar() -> clap::Command {
    Utl::command().args_override_self(true)
}

pub(super) fn main(words: Vec<OsString>, environment: &[(String, String)]) -> ExitCode {
    let grammar = grammar();
    let words = without_go_switches(&grammar, words);
    let parsed = grammar.try_get_matches_from(words);
    let utl = match parsed.and_then(|matches| Utl::from_arg_matches(&matches)) {
        Ok(utl) => utl,
        Err(error) => return mistyped(&error),
    };
    match run(utl, environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => ended(&Exit::new(Code::Error, exit.text)),
    }
}

/// Help is none; everything else is told on stderr.
fn mistyped(error: &clap::Error) -> ExitCode {
    let is_asked = [ErrorKind::DisplayHelp, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];
    if is_asked.contains(&error.kind()) {
        let _ = write!(std::io::stdout(), "{}", error.render());
        return ExitCode::SUCCESS;
    }
    let _ = error.print();
    ExitCode::FAILURE
}

fn run(utl: Utl, environment: &[(String, String)]) -> Result<(), Exit> {
    let globals =
        Globals { write_out: utl.write_out, wire: Some(Wire::Either), ..Globals::default() };
    let failed = |error: &dyn std::error::Error| Exit::error(error.to_string());
    match utl.command {
        Verb::Backup(it) => {
            node::backup(&it.data_dir, &it.backup_dir).map_err(|error| failed(&error))
        }
        Verb::Completion(completion) => {
            completion.run(Called::Etcdutl, &mut std::io::stdout().lock())
        }
        Verb::Defrag(Defrag { data_dir }) => {
            let shown = data_dir.display();
            node::defragment(&data_dir).map(|_| ()).map_err(|error| {
                Exit::error(format!("Failed to defragment etcd data[{shown}] ({error})"))
            })
        }
        Verb::Hashkv(Hashkv { file, rev }) => {
            let mut progress = Progress::new("checking");
            let hashed = node::hash_kv(&file, rev, &mut |done, total| progress.bytes(done, total));
            drop(progress);
            printer(&globals, environment)?.print(&hashed.map_err(|error| failed(&error))?)
        }
        Verb::Migrate(it) => Err(Exit::error(refusal(&it))),
        Verb::Bbolt(_) => Err(Exit::error(
            "there is no bbolt file here: the database is LMDB, and `mdb_stat`, `mdb_dump` and their like read it",
        )),
        Verb::Snapshot(Snapshot::Status(status)) => status.run(printer(&globals, environment)?),
        Verb::Snapshot(Snapshot::Restore(restore)) => restore.run(),
        Verb::Snapshot(Snapshot::Save(save)) => {
            // 3.5's, which asks a server: etcdctl's variables say where.
            let session = Session::new(&globals, environment, &std::env::temp_dir())?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(save.run(&session))
        }
        Verb::Version => {
            println!("{}", Called::Etcdutl.version(API));
            Ok(())
        }
    }
}

/// Its files have had one version so far: there is none to go to.
fn refusal(migrate: &Migrate) -> String {
    let of =
        migrate.data_dir.as_ref().map_or_else(String::new, |dir| format!(" {}", dir.display()));
    let to = migrate.target_version.as_deref().unwrap_or("another version");
    let forced = if migrate.force { ", and --force makes none" } else { "" };
    format!("cannot migrate{of} to {to}: these files have had one format so far{forced}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_holds() {
        grammar().debug_assert();
        for name in ["backup", "completion", "defrag", "hashkv", "migrate", "snapshot", "version"] {
            assert!(grammar().find_subcommand(name).is_some(), "{name}");
        }
    }
}
