//! A real DNS server on loopback, with the records of one test.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::harness::Process;
use crate::program::{free_port, until};

/// dnsmasq; ended when dropped.
pub(super) struct Zone {
    pub server: SocketAddr,
    // Before its folder, which has its log.
    process: Option<Process>,
    dir: tempfile::TempDir,
}

/// Records of dnsmasq's own syntax: a host and its address, an SRV record and where it points to.
pub(super) fn host(name: &str, address: &str) -> String {
    format!("host-record={name},{address}")
}

pub(super) fn srv(name: &str, target: &str, port: u16) -> String {
    format!("srv-host={name},{target},{port},0,1")
}

/// Whether there is such a server; if not, a line says so.
pub(super) fn is_there() -> bool {
    if Command::new("dnsmasq").arg("--version").output().is_ok() {
        return true;
    }
    let is_required = std::env::var("QUORATE_CLIENTS").is_ok_and(|value| value == "required");
    assert!(!is_required, "dnsmasq is not here, and QUORATE_CLIENTS says that it must be");
    // Not by println: that of a test that passes is not shown.
    let _ = writeln!(std::io::stderr(), "SKIPPED: DNS needs dnsmasq (dnsmasq-base)");
    false
}

/// dnsmasq's file: these records and nothing else, and answers over UDP that are short.
pub(super) fn settings(ip: IpAddr, port: u16, records: &[String]) -> String {
    let user = if is_root() { "user=root\n" } else { "" };
    let records = records.join("\n");
    format!(
        "port={port}\nlisten-address={ip}\nbind-interfaces\nno-resolv\nno-hosts\npid-file=\n{user}\
         local=/q.test/\nlocal=/other.test/\nlocal=/cluster/\nedns-packet-max=512\n{records}\n"
    )
}

impl Zone {
    /// None, and a line that says so, where there is no such server. Its address is its own, and its port the one of
    /// DNS where that is allowed.
    pub(super) fn serve(records: &[String]) -> Option<Self> {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let ip = Ipv4Addr::new(127, 100 + NEXT.fetch_add(1, Ordering::Relaxed), high, low.max(1));
        let port = if is_root() { 53 } else { free_port() };
        Self::serve_at(SocketAddr::from((ip, port)), records)
    }

    /// The same over IPv6; none, too, where a machine has none.
    pub(super) fn serve_over_ipv6(records: &[String]) -> Option<Self> {
        if UdpSocket::bind("[::1]:0").is_err() {
            let _ = writeln!(std::io::stderr(), "SKIPPED: DNS over IPv6 needs ::1");
            return None;
        }
        Self::serve_at(SocketAddr::from((Ipv6Addr::LOCALHOST, free_port())), records)
    }

    fn serve_at(server: SocketAddr, records: &[String]) -> Option<Self> {
        if !is_there() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut zone = Self { server, dir, process: None };
        zone.write(records);
        Some(zone)
    }

    /// Other records from now on.
    pub(super) fn write(&mut self, records: &[String]) {
        self.stop();
        let path = self.dir.path().join("dnsmasq.conf");
        fs::write(&path, settings(self.server.ip(), self.server.port(), records)).unwrap();
        let mut command = Command::new("dnsmasq");
        command.arg("--keep-in-foreground").arg("--log-facility=-");
        command.arg(format!("--conf-file={}", path.display()));
        self.process = Some(Process::spawn(command, &self.dir.path().join("log")));
        until("the DNS server answers", || self.ask("q.test", 1));
    }

    pub(super) fn stop(&mut self) {
        self.process = None;
    }

    /// For a program that asks as the system does; it must run where this is the system's file.
    pub(super) fn resolv_conf(&self) -> PathBuf {
        let path = self.dir.path().join("resolv.conf");
        fs::write(&path, format!("nameserver {}\nsearch q.test\n", self.server.ip())).unwrap();
        path
    }

    /// Whether the answer over UDP says that it is cut off.
    pub(super) fn truncates(&self, name: &str) -> bool {
        let answer = until("an answer", || self.ask(name, 33));
        answer[2] & 2 != 0
    }

    fn ask(&self, name: &str, kind: u16) -> Option<Vec<u8>> {
        let any = if self.server.is_ipv6() { "[::1]:0" } else { "127.0.0.1:0" };
        let socket = UdpSocket::bind(any).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            question.push(u8::try_from(label.len()).unwrap());
            question.extend(label.as_bytes());
        }
        question.push(0);
        question.extend(kind.to_be_bytes());
        question.extend([0, 1]);
        socket.send_to(&question, self.server).ok()?;
        let mut answer = vec![0; 4096];
        let length = socket.recv(&mut answer).ok()?;
        answer.truncate(length);
        Some(answer)
    }
}

/// A program that sees `resolv_conf` as the system's file, where the system lets us.
pub(super) fn with_resolv_conf(resolv_conf: &std::path::Path, words: &[&str]) -> Option<Command> {
    if !is_root() || Command::new("unshare").args(["--mount", "true"]).status().is_err() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: another resolv.conf needs root and unshare");
        return None;
    }
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\""])
        .arg(resolv_conf)
        .args(words);
    Some(command)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
