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
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
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
