//! Users of the v3 API by the certificates they show, over QUIC and TCP.

use std::path::Path;
use std::process::Command;

use quorate::client::{Access, Client, ClientFiles, Config, Error, Wire};
use quorate::proto::{Code, Status};
use quorate::transport::{Names, TcpDialer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::harness::{Cluster, SOON, cert, run};

/// What a server said.
pub(crate) fn refused<T: std::fmt::Debug>(asked: Result<T, Error>) -> (Code, String) {
    match asked.unwrap_err() {
        Error::Server { status: Status { code, text, .. }, .. } => (code, text),
        other => panic!("{other}"),
    }
}

fn files(cluster: &Cluster, name: &str) -> ClientFiles {
    let certs = cluster.dir().join("certs");
    ClientFiles {
        trusted_ca: Some(certs.join("ca.crt")),
        cert: Some(certs.join(format!("client-{name}.crt"))),
        key: Some(certs.join(format!("client-{name}.key"))),
        ..ClientFiles::default()
    }
}

/// With the certificate of `name`, at all members.
fn config(cluster: &Cluster, name: &str) -> Config {
    let urls = cluster.members.iter().map(|member| member.url.clone());
    Config::new(urls).tls(files(cluster, name))
}

fn client(cluster: &Cluster, name: &str) -> Client {
    Client::lazy(config(cluster, name)).unwrap()
}

/// The users `root`, `bob`, who has no password, and `eve`, who has one; the users' certificates; and one of nobody.
pub(crate) fn founded(members: usize) -> Cluster {
    let cluster = Cluster::start(members);
    for name in ["bob", "ghost"] {
        cert(cluster.dir(), &["client", name]);
    }
    run(async {
        let root = client(&cluster, "root");
        root.user_add_without_password("root").await.unwrap();
        root.role_add("root").await.unwrap();
        root.user_grant_role("root", "root").await.unwrap();
        root.user_add_without_password("bob").await.unwrap();
        root.user_add("eve", "word").await.unwrap();
        for (name, key) in [("bob", "b"), ("eve", "e")] {
            root.role_add(name).await.unwrap();
            let end = quorate::client::prefix_end(key.as_bytes());
            root.role_grant_permission(name, Access::ReadWrite, key, end).await.unwrap();
            root.user_grant_role(name, name).await.unwrap();
        }
        root.auth_enable().await.unwrap();
    });
    cluster
}

#[test]
fn over_either_wire_a_password_becomes_a_token_and_again_when_that_counts_no_more() {
    let cluster = founded(1);
    run(async {
        let root = client(&cluster, "root");
        for wire in [Wire::Quic, Wire::Grpc, Wire::Either] {
            let as_eve = |password: &str| {
                let mut config = config(&cluster, "ghost").user("eve", password);
                config.wire = wire;
                Client::lazy(config).unwrap()
            };
            let eve = as_eve("word");
            eve.put("e", "1").await.unwrap();
            let denied = (Code::PermissionDenied, "etcdserver: permission denied".to_owned());
            assert_eq!(refused(eve.put("b", "1").await), denied, "{wire:?}");
            // Her tokens count no more, and no call fails for it.
            root.user_change_password("eve", "word").await.unwrap();
            eve.put("e", "2").await.unwrap();
            let text = "etcdserver: authentication failed, invalid user ID or password";
            let wrong = refused(as_eve("sword").get("e").await);
            assert_eq!(wrong, (Code::InvalidArgument, text.to_owned()), "{wire:?}");
        }
    });
}

/// What is read from a stream over TLS, until it ends; nothing where the client is not let in.
async fn over_tls(address: &str, files: &ClientFiles, protocol: &[u8], said: &[u8]) -> Vec<u8> {
    let (host, port) = address.split_once(':').unwrap();
    let dialer = TcpDialer::new(Names::default(), Some(files), protocol).unwrap();
    let mut heard = Vec::new();
    // In TLS 1.3 a client hears with the first answer that it is not let in.
    let stream = dialer.dial(host, port.parse().unwrap()).await.unwrap();
    if let Ok(mut stream) = dialer.secure(stream, host).await {
        let _ = stream.write_all(said).await;
        // HTTP/2 goes on until its client has heard enough.
        let reading = async {
            while protocol != b"h2" || heard.len() < 9 {
                match stream.read_buf(&mut heard).await {
                    Ok(read) if read > 0 => {}
                    _ => return,
                }
            }
        };
        timeout(SOON, reading).await.expect("an end");
    }
    heard
}

/// JSON, as whom the certificate says and with this token.
async fn json(
    address: &str,
    files: &ClientFiles,
    path: &str,
    body: &str,
    token: Option<&str>,
) -> String {
    let token = token.map(|token| format!("authorization: {token}\r\n")).unwrap_or_default();
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\n{token}content-type: application/json\r\n\
         connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let answer = over_tls(address, files, b"http/1.1", request.as_bytes()).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).expect("a body")
}

fn address(url: &str) -> &str {
    url.trim_start_matches("https://")
}

#[test]
fn a_certificate_says_who_asks() {
    let cluster = founded(3);
    run(async {
        let denied = (Code::PermissionDenied, "etcdserver: permission denied".to_owned());
        let bob = client(&cluster, "bob");
        bob.put("b1", "1").await.unwrap();
        assert_eq!(refused(bob.put("a", "1").await), denied);
        assert_eq!(refused(bob.get("e").await), denied);
        assert_eq!(refused(bob.user_list().await), denied);
        // Who is no user has a name and no rights.
        let ghost = client(&cluster, "ghost");
        assert_eq!(refused(ghost.put("b1", "1").await), denied);
        let text = "etcdserver: user name not found";
        assert_eq!(refused(ghost.user_list().await), (Code::FailedPrecondition, text.to_owned()));
        // A token counts more than a certificate.
        let eve = Client::lazy(config(&cluster, "bob").user("eve", "word")).unwrap();
        eve.put("e1", "1").await.unwrap();
        assert_eq!(refused(eve.get("b1").await), denied);
        let lie = Client::lazy(config(&cluster, "bob").user("bob", "word")).unwrap();
        let text = "auth: authentication failed, password was given for no password user";
        assert_eq!(refused(lie.get("b1").await), (Code::Unknown, text.to_owned()));
        // The commands: with a certificate, and with a password.
        let cli = cluster.ask(&[0, 1, 2], &["--user", "eve:word", "get", "e1"]);
        assert_eq!(cli, "e1\n1\n");
        // JSON takes tokens alone: its gateway's certificate is not its client's.
        let (at, bobs) = (address(&cluster.members[0].url), files(&cluster, "bob"));
        let range = r#"{"key":"YjE="}"#;
        let said = json(at, &bobs, "/v3/kv/range", range, None).await;
        assert!(said.contains("user name is empty"), "{said}");
        let login = r#"{"name":"eve","password":"word"}"#;
        let said = json(at, &bobs, "/v3/auth/authenticate", login, None).await;
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let token = said["token"].as_str().unwrap();
        let said = json(at, &bobs, "/v3/kv/range", r#"{"key":"ZTE="}"#, Some(token)).await;
        assert!(said.contains("\"MQ==\""), "{said}");
        let said = json(at, &bobs, "/v3/kv/range", range, Some(token)).await;
        assert!(said.contains("permission denied"), "{said}");
        // v2 has no users of its own here: root's certificate changes members there, others do not.
        let add = r#"{"peerURLs":["https://127.0.0.1:1"]}"#;
        let said = json(at, &bobs, "/v2/members", add, None).await;
        assert!(said.contains("Insufficient credentials"), "{said}");
    });
}

/// etcdctl over gRPC, where there is one.
#[test]
fn over_grpc_a_certificate_is_its_user_too() {
    let tool = std::env::var("QUORATE_ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
    if Command::new(&tool).arg("version").env("ETCDCTL_API", "3").output().is_err() {
        return;
    }
    let cluster = founded(1);
    run(async {
        let etcdctl = |name: &str, words: &[&str]| {
            let certs = cluster.dir().join("certs");
            let mut command = Command::new(&tool);
            command.env("ETCDCTL_API", "3").args(["--endpoints", &cluster.members[0].url]);
            let file = |file: String| -> std::path::PathBuf { certs.join(Path::new(&file)) };
            command.arg("--cacert").arg(file("ca.crt".to_owned()));
            command.arg("--cert").arg(file(format!("client-{name}.crt")));
            command.arg("--key").arg(file(format!("client-{name}.key"))).args(words);
            let output = command.output().unwrap();
            format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )
        };
        assert_eq!(etcdctl("bob", &["put", "b1", "1"]), "OK\n");
        assert!(etcdctl("bob", &["put", "a", "1"]).contains("permission denied"));
        assert!(etcdctl("ghost", &["put", "b1", "1"]).contains("permission denied"));
        assert!(etcdctl("ghost", &["user", "list"]).contains("user name not found"));
        assert_eq!(etcdctl("bob", &["--user", "eve:word", "put", "e", "1"]), "OK\n");
        assert_eq!(etcdctl("root", &["user", "list"]), "bob\neve\nroot\n");
    });
}
