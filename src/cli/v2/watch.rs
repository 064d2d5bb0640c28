//! `watch` and `exec-watch`: one long poll after the other, each from behind the last event.

use std::pin::pin;
use std::process::Stdio;

use hyper::Method;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::answer::Event;
use super::cluster::{Cluster, Error};
use super::failure::{ERROR, Failure, SERVER_ERROR, print};
use super::flags::Words;
use super::http::{Ask, form};
use super::keys::{asking, key};
use super::settings::Settings;

/// The events of a key, one at a time.
struct Watcher<'a> {
    cluster: Cluster,
    key: &'a str,
    is_recursive: bool,
    /// Zero for whatever comes next.
    wait_index: u64,
}

impl Watcher<'_> {
    async fn next(&mut self) -> Result<Event, Failure> {
        let next = self.ask().await;
        next.map_err(|error| Failure::error(SERVER_ERROR, &error))
    }

    async fn ask(&mut self) -> Result<Event, Error> {
        let query = form([
            ("recursive", self.is_recursive.to_string()),
            ("wait", "true".to_owned()),
            ("waitIndex", self.wait_index.to_string()),
        ]);
        let ask = Ask { query, is_wait: true, ..asking(Method::GET, self.key) };
        loop {
            // A server that ends a watch without an event is asked again.
            if let Some(event) = Event::read(&self.cluster.ask(&ask).await?)? {
                self.wait_index = event.node.modified_index + 1;
                return Ok(event);
            }
        }
    }
}

/// Where a watch begins that is told to begin behind an index.
fn behind(index: u64) -> u64 {
    if index == 0 { 0 } else { index.wrapping_add(1) }
}

pub(super) async fn watch(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let cluster = settings.cluster().await?;
    let is_recursive = words.switch("recursive");
    let wait_index = behind(words.number("after-index").cast_unsigned());
    let mut watcher = Watcher { cluster, key: key(words)?, is_recursive, wait_index };
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    loop {
        let event = tokio::select! {
            event = watcher.next() => event?,
            _ = &mut interrupted => return Ok(()),
        };
        if event.node.dir {
            continue;
        }
        if is_recursive {
            print(format_args!("[{}] {}\n", event.action, event.node.key))?;
        }
        event.show(settings.format())?;
        if !words.switch("forever") {
            return Ok(());
        }
    }
}

pub(super) async fn exec_watch(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let cluster = settings.cluster().await?;
    let needed = || Failure::bad_args("key and command to exec required");
    let (key, command) = key_and_command(&words.rest).ok_or_else(needed)?;
    let (program, args) = command.split_first().ok_or_else(needed)?;
    // etcdctl's: it leaves out the event right behind that index.
    let after = behind(words.number("after-index").cast_unsigned());
    let is_recursive = words.switch("recursive");
    let mut watcher = Watcher { cluster, key, is_recursive, wait_index: behind(after) };
    // They run side by side; the last ones are not waited for.
    let mut running = JoinSet::new();
    // One for all turns: between two it would be missed.
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    loop {
        let event = tokio::select! {
            event = watcher.next() => event?,
            _ = &mut interrupted => return Ok(()),
            Some(_) = running.join_next() => continue,
        };
        if event.node.dir {
            eprintln!("Ignored dir {} change", event.node.key);
            continue;
        }
        let child = Command::new(program)
            .args(args)
            .env("ETCD_WATCH_ACTION", &event.action)
            .env("ETCD_WATCH_MODIFIED_INDEX", event.node.modified_index.to_string())
            .env("ETCD_WATCH_KEY", &event.node.key)
            .env("ETCD_WATCH_VALUE", &event.node.value)
            .stdin(Stdio::null())
            .spawn();
        match child {
            Ok(mut child) => running.spawn(async move { child.wait().await }),
            Err(error) => {
                let text = format!("cannot run {program}: {error}\n");
                return Err(Failure { code: ERROR, text });
            }
        };
    }
}

/// The key stands before `--`, or else last, which is how etcdctl reads these words.
fn key_and_command(words: &[String]) -> Option<(&str, &[String])> {
    match words.iter().skip(1).position(|word| word == "--") {
        Some(place) => Some((words[0].as_str(), &words[place + 2..])),
        None => words.split_last().map(|(key, command)| (key.as_str(), command)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::flags::parse_before_terminator;
    use super::super::verbs::{VERBS, Verb};
    use super::*;

    #[test]
    fn the_key_stands_before_the_dashes_or_last() {
        let flags = Verb::named(&VERBS, "exec-watch").unwrap().flags;
        for text in
            ["/k -- echo -r", "-r /k -- echo -r", "/k -r -- echo -r", "echo --after-index 3 /k"]
        {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let words = parse_before_terminator(flags, &words).unwrap();
            let (key, command) = key_and_command(&words.rest).unwrap();
            assert_eq!((key, command[0].as_str()), ("/k", "echo"), "{text}");
        }
    }

    #[test]
    fn a_watch_begins_behind_an_index() {
        assert_eq!((behind(0), behind(4), behind(u64::MAX)), (0, 5, 0));
    }
}
