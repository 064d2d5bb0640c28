//! The users of etcd's v2 API, as etcdctl changes them: what it sends and what it prints, recorded of etcdctl and etcd 3.4.
//! The answers are played back from the transcript, so that our commands must send the same requests and print the same.
//!
//! Recorded with `QUORATE_V2_TRANSCRIPTS_OF=/path/to/etcd-3.4`, too; see [`super::v2`].

use std::collections::VecDeque;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use goldenscript::{Command as Line, Runner};

use super::alone::Alone;
use super::transcripts::difference;
use super::v2_clients::{Tool, etcdctl, run_with};

const SCRIPT: &str = "tests/golden/etcdctl_v2_exchanges/users";

/// Who answers.
enum Answers {
    /// A real etcd.
    Etcd(SocketAddr),
    /// What it said, one after the other.
    Kept(VecDeque<String>),
}

/// What was sent and answered since it was last asked.
type Heard = Arc<Mutex<Vec<String>>>;

#[test]
fn our_etcdctl_changes_users_as_etcdctl_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(SCRIPT);
    let script = std::fs::read_to_string(&path).unwrap();
    let recorded = std::env::var_os("QUORATE_V2_TRANSCRIPTS_OF");
    let etcd = recorded.map(|program| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Alone::of(Command::new(program), &["--enable-v2=true"])).0
    });
    let answers = match &etcd {
        Some(etcd) => Answers::Etcd(etcd.address),
        None => Answers::Kept(script.lines().filter_map(kept).collect()),
    };
    let heard = Heard::default();
    let address = serve(answers, Arc::clone(&heard));
    let tool = if etcd.is_some() { etcdctl().unwrap() } else { Tool::Ours };
    let mut talk = Talk { tool, endpoint: format!("http://{address}"), heard };
    let found = goldenscript::generate(&mut talk, &script).unwrap();
    if etcd.is_some() {
        return std::fs::write(&path, found).unwrap();
    }
    assert!(script == found, "{}", difference(&script, &found));
}

/// The answer on a line of the script, whose texts with empty lines have a mark before each.
fn kept(line: &str) -> Option<String> {
    line.strip_prefix("> ").unwrap_or(line).strip_prefix("answered: ").map(str::to_owned)
}

struct Talk {
    tool: Tool,
    endpoint: String,
    heard: Heard,
}

impl Runner for Talk {
    fn run(&mut self, line: &Line) -> Result<String, Box<dyn Error>> {
        let mut words = line.consume_args();
        let typed = words.next_pos().ok_or("words")?.value.clone();
        let stdin = words.lookup("stdin").map(|arg| arg.value.clone()).unwrap_or_default();
        let printed = run_with(self.tool, &self.endpoint, &format!("--no-sync {typed}"), &stdin);
        let heard: String = self.heard.lock().unwrap().drain(..).collect();
        Ok(heard + &printed)
    }
}

/// Takes requests one after the other, for as long as the test runs.
fn serve(mut answers: Answers, heard: Heard) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (head, body) = message(&mut stream);
            let login = header(&head, "authorization").map(|it| format!(" {it}"));
            let mut line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
            line += &format!("{} {body}", login.unwrap_or_default());
            let answer = match &mut answers {
                Answers::Etcd(address) => pass_on(*address, &head, &body),
                Answers::Kept(kept) => kept.pop_front().unwrap_or_else(|| "500 nothing".to_owned()),
            };
            let (status, text) = answer.split_once(' ').unwrap();
            let lines = [format!("asked: {}\n", line.trim_end()), format!("answered: {answer}\n")];
            heard.lock().unwrap().extend(lines);
            let length = text.len();
            let all = format!(
                "HTTP/1.1 {status} It\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{text}"
            );
            stream.get_mut().write_all(all.as_bytes()).unwrap();
        }
    });
    address
}

/// A head, and a body of the length that it says.
fn message(stream: &mut impl BufRead) -> (String, String) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "it ends in its head: {head}");
    }
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// The status and the body of a server's answer, on one line.
fn pass_on(address: SocketAddr, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    // Answered without chunks, and closed.
    let asked = head.replacen("HTTP/1.1", "HTTP/1.0", 1) + body;
    stream.write_all(asked.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    format!("{status} {}", body.trim_end())
}
