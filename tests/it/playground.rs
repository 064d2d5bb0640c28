//! The first five minutes: a cluster with one command, found by the others without a flag.

use std::sync::{Mutex, PoisonError};

use rustix::process::Signal;

use crate::program::{Folder, Process, until};

/// A playground that starts again wants its own ports back: another one must not have taken them.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits for the greeting, which comes when there is a leader.
fn start(folder: &Folder, name: &str, words: &[&str]) -> Process {
    let mut all = vec!["playground"];
    all.extend(words);
    let mut process = folder.spawn(name, &all);
    until("the playground greets", || {
        assert!(!process.has_ended(), "it ended: {}", process.stderr());
        process.stdout().contains("Ctrl-C stops it").then_some(())
    });
    process
}

fn stop(mut process: Process) {
    process.signal(Signal::INT);
    let status = process.wait();
    assert!(status.success(), "{status}: {}", process.stderr());
}

#[test]
fn a_cluster_in_one_command_is_found_without_flags_and_continues_with_its_data() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Folder::new();
    let playground = start(&folder, "first", &[]);
    let glance = playground.stdout();
    assert_eq!(glance.matches("   leader").count(), 1, "{glance}");
    for part in
        ["n1 ", "n2 ", "n3 ", "https://127.0.0.1:", "playground/certs/", "put greeting hello"]
    {
        assert!(glance.contains(part), "{part:?} is missing in {glance}");
    }

    assert_eq!(folder.run(&["put", "greeting", "hello"]).ok(), "OK\n");
    assert_eq!(folder.run(&["get", "greeting"]).ok(), "greeting\nhello\n");
    // etcd's v2 API, over TCP, with the same certificates.
    let set = folder.run(&["set", "/greeting", "v2"]);
    assert!(set.stderr.contains("`set` is of etcd's v2 API"), "{set:?}");
    assert_eq!(set.ok(), "v2\n");
    assert_eq!(folder.run(&["ls"]).ok(), "/greeting\n");
    let table = folder.run(&["endpoint", "status", "-w", "table"]).ok();
    assert_eq!(table.matches("|      true |      false |").count(), 1, "{table}");
    assert_eq!(table.matches("https://127.0.0.1:").count(), 3, "{table}");

    let watch = folder.spawn("watch", &["watch", "--prefix", ""]);
    until("the watch sees a put", || {
        // The watch may begin after the first of them.
        folder.run(&["put", "seen", "by the watch"]).ok();
        watch.stdout().contains("PUT\nseen\nby the watch\n").then_some(())
    });
    drop(watch);
    stop(playground);
    assert_eq!(folder.run(&["get", "greeting"]).code, 2, "nobody answers now");

    let again = start(&folder, "again", &[]);
    assert_eq!(folder.run(&["get", "greeting"]).ok(), "greeting\nhello\n");
    let other = folder.run(&["playground", "--nodes", "5"]);
    assert_eq!(other.code, 128);
    assert!(other.stderr.contains("--nodes 3, or throw it away with --fresh"), "{other:?}");
    stop(again);

    let fresh = start(&folder, "fresh", &["--fresh"]);
    assert_eq!(folder.run(&["get", "greeting"]).ok(), "");
    stop(fresh);
}

#[test]
fn a_playground_elsewhere_is_found_from_the_folder_it_was_started_in() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Folder::new();
    let playground = start(&folder, "elsewhere", &["--dir", "some/where", "--nodes", "1"]);
    folder.run(&["put", "a", "1"]).ok();
    assert_eq!(folder.run(&["get", "a", "--print-value-only"]).ok(), "1\n");
    let members = folder.run(&["member", "list"]).ok();
    assert_eq!(members.lines().count(), 1, "{members}");
    stop(playground);
    let foreign = folder.run(&["playground", "--dir", ".", "--fresh"]);
    assert!(foreign.stderr.contains("removes nothing there"), "{foreign:?}");
}
