//! Clients of etcd's v2 API: etcdctl 3.4, whose transcripts are a real etcd's, ours, python-etcd, node-etcd.
//!
//! Recorded with `QUORATE_V2_TRANSCRIPTS_OF=/path/to/etcd-3.4`, too; see [`super::v2`].

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use goldenscript::{Command as Line, Runner};

use super::super::harness::{Cluster, eventually, quorate, run, stdout};
use super::super::interop::{Foreign, is_required, made, skipped};
use super::super::program::output;
use super::alone::Alone;
use super::three::Three;
use super::transcripts::difference;
use super::v2::{align, say, without_dates};

/// More than any command may take.
const LIMIT: Duration = Duration::from_secs(60);

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn url(alone: &Alone) -> String {
    format!("http://{}", alone.address)
}

/// A program that has etcdctl's commands of v2.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Tool {
    Etcdctl,
    Ours,
}

impl Tool {
    /// At an endpoint, with words between spaces.
    fn asking(self, endpoint: &str, words: &str) -> Command {
        let mut command = self.command();
        command.args(["--endpoints", endpoint]).args(words.split_whitespace());
        command
    }

    fn command(self) -> Command {
        let mut command = match self {
            Self::Etcdctl => Command::new(etcdctl_name()),
            Self::Ours => {
                let mut command = quorate();
                command.arg("etcdctl");
                command
            }
        };
        command.env("ETCDCTL_API", "2");
        // A busy machine is not what is asked about.
        command.args(["--timeout", "30s", "--total-timeout", "60s"]);
        command
    }
}

fn etcdctl_name() -> String {
    std::env::var("QUORATE_ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned())
}

/// etcdctl 3.4 or 3.5. None, and a line that says so, where there is none.
pub(super) fn etcdctl() -> Option<Tool> {
    let found = Tool::Etcdctl.command().arg("--version").output();
    if found.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("API version: 2"))
    {
        return Some(Tool::Etcdctl);
    }
    // Newer ones have forgotten it.
    let name = etcdctl_name();
    assert!(!is_required(), "{name} does not speak etcd's v2 API, and QUORATE_CLIENTS wants one");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {name} does not speak etcd's v2 API");
    None
}

#[test]
fn etcdctl_with_every_verb_of_v2() {
    if let Some(tool) = etcdctl() {
        transcripts(tool);
    }
}

#[test]
fn our_etcdctl_with_every_verb_of_v2() {
    transcripts(Tool::Ours);
}

/// Every script, to a fresh member each.
fn transcripts(tool: Tool) {
    let recorded = std::env::var_os("QUORATE_V2_TRANSCRIPTS_OF");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(project("tests/golden/etcdctl_v2"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scripts.sort();
    let mut differences = String::new();
    for path in scripts {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let alone = runtime.block_on(async {
            let program = recorded.as_ref().map_or_else(quorate, Command::new);
            let (alone, _) = Alone::of(program, &["--enable-v2=true"]).await;
            align(alone.address).await;
            eventually("it has published its URLs", || async {
                let (_, text) = say(alone.address, "GET", "/v2/members", "").await;
                text.contains(r#""clientURLs":["http://"#).then_some(())
            })
            .await;
            alone
        });
        let script = std::fs::read_to_string(&path).unwrap();
        let mut talk = Talk { tool, alone, runtime, watching: BTreeMap::new() };
        let found = goldenscript::generate(&mut talk, &script).unwrap();
        if recorded.is_some() && tool == Tool::Etcdctl {
            std::fs::write(&path, &found).unwrap();
        } else if script != found {
            let lines = difference(&script, &found);
            differences += &format!("{}:\n{lines}", path.display());
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

struct Talk {
    tool: Tool,
    alone: Alone,
    runtime: tokio::runtime::Runtime,
    watching: BTreeMap<String, Foreign>,
}

impl Talk {
    /// Who waits at the member.
    async fn watchers(&self) -> u64 {
        let (_, text) = say(self.alone.address, "GET", "/v2/stats/store", "").await;
        let stats: serde_json::Value = serde_json::from_str(&text).unwrap();
        stats["watchers"].as_u64().unwrap()
    }
}

/// Runs it with that on its stdin, and tells what was printed.
pub(super) fn run_with(tool: Tool, endpoint: &str, words: &str, stdin: &str) -> String {
    let mut child = Foreign::spawn(tool.asking(endpoint, words));
    child.feed(stdin);
    told(&child.output(LIMIT))
}

/// What was printed. Ids, ports, dates and versions are another cluster's each time.
fn told(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    // That a password is not typed is said to no script by a program of its own.
    let err = err.split_inclusive('\n').filter(|line| !line.starts_with("stty: "));
    let text = without_dates(&(out.into_owned() + &err.collect::<String>()));
    let text: String = without_seconds(&text).split_inclusive('\n').map(in_order).collect();
    let mut told = String::new();
    for word in text.split_inclusive(|sign: char| !sign.is_ascii_alphanumeric()) {
        let plain = word.trim_end_matches(|sign: char| !sign.is_ascii_alphanumeric());
        let is_id =
            (12..=16).contains(&plain.len()) && plain.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_port = plain.len() == 5 && plain.bytes().all(|byte| byte.is_ascii_digit());
        match is_id || is_port {
            true => told += &format!("...{}", &word[plain.len()..]),
            false => told += word,
        }
    }
    if let Some((before, after)) = told.split_once("VERSION:\n   3.") {
        let after = after.split_once('\n').map_or("", |(_, after)| after);
        told = format!("{before}VERSION:\n   ...\n{after}");
    }
    if !told.is_empty() && !told.ends_with('\n') {
        told.push('\n');
    }
    told + &format!("-> {}\n", output.status.code().unwrap_or(-1))
}

impl Runner for Talk {
    fn run(&mut self, line: &Line) -> Result<String, Box<dyn Error>> {
        let mut words = line.consume_args();
        let first = words.next_pos().ok_or("a word")?.value.clone();
        let stdin = words.lookup("stdin").map(|arg| arg.value.clone()).unwrap_or_default();
        match line.name.as_str() {
            "etcdctl" => Ok(run_with(self.tool, &url(&self.alone), &first, &stdin)),
            // Nobody listens there.
            "alone" => Ok(run_with(self.tool, "http://127.0.0.1:1", &first, &stdin)),
            "begin" => {
                let before = self.runtime.block_on(self.watchers());
                let words = &words.next_pos().ok_or("words")?.value;
                let child = Foreign::spawn(self.tool.asking(&url(&self.alone), words));
                self.runtime.block_on(eventually("it waits", || async {
                    (self.watchers().await > before).then_some(())
                }));
                self.watching.insert(first, child);
                Ok(String::new())
            }
            "end" | "stop" => {
                let mut child = self.watching.remove(&first).ok_or("it was not begun")?;
                if line.name == "stop" {
                    let text = words.next_pos().ok_or("a text")?.value.clone();
                    child.until(LIMIT, |out| out.contains(&text));
                    child.interrupt();
                }
                Ok(told(&child.output(LIMIT)))
            }
            other => Err(format!("no command {other}").into()),
        }
    }
}

/// Members are listed by their ids.
fn in_order(line: &str) -> String {
    let Some(members) = line.strip_prefix("ETCD_INITIAL_CLUSTER=\"") else {
        return line.to_owned();
    };
    let mut members: Vec<&str> = members.trim_end_matches("\"\n").split(',').collect();
    members.sort_unstable();
    format!("ETCD_INITIAL_CLUSTER=\"{}\"\n", members.join(","))
}

/// What is left of a TTL depends on how long the command before took.
fn without_seconds(text: &str) -> String {
    let mut parts = text.split("\"ttl\":");
    let first = parts.next().unwrap_or_default().to_owned();
    let digit = |sign: char| sign.is_ascii_digit();
    parts.fold(first, |told, part| format!("{told}\"ttl\":...{}", part.trim_start_matches(digit)))
}

/// What a program prints of a cluster, whatever it ends with.
fn asked(tool: Tool, endpoints: &str, words: &[&str]) -> String {
    let told = output(tool.command().args(["--endpoints", endpoints]).args(words));
    String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned()
}

/// The name of the member that `member list` calls the leader, if it calls one.
fn leader(list: &str) -> Option<&str> {
    let mut leaders = list.lines().filter(|line| line.ends_with("isLeader=true"));
    let leader = leaders.next()?.split("name=").nth(1)?.split(' ').next();
    leader.filter(|_| leaders.next().is_none())
}

#[test]
fn the_second_articles_leader_dies() {
    run(async {
        let mut three = Three::start().await;
        let urls: Vec<String> = three.addresses.iter().map(|it| format!("http://{it}")).collect();
        let endpoints = urls.join(",");
        let ask = |words: &[&str]| asked(Tool::Ours, &endpoints, words);
        let health = eventually("all have published their URLs", || async {
            let health = ask(&["cluster-health"]);
            health.ends_with("\ncluster is healthy\n").then_some(health)
        })
        .await;
        let list = ask(&["member", "list"]);
        assert_eq!((health.lines().count(), list.lines().count()), (4, 3), "{health}{list}");
        for (line, member) in health.lines().zip(list.lines()) {
            let (id, rest) = member.split_once(": name=etcd-0").unwrap();
            let client = rest.split("clientURLs=").nth(1).unwrap().split(' ').next().unwrap();
            assert_eq!(line, format!("member {id} is healthy: got healthy result from {client}"));
        }
        let old = leader(&list).unwrap().to_owned();
        let place: usize = old.strip_prefix("etcd-0").unwrap().parse().unwrap();
        three.kill(place - 1);
        let list = eventually("another leader", || async {
            let list = ask(&["member", "list"]);
            leader(&list).is_some_and(|leader| leader != old).then_some(list)
        })
        .await;
        assert_eq!(list.lines().count(), 3, "{list}");
        let health = ask(&["cluster-health"]);
        let gone = list.lines().find(|line| line.contains(&format!("name={old} "))).unwrap();
        let (id, url) = (gone.split(':').next().unwrap(), &urls[place - 1]);
        let line = format!("\nmember {id} is unreachable: [{url}] are all unreachable\n");
        assert!(health.contains(&line) && gone.ends_with("isLeader=false"), "{health}{list}");
        assert_eq!(health.matches(" is healthy: got healthy result from http://").count(), 2);
        assert!(health.ends_with("\ncluster is degraded\n"), "{health}");
        if let Some(tool) = etcdctl() {
            assert_eq!(asked(tool, &endpoints, &["cluster-health"]), health);
            assert_eq!(asked(tool, &endpoints, &["member", "list"]), list);
        }
    });
}

#[test]
fn members_with_mutual_tls_are_asked_with_certificates() {
    let cluster = Cluster::start(1);
    let files = cluster.client_files();
    let [ca, cert, key] = [files.trusted_ca, files.cert, files.key]
        .map(|file| file.unwrap().to_str().unwrap().to_owned());
    let url = cluster.members[0].url.as_str();
    let shown = ["--ca-file", &ca, "--cert-file", &cert, "--key-file", &key];
    let set = asked(Tool::Ours, url, &[&shown[..], &["set", "/k", "v"]].concat());
    assert_eq!(set, "v\n");
    let mut by_variables = Tool::Ours.command();
    by_variables.env("ETCDCTL_CA_FILE", &ca).env("ETCDCTL_CERT_FILE", &cert);
    by_variables.env("ETCDCTL_KEY_FILE", &key).env("ETCDCTL_ENDPOINTS", url);
    let health = stdout(output(by_variables.arg("cluster-health")));
    assert!(health.ends_with("cluster is healthy\n"), "{health}");
    let stranger = asked(Tool::Ours, url, &["get", "/k"]);
    assert!(stranger.contains("certificate signed by unknown authority"), "{stranger}");
    let half = asked(Tool::Ours, url, &["--ca-file", &ca, "--cert-file", &cert, "get", "/k"]);
    assert!(half.contains("give --key-file, too"), "{half}");
}

#[test]
fn a_silent_member_is_waited_for_as_long_as_was_said() {
    // The system takes connections, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let lost = format!("error #0: client: endpoint {url} exceeded header timeout\n");
    let each =
        format!("Error:  client: etcd cluster is unavailable or misconfigured; {lost}\n{lost}\n");
    for tool in [Some(Tool::Ours), etcdctl()].into_iter().flatten() {
        let words = ["--timeout", "200ms", "--no-sync", "get", "/k"];
        assert_eq!(asked(tool, &url, &words), each);
        let words = ["--timeout", "9s", "--total-timeout", "200ms", "get", "/k"];
        assert_eq!(asked(tool, &url, &words), "Error:  context deadline exceeded\n");
    }
}

/// Runs a program against a member in clear; its last line is `ok`. Without words it ends at once, if it has its library.
fn drive(program: impl Fn() -> Command, words: impl FnOnce(&Alone) -> Vec<String>) {
    if !program().stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return skipped("a client of etcd's v2 API").unwrap_or_default();
    }
    run(async {
        let (alone, _) = Alone::of(quorate(), &[]).await;
        let told = output(program().args(words(&alone)));
        let (out, err) =
            (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
        assert!(told.status.success() && out.ends_with("ok\n"), "{out}{err}");
    });
}

#[test]
fn python_with_python_etcd() {
    let Some(python) = made("python/bin/python") else { return };
    let program = || {
        let mut program = Command::new(&python);
        program.arg(project("tests/interop/python/v2.py"));
        program
    };
    drive(program, |alone| vec![alone.address.ip().to_string(), alone.address.port().to_string()]);
}

#[test]
fn javascript_with_node_etcd() {
    let Some(modules) = made("node/node_modules") else { return };
    let program = || {
        let mut program = Command::new("node");
        program.env("NODE_PATH", &modules).arg(project("tests/interop/node/v2.js"));
        program
    };
    drive(program, |alone| vec![url(alone)]);
}
