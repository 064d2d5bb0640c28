//! `watch`: one watch, or many from a person's lines; each event may run a command.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{Args, CommandFactory, Parser, Subcommand};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use crate::client::{self, Client, Watcher};
use crate::proto::etcdserverpb as pb;
use crate::proto::mvccpb::event::EventType;

use super::args::without_go_switches;
use super::connect::Session;
use super::exit::{Code, Exit};
use super::go::{parse_int, quote};
use super::kv;
use super::mistyped::first_line;
use super::print::{Printer, Watched};
use super::txn::split_words;

#[derive(Args, Clone, Debug, Default)]
#[command(
    override_usage = "quorate watch [OPTIONS] [KEY] [RANGE_END] [-- COMMAND...]",
    after_help = "Examples:\n  \
        quorate watch greeting\n  \
        quorate watch --prefix config/ --prev-kv\n  \
        quorate watch greeting --rev 5                  what happened since revision 5, too\n  \
        quorate watch greeting -- sh -c 'echo $ETCD_WATCH_VALUE'\n  \
        quorate watch -i                                one watch a line, from stdin"
)]
pub(super) struct Watch {
    /// The key, or the first one of a range [also: ETCDCTL_WATCH_KEY]
    key: Option<OsString>,
    /// The end of a range, not included [also: ETCDCTL_WATCH_RANGE_END]
    range_end: Option<OsString>,
    /// Every key that begins with KEY
    #[arg(long)]
    prefix: bool,
    /// From this revision on
    #[arg(long, value_name = "REVISION", value_parser = parse_int, default_value = "0", allow_negative_numbers = true, hide_default_value = true)]
    rev: i64,
    /// Show what was there before, too
    #[arg(long)]
    prev_kv: bool,
    /// Show the revision now and then while nothing happens
    #[arg(long)]
    progress_notify: bool,
    /// Read watches from stdin: `watch [flags] key [range_end]`, `progress`
    #[arg(short = 'i', long)]
    interactive: bool,
    /// Run for each event, with ETCD_WATCH_REVISION, _EVENT_TYPE, _KEY and _VALUE set
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The key, and the end of its range, that the environment names.
#[derive(Clone, Debug, Default)]
struct Named {
    key: Option<OsString>,
    range_end: Option<OsString>,
}

impl Named {
    fn of(environment: &[(String, String)]) -> Result<Self, Exit> {
        let variable = |name: &str| {
            let found = environment.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| OsString::from(value)).filter(|value| !value.is_empty())
        };
        let named = Self {
            key: variable("ETCDCTL_WATCH_KEY"),
            range_end: variable("ETCDCTL_WATCH_RANGE_END"),
        };
        match (&named.key, &named.range_end) {
            (None, Some(end)) => Err(Exit::bad_args(format!(
                "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={}",
                quote(end.as_encoded_bytes())
            ))),
            _ => Ok(named),
        }
    }
}

impl Watch {
    pub(super) async fn run(
        mut self,
        session: &Session,
        environment: &[(String, String)],
    ) -> Result<(), Exit> {
        let named = Named::of(environment)?;
        if self.interactive {
            return interactive(session, &named).await;
        }
        // clap does not say whether a `--` stood before nothing.
        let is_cut_off = std::env::args_os().next_back().is_some_and(|word| word == "--");
        if is_cut_off && self.command.is_empty() {
            return Err(Exit::bad_args(
                "bad number of arguments (found separator --, but no commands)",
            ));
        }
        self.take(&named)?;
        let client = session.client().await?;
        let watcher = self.open(&client, session.printer).await?;
        follow(watcher, session.printer, &self.command, None).await
    }

    /// Takes the key of the environment; another one beside it is a mistake.
    fn take(&mut self, named: &Named) -> Result<(), Exit> {
        match (&self.key, &named.key) {
            (Some(_), Some(_)) => {
                Err(Exit::bad_args("bad number of arguments (found conflicting environment key)"))
            }
            (None, None) => Err(Exit::bad_args("bad number of arguments")),
            (Some(_), None) => Ok(()),
            (None, Some(_)) => {
                self.key.clone_from(&named.key);
                self.range_end.clone_from(&named.range_end);
                Ok(())
            }
        }
    }

    async fn open(&self, client: &Client, printer: Printer) -> Result<Watcher, Exit> {
        let key = self.key.as_deref().ok_or_else(|| Exit::bad_args("bad number of arguments"))?;
        if self.prefix && self.range_end.is_some() {
            return Err(Exit::bad_args("`range_end` and `--prefix` are mutually exclusive"));
        }
        let (key, range_end) = kv::span(key, self.range_end.as_deref(), self.prefix, false)?;
        let mut watch = client.watch(key).range(range_end).start_revision(self.rev);
        if self.prev_kv {
            watch = watch.prev_kv();
        }
        if self.progress_notify {
            watch = watch.progress_notify();
        }
        match watch.await {
            Ok(watcher) => Ok(watcher),
            // As one that was open, and is ended.
            Err(error @ client::Error::WatchCanceled { .. }) => {
                Err(canceled(printer, Some(&error)))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Ends a watch that the server ended, with etcdctl's words and the server's last one.
fn canceled(printer: Printer, error: Option<&client::Error>) -> Exit {
    let mut last = pb::WatchResponse {
        header: Some(pb::ResponseHeader::default()),
        canceled: true,
        ..Default::default()
    };
    let reason = match error {
        None => String::new(),
        Some(client::Error::Compacted { compact_revision }) => {
            last.compact_revision = *compact_revision;
            "etcdserver: mvcc: required revision has been compacted".to_owned()
        }
        Some(client::Error::WatchCanceled { reason }) => reason.clone(),
        Some(other) => other.to_string(),
    };
    if !reason.is_empty() {
        eprintln!("watch was canceled ({reason})");
    }
    match printer.print(&Watched(&last)) {
        Ok(()) => Exit::new(Code::Interrupted, "watch is canceled by the server"),
        Err(exit) => exit,
    }
}

/// Prints until the watch ends, which it does only when the server ends it; asks for progress when `asked` to.
async fn follow(
    mut watcher: Watcher,
    printer: Printer,
    command: &[OsString],
    mut asked: Option<broadcast::Receiver<()>>,
) -> Result<(), Exit> {
    loop {
        let ask = async {
            match &mut asked {
                Some(asked) => asked.recv().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let response = tokio::select! {
            is_asked = ask => {
                if is_asked {
                    watcher.request_progress().await?;
                } else {
                    asked = None;
                }
                continue;
            }
            response = watcher.next() => match response {
                Some(Ok(response)) => response,
                Some(Err(error)) => return Err(canceled(printer, Some(&error))),
                None => return Err(canceled(printer, None)),
            },
        };
        if response.events.is_empty() {
            let revision = response.header.as_ref().map_or(0, |header| header.revision);
            println!("progress notify: {revision}");
        }
        printer.print(&Watched(&response))?;
        run_command(command, &response).await?;
    }
}

async fn run_command(command: &[OsString], response: &pb::WatchResponse) -> Result<(), Exit> {
    let Some((program, words)) = command.split_first() else { return Ok(()) };
    let revision = response.header.as_ref().map_or(0, |header| header.revision);
    for event in &response.events {
        let word = if event.r#type() == EventType::Delete { "DELETE" } else { "PUT" };
        let kv = event.kv.clone().unwrap_or_default();
        let ended = tokio::process::Command::new(program)
            .args(words)
            .env("ETCD_WATCH_REVISION", revision.to_string())
            // etcdctl quotes what follows, as Go's %q does.
            .env("ETCD_WATCH_EVENT_TYPE", quote(word.as_bytes()))
            .env("ETCD_WATCH_KEY", quote(&kv.key))
            .env("ETCD_WATCH_VALUE", quote(&kv.value))
            .status()
            .await;
        let why = match ended {
            Ok(status) if status.success() => continue,
            Ok(status) => match status.code() {
                Some(code) => format!("exit status {code}"),
                None => status.to_string(),
            },
            Err(error) => error.to_string(),
        };
        let shown: Vec<String> =
            command.iter().map(|word| quote(word.as_encoded_bytes())).collect();
        eprintln!("command [{}] error ({why})", shown.join(" "));
        return Err(Exit::silent(Code::Error));
    }
    Ok(())
}

#[derive(Parser)]
#[command(
    no_binary_name = true,
    disable_help_flag = true,
    disable_help_subcommand = true,
    args_override_self = true
)]
struct Line {
    #[command(subcommand)]
    word: Word,
}

#[derive(Subcommand)]
enum Word {
    Watch(Watch),
    Progress,
}

/// A person's lines: every `watch` is one more watch on the same stream. A line that is not understood is told, and
/// the watches go on.
async fn interactive(session: &Session, named: &Named) -> Result<(), Exit> {
    let client = session.client().await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut watches: JoinSet<Result<(), Exit>> = JoinSet::new();
    let (asks, _) = broadcast::channel::<()>(1);
    loop {
        let line = tokio::select! {
            Some(ended) = watches.join_next() => {
                match ended {
                    Ok(Err(exit)) if exit.code != Code::Interrupted => return Err(exit),
                    // The server ended this one; the others go on.
                    _ => continue,
                }
            }
            line = lines.next_line() => line?,
        };
        let Some(line) = line else {
            let text = "error reading watch request line: EOF";
            return Err(Exit::new(Code::InvalidInput, text));
        };
        let mut watch = match parse_line(&line) {
            Ok(Word::Watch(watch)) => watch,
            Ok(Word::Progress) => {
                // Whoever does not watch has no progress.
                let _ = asks.send(());
                continue;
            }
            Err(text) => {
                eprintln!("{text}");
                continue;
            }
        };
        if watch.key.is_none() && named.key.is_none() {
            eprintln!("Invalid command {line} (command type or key is not provided)");
            continue;
        }
        watch.take(named)?;
        match watch.open(&client, session.printer).await {
            Ok(watcher) => {
                let (printer, asked) = (session.printer, asks.subscribe());
                watches.spawn(async move {
                    follow(watcher, printer, &watch.command, Some(asked)).await
                });
            }
            Err(exit) => eprintln!("Invalid command {line} ({exit})"),
        }
    }
}

/// What a line asks for, or what to tell.
fn parse_line(line: &str) -> Result<Word, String> {
    let wrong = |why: &str| format!("Invalid command {line} ({why})");
    let words = split_words(line).ok_or_else(|| wrong("a quote is not closed"))?;
    match words.first().map(Vec::as_slice) {
        None => {
            return Err(format!("Invalid command: {line} (watch and progress supported)"));
        }
        Some(b"watch" | b"progress") => {}
        Some(_) => return Err(wrong("only support watch")),
    }
    let words = words.into_iter().map(OsString::from_vec);
    let words = without_go_switches(&Line::command(), words);
    Line::try_parse_from(words).map(|line| line.word).map_err(|error| wrong(&first_line(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_an_interactive_watch_are_read() {
        let Word::Watch(watch) = parse_line("watch --prefix \"a b\" --rev 3 -- echo hi").unwrap()
        else {
            panic!("no watch");
        };
        assert_eq!(watch.key, Some("a b".into()));
        assert_eq!((watch.prefix, watch.rev), (true, 3));
        assert_eq!(watch.command, ["echo", "hi"]);
        assert!(matches!(parse_line("progress").unwrap(), Word::Progress));
        let told = |line: &str| parse_line(line).err().unwrap();
        assert_eq!(told("wacth a"), "Invalid command wacth a (only support watch)");
        assert_eq!(told(""), "Invalid command:  (watch and progress supported)");
    }
    #[test]
    fn the_environment_names_a_key_or_nobody_does() {
        let named = |variables: &[(&str, &str)]| {
            let variables: Vec<(String, String)> = variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            Named::of(&variables)
        };
        let both = [("ETCDCTL_WATCH_KEY", "a"), ("ETCDCTL_WATCH_RANGE_END", "c")];
        let both = named(&both).unwrap();
        let mut watch = Watch::default();
        watch.take(&both).unwrap();
        assert_eq!((watch.key, watch.range_end), (Some("a".into()), Some("c".into())));

        let mut written = Watch { key: Some("b".into()), ..Watch::default() };
        let told = written.take(&both).unwrap_err();
        let text = "bad number of arguments (found conflicting environment key)";
        assert_eq!((told.code, told.text.as_str()), (Code::BadArgs, text));
        let told = Watch::default().take(&Named::default()).unwrap_err();
        assert_eq!(told.text, "bad number of arguments");
        let told = named(&[("ETCDCTL_WATCH_RANGE_END", "c")]).unwrap_err();
        assert_eq!(told.text, "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=\"c\"");
    }
}
