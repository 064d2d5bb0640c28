//! The v2 tree under kill -9: of leaders, of all, and with a member that comes back without its data.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::harness::{Process, SOON, eventually, free_ports, quorate, run};
use super::alone::Alone;
use super::three::Three;
use super::v2::{history, leader, say, say_as, say_json};

/// Writers of everything that the tree can do, each at whichever member answers; what they were told is written down.
struct Writers {
    is_over: Arc<AtomicBool>,
    tasks: JoinSet<Vec<(String, u64)>>,
}

impl Writers {
    fn start(addresses: &[SocketAddr]) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for writer in 0..4_usize {
            let (addresses, is_over) = (addresses.to_vec(), Arc::clone(&is_over));
            tasks.spawn(async move {
                let (mut done, mut at) = (Vec::new(), writer);
                for round in 0_u64.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let place = format!("/v2/keys/w{writer}");
                    let (method, path, form) = match round % 6 {
                        0 => ("PUT", format!("{place}/file"), format!("value={round}")),
                        1 => ("POST", format!("{place}/queue"), format!("value={round}")),
                        2 => ("PUT", format!("{place}/dir/short"), "value=x&ttl=1".to_owned()),
                        3 => ("PUT", format!("{place}/gone/a"), "value=x&ttl=100".to_owned()),
                        4 => ("PUT", format!("{place}/days?dir=true"), "ttl=2".to_owned()),
                        _ => ("DELETE", format!("{place}/gone?recursive=true"), String::new()),
                    };
                    match told(addresses[at % 3], method, &path, &form).await {
                        Some((200 | 201, text)) if method == "POST" => {
                            let event: serde_json::Value = serde_json::from_str(&text).unwrap();
                            let key = event["node"]["key"].as_str().unwrap().to_owned();
                            done.push((key, round));
                        }
                        Some((200..500, _)) => {}
                        // Its member is gone, or knows no leader.
                        _ => {
                            at += 1;
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                    }
                }
                done
            });
        }
        Self { is_over, tasks }
    }

    /// Ends them; the keys of the queues that were acknowledged, with their values.
    async fn stop(mut self) -> Vec<(String, u64)> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(done) = self.tasks.join_next().await {
            all.extend(done.unwrap());
        }
        all
    }
}

/// None if nobody answers, or half: its member may be killed in the middle.
async fn told(address: SocketAddr, method: &str, path: &str, form: &str) -> Option<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let kind = "application/x-www-form-urlencoded";
        let head = format!(
            "{method} {path} HTTP/1.0\r\nhost: h\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            form.len()
        );
        stream.write_all(format!("{head}{form}").as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    };
    timeout(SOON, exchange).await.ok()?
}

/// The tree and its index as a member has them, without what is left of times.
async fn tree(address: SocketAddr) -> (serde_json::Value, u64) {
    fn without_ttl(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => {
                fields.remove("ttl");
                fields.values_mut().for_each(without_ttl);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(without_ttl),
            _ => {}
        }
    }
    let (status, text) = say(address, "GET", "/v2/keys/?recursive=true&quorum=true", "").await;
    assert_eq!(status, 200, "{text}");
    let mut found: serde_json::Value = serde_json::from_str(&text).unwrap();
    without_ttl(&mut found);
    (found, super::v2::index(address).await)
}

/// Once nothing expires any more, all have the same tree, and the same history of it.
async fn same_everywhere(three: &Three) -> (serde_json::Value, u64) {
    let (first, index) = eventually("the trees are the same", || async {
        let trees = [
            tree(three.addresses[0]).await,
            tree(three.addresses[1]).await,
            tree(three.addresses[2]).await,
        ];
        let [first, second, third] = &trees;
        let is_quiet =
            !first.0.to_string().contains("short") && !first.0.to_string().contains("/days");
        (is_quiet && first == second && second == third).then(|| first.clone())
    })
    .await;
    let since = index.saturating_sub(900).max(1);
    let told = history(three.addresses[0], since, index).await;
    assert_eq!(told.len() as u64, index - since + 1, "an index without its event");
    for &address in &three.addresses[1..] {
        assert_eq!(history(address, since, index).await, told);
    }
    (first, index)
}

#[test]
fn the_tree_is_the_same_on_all_after_kills_of_leaders_a_lost_disk_and_a_restart_of_all() {
    run(async {
        let mut three = Three::start().await;
        let writers = Writers::start(&three.addresses);
        for _ in 0..2 {
            let old = leader(&three).await;
            three.kill(old);
            let before = super::v2::index(three.addresses[(old + 1) % 3]).await;
            eventually("the others go on", || async {
                (super::v2::index(three.addresses[(old + 1) % 3]).await > before + 20).then_some(())
            })
            .await;
            three.spawn(old, "new");
            three.serves(old).await;
        }
        comes_back_by_snapshot(&mut three).await;
        let acknowledged = writers.stop().await;
        assert!(acknowledged.len() > 20, "only {} were acknowledged", acknowledged.len());

        let (before, index) = same_everywhere(&three).await;
        for (key, value) in acknowledged {
            let (status, text) =
                say(three.addresses[2], "GET", &format!("/v2/keys{key}"), "").await;
            assert!(status == 200 && text.contains(&format!("\"value\":\"{value}\"")), "{text}");
        }
        for member in 0..3 {
            three.kill(member);
        }
        for member in 0..3 {
            three.spawn(member, "new");
        }
        for member in 0..3 {
            three.serves(member).await;
        }
        assert_eq!(same_everywhere(&three).await, (before, index));
    });
}

/// The third loses its disk: it is taken out and let in again, while the writers go on.
async fn comes_back_by_snapshot(three: &mut Three) {
    three.lose(2);
    let first = three.addresses[0];
    let id = eventually("who is in", || async {
        let (_, text) = told(first, "GET", "/v2/members", "").await?;
        let members: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut members = members["members"].as_array().unwrap().iter();
        let lost = members.find(|member| member["name"] == "etcd-03")?;
        Some(lost["id"].as_str().unwrap().to_owned())
    })
    .await;
    eventually("it is taken out", || async {
        let path = format!("/v2/members/{id}");
        matches!(told(first, "DELETE", &path, "").await, Some((204 | 410, _))).then_some(())
    })
    .await;
    let body = format!("{{\"peerURLs\":[\"{}\"]}}", three.peer_url(2));
    eventually("it is let in again", || async {
        let (status, _) = say_json(first, "POST", "/v2/members", &body).await;
        (status == 201 || status == 409).then_some(())
    })
    .await;
    three.spawn(2, "existing");
    eventually("a snapshot", || async {
        let log = std::fs::read_to_string(three.log(2)).unwrap();
        log.contains("received a snapshot").then_some(())
    })
    .await;
    three.serves(2).await;
}

#[test]
fn times_end_within_a_second_though_leaders_change() {
    const TTL_S: u64 = 5;
    run(async {
        let mut three = Three::start().await;
        // A busy machine may be late once; nothing may be early ever.
        let mut late = Vec::new();
        for round in 0..5 {
            let old = leader(&three).await;
            let address = three.addresses[(old + 1) % 3];
            let form = format!("value=x&ttl={TTL_S}");
            let (_, text) = say(address, "PUT", &format!("/v2/keys/short{round}"), &form).await;
            let written = wall_ms();
            let event: serde_json::Value = serde_json::from_str(&text).unwrap();
            let index = event["node"]["modifiedIndex"].as_u64().unwrap();
            let path = format!("/v2/keys/short{round}?wait=true&waitIndex={}", index + 1);
            let watch = tokio::spawn(async move { say(address, "GET", &path, "").await });
            three.kill(old);
            let (_, text) = watch.await.unwrap();
            assert!(text.contains("expire"), "{text}");
            // The answer to the write came after its time began.
            let after_ms = wall_ms().saturating_sub(written);
            assert!(after_ms + 500 >= TTL_S * 1_000, "{after_ms} ms: {text}");
            if after_ms <= TTL_S * 1_000 + 1_000 {
                return;
            }
            late.push(after_ms);
            three.spawn(old, "new");
            three.serves(old).await;
        }
        panic!("{TTL_S} s took so many milliseconds: {late:?}");
    });
}

fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

#[test]
fn a_saved_snapshot_has_the_tree_its_times_and_its_history() {
    run(async {
        let (alone, _) = Alone::of(quorate(), &[]).await;
        for (method, path, form) in [
            ("PUT", "/v2/keys/d/a", "value=1"),
            ("POST", "/v2/keys/d/q", "value=2"),
            ("PUT", "/v2/keys/long", "value=3&ttl=5000"),
            ("PUT", "/v2/keys/d/a", "value=4"),
            ("DELETE", "/v2/keys/d/a", ""),
            ("PUT", "/v2/keys/short", "value=5&ttl=6"),
        ] {
            let (status, text) = say(alone.address, method, path, form).await;
            assert!(status < 300, "{text}");
        }
        let dir = tempfile::tempdir().unwrap();
        let command = |words: &[&str]| {
            let mut command = quorate();
            let output = command.current_dir(dir.path()).args(words).output().unwrap();
            assert!(output.status.success(), "{words:?}: {output:?}");
        };
        let url = format!("http://{}", alone.address);
        command(&["--endpoints", &url, "snapshot", "save", "one.snap"]);
        let (before, index) = tree(alone.address).await;
        let told = history(alone.address, 1, index).await;
        drop(alone);

        let ports = free_ports(2);
        let [peer, client] = [0, 1].map(|at: usize| format!("http://127.0.0.1:{}", ports[at]));
        let initial = format!("r1={peer}");
        let named = ["--name", "r1", "--data-dir", "r1", "--initial-cluster", &initial];
        let advertised = ["--initial-advertise-peer-urls", &peer];
        let words = [&["snapshot", "restore", "one.snap"][..], &named[..], &advertised[..]];
        command(&words.concat());
        let mut program = quorate();
        program.current_dir(dir.path()).arg("serve").args(named).args(advertised);
        program.args(["--listen-peer-urls", &peer, "--listen-client-urls", &client]);
        program.args(["--advertise-client-urls", &client]);
        let _restored = Process::spawn(program, &dir.path().join("r1.log"));
        let address = SocketAddr::from(([127, 0, 0, 1], ports[1]));
        let found = eventually("what is past its time goes", || async {
            let (status, _) = self::told(address, "GET", "/v2/keys/short?quorum=true", "").await?;
            (status == 404).then_some(())?;
            Some(tree(address).await)
        })
        .await;
        assert!(before.to_string().contains("/short"), "{before}");
        let nodes = |tree: &serde_json::Value| {
            let nodes = tree["node"]["nodes"].as_array().unwrap().iter();
            nodes.filter(|node| node["key"] != "/short").cloned().collect::<Vec<_>>()
        };
        assert_eq!(nodes(&found.0), nodes(&before));
        // Its end is the next index.
        assert_eq!(found.1, index + 1);
        assert_eq!(history(address, 1, index).await, told);
    });
}

#[test]
fn users_are_known_everywhere_after_a_lost_disk_and_a_restart_of_all() {
    run(async {
        let mut three = Three::start().await;
        let first = three.addresses[0];
        for (path, body) in [
            ("users/root", r#"{"user":"root","password":"r"}"#),
            ("users/ann", r#"{"user":"ann","password":"a","roles":["some"]}"#),
            ("roles/some", r#"{"role":"some","permissions":{"kv":{"read":["/a"],"write":[]}}}"#),
            ("roles/guest", r#"{"role":"guest"}"#),
        ] {
            let (status, text) = say_json(first, "PUT", &format!("/v2/auth/{path}"), body).await;
            assert!(status < 300, "{text}");
        }
        assert_eq!(say(first, "PUT", "/v2/keys/a", "value=1").await.0, 201);
        comes_back_by_snapshot(&mut three).await;
        assert_eq!(say(three.addresses[2], "PUT", "/v2/auth/enable", "").await.0, 200);
        for member in 0..3 {
            three.kill(member);
        }
        for member in 0..3 {
            three.spawn(member, "new");
        }
        for member in 0..3 {
            three.serves(member).await;
        }
        for &address in &three.addresses {
            let get = |who| say_as(who, address, "GET", "/v2/keys/a?quorum=true", "");
            eventually("it has applied that users are asked", || async {
                (get(None).await.0 == 401).then_some(())
            })
            .await;
            assert_eq!(get(Some("ann:a")).await.0, 200);
            assert_eq!(get(Some("ann:b")).await.0, 401);
            let put = say_as(Some("ann:a"), address, "PUT", "/v2/keys/a", "").await;
            assert_eq!(put.0, 401, "{}", put.1);
            let (status, users) =
                say_as(Some("root:r"), address, "GET", "/v2/auth/users", "").await;
            assert!(status == 200 && users.contains("\"ann\""), "{users}");
            // Nobody is told what is kept of a password.
            assert!(!users.contains("$2"), "{users}");
        }
    });
}
