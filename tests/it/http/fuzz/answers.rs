//! What others answer us: a discovery service in HTTP, a DNS server. It is read in this process, which must not fall.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::discovery::{Directory, Meeting, Registry, Resolver, Srv, V2, Venue, endpoints};
use quorate::transport::Names;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::{Inputs, run, soon};

/// A server that answers each connection with what it is given, whatever it was asked.
async fn parrot(said: Arc<Mutex<Vec<u8>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = said.lock().unwrap().clone();
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                let _ = stream.read(&mut asked).await;
                // Who has read enough hangs up.
                let _ = stream.write_all(&answer).await;
            });
        }
    });
    address
}

#[test]
fn answers_of_a_discovery_service() {
    run(async {
        let said = Arc::new(Mutex::new(Vec::new()));
        let address = parrot(Arc::clone(&said)).await;
        let (place, _) =
            Venue::parse(&format!("http://{address}/v2/keys/_etcd/registry/t")).unwrap();
        let mut meeting = Meeting::new(place.clone());
        meeting.request_timeout = Duration::from_secs(2);
        let Venue::Directory(directory) = &place else { panic!("no directory") };
        let directory: &Directory = directory;
        let words = [
            "\"errorCode\":100",
            "X-Etcd-Index: ",
            "\"nodes\":[{",
            "\"value\":",
            "HTTP/1.1 200 OK\r\n",
            "Content-Length: ",
            "chunked",
            "}]",
        ];
        for input in Inputs::new("discovery-answers", Vec::new(), &words, 700) {
            *said.lock().unwrap() = input;
            let mut registry = V2::new(&meeting, directory, &Names::default()).unwrap();
            let asking = async {
                // An answer, or what is wrong with it.
                let size = registry.size().await;
                if let Ok(listing) = registry.entries().await {
                    assert!(listing.entries.len() < 1 << 20);
                }
                let _ = registry.register("8e9e05c52164694d", "n1=http://h:1").await;
                size
            };
            let _ = soon("an answer, or what is wrong with it", asking).await;
        }
    });
}

/// A DNS server that answers each question with what it is given, under the number that was asked with.
async fn oracle(said: Arc<Mutex<Vec<u8>>>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut asked = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut asked).await {
            let mut answer = said.lock().unwrap().clone();
            let asked = &asked[..length];
            if answer.len() >= 2 {
                answer[..2].copy_from_slice(&asked[..2]);
            }
            // The question is said again, or a resolver takes it for somebody else's answer.
            let question = asked
                .get(12..)
                .and_then(|it| Some(&it[..it.iter().position(|byte| *byte == 0)? + 5]));
            if let (Some(question), true) = (question, answer.len() >= 12) {
                answer.splice(12..12, question.iter().copied());
            }
            answer.truncate(60_000);
            let _ = socket.send_to(&answer, from).await;
        }
    });
    address
}

/// Heads and records of an answer; the question is put between them by the server.
fn records() -> Vec<Vec<u8>> {
    // An answer without an error, one question, two records.
    let head = [0, 0, 0x84, 0, 0, 1, 0, 2, 0, 0, 0, 0];
    let srv = |priority: u8, port: u16, target: &[u8]| {
        let length = u16::try_from(6 + target.len()).unwrap();
        let mut record = vec![0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60];
        record.extend(length.to_be_bytes());
        record.extend([0, priority, 0, 1]);
        record.extend(port.to_be_bytes());
        record.extend(target);
        record
    };
    let two =
        [&head[..], &srv(1, 2379, b"\x01a\x07example\0"), &srv(2, 2380, b"\x01b\x07example\0")]
            .concat();
    let root = [&head[..], &srv(0, 0, b"\0"), &srv(0, 1, b"\xc0\x0c")].concat();
    // A name that leads to itself.
    let circle = [&head[..], &srv(0, 1, b"\xc0\x30"), &srv(0, 1, b"\x3f")].concat();
    vec![two, root, circle]
}

#[test]
fn answers_of_a_dns_server() {
    run(async {
        let said = Arc::new(Mutex::new(Vec::new()));
        let resolver = Resolver::at(oracle(Arc::clone(&said)).await);
        let srv = Srv { domain: "example.".to_owned(), service: None };
        let mut found = 0;
        for input in Inputs::new("dns", records(), &["\u{3}www", "\0"], 120) {
            *said.lock().unwrap() = input;
            if let Ok(endpoints) =
                soon("an answer, or that there is none", endpoints(&srv, resolver, false)).await
            {
                found += 1;
                for endpoint in endpoints {
                    endpoint.parse::<quorate::transport::Url>().unwrap();
                }
            }
        }
        assert!(found > 0, "no answer was one");
    });
}
