//! What the system says of this process, with the names that Prometheus' own clients give it.

use std::fs;

use super::exposition::Exposition;

/// Of one second, as Linux counts processor time for user programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// Writes what can be read; what cannot is left out.
pub(super) fn write(page: &mut Exposition) {
    let fds = fs::read_dir("/proc/self/fd").map(|entries| entries.count()).ok();
    let limit = file_limit();
    if let Some(fds) = fds {
        page.gauge("process_open_fds", "Open file descriptors.", fds);
        page.gauge("os_fd_used", "Open file descriptors.", fds);
    }
    if let Some(limit) = limit {
        page.gauge("process_max_fds", "The most file descriptors.", limit);
        page.gauge("os_fd_limit", "The most file descriptors.", limit);
    }
    // Without a limit, Prometheus' clients say what 64 bits hold.
    if let Some(limit) = limit_of("Max address space") {
        let limit = limit.unwrap_or(u64::MAX);
        page.gauge("process_virtual_memory_max_bytes", "The most address space.", limit as f64);
    }
    if let Some((received, sent)) = octets() {
        let name = "process_network_receive_bytes_total";
        page.counter(name, "Bytes over IP to this network namespace.", received);
        let name = "process_network_transmit_bytes_total";
        page.counter(name, "Bytes over IP from this network namespace.", sent);
    }
    let Some(stat) = Stat::read() else { return };
    let cpu = "process_cpu_seconds_total";
    page.family(cpu, super::exposition::Kind::Counter, "Processor time, seconds.");
    page.sample(cpu, &[], stat.cpu_seconds);
    page.gauge("process_resident_memory_bytes", "Resident memory.", stat.resident_bytes);
    page.gauge("process_virtual_memory_bytes", "Address space.", stat.virtual_bytes);
    if let Some(started) = stat.started_seconds {
        page.gauge("process_start_time_seconds", "When it started, Unix time.", started);
    }
}

/// The soft limit of descriptors.
pub(super) fn file_limit() -> Option<u64> {
    limit_of("Max open files").flatten()
}

/// A soft limit by its name, which has three words; inside, none where there is no limit.
fn limit_of(name: &str) -> Option<Option<u64>> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with(name))?;
    Some(line.split_whitespace().nth(3)?.parse().ok())
}

/// Bytes in and out, of the whole network namespace.
fn octets() -> Option<(u64, u64)> {
    let netstat = fs::read_to_string("/proc/self/net/netstat").ok()?;
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("IpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let of = |wanted| {
        let mut both = names.split_whitespace().zip(values.split_whitespace());
        both.find(|(name, _)| *name == wanted)?.1.parse().ok()
    };
    Some((of("InOctets")?, of("OutOctets")?))
}

/// Of `/proc/self`.
struct Stat {
    cpu_seconds: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
    started_seconds: Option<f64>,
}

impl Stat {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name of the process may have spaces; what follows its parenthesis has none.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
        let (user, system, started) = (number(11)?, number(12)?, number(19)?);
        let booted = fs::read_to_string("/proc/stat").ok().and_then(|stat| {
            let line = stat.lines().find(|line| line.starts_with("btime "))?.to_owned();
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        });
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let resident_kib: u64 = resident.split_whitespace().next()?.parse().ok()?;
        Some(Self {
            cpu_seconds: (user + system) as f64 / TICKS_PER_SECOND,
            virtual_bytes: number(20)?,
            resident_bytes: resident_kib * 1_024,
            started_seconds: booted.map(|booted| booted as f64 + started as f64 / TICKS_PER_SECOND),
        })
    }
}
