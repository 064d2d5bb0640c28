//! `etcd gateway` and `etcd grpc-proxy`, which have cobra's grammar and not Go's: nothing but `start`, and the help of it.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use super::super::args::without_go_switches;
use super::super::exit::{Code, Exit};
use super::super::mistyped;
use super::super::run::ended;
use super::gateway::Gateway;
use super::grpc_proxy::GrpcProxy;
use super::run::told;

#[derive(Debug, Parser)]
#[command(name = "etcd", disable_help_subcommand = true)]
struct Others {
    #[command(subcommand)]
    command: Other,
}

#[derive(Debug, Subcommand)]
enum Other {
    /// Pass TCP on to the members
    #[command(arg_required_else_help = true, disable_help_subcommand = true)]
    Gateway {
        #[command(subcommand)]
        verb: Verb<Gateway>,
    },
    /// Serve here what the members serve
    #[command(arg_required_else_help = true, disable_help_subcommand = true)]
    GrpcProxy {
        #[command(subcommand)]
        verb: Box<Verb<GrpcProxy>>,
    },
}

#[derive(Debug, Subcommand)]
enum Verb<T: clap::Args> {
    /// Start it
    Start {
        #[command(flatten)]
        what: T,
        // As cobra, which does not look at them.
        #[arg(hide = true)]
        more: Vec<OsString>,
    },
}

/// Whether the words behind the program's name are of these.
pub(super) fn is_one(first: &str) -> bool {
    ["gateway", "grpc-proxy"].contains(&first)
}

pub(super) fn main(words: Vec<OsString>) -> ExitCode {
    let grammar = Others::command().args_override_self(true);
    let words = without_go_switches(&grammar, words);
    let parsed = grammar.clone().try_get_matches_from(&words);
    match parsed.and_then(|matches| Others::from_arg_matches(&matches)) {
        Ok(others) => run(others.command),
        Err(error) => answered(&error, &grammar, &words),
    }
}

/// Help is none; a verb that is none is answered with it, as cobra does.
fn answered(error: &clap::Error, grammar: &clap::Command, words: &[OsString]) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            told(std::io::stdout(), &error.render().to_string());
            ExitCode::SUCCESS
        }
        ErrorKind::InvalidSubcommand => {
            let named = words.get(1).and_then(|word| grammar.find_subcommand(word.to_str()?));
            let help = named.cloned().map(|mut command| command.render_help().to_string());
            told(std::io::stdout(), &help.unwrap_or_default());
            ExitCode::SUCCESS
        }
        _ => match mistyped::told(error, grammar, words) {
            Some(exit) => ended(&Exit::new(Code::Error, exit.text)),
            None => {
                told(std::io::stderr(), &error.render().to_string());
                ExitCode::FAILURE
            }
        },
    }
}

fn run(other: Other) -> ExitCode {
    let asked = match other {
        Other::Gateway { verb: Verb::Start { what, .. } } => what.run(),
        Other::GrpcProxy { verb } => {
            let Verb::Start { what, .. } = *verb;
            what.run()
        }
    };
    match asked {
        Ok(asked) => {
            asked.die();
            ExitCode::SUCCESS
        }
        Err(exit) => ended(&Exit::new(Code::Error, exit.text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_holds() {
        Others::command().debug_assert();
        let words = ["etcd", "grpc-proxy", "start", "--listen-addr=127.0.0.1:1", "--debug"];
        Others::try_parse_from(words).unwrap();
        Others::try_parse_from(["etcd", "gateway", "start", "--endpoints=a:1,b:2", "x"]).unwrap();
    }
}
