//! Proxies before a cluster: every wire through one, members that fail and change behind it, no change through a
//! read-only one, and none that asks itself.

mod changes;
mod itself;
mod server;
mod users;
mod wires;

use std::path::Path;

use quorate::client::{Client, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::harness::{Cluster, Process, SOON, eventually, quorate};

/// `quorate proxy` in clear on loopback, before the members of a cluster with TLS.
struct Sidecar {
    _process: Process,
    url: String,
}

impl Sidecar {
    fn start(cluster: &Cluster, endpoints: &[String], words: &[&str]) -> Self {
        Self::start_at(super::ports::free_ports(1)[0], cluster, endpoints, words)
    }

    fn start_at(port: u16, cluster: &Cluster, endpoints: &[String], words: &[&str]) -> Self {
        let url = format!("http://127.0.0.1:{port}");
        Self::listening(&url.clone(), url, cluster, endpoints, words)
    }

    /// At all of `listen`, of which `url` is one in clear.
    fn listening(
        listen: &str,
        url: String,
        cluster: &Cluster,
        endpoints: &[String],
        words: &[&str],
    ) -> Self {
        let certs = cluster.dir().join("certs");
        let mut command = quorate();
        command.args(["proxy", "--listen", listen, "--refresh", "1s"]).args(words);
        command.arg("--endpoints").arg(endpoints.join(","));
        for (flag, file) in
            [("--cacert", "ca.crt"), ("--cert", "client-root.crt"), ("--key", "client-root.key")]
        {
            command.arg(flag).arg(certs.join(file));
        }
        let log = format!("proxy-{}.log", url.rsplit(':').next().unwrap());
        let process = Process::spawn(command, &cluster.dir().join(log));
        Self { _process: process, url }
    }

    fn client(&self) -> Client {
        Client::lazy(Config::new([self.url.clone()])).unwrap()
    }

    fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Status and body of a request in HTTP/1.1; the status is 0 where nobody answers.
    async fn http(&self, method: &str, path: &str, form: &str) -> (u16, String) {
        let asked = tokio::time::timeout(SOON, http(self.address(), method, path, form)).await;
        asked.expect("an answer").unwrap_or_default()
    }

    /// Waits until it serves.
    async fn ready(&self) {
        eventually("a proxy that serves", || async {
            (self.http("GET", "/health", "").await.0 == 200).then_some(())
        })
        .await;
    }
}

fn urls(cluster: &Cluster) -> Vec<String> {
    cluster.members.iter().map(|member| member.url.clone()).collect()
}

async fn http(
    address: &str,
    method: &str,
    path: &str,
    form: &str,
) -> std::io::Result<(u16, String)> {
    http_with("", address, method, path, form).await
}

/// The same with further lines in its head.
async fn http_with(
    head: &str,
    address: &str,
    method: &str,
    path: &str,
    form: &str,
) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let kind = if form.starts_with('{') {
        "application/json"
    } else {
        "application/x-www-form-urlencoded"
    };
    let length = form.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         {head}Connection: close\r\n\r\n{form}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    Ok((status.unwrap_or_default(), body.unwrap_or_default()))
}

/// The members' URLs that a proxy says it asks, sorted.
async fn asked(proxy: &Sidecar) -> Vec<String> {
    let (_, body) = proxy.http("GET", "/v2/config/local/proxy", "").await;
    let object: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    let listed = object["endpoints"].as_array().cloned().unwrap_or_default();
    let mut urls: Vec<String> =
        listed.iter().filter_map(|url| url.as_str().map(str::to_owned)).collect();
    urls.sort();
    urls
}

fn is_there(program: &str) -> bool {
    let found = std::process::Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: {program} is not here");
    }
    found
}

/// A file that the test writes.
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}
