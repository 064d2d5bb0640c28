//! What a run came to, for people and as JSON.

use serde_json::{Value, json};

use crate::cli::print::{Page, Show};

use super::args::Load;
use super::drive::Run;
use super::processes::Usage;

/// What was counted, and whose time was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Measured {
    Calls,
    /// Events that reached a watcher, from the begin of their put.
    Events,
    /// Renewals; the times are those of the grants before.
    Renewals,
}

impl Measured {
    fn counted(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Events => "events",
            Self::Renewals => "renewals",
        }
    }

    fn timed(self) -> &'static str {
        match self {
            Self::Calls => "call",
            Self::Events => "put to event",
            Self::Renewals => "grant",
        }
    }
}

#[derive(Debug)]
pub(super) struct Report {
    pub name: &'static str,
    pub load: Load,
    pub in_flight: usize,
    pub connections: usize,
    pub measured: Measured,
    /// Keys, watchers or leases, for people.
    pub setting: String,
    /// Bytes of keys and values that one call writes.
    pub written: Option<f64>,
    /// Local server processes.
    pub servers: usize,
    pub run: Run,
}

impl Report {
    fn operations(&self) -> u64 {
        self.run.tally.operations()
    }

    fn per_second(&self) -> f64 {
        self.operations() as f64 / self.run.elapsed.as_secs_f64()
    }

    /// CPU seconds for 100,000 operations.
    fn cpu(&self, usage: Option<Usage>) -> Option<f64> {
        let operations = self.operations();
        let usage = usage.filter(|_| operations > 0)?;
        Some(usage.cpu.as_secs_f64() * 1e5 / operations as f64)
    }

    /// Bytes that all servers wrote for each byte of keys and values put.
    fn amplification(&self) -> Option<f64> {
        let put = self.written? * self.operations() as f64;
        let written = self.run.servers?.written?;
        (put > 0.0).then(|| written as f64 / put)
    }

    fn value(&self) -> Value {
        let latency = self.run.tally.latency();
        json!({
            "bench": self.name,
            "system": concat!("quorate ", env!("CARGO_PKG_VERSION")),
            "setting": self.setting,
            "in_flight": self.in_flight,
            "connections": self.connections,
            "rate": self.load.rate,
            "seconds": self.run.elapsed.as_secs_f64(),
            "counted": self.measured.counted(),
            "operations": self.operations(),
            "per_second": self.per_second(),
            "worst_second": self.run.tally.worst_second(self.run.elapsed),
            "errors": self.run.tally.errors,
            "error": self.run.tally.error,
            "timed": self.measured.timed(),
            "latency_us": {
                "mean": latency.mean,
                "p50": latency.p50,
                "p90": latency.p90,
                "p99": latency.p99,
                "p99.9": latency.p999,
                "max": latency.max,
            },
            "client_cpu_s_per_100k": self.cpu(self.run.client),
            "servers": self.servers,
            "servers_cpu_s_per_100k": self.cpu(self.run.servers),
            "servers_written_bytes": self.run.servers.and_then(|usage| usage.written),
            "written_per_byte_put": self.amplification(),
        })
    }
}

impl Show for Report {
    fn simple(&self, page: &mut Page) {
        let tally = &self.run.tally;
        let latency = tally.latency();
        let rate = self
            .load
            .rate
            .map_or_else(String::new, |rate| format!(", {} a second due", grouped(rate)));
        page.line(&format!(
            "{}: {} in flight, {} connection{}{rate}, {}",
            self.name,
            self.in_flight,
            self.connections,
            if self.connections == 1 { "" } else { "s" },
            self.setting
        ));
        let worst = tally.worst_second(self.run.elapsed);
        let worst =
            worst.map_or_else(String::new, |worst| format!("   worst second {}", grouped(worst)));
        page.line(&format!(
            "  {:<12}{} {} in {:.1} s: {} a second{worst}",
            "throughput",
            grouped(self.operations()),
            self.measured.counted(),
            self.run.elapsed.as_secs_f64(),
            grouped(self.per_second() as u64)
        ));
        page.line(&format!(
            "  {:<12}p50 {}   p90 {}   p99 {}   p99.9 {}   max {}   ({})",
            "latency",
            time(latency.p50),
            time(latency.p90),
            time(latency.p99),
            time(latency.p999),
            time(latency.max),
            self.measured.timed()
        ));
        let cpu = |usage| match self.cpu(usage) {
            Some(seconds) => {
                format!("{seconds:.2} CPU seconds per 100,000 {}", self.measured.counted())
            }
            None => "unknown".to_owned(),
        };
        page.line(&format!("  {:<12}{}", "this client", cpu(self.run.client)));
        if self.servers == 0 {
            page.line(&format!("  {:<12}not on this machine; name them with --pid", "servers"));
        } else {
            let count = format!(
                " in {} process{}",
                self.servers,
                if self.servers == 1 { "" } else { "es" }
            );
            page.line(&format!("  {:<12}{}{count}", "servers", cpu(self.run.servers)));
        }
        if let Some(times) = self.amplification() {
            page.line(&format!(
                "  {:<12}{times:.1} bytes for each byte put, all servers together (as /proc counts them: whole folios)",
                "written"
            ));
        }
        if let Some(error) = &tally.error {
            page.line(&format!("  {:<12}{}; the first: {error}", "errors", grouped(tally.errors)));
        }
    }

    fn fields(&self, page: &mut Page) {
        if let Value::Object(fields) = self.value() {
            for (name, value) in fields {
                page.line(&format!("\"{name}\" : {value}"));
            }
        }
    }

    fn json(&self, _hex: bool) -> String {
        self.value().to_string()
    }
}

/// Microseconds with the unit that a person would choose.
fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..100_000 => format!("{:.2} ms", micros as f64 / 1e3),
        100_000..1_000_000 => format!("{:.0} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

/// `12,345`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(time(999), "999 µs");
        assert_eq!(time(1_234), "1.23 ms");
        assert_eq!(time(250_000), "250 ms");
        assert_eq!(time(2_500_000), "2.50 s");
    }
}
