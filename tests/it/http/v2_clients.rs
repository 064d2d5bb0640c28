//! Clients of etcd's v2 API that others have made: etcdctl 3.4, whose transcript is a real etcd's, python-etcd, node-etcd.
//!
//! Recorded with `QUORATE_V2_TRANSCRIPTS_OF=/path/to/etcd-3.4`, too; see [`super::v2`].

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use goldenscript::{Command as Line, Runner};

use super::super::harness::{eventually, quorate, run};
use super::super::interop::{Foreign, is_required, made, skipped};
use super::super::program::output;
use super::alone::Alone;
use super::transcripts::difference;
use super::v2::{align, say};

const SCRIPT: &str = "tests/golden/etcdctl_v2/every_verb";

/// Longest time until a watch ends whose event has come.
const WATCH_MAX: Duration = Duration::from_secs(30);

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn url(alone: &Alone) -> String {
    format!("http://{}", alone.address)
}

/// An etcdctl that speaks v2: 3.4 or 3.5. None, and a line that says so, where there is none.
fn etcdctl() -> Option<String> {
    let tool = std::env::var("QUORATE_ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
    let found = Command::new(&tool).arg("--version").env("ETCDCTL_API", "2").output();
    if found.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("API version: 2"))
    {
        return Some(tool);
    }
    // Newer ones have forgotten it.
    assert!(!is_required(), "{tool} does not speak etcd's v2 API, and QUORATE_CLIENTS wants one");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {tool} does not speak etcd's v2 API");
    None
}

#[test]
fn etcdctl_with_every_verb_of_v2() {
    let Some(tool) = etcdctl() else { return };
    let recorded = std::env::var_os("QUORATE_V2_TRANSCRIPTS_OF");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let alone = runtime.block_on(async {
        let program = recorded.as_ref().map_or_else(quorate, Command::new);
        let (alone, _) = Alone::of(program, &["--enable-v2=true"]).await;
        align(alone.address).await;
        alone
    });
    let path = project(SCRIPT);
    let script = std::fs::read_to_string(&path).unwrap();
    let mut talk = Talk { tool, alone, runtime, watching: BTreeMap::new() };
    let found = goldenscript::generate(&mut talk, &script).unwrap();
    if recorded.is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    assert!(recorded.is_some() || script == found, "{}", difference(&script, &found));
}

struct Talk {
    tool: String,
    alone: Alone,
    runtime: tokio::runtime::Runtime,
    watching: BTreeMap<String, Foreign>,
}

impl Talk {
    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(&self.tool);
        command.env("ETCDCTL_API", "2").args(["--endpoints", &url(&self.alone)]);
        command.args(words.split_whitespace());
        command
    }

    /// Ids and ports are another cluster's each time.
    fn told(&self, output: &Output) -> String {
        let text = [output.stdout.as_slice(), &output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut out = String::new();
        for word in text.split_inclusive(|sign: char| !sign.is_ascii_alphanumeric()) {
            let plain = word.trim_end_matches(|sign: char| !sign.is_ascii_alphanumeric());
            let is_id = (12..=16).contains(&plain.len())
                && plain.bytes().all(|byte| byte.is_ascii_hexdigit());
            let is_port = plain.len() == 5 && plain.bytes().all(|byte| byte.is_ascii_digit());
            match is_id || is_port {
                true => out += &format!("...{}", &word[plain.len()..]),
                false => out += word,
            }
        }
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out + &format!("-> {}\n", output.status.code().unwrap_or(-1))
    }

    /// Who waits at the member.
    async fn watchers(&self) -> u64 {
        let (_, text) = say(self.alone.address, "GET", "/v2/stats/store", "").await;
        let stats: serde_json::Value = serde_json::from_str(&text).unwrap();
        stats["watchers"].as_u64().unwrap()
    }
}

impl Runner for Talk {
    fn run(&mut self, line: &Line) -> Result<String, Box<dyn Error>> {
        let mut words = line.consume_args();
        let first = words.next_pos().ok_or("a word")?.value.clone();
        match line.name.as_str() {
            "etcdctl" => Ok(self.told(&output(&mut self.command(&first)))),
            "begin" => {
                let before = self.runtime.block_on(self.watchers());
                let watching =
                    Foreign::spawn(self.command(&words.next_pos().ok_or("words")?.value));
                self.runtime.block_on(eventually("it waits", || async {
                    (self.watchers().await > before).then_some(())
                }));
                self.watching.insert(first, watching);
                Ok(String::new())
            }
            "end" => {
                let watching = self.watching.remove(&first).ok_or("it was not begun")?;
                Ok(self.told(&watching.output(WATCH_MAX)))
            }
            other => Err(format!("no command {other}").into()),
        }
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
