//! What processes of this machine cost: CPU time and bytes written, from /proc.
//!
//! A server is found by the UDP port of a loopback endpoint, or given by its id. Where /proc says nothing (another
//! user's process, another system), the answer is none and never zero.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::cli::exit::Exit;

/// Clock ticks a second in /proc: the same on every Linux that this is built for.
const TICKS: u64 = 100;

/// One process at one moment, or the difference of two.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Usage {
    pub cpu: Duration,
    /// Bytes that went to the disk; none if /proc/PID/io may not be read.
    pub written: Option<u64>,
}

impl Usage {
    /// Of the process `id` ("self" is this one).
    pub(super) fn of(id: &str) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let io = std::fs::read_to_string(format!("/proc/{id}/io")).unwrap_or_default();
        Some(Self { cpu: cpu_of(&stat)?, written: written_of(&io) })
    }

    pub(super) fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            written: self.written.zip(before.written).map(|(now, then)| now.saturating_sub(then)),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu + other.cpu,
            written: self.written.zip(other.written).map(|(one, two)| one + two),
        }
    }
}

/// User and system time; the second field is the program's name, in which anything may stand.
fn cpu_of(stat: &str) -> Option<Duration> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1_000 / TICKS))
}

fn written_of(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

/// The servers of a run that are processes of this machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Servers(Vec<u32>);

impl Servers {
    /// Those named, or else those that listen on the ports of loopback `endpoints`.
    pub(super) fn find(named: &[u32], endpoints: &[String]) -> Result<Self, Exit> {
        if let Some(pid) = named.iter().find(|pid| Usage::of(&pid.to_string()).is_none()) {
            return Err(Exit::bad_args(format!("--pid {pid}: there is no such process here")));
        }
        let pids = if named.is_empty() { listening(endpoints) } else { named.to_vec() };
        Ok(Self(pids))
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Of all together; none if there is none, or one of them is gone.
    pub(super) fn usage(&self) -> Option<Usage> {
        let each = self.0.iter().map(|pid| Usage::of(&pid.to_string()));
        each.reduce(|sum, next| Some(sum?.plus(next?))).flatten()
    }
}

/// Resident bytes of the process that listens on a loopback endpoint.
pub(in crate::cli) fn resident(endpoint: &str) -> Option<u64> {
    let pid = *listening(&[endpoint.to_owned()]).first()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = kib.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

fn listening(endpoints: &[String]) -> Vec<u32> {
    let ports: BTreeSet<u16> = endpoints.iter().filter_map(|text| local_port(text)).collect();
    let tables = ["/proc/net/udp", "/proc/net/udp6"];
    let inodes: BTreeSet<u64> = tables
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|table| inodes_of(&table, &ports))
        .collect();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| !inodes.is_empty() && holds(*pid, &inodes)).collect()
}

/// The port of an endpoint on this machine.
fn local_port(endpoint: &str) -> Option<u16> {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let (host, port) = rest.trim_end_matches('/').rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    let is_local = host == "localhost" || host.parse().is_ok_and(|host: IpAddr| host.is_loopback());
    is_local.then(|| port.parse().ok()).flatten()
}

/// Sockets of the table that are bound to one of `ports`.
fn inodes_of(table: &str, ports: &BTreeSet<u16>) -> Vec<u64> {
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = u16::from_str_radix(fields.get(1)?.rsplit_once(':')?.1, 16).ok()?;
        ports.contains(&port).then(|| fields.get(9)?.parse().ok()).flatten()
    };
    table.lines().skip(1).filter_map(inode).collect()
}

fn holds(pid: u32, inodes: &BTreeSet<u64>) -> bool {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    entries.flatten().any(|entry| {
        let Ok(target) = std::fs::read_link(entry.path()) else { return false };
        let inode = target
            .to_str()
            .and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        inode.is_some_and(|inode: u64| inodes.contains(&inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_whatever_the_program_is_called() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 1 0 0 0 123 45 0 0 20 0 1 0 9 0 0";
        assert_eq!(cpu_of(stat), Some(Duration::from_millis(1_680)));
        assert_eq!(written_of("wchar: 9\nwrite_bytes: 4096\n"), Some(4_096));
        assert_eq!(written_of(""), None);
    }

    #[test]
    fn endpoints_of_this_machine_have_a_port() {
        for (text, port) in [
            ("https://127.0.0.1:2379", Some(2_379)),
            ("localhost:1", Some(1)),
            ("http://[::1]:7/", Some(7)),
            ("https://10.0.0.1:2379", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(local_port(text), port, "{text}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_is_found_by_its_udp_port() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("https://{}", socket.local_addr().unwrap());
        let servers = Servers::find(&[], &[endpoint]).unwrap();
        assert_eq!(servers.0, [std::process::id()]);
        assert!(servers.usage().is_some());
        assert!(Servers::find(&[u32::MAX], &[]).is_err());
    }
}
