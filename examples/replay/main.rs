//! Walks through the event log that a simulated world leaves behind (docs/testing.md).
//!
//! `cargo run --example replay target/sim/seed-7.log` steps through it; with `--filter`, `--from`, `--count` or
//! `--state` it prints and ends; `-` reads the log from standard input. Commands may come from a pipe, too.

mod log;
mod walk;

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write};
use std::process::ExitCode;

use log::Log;
use walk::{Filter, Walk};

const USAGE: &str = "replay FILE|- [--filter WORD[,WORD]] [--from LINE] [--count LINES] [--state]
  --filter n2,fault   only lines of these members and these events
  --from LINE         from this line of the file on
  --count LINES       so many lines at the most
  --state             where everybody stands at the last line that was printed
Without any of these it steps; h says how.";

/// What the command line asks for.
#[derive(Debug, Default)]
struct Asked {
    file: Option<String>,
    filter: Filter,
    from: usize,
    count: Option<usize>,
    state: bool,
    prints: bool,
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has read enough.
        Err(Stopped::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(stopped) => {
            eprintln!("replay: {stopped}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("{0}")]
    Said(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn run(words: impl Iterator<Item = String>) -> Result<(), Stopped> {
    let asked = parse(words).map_err(Stopped::Said)?;
    let mut out = io::stdout().lock();
    let Some(file) = &asked.file else {
        writeln!(out, "{USAGE}")?;
        return Ok(());
    };
    let from_stdin = file == "-";
    let text = if from_stdin {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text)?;
        text
    } else {
        let read = std::fs::read_to_string(file);
        read.map_err(|error| Stopped::Said(format!("cannot read {file}: {error}")))?
    };
    let log = Log::parse(&text).map_err(Stopped::Said)?;
    if log.lines.is_empty() {
        return Err(Stopped::Said(format!("{file} has no lines")));
    }
    if asked.prints || from_stdin {
        return print(&log, &asked, &mut out);
    }
    step(Walk::new(log), &mut out)
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked::default();
    while let Some(word) = words.next() {
        let mut value = |name: &str| words.next().ok_or_else(|| format!("{name} wants a value"));
        let number =
            |text: String| text.parse().map_err(|_| format!("{text:?} is no number of lines"));
        match word.as_str() {
            "--filter" => asked.filter = Filter::parse(&value("--filter")?)?,
            "--from" => asked.from = number(value("--from")?)?,
            "--count" => asked.count = Some(number(value("--count")?)?),
            "--state" => asked.state = true,
            "-h" | "--help" => return Ok(Asked::default()),
            other if other.starts_with("--") => return Err(format!("{other} is unknown\n{USAGE}")),
            file if asked.file.is_none() => asked.file = Some(file.to_owned()),
            other => return Err(format!("{other}: one log is enough\n{USAGE}")),
        }
        asked.prints |= word.starts_with("--");
    }
    Ok(asked)
}

fn print(log: &Log, asked: &Asked, out: &mut impl Write) -> Result<(), Stopped> {
    let wanted = log
        .lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.number >= asked.from && asked.filter.wants(line))
        .take(asked.count.unwrap_or(usize::MAX));
    let mut last = 0;
    for (place, line) in wanted {
        writeln!(out, "{line}")?;
        last = place;
    }
    if asked.state {
        writeln!(out, "{}", log.state_at(last))?;
    }
    Ok(())
}

fn step(mut walk: Walk, out: &mut impl Write) -> Result<(), Stopped> {
    let is_terminal = io::stdin().is_terminal();
    writeln!(out, "{}", walk.begin())?;
    let mut commands = io::stdin().lock().lines();
    loop {
        if is_terminal {
            write!(out, "> ")?;
            out.flush()?;
        }
        let Some(command) = commands.next().transpose()? else { return Ok(()) };
        match walk.obey(command.trim()) {
            Some(told) => writeln!(out, "{told}")?,
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(words: &str) -> Result<String, String> {
        let text = "# world 7\n0.1s n1 start boot 1\n0.2s n2 start boot 1\n0.3s n2 fault 1 Crash\n\
                    0.3s n2 crash power true\n0.4s n1 leads term 2\n";
        let log = Log::parse(text)?;
        let asked = parse(words.split_whitespace().map(str::to_owned))?;
        let mut out = Vec::new();
        print(&log, &asked, &mut out).map_err(|stopped| stopped.to_string())?;
        String::from_utf8(out).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_asked_for_is_printed() {
        assert_eq!(printed("log --from 1").unwrap().lines().count(), 5);
        let some = printed("log --filter n2 --from 4 --count 1 --state").unwrap();
        assert!(some.lines().next().unwrap().ends_with("n2 fault     1 Crash"), "{some}");
        assert!(some.contains("n2    up") && some.contains("leads: nobody"), "{some}");
        let leads = printed("log --filter leads --state").unwrap();
        assert!(leads.contains("n2    down") && leads.contains("n1 of term 2"), "{leads}");
    }

    #[test]
    fn a_mistaken_command_line_is_answered() {
        assert!(printed("log --from x").unwrap_err().contains("no number of lines"));
        assert!(printed("log --count").unwrap_err().contains("--count wants a value"));
        assert!(printed("log --colour").unwrap_err().contains("--colour is unknown"));
        assert!(printed("log other").unwrap_err().contains("one log is enough"));
        assert!(printed("log --filter N2").unwrap_err().contains("neither"));
    }
}
