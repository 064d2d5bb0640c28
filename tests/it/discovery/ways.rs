//! What lies between a member and its discovery service: TLS, certificates, a proxy of HTTP.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::nodes::Node;
use crate::harness::Seat;
use crate::program::{Folder, until};

/// A proxy of HTTP on a thread of the test, which ends with its process; what it was asked.
struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, heard) = (stream.unwrap(), Arc::clone(&heard));
                thread::spawn(move || {
                    // Who goes away in the middle is nobody's concern.
                    let _ = pass_on(stream, &heard);
                });
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn pass_on(mut from: TcpStream, heard: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let login = head.lines().find(|line| line.to_lowercase().starts_with("proxy-authorization"));
    let login = login.unwrap_or_default().rsplit(' ').next().unwrap_or_default().to_owned();
    let line = head.lines().next().unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    heard.lock().unwrap().push(format!("{} {} {login}", words[0], words[1]));
    let to = if words[0] == "CONNECT" {
        let to = TcpStream::connect(words[1])?;
        from.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        to
    } else {
        let rest = words[1].strip_prefix("http://").unwrap();
        let (host, _) = rest.split_once('/').unwrap();
        let mut to = TcpStream::connect(host)?;
        to.write_all(head.replacen(&format!("http://{host}"), "", 1).as_bytes())?;
        to
    };
    let (mut back_from, mut back_to) = (to.try_clone()?, from.try_clone()?);
    let back = thread::spawn(move || {
        let _ = io::copy(&mut back_from, &mut back_to);
        let _ = back_to.shutdown(Shutdown::Both);
    });
    let mut to = to;
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
    back.join().unwrap();
    Ok(())
}

/// Forms a cluster of one by this way; which one is enough to see the way.
fn goes(folder: &Folder, name: &str, words: &[&str]) {
    let mut node = Node::new(name, words);
    node.start(folder);
    node.serves();
}

#[test]
fn a_proxy_carries_every_protocol_but_quic() {
    let (_seat, folder, proxy) = (Seat::take(), Folder::new(), Proxy::start());
    let service = Node::service(&folder);
    let through = format!("--discovery-proxy=http://me:x@127.0.0.1:{}", proxy.port);
    let url = service.size("one", "1");
    goes(&folder, "a", &["--discovery", &url, &through]);
    let asked = proxy.asked();
    assert!(asked.contains(&format!("GET {url}/_config/size?quorum=true bWU6eA==")), "{asked:?}");
    service.size_of_token(&folder, "one", "1");
    let endpoint = service.url();
    let words = ["--discovery-token", "one", "--discovery-endpoints", &endpoint, &through];
    goes(&folder, "b", &words);
    assert_eq!(proxy.asked(), [format!("CONNECT 127.0.0.1:{} bWU6eA==", service.client)]);
}

#[test]
fn the_service_is_believed_by_its_certificate_and_asks_for_ours() {
    let (_seat, folder, proxy) = (Seat::take(), Folder::new(), Proxy::start());
    folder.run(&["cert", "ca"]).ok();
    folder.run(&["cert", "server", "service"]).ok();
    folder.run(&["cert", "client", "member"]).ok();
    let plain = Node::new("service", &[]);
    let secure = format!("https://127.0.0.1:{}", plain.client);
    let listen = [
        format!("--listen-client-urls={secure}"),
        format!("--advertise-client-urls={secure}"),
        "--cert-file=certs/server-service.crt".to_owned(),
        "--key-file=certs/server-service.key".to_owned(),
        "--trusted-ca-file=certs/ca.crt".to_owned(),
        "--client-cert-auth=true".to_owned(),
        format!("--listen-peer-urls={}", plain.peer_url()),
        format!("--initial-advertise-peer-urls={}", plain.peer_url()),
        "--name=service".to_owned(),
    ];
    let words: Vec<&str> = listen.iter().map(String::as_str).collect();
    let process = folder.spawn("service", &words);
    until("the service serves", || process.stderr().contains("ready to serve").then_some(()));
    let files = [
        "--discovery-cacert=certs/ca.crt",
        "--discovery-cert=certs/client-member.crt",
        "--discovery-key=certs/client-member.key",
    ];
    let certificate = [
        "--cacert=certs/ca.crt",
        "--cert=certs/client-member.crt",
        "--key=certs/client-member.key",
    ];
    let put = |token: &str| {
        let key = format!("/_etcd/registry/{token}/_config/size");
        let words = [&certificate[..], &["--endpoints", &secure, "put", &key, "1"]].concat();
        folder.run(&words).ok();
    };
    for token in ["grpc", "quic"] {
        put(token);
    }
    // Without a scheme: the files say that it is TLS.
    let endpoint = format!("127.0.0.1:{}", plain.client);
    let by_token = ["--discovery-token", "grpc", "--discovery-endpoints", &endpoint];
    let through = format!("--discovery-proxy=http://127.0.0.1:{}", proxy.port);
    goes(&folder, "a", &[&by_token[..], &files, &[&through]].concat());
    assert_eq!(proxy.asked(), [format!("CONNECT {endpoint} ")]);
    let quic = format!("--discovery=quic://{endpoint}/quic");
    goes(&folder, "b", &[&files[..], &[&quic]].concat());

    // A v2 token is missing, which only somebody who was let in can be told.
    let url = format!("--discovery={secure}/v2/keys/_etcd/registry/none");
    let mut told = Node::new("c", &[&files[..], &[&url]].concat());
    told.start(&folder);
    let said = told.gives_up();
    assert!(said.contains("discovery: size key not found"), "{said}");

    // Who shows nothing, and whom we do not believe.
    let mut bare = Node::new("d", &[&by_token[..], &files[..1]].concat());
    bare.start(&folder);
    bare.says("the service does not answer as it should");
    let mut wary = Node::new("e", &[&url]);
    wary.start(&folder);
    wary.says("invalid peer certificate");
    let mut missing = Node::new("f", &[&url, "--discovery-cacert=certs/nobody.crt"]);
    missing.start(&folder);
    let said = missing.gives_up();
    assert!(said.contains("certs/nobody.crt"), "{said}");
}
