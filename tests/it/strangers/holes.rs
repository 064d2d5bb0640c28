//! Holes that etcd has had, each tried: at ours it is closed, and where a real etcd still has it, that is said.
//!
//! Transactions inside each other, `prev_kv` and leases in them, deletes with `prev_kv` and the keys of a lease are in the
//! transcripts (`tests/golden/etcd/users_*`); methods without a rule in `http::users::nobody`, which fails for a method that
//! is added without one; listeners without a revocation list in [`super::ten`].

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use prost::Message;
use quorate::base::limits;
use quorate::client::Client;
use quorate::proto::etcdserverpb as pb;

use super::house::{House, Listener, PASSWORD, Plan, Site, Whose};
use super::knock::{Answer, Page};
use crate::harness::{Seat, run};

/// Ends of a range that begins at `k`, which is all that the user `one` may read.
const ENDS: [&[u8]; 7] = [b"", b"\0", b"k\0", b"l", b"z", b"k", b"a"];

fn key(text: &[u8]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(text)
}

/// Which of the requests has its range in a transaction inside of another.
const NESTED: usize = 3;

/// The same range in a request of each kind.
fn requests(end: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let range = pb::RangeRequest { key: key(b"k"), range_end: key(end), ..Default::default() };
    let op = |range: &pb::RangeRequest| pb::RequestOp {
        request: Some(pb::request_op::Request::RequestRange(range.clone())),
    };
    let inner = pb::TxnRequest { failure: vec![op(&range)], ..Default::default() };
    let nested = pb::RequestOp { request: Some(pb::request_op::Request::RequestTxn(inner)) };
    let compare = pb::Compare { key: key(b"k"), range_end: key(end), ..Default::default() };
    let delete = pb::DeleteRangeRequest { key: key(b"k"), range_end: key(end), prev_kv: true };
    vec![
        ("etcdserverpb.KV/Range", range.encode_to_vec()),
        (
            "etcdserverpb.KV/Range",
            pb::RangeRequest { count_only: true, serializable: true, ..range.clone() }
                .encode_to_vec(),
        ),
        (
            "etcdserverpb.KV/Txn",
            pb::TxnRequest { success: vec![op(&range)], ..Default::default() }.encode_to_vec(),
        ),
        (
            "etcdserverpb.KV/Txn",
            pb::TxnRequest { success: vec![nested], ..Default::default() }.encode_to_vec(),
        ),
        (
            "etcdserverpb.KV/Txn",
            pb::TxnRequest { compare: vec![compare], ..Default::default() }.encode_to_vec(),
        ),
        ("etcdserverpb.KV/DeleteRange", delete.encode_to_vec()),
    ]
}

/// Whether a watcher from `k` to there is taken.
async fn watches(client: &Client, end: &[u8]) -> bool {
    let watch = match end {
        b"" => client.watch("k"),
        b"\0" => client.watch("k").from_key(),
        end => client.watch("k").range(key(end)),
    };
    watch.await.is_ok()
}

/// GHSA-xg4h-6gfc-h4m8: the right to read one key let watch every later one. And CVE-2026-33343: what was inside of another
/// transaction was not looked at.
#[test]
fn who_may_read_one_key_reads_no_other() {
    let _seat = Seat::take();
    run(async {
        let site = Site::new();
        let mut heard = Vec::new();
        for whose in [Whose::Ours, Whose::Etcd36, Whose::Etcd35] {
            let plan = Plan { plain: true, ..Plan::default() };
            let Some(house) = House::open(whose, &site, plan).await else { continue };
            let (token, tls) = (house.token("one").await, site.shows_nothing());
            let caller = house.caller(Listener::Client, &tls);
            let one = house.client("certs/client-root", Some(("one", PASSWORD)));
            let mut told = Vec::new();
            for end in ENDS {
                for (at, (method, message)) in requests(end).into_iter().enumerate() {
                    let answer = caller.grpc(method, &[("token", &token)], &message).await.0;
                    told.push((String::from_utf8_lossy(end).into_owned(), at, answer));
                }
            }
            let mut watched = Vec::new();
            for end in ENDS {
                watched.push(watches(&one, end).await);
            }
            heard.push((whose, told, watched));
        }
        let (_, ours, watched) = &heard[0];
        let served = Answer::Grpc(0, String::new());
        for (end, at, answer) in ours {
            // The one key by its name; a transaction has nothing to answer where its compare or its branch is empty.
            let is_one = end.is_empty() && *at != 5;
            let is_empty = matches!(end.as_str(), "k" | "a");
            assert!(
                is_empty || (*answer == served) == is_one || end == "k\0",
                "{end:?} {at}: {answer:?}"
            );
        }
        assert_eq!(watched[..5], [true, false, watched[2], false, false], "{watched:?}");
        for (whose, theirs, they_watch) in &heard[1..] {
            for (our, their) in ours.iter().zip(theirs) {
                // CVE-2026-33343 is younger than 3.5.1: what is inside of a transaction inside is read there by everybody.
                let is_hole = *whose == Whose::Etcd35 && our.1 == NESTED && their.2 == served;
                assert!(our == their || is_hole, "ours {our:?}, {whose:?} {their:?}");
            }
            // Who has the hole watches more than we let him.
            println!("{whose:?} lets watch {they_watch:?}, we {watched:?}");
        }
    });
}

/// GHSA-6vch-q96h-7gc3: handshakes without a bound and without an end.
#[test]
fn who_never_ends_his_handshake_keeps_nobody_out_and_is_closed() {
    // Of each door fewer than it bears of one address.
    const SILENT: usize = 150;
    let _seat = Seat::take();
    run(async {
        let site = Site::new();
        let plan = Plan { apart: true, ..Plan::default() };
        let house = House::open(Whose::Ours, &site, plan).await.unwrap();
        let mut silent = Vec::new();
        for at in 0..SILENT {
            let listener = [Listener::Client, Listener::Http, Listener::Metrics][at % 3];
            let mut stream = TcpStream::connect(("127.0.0.1", house.port(listener))).unwrap();
            // Nothing, or a head of a record that never comes.
            if at % 2 == 0 {
                stream.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
            }
            silent.push(stream);
        }
        house.put(None, "a").await;
        let tls = site.shows("certs/client-root");
        for listener in [Listener::Http, Listener::Metrics] {
            let page = Page { method: "GET", path: "/health", ..Page::default() };
            let answer = house.caller(listener, &tls).page(&page);
            assert_eq!(answer, Answer::Http(200, String::new()), "{listener:?}");
        }
        // As long as a busy machine may take; without a bound it would be for ever.
        let patience = limits::TLS_HANDSHAKE_DEADLINE + Duration::from_secs(30);
        for mut stream in silent {
            stream.set_read_timeout(Some(patience)).unwrap();
            let mut rest = Vec::new();
            let ended = stream.read_to_end(&mut rest);
            let is_waiting =
                ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
            assert!(!is_waiting, "open after {patience:?}");
        }
    });
}

/// CVE-2018-16886 and its like: the gateway calls its own server, with the member's certificate. Whose name is in it must not be
/// who asks; in etcd that hangs on a header that every client but a stranger sends.
#[test]
fn nobody_is_who_the_members_certificate_names() {
    let _seat = Seat::take();
    run(async {
        let site = Site::new();
        for whose in [Whose::Ours, Whose::Etcd36] {
            let plan = Plan { apart: true, ..Plan::default() };
            let Some(house) = House::open(whose, &site, plan).await else { continue };
            let tls = site.shows("certs/client-nameless");
            let ask = |headers: &str| {
                let (headers, body) = (headers.to_owned(), r#"{"key":"YQ=="}"#);
                let page =
                    Page { method: "POST", path: "/v3/kv/range", headers, body, ..Page::default() };
                match house.caller(Listener::Http, &tls).page(&page) {
                    Answer::Http(status, body) => {
                        let said: serde_json::Value = serde_json::from_str(&body).unwrap();
                        (status, said["message"].as_str().unwrap().to_owned())
                    }
                    other => panic!("{other:?}"),
                }
            };
            let nobody = (400, "etcdserver: user name is empty".to_owned());
            assert_eq!(ask("Accept: */*\r\n"), nobody, "{whose:?}");
            let bare = ask("");
            match whose {
                Whose::Ours => assert_eq!(bare, nobody),
                // He is "n1", whom no user is called; were there one, he would be it.
                _ => {
                    assert_eq!(bare, (403, "etcdserver: permission denied".to_owned()), "{whose:?}")
                }
            }
        }
    });
}

/// Every file below, and what is in it.
fn files(dir: &Path, found: &mut Vec<(std::path::PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            files(&path, found);
        } else if kind.is_file() {
            let mut bytes = std::fs::read(&path).unwrap();
            // What is reserved and not written is long.
            bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
            found.push((path, bytes));
        }
    }
}

/// CVE-2021-28235, and the audit's plaintext passwords in the log.
#[test]
fn no_password_and_no_token_is_on_the_disk_in_the_log_or_on_a_page() {
    let _seat = Seat::take();
    run(async {
        let site = Site::new();
        let plan = Plan { plain: true, words: &["--log-level=debug"], ..Plan::default() };
        let house = House::open(Whose::Ours, &site, plan).await.unwrap();
        let password = "correct-horse-battery-staple";
        let root = house.client("certs/client-root", Some(("root", PASSWORD)));
        root.user_add("eve", "first").await.unwrap();
        root.user_change_password("eve", password).await.unwrap();
        house.client("certs/client-root", Some(("eve", password))).get("a").await.unwrap_err();
        let token = house.token("bob").await;
        root.put("b", "there").await.unwrap();
        let mut found = Vec::new();
        files(site.folder.path(), &mut found);
        let holds =
            |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
        // The search finds what is there.
        assert!(found.iter().any(|(_, bytes)| holds(bytes, "there")));
        for (path, bytes) in &found {
            assert!(!holds(bytes, password), "the password is in {}", path.display());
            assert!(!holds(bytes, &token), "the token is in {}", path.display());
        }
        for path in
            ["/metrics", "/debug/vars", "/debug/requests", "/debug/events", "/debug/pprof/cmdline"]
        {
            let mut stream =
                TcpStream::connect(("127.0.0.1", house.port(Listener::Client))).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut page = Vec::new();
            stream.read_to_end(&mut page).unwrap();
            assert!(!holds(&page, password) && !holds(&page, &token), "{path}");
        }
    });
}
