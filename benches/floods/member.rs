//! One member of either system, in clear: the attackers need no certificate.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Outcome, fresh};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum System {
    Quorate,
    Etcd,
}

impl System {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quorate => "Quorate",
            Self::Etcd => "etcd",
        }
    }
}

/// Time for it to answer after its start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Member {
    pub system: System,
    pub address: SocketAddr,
    child: Child,
}

impl Member {
    pub(crate) fn start(system: System, program: &Path, dir: &Path) -> Outcome<Self> {
        let home = dir.join(system.name());
        fresh(&home)?;
        let (address, peers) = (free_address()?, free_address()?);
        let (client, peer) = (format!("http://{address}"), format!("http://{peers}"));
        let mut command = Command::new(program);
        if system == System::Quorate {
            command.arg("serve");
        }
        for (flag, value) in [
            ("name", "n1".to_owned()),
            ("data-dir", home.join("data").display().to_string()),
            ("listen-client-urls", client.clone()),
            ("advertise-client-urls", client),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer.clone()),
            ("initial-cluster", format!("n1={peer}")),
            ("quota-backend-bytes", (8_u64 << 30).to_string()),
            ("log-level", "error".to_owned()),
        ] {
            command.arg(format!("--{flag}={value}"));
        }
        let log = File::create(home.join("log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let member = Self { system, address, child };
        member.ready(&home.join("log"))?;
        Ok(member)
    }

    fn ready(&self, log: &Path) -> Outcome<()> {
        use std::io::{Read, Write};
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let asked = std::net::TcpStream::connect(self.address).and_then(|mut stream| {
                stream
                    .write_all(b"GET /health HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")?;
                let mut text = String::new();
                stream.read_to_string(&mut text)?;
                Ok(text)
            });
            if asked.is_ok_and(|text| text.contains("\"true\"")) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = std::fs::read_to_string(log)?;
        Err(format!("{} does not answer; its log:\n{log}", self.system.name()).into())
    }

    /// Bytes that it has for itself: pages of its files are the kernel's to take back.
    pub(crate) fn memory(&self) -> Outcome<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let line = line.ok_or("the member has ended")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // One that ended by itself needs no end.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Free for TCP and UDP.
fn free_address() -> Outcome<SocketAddr> {
    loop {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        if UdpSocket::bind(address).is_ok() {
            return Ok(address);
        }
    }
}
