//! `watch`: one watch, or many from a person's lines; each event may run a command.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitStatus;

use clap::{Args, Parser, Subcommand};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;

use crate::client::{Client, Watcher};
use crate::proto::etcdserverpb as pb;
use crate::proto::mvccpb::event::EventType;

use super::connect::Session;
use super::exit::{Code, Exit};
use super::kv;
use super::print::{Printer, Watched};
use super::txn::{first_line, split_words};

#[derive(Args, Clone, Debug, Default)]
pub(super) struct Watch {
    /// The key, or the first one of a range [also: ETCDCTL_WATCH_KEY]
    key: Option<OsString>,
    /// The end of a range, not included [also: ETCDCTL_WATCH_RANGE_END]
    range_end: Option<OsString>,
    /// Read watches from stdin: `watch [flags] key [range_end]`, `progress`
    #[arg(short = 'i', long)]
    interactive: bool,
    /// Every key that begins with KEY
    #[arg(long)]
    prefix: bool,
    /// From this revision on
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    rev: i64,
    /// Show what was there before, too
    #[arg(long)]
    prev_kv: bool,
    /// Show the revision now and then while nothing happens
    #[arg(long)]
    progress_notify: bool,
    /// Run for each event, with ETCD_WATCH_REVISION, _EVENT_TYPE, _KEY and _VALUE set
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Watch {
    pub(super) async fn run(
        mut self,
        session: &Session,
        environment: &[(String, String)],
    ) -> Result<(), Exit> {
        if self.interactive {
            return interactive(session).await;
        }
        let variable = |name: &str| {
            environment.iter().find(|(key, _)| key == name).map(|(_, value)| OsString::from(value))
        };
        if self.key.is_none() {
            self.key = variable("ETCDCTL_WATCH_KEY");
            self.range_end = variable("ETCDCTL_WATCH_RANGE_END");
        }
        let client = session.client().await?;
        let watcher = self.open(&client).await?;
        follow(watcher, session.printer, &self.command).await
    }

    async fn open(&self, client: &Client) -> Result<Watcher, Exit> {
        let key = self.key.as_deref().ok_or_else(|| {
            Exit::bad_args(
                "watch needs a key: `quorate watch KEY`, or `quorate watch --prefix \"\"` for all",
            )
        })?;
        let (key, range_end) = kv::span(key, self.range_end.as_deref(), self.prefix, false)?;
        let mut watch = client.watch(key).range(range_end).start_revision(self.rev);
        if self.prev_kv {
            watch = watch.prev_kv();
        }
        if self.progress_notify {
            watch = watch.progress_notify();
        }
        Ok(watch.await?)
    }
}

/// Prints until the watch ends, which it does only when the server ends it.
async fn follow(mut watcher: Watcher, printer: Printer, command: &[OsString]) -> Result<(), Exit> {
    while let Some(response) = watcher.next().await {
        let response = response.map_err(|error| {
            Exit::new(Code::Interrupted, format!("watch is canceled by the server: {error}"))
        })?;
        printer.print(&Watched(&response))?;
        if !command.is_empty() {
            run_command(command, &response).await?;
        }
    }
    Err(Exit::new(Code::Interrupted, "watch is canceled by the server"))
}

async fn run_command(command: &[OsString], response: &pb::WatchResponse) -> Result<(), Exit> {
    let Some((program, words)) = command.split_first() else { return Ok(()) };
    let revision = response.header.as_ref().map_or(0, |header| header.revision);
    for event in &response.events {
        let word = if event.r#type() == EventType::Delete { "DELETE" } else { "PUT" };
        let kv = event.kv.clone().unwrap_or_default();
        // etcdctl quotes both, as Go's %q does.
        let quoted = |bytes: &[u8]| format!("{:?}", String::from_utf8_lossy(bytes));
        let status: ExitStatus = tokio::process::Command::new(program)
            .args(words)
            .env("ETCD_WATCH_REVISION", revision.to_string())
            .env("ETCD_WATCH_EVENT_TYPE", format!("{word:?}"))
            .env("ETCD_WATCH_KEY", quoted(&kv.key))
            .env("ETCD_WATCH_VALUE", quoted(&kv.value))
            .status()
            .await
            .map_err(|error| Exit::error(format!("cannot run {}: {error}", program.display())))?;
        if !status.success() {
            return Err(Exit::error(format!("{} ended with {status}", program.display())));
        }
    }
    Ok(())
}

#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_help_subcommand = true)]
struct Line {
    #[command(subcommand)]
    word: Word,
}

#[derive(Subcommand)]
enum Word {
    Watch(Watch),
    Progress,
}

/// A person's lines: every `watch` is one more watch on the same stream.
async fn interactive(session: &Session) -> Result<(), Exit> {
    let client = session.client().await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut watches: JoinSet<Result<(), Exit>> = JoinSet::new();
    let (asks, _) = tokio::sync::broadcast::channel::<()>(1);
    loop {
        tokio::select! {
            Some(ended) = watches.join_next() => if let Ok(Err(exit)) = ended {
                return Err(exit);
            },
            line = lines.next_line() => match line? {
                None => return Ok(()),
                Some(line) if line.trim().is_empty() => {}
                Some(line) => match parse_line(&line)? {
                    // Whoever does not watch has no progress.
                    Word::Progress => { let _ = asks.send(()); }
                    Word::Watch(watch) => {
                        let watcher = watch.open(&client).await?;
                        let printer = session.printer;
                        let asked = asks.subscribe();
                        watches.spawn(follow_and_ask(watcher, printer, watch.command, asked));
                    }
                },
            },
        }
    }
}

/// [`follow`], with requests for progress in between.
async fn follow_and_ask(
    mut watcher: Watcher,
    printer: Printer,
    command: Vec<OsString>,
    mut asked: tokio::sync::broadcast::Receiver<()>,
) -> Result<(), Exit> {
    loop {
        tokio::select! {
            Ok(()) = asked.recv() => watcher.request_progress().await?,
            response = watcher.next() => match response {
                Some(Ok(response)) => {
                    printer.print(&Watched(&response))?;
                    run_command(&command, &response).await?;
                }
                Some(Err(error)) => {
                    let text = format!("watch is canceled by the server: {error}");
                    return Err(Exit::new(Code::Interrupted, text));
                }
                None => return Err(Exit::new(Code::Interrupted, "watch is canceled by the server")),
            },
        }
    }
}

fn parse_line(line: &str) -> Result<Word, Exit> {
    let wrong = |why: &str| {
        Exit::new(
            Code::InvalidInput,
            format!(
                "invalid command {line:?} ({why}): write `watch [flags] key [range_end]` or `progress`"
            ),
        )
    };
    let words = split_words(line).ok_or_else(|| wrong("a quote is not closed"))?;
    let words: Vec<OsString> = words.into_iter().map(OsString::from_vec).collect();
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
        assert!(parse_line("wacth a").is_err());
    }
}
