//! What is refused, and told: a destination that is not empty, somebody else's migration, words that are wrong, keys that do
//! not fit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quorate::client::Login;
use rustix::process::Signal;

use super::sides::{Etcd, Held, Here};
use super::{any_etcd, fill};
use crate::harness::run;
use crate::program::{Output, Process};

#[track_caller]
fn refused(output: &Output, text: &str) {
    assert_ne!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains(text), "{output:?}");
    assert!(!output.stderr.contains("panicked"), "{output:?}");
}

#[test]
fn a_destination_with_anything_in_it_is_refused() {
    let Some(etcd) = any_etcd() else { return };
    let here = Here::start(&etcd.folder, "here", &[]);
    refused(&here.migrate(&etcd, &["follow"]), "holds no unfinished migration: begin with");
    refused(&here.migrate(&etcd, &["finish"]), "holds no unfinished migration: begin with");
    run(async {
        let to = here.client();
        to.put("mine", "1").await.unwrap();
        let output = here.migrate(&etcd, &["copy"]);
        refused(&output, "the destination is not empty: it has 1 keys, the first \"mine\"");
        to.delete("mine").await.unwrap();
        let lease = to.lease_grant(600, 0).await.unwrap().id;
        refused(&here.migrate(&etcd, &["copy"]), "the destination is not empty: it has 1 leases");
        to.lease_revoke(lease).await.unwrap();
        to.user_add("alice", "x").await.unwrap();
        refused(&here.migrate(&etcd, &["copy"]), "the destination is not empty: it has 1 users");
        here.migrate(&etcd, &["copy", "--skip-users"]).ok();
        assert_eq!(to.user_list().await.unwrap().users, ["alice"]);
        assert_eq!(to.get("").prefix().count_only().await.unwrap().count, 1, "the mark");
    });
}

#[test]
fn a_migration_belongs_to_one_source_and_one_process() {
    let Some(etcd) = any_etcd() else { return };
    let here = Here::start(&etcd.folder, "here", &[]);
    let other = Here::start(&etcd.folder, "other", &[]);
    run(async {
        let from = etcd.client();
        fill(&from, "keys", 100).await;
        let first = here.begin(&etcd, "first", &["copy", "--follow"]);
        here.has(100).await;
        let words = ["migrate", "copy", "--from", &other.url, "--endpoints", &here.url];
        refused(&etcd.folder.run(&words), "holds an unfinished migration of cluster");
        let words = ["migrate", "copy", "--from", &here.url, "--endpoints", &other.url];
        refused(&etcd.folder.run(&words), "it is the destination of an unfinished migration");
        let words = ["migrate", "copy", "--from", &here.url, "--endpoints", &here.url];
        refused(&etcd.folder.run(&words), "name the same cluster");
        // Whether there is something to be written or not.
        let second = here.begin(&etcd, "second", &["follow"]);
        is_superseded(first);
        let third = here.begin(&etcd, "third", &["follow"]);
        crate::program::until("the third has taken it up", || {
            third.stdout().contains("Following from").then_some(())
        });
        from.put("keys/000001", "new").await.unwrap();
        is_superseded(second);
        third.signal(Signal::TERM);
        drop(third);
        // Whatever is written beside it is found, and put right.
        here.client().put("stranger", "1").await.unwrap();
        here.client().delete("keys/000002").await.unwrap();
        let output = here.migrate(&etcd, &["verify"]);
        refused(&output, "key \"keys/000002\" is missing at the destination");
        refused(&output, "key \"stranger\" is at the destination alone");
        refused(&here.migrate(&etcd, &["finish"]), "2 differences at revision");
        here.migrate(&etcd, &["copy"]).ok();
        here.migrate(&etcd, &["finish"]).ok();
        Held::by(&from).await.assert_same(&Held::by(&here.client()).await);
    });
}

#[test]
fn a_source_that_is_still_written_to_is_not_finished() {
    let Some(etcd) = any_etcd() else { return };
    let here = Here::start(&etcd.folder, "here", &[]);
    run(async {
        let from = etcd.client();
        fill(&from, "keys", 100).await;
        here.migrate(&etcd, &["copy"]).ok();
        let is_over = Arc::new(AtomicBool::new(false));
        let (writer, ends) = (etcd.client(), Arc::clone(&is_over));
        let writing = tokio::spawn(async move {
            while !ends.load(Ordering::Relaxed) {
                writer.put("steady", "on").await.unwrap();
            }
        });
        let output = here.migrate(&etcd, &["finish"]);
        is_over.store(true, Ordering::Relaxed);
        writing.await.unwrap();
        refused(&output, "the source is still written to (revision ");
        here.migrate(&etcd, &["finish"]).ok();
        Held::by(&from).await.assert_same(&Held::by(&here.client()).await);
    });
}

#[test]
fn authentication_is_not_enabled_where_it_would_be_refused() {
    let Some(etcd) = any_etcd() else { return };
    let here = Here::start(&etcd.folder, "here", &[]);
    std::fs::write(etcd.folder.path().join("passwords"), "root:secret\n").unwrap();
    run(async {
        let (from, to) = (etcd.client(), here.client());
        fill(&from, "keys", 10).await;
        here.migrate(&etcd, &["copy"]).ok();
        let finish =
            || here.migrate(&etcd, &["finish", "--auth-enable", "--passwords", "passwords"]);
        refused(&finish(), "--auth-enable needs a user root with the role root");
        to.user_add("root", "x").await.unwrap();
        refused(&finish(), "--auth-enable needs a user root with the role root");
        to.role_add("root").await.unwrap();
        to.user_grant_role("root", "root").await.unwrap();
        let told = finish().ok();
        let place = |text: &str| told.find(text).unwrap_or_else(|| panic!("{text} in {told}"));
        assert!(place("The way back begins") < place("Authentication Enabled"), "{told}");
        let again = here.migrate(&etcd, &["finish", "--user", "root:secret"]);
        refused(&again, "or it is finished already");
    });
}

#[test]
fn a_lease_that_is_longer_here_is_noted_and_no_difference() {
    let Some(etcd) = any_etcd() else { return };
    let slow = ["--election-timeout", "5000", "--heartbeat-interval", "500"];
    let here = Here::start(&etcd.folder, "here", &slow);
    run(async {
        let from = etcd.client();
        for (ttl, id) in [(5, 0xa1), (600, 0xa2)] {
            from.lease_grant(ttl, id).await.unwrap();
        }
        let _keeper = from.lease_keep_alive(0xa1).await.unwrap();
        // Here it ends in between, and is granted anew.
        here.migrate(&etcd, &["copy"]).ok();
        let told = here.migrate(&etcd, &["finish"]).ok();
        let longer = "lease a1 is granted for 5 s, and at the destination for 8 s";
        assert!(told.contains(" 2 leases") && told.contains(longer), "{told}");
        assert!(!told.contains("lease a2"), "{told}");
    });
}

/// It ends, and says why.
fn is_superseded(mut process: Process) {
    assert!(!process.wait().success());
    let told = process.stderr();
    assert!(told.contains("another `quorate migrate` has taken it up"), "{told}");
}

#[test]
fn keys_that_do_not_fit_are_named() {
    let Some(etcd) = any_etcd() else { return };
    run(async {
        let from = etcd.client();
        fill(&from, "keys", 50).await;
        let long = "long/".to_owned() + &"x".repeat(3_000);
        from.put(long.clone(), "1").await.unwrap();
        let here = Here::start(&etcd.folder, "long", &[]);
        let output = here.migrate(&etcd, &["copy"]);
        refused(&output, &format!("refuses key {long:?} (3006 bytes with its value)"));
        refused(&output, "key is too long");
        from.delete(long).await.unwrap();
        here.migrate(&etcd, &["copy"]).ok();

        from.put("large", vec![b'x'; 1_400_000]).await.unwrap();
        let small = Here::start(&etcd.folder, "small", &["--max-request-bytes", "1000000"]);
        let output = small.migrate(&etcd, &["copy"]);
        refused(&output, "refuses key \"large\" (1400005 bytes with its value)");
        refused(&output, "raise its max-request-bytes");

        for n in 0..8 {
            from.put(format!("large/{n}"), vec![b'x'; 1_400_000]).await.unwrap();
        }
        let full = Here::start(&etcd.folder, "full", &["--quota-backend-bytes", "4000000"]);
        let output = full.migrate(&etcd, &["copy"]);
        refused(&output, "the destination is full before key \"large");
        refused(&output, "raise its quota-backend-bytes");
    });
}

#[test]
fn a_source_that_asks_who_asks_is_told_and_one_that_is_away_is_named() {
    let Some(etcd) = any_etcd() else { return };
    let here = Here::start(&etcd.folder, "here", &[]);
    run(async {
        let from = etcd.client();
        fill(&from, "keys", 10).await;
        from.user_add("root", "secret").await.unwrap();
        from.user_add("alice", "hers").await.unwrap();
        from.role_add("root").await.unwrap();
        from.user_grant_role("root", "root").await.unwrap();
        from.auth_enable().await.unwrap();
        refused(&here.migrate(&etcd, &["copy"]), "with --from-user");
        let output = here.migrate(&etcd, &["copy", "--from-user", "root:wrong"]);
        refused(&output, "the source cannot be reached: ");
        refused(&output, "authentication failed, invalid user ID or password");
        let output = here.migrate(&etcd, &["copy", "--from-user", "alice:hers"]);
        refused(&output, "--from-user must be one with the role root");
        let words = ["copy", "--from-user", "root", "--from-password", "secret"];
        here.migrate(&etcd, &words).ok();
        here.migrate(&etcd, &["finish", "--from-user", "root:secret"]).ok();
        let root = etcd.client_with(|mut config| {
            config.login = Some(Login { name: "root".to_owned(), password: "secret".to_owned() });
            config
        });
        Held::by(&root).await.assert_same(&Held::by(&here.client()).await);
    });
    away(&etcd, &here);
}

fn away(etcd: &Etcd, here: &Here) {
    let nowhere = "http://127.0.0.1:1";
    let words = ["migrate", "copy", "--from", nowhere, "--endpoints", &here.url];
    let output = etcd.folder.run(&words);
    refused(
        &output,
        "the source cannot be reached: no endpoint could be reached: http://127.0.0.1:1",
    );
    assert_eq!(output.code, 2);
    let words = ["migrate", "copy", "--from-user", "root:secret", "--from", &etcd.url];
    let output = etcd.folder.run(&[&words[..], &["--endpoints", nowhere]].concat());
    refused(&output, "the destination cannot be reached: no endpoint");
    let output = here.migrate(etcd, &["copy", "--from-cacert", "nothing.crt"]);
    refused(&output, "cannot read nothing.crt");
    let output = here.migrate(etcd, &["copy", "--max-txn-ops", "1"]);
    refused(&output, "--max-txn-ops is 2 or more");
    let output = here.migrate(etcd, &["copy", "--passwords", "nothing"]);
    refused(&output, "cannot read nothing");
}
