//! Locks and elections: one at a time, in order, and never for longer than a session lasts.

use std::process::Stdio;

use quorate::client::{Client, Election, Error, Held, Leadership, Mutex, Observer, Retry, Session};
use rustix::process::Signal;

use super::harness::{Cluster, SOON, eventually, run};
use crate::program::{Folder, Process, finish, until};

/// Long enough for a machine that is busy with other tests.
const TTL: i64 = 60;

async fn keys(client: &Client, prefix: &str) -> usize {
    client.get(prefix.to_owned()).prefix().count_only().await.unwrap().count as usize
}

/// Waits until so many are in the queue.
async fn queue(client: &Client, prefix: &str, count: usize) {
    eventually(&format!("{count} in the queue of {prefix}"), || async {
        (keys(client, prefix).await == count).then_some(())
    })
    .await;
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.unwrap_or_else(|_| panic!("{what} never happened"))
}

fn lock(session: &Session, name: &'static str) -> tokio::task::JoinHandle<Result<Held, Error>> {
    let mutex = Mutex::new(session, name);
    tokio::spawn(async move { mutex.lock().await })
}

#[test]
fn locks_go_round_in_the_order_of_asking() {
    let cluster = Cluster::start(1);
    run(async {
        let client = cluster.client();
        let (mut sessions, mut waiting) = (Vec::new(), Vec::new());
        for at in 0..4 {
            let session = Session::start(&cluster.client(), TTL).await.unwrap();
            waiting.push(lock(&session, "turns"));
            queue(&client, "turns/", at + 1).await;
            sessions.push(session);
        }
        // The third gives up waiting: its place is given back, and the others do not wait for it.
        waiting.remove(2).abort();
        queue(&client, "turns/", 3).await;
        sessions.remove(2);
        let mut tokens = Vec::new();
        for (at, waits) in waiting.into_iter().enumerate() {
            let held = soon("the turn", waits).await.unwrap().unwrap();
            assert_eq!(held.key(), format!("turns/{:x}", sessions[at].lease()).as_bytes());
            assert!(held.revision() >= held.create_revision());
            tokens.push(held.create_revision());
            queue(&client, "turns/", 3 - at).await;
            let other = Session::start(&client, TTL).await.unwrap();
            assert!(Mutex::new(&other, "turns").try_lock().await.unwrap().is_none());
            queue(&client, "turns/", 3 - at).await;
            let guarded = client.txn().when(held.is_held());
            assert!(
                guarded.then(quorate::client::Put::new("guarded", "")).await.unwrap().succeeded
            );
            let late = held.is_held();
            held.unlock().await.unwrap();
            assert!(!client.txn().when(late).await.unwrap().succeeded);
        }
        assert!(tokens.is_sorted(), "{tokens:?}");
        assert_eq!(keys(&client, "turns/").await, 0);
    });
}

#[test]
fn one_session_excludes_itself_and_a_dropped_lock_is_given_back() {
    let cluster = Cluster::start(1);
    run(async {
        let client = cluster.client();
        let session = Session::start(&client, TTL).await.unwrap();
        let held = soon("the lock", Mutex::new(&session, "a").lock()).await.unwrap();
        assert!(Mutex::new(&session, "a").try_lock().await.unwrap().is_none());
        let next = lock(&session, "a");
        let elsewhere = soon("another lock", Mutex::new(&session, "b").lock()).await.unwrap();
        assert!(!next.is_finished());
        let token = held.create_revision();
        drop(held);
        let held = soon("the lock again", next).await.unwrap().unwrap();
        assert!(held.create_revision() > token, "it is another place");
        // A session that was handed over has its locks.
        let resumed = Session::resume(&cluster.client(), session.lease()).await.unwrap();
        let same = soon("its own lock", Mutex::new(&resumed, "a").lock()).await.unwrap();
        assert_eq!(same.create_revision(), held.create_revision());
        same.unlock().await.unwrap();
        assert!(matches!(held.unlock().await, Err(Error::NotHeld { .. })));
        elsewhere.unlock().await.unwrap();
        assert!(matches!(Session::resume(&client, 0x77).await, Err(Error::LeaseGone { id: 0x77 })));
    });
}

#[test]
fn a_lost_session_ends_waiting_and_holding() {
    let cluster = Cluster::start(1);
    run(async {
        let client = cluster.client();
        // A holder that crashed: its key is there, and nobody renews its lease.
        let crashed = client.lease_grant(4, 0).await.unwrap().id;
        let key = format!("frail/{crashed:x}");
        client.put(key, "").lease(crashed).await.unwrap();
        let holder = Session::start(&cluster.client(), TTL).await.unwrap();
        let waits = lock(&holder, "frail");
        let loser = Session::start(&cluster.client(), 15).await.unwrap();
        queue(&client, "frail/", 2).await;
        let loses = lock(&loser, "frail");
        let held = soon("the crashed holder's lease to expire", waits).await.unwrap().unwrap();
        queue(&client, "frail/", 2).await;
        // Revoked while it waits.
        client.lease_revoke(loser.lease()).await.unwrap();
        let error = soon("the news", loses).await.unwrap().unwrap_err();
        assert!(matches!(error, Error::LeaseGone { .. } | Error::NotHeld { .. }), "{error}");
        assert_eq!(keys(&client, "frail/").await, 1);
        // Revoked while it holds.
        client.lease_revoke(holder.lease()).await.unwrap();
        let error = soon("the news", held.lost()).await;
        assert!(matches!(error, Error::LeaseGone { .. } | Error::NotHeld { .. }), "{error}");
        assert!(held.unlock().await.is_err());
        assert!(matches!(soon("the news", loser.lost()).await, Error::LeaseGone { .. }));
        holder.close().await.unwrap();
    });
}

#[test]
fn a_session_without_servers_ends_with_its_time() {
    let mut cluster = Cluster::start(1);
    run(async {
        let session = Session::start(&cluster.client(), 4).await.unwrap();
        let held = Mutex::new(&session, "alone").lock().await.unwrap();
        cluster.kill(0);
        // Nobody is left to say that the lease is over: its holder must know by itself.
        soon("doubt", held.lost()).await;
    });
}

/// Campaigns until it is known to be in the queue: a leader's end may leave that open.
async fn campaign(election: Election, session: Session, value: &'static str) -> Leadership {
    loop {
        match election.campaign(&session, value).await {
            Ok(leadership) => return leadership,
            Err(error) => assert_ne!(error.retry(), Retry::Never, "{error}"),
        }
    }
}

async fn told(observer: &mut Observer) -> String {
    let leader = soon("news of the election", observer.next()).await.unwrap();
    String::from_utf8(leader.kv.value.to_vec()).unwrap()
}

#[test]
fn elections_are_observed_across_a_leader_kill() {
    let mut cluster = Cluster::start(3);
    run(async {
        let election = Election::new(&cluster.client(), "boss");
        assert_eq!(election.leader().await.unwrap(), None);
        let mut observer = election.observe();
        let early = tokio::spawn(async move { (told(&mut observer).await, observer) });
        let one = Session::start(&cluster.client(), TTL).await.unwrap();
        let two = Session::start(&cluster.client_of(&[1, 2, 0]), TTL).await.unwrap();
        let mut first = campaign(election.clone(), one, "one").await;
        let second = tokio::spawn(campaign(election.clone(), two.clone(), "two"));
        queue(&cluster.client(), "boss/", 2).await;
        let (value, mut observer) = early.await.unwrap();
        assert_eq!(value, "one");
        first.proclaim("one, again").await.unwrap();
        assert_eq!(told(&mut observer).await, "one, again");

        let (leader, _) = cluster.leader().await;
        cluster.kill(leader);
        eventually("an answer after the kill", || async {
            let leader = election.leader().await.ok()??;
            (leader.kv.value == "one, again").then_some(())
        })
        .await;
        assert!(!second.is_finished(), "the first still leads");
        let mut at = 0;
        let value = loop {
            at += 1;
            let value = format!("after the kill, {at}");
            match first.proclaim(value.clone()).await {
                Ok(()) => break value,
                // Nobody knows whether it was said: another one is.
                Err(error) => assert_ne!(error.retry(), Retry::Never, "{error}"),
            }
        };
        while told(&mut observer).await != value {}
        first.resign().await.unwrap();
        let second = soon("the second to lead", second).await.unwrap();
        assert_eq!(told(&mut observer).await, "two");
        let leads = election.leader().await.unwrap().unwrap();
        assert_eq!((leads.kv.key, leads.kv.lease), (second.key().clone(), two.lease()));
        two.close().await.unwrap();
        soon("the news", second.lost()).await;
        assert_eq!(election.leader().await.unwrap(), None);
    });
}

#[test]
fn the_commands_hold_let_go_and_are_followed_when_they_are_killed() {
    let cluster = Cluster::start(1);
    let folder = Folder::new();
    let command = |words: &[&str]| {
        let mut command = cluster.cli(&[0]);
        command.args(words).stdin(Stdio::null());
        command
    };
    let spawn = |name: &str, words: &[&str]| folder.spawn_command(name, command(words));
    let lines = |process: &Process| process.stdout().lines().count();
    let waiting = |count: usize| {
        until(&format!("{count} in the queue"), || {
            let keys = cluster.ask(&[0], &["get", "--prefix", "job/", "--keys-only"]);
            (keys.lines().filter(|line| !line.is_empty()).count() == count).then_some(())
        });
    };
    // Killed: whoever waits gets it when the lease is over.
    let killed = spawn("killed", &["lock", "job", "--ttl", "4"]);
    until("the lock", || (lines(&killed) == 2).then_some(()));
    assert!(killed.stdout().starts_with("job/"), "{}", killed.stdout());
    let mut second = spawn("second", &["lock", "job"]);
    waiting(2);
    let mut third = spawn("third", &["lock", "job"]);
    waiting(3);
    assert_eq!((lines(&second), lines(&third)), (0, 0));
    drop(killed);
    until("the second to hold it", || (lines(&second) == 2).then_some(()));
    // Stopped while it waits: its place is gone at once.
    third.signal(Signal::INT);
    assert_eq!(third.wait().code(), Some(1));
    assert_eq!(third.stderr(), "Error: context canceled\n");
    waiting(1);
    second.signal(Signal::TERM);
    assert_eq!(second.wait().code(), Some(0), "{}", second.stderr());
    waiting(0);
    // A command, its environment, and its exit code.
    let script = "echo $ETCD_LOCK_KEY $ETCD_LOCK_REV; exit 3";
    let ran = finish(&mut command(&["lock", "job", "sh", "-c", script]));
    assert_eq!((ran.code, ran.stderr.as_str()), (3, "Error: exit status 3\n"));
    let words: Vec<&str> = ran.stdout.split_whitespace().collect();
    assert!(words[0].starts_with("job/") && words[1].parse::<u64>().unwrap() > 1, "{ran:?}");
    waiting(0);

    let mut listener = spawn("listener", &["elect", "-l", "boss"]);
    let mut leader = spawn("leader", &["elect", "boss", "first"]);
    until("the first to lead", || leader.stdout().ends_with("\nfirst\n").then_some(()));
    let mut next = spawn("next", &["elect", "boss", "second"]);
    until("the listener hears", || listener.stdout().ends_with("\nfirst\n").then_some(()));
    leader.signal(Signal::INT);
    assert!(leader.wait().success(), "{}", leader.stderr());
    until("the listener hears again", || listener.stdout().ends_with("\nsecond\n").then_some(()));
    until("the second to lead", || next.stdout().ends_with("\nsecond\n").then_some(()));
    next.signal(Signal::TERM);
    assert!(next.wait().success());
    listener.signal(Signal::TERM);
    assert!(listener.wait().success());
    let told = finish(&mut command(&["elect", "boss"]));
    assert_eq!(
        (told.code, told.stderr.as_str()),
        (128, "Error: no proposal argument but -l not set\n")
    );
}
