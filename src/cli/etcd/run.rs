//! One member, started and ended as an etcd is.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use crate::config::{self, LogFormat, Logging, Rules, Sources};

use super::super::called::{API, Called};
use super::super::{logging, serve};
use super::flags::{Asked, Flags, Wrong, parse};
use super::{others, usage};

/// etcd's exit code for words that Go's flag package does not take.
const BAD_FLAG: u8 = 2;

/// All of the program; the first word is its name.
pub(in crate::cli) fn main(words: Vec<OsString>, environment: &[(String, String)]) -> ExitCode {
    let first = words.get(1).and_then(|word| word.to_str()).unwrap_or_default();
    if others::is_one(first) {
        return others::main(words);
    }
    let words = words.into_iter().skip(1);
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    match parse(&words) {
        Ok(Asked::Help) => {
            told(std::io::stdout(), &format!("{}{}", usage::USAGE, usage::flags()));
            ExitCode::SUCCESS
        }
        Ok(Asked::Version) => {
            told(std::io::stdout(), &format!("{}\n", Called::Etcd.version(API)));
            ExitCode::SUCCESS
        }
        Ok(Asked::Serve(flags)) => run(flags, environment),
        Err(Wrong::Flag(text)) => {
            told(std::io::stderr(), &format!("{text}\n{}", usage::USAGE));
            ExitCode::from(BAD_FLAG)
        }
        Err(Wrong::Word(text)) => refused(&text),
    }
}

/// Whoever closed it does not want to read it.
pub(super) fn told(mut to: impl Write, text: &str) {
    let _ = to.write_all(text.as_bytes());
}

/// Settings that cannot be: etcd logs it, and ends with 1.
fn refused(text: &str) -> ExitCode {
    begin_log(&Logging::new("info", LogFormat::Auto));
    for error in text.lines() {
        tracing::warn!(error, "failed to verify flags");
    }
    ExitCode::FAILURE
}

/// A log that cannot be begun is told without one.
fn begin_log(logging: &Logging) -> bool {
    match logging::start_as_etcd(logging) {
        Ok(()) => true,
        Err(error) => {
            told(std::io::stderr(), &format!("{error}\n"));
            false
        }
    }
}

fn run(Flags { config_file, flags }: Flags, environment: &[(String, String)]) -> ExitCode {
    let environment = environment.to_vec();
    let sources = Sources { file: config_file, environment, flags, rules: Rules::Etcd };
    let start = match config::load(&sources) {
        Ok(start) => start,
        Err(mistakes) => return refused(&mistakes.to_string()),
    };
    if !begin_log(&start.logging) {
        return ExitCode::FAILURE;
    }
    match serve::run_to_its_end(start) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(asked)) => {
            asked.die();
            ExitCode::SUCCESS
        }
        Err(exit) => {
            tracing::error!(error = exit.text, "the server has ended");
            ExitCode::FAILURE
        }
    }
}
