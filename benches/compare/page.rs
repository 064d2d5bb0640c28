//! The page: for each row both absolutes, the ratio, and what it cost.

use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::{Programs, System};
use crate::restart::Measured;
use crate::rows::{By, Row};
use crate::{Args, Outcome, upkeep};

/// What is read by people between the tables; the tables are put in its places.
const TEXT: &str = include_str!("page.md");

pub(crate) struct Page {
    about: String,
    results: String,
    costs: String,
    restart: String,
    written: String,
    upkeep: String,
}

impl Page {
    pub(crate) fn new(programs: &Programs, args: &Args) -> Outcome<Self> {
        let etcd = first_line(Command::new(&programs.etcd).arg("--version"))?;
        let quorate = first_line(Command::new(&programs.quorate).arg("version"))?;
        let kernel = first_line(Command::new("uname").args(["-s", "-r", "-m"]))?;
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let cores = std::thread::available_parallelism()?;
        let about = format!(
            "- {etcd}\n- {quorate}\n- {cores} cores of {}, {kernel}; clients and servers share them\n\
             - {} run{} of {} s for each row and system, in turn; medians\n",
            model.map_or("an unknown kind", |(_, name)| name),
            args.pairs(),
            if args.pairs() == 1 { "" } else { "s" },
            args.seconds(),
        );
        let [results, costs, restart, written, upkeep] = [const { String::new() }; 5];
        Ok(Self { about, results, costs, restart, written, upkeep })
    }

    pub(crate) fn row(&mut self, row: &Row, etcd: &[Value], quorate: &[Value]) {
        let throughput = [etcd, quorate].map(|runs| field(runs, |run| run["per_second"].as_f64()));
        let p50 = [etcd, quorate].map(|runs| latency(runs, "p50"));
        let ratio = match row.by {
            By::Throughput => ratio(throughput[1], throughput[0]),
            By::Median => ratio(p50[0], p50[1]),
        };
        let aim = row.aim.map_or_else(String::new, |aim| format!("{aim:.0}x"));
        let both = |of: [Option<f64>; 2], show: fn(f64) -> String| {
            of.map(|number| number.map_or_else(|| "-".to_owned(), show)).join(" / ")
        };
        let worst = [etcd, quorate].map(|runs| field(runs, |run| run["worst_second"].as_f64()));
        let times = ["p50", "p99", "p99.9"]
            .map(|name| both([latency(etcd, name), latency(quorate, name)], time))
            .join(" | ");
        let _ = writeln!(
            self.results,
            "| {}{} | {} | {} | **{}** | {aim} | {times} | {} |",
            row.title,
            failures([etcd, quorate]),
            throughput[0].map_or_else(|| "-".to_owned(), count),
            throughput[1].map_or_else(|| "-".to_owned(), count),
            ratio.map_or_else(|| "-".to_owned(), factor),
            both(worst, count),
        );
        let cpu =
            |name: &'static str| [etcd, quorate].map(|runs| field(runs, |run| run[name].as_f64()));
        let servers = cpu("servers_cpu_s_per_100k");
        let _ = writeln!(
            self.costs,
            "| {} | {} | {} | {} |",
            row.title,
            both(servers, seconds),
            self::ratio(servers[0], servers[1]).map_or_else(|| "-".to_owned(), factor),
            both(cpu("client_cpu_s_per_100k"), seconds),
        );
    }

    pub(crate) fn written(&mut self, etcd: Option<f64>, quorate: Option<f64>) {
        if let (Some(etcd), Some(quorate)) = (etcd, quorate) {
            let ratio = factor(etcd / quorate);
            let _ = writeln!(
                self.written,
                "| bytes to the disk for each byte put, three nodes, 256 in flight | {etcd:.1} | {quorate:.1} | **{ratio}** | |"
            );
        }
    }

    pub(crate) fn restart(&mut self, keys: u64, [etcd, quorate]: &[Measured; 2]) {
        let megabytes = |bytes: u64| format!("{} MB", bytes / 1_000_000);
        let mut line = |what: &str, one: String, two: String, ratio: f64, aim: &str| {
            let _ = writeln!(
                self.restart,
                "| {what} | {one} | {two} | **{}** | {aim} |",
                factor(ratio)
            );
        };
        let all = |of: &Measured| {
            let times: Vec<String> = of.all.iter().map(|took| duration(*took)).collect();
            format!("{} ({})", duration(of.first_put), times.join(", "))
        };
        line(
            &format!("SIGKILL under load at {keys} keys: exec to the first put"),
            all(etcd),
            all(quorate),
            etcd.first_put.as_secs_f64() / quorate.first_put.as_secs_f64(),
            "10x",
        );
        for (what, of, aim) in [
            (
                "memory, peak while loading and under load",
                (|m: &Measured| m.loading.own) as fn(&Measured) -> u64,
                "2x",
            ),
            ("- file-backed pages at their peak", |m| m.loading.file, ""),
            ("memory after the restart", |m| m.restarted.own, ""),
            ("- file-backed pages", |m| m.restarted.file, ""),
            ("data directory", |m| m.disk_bytes, ""),
        ] {
            let (one, two) = (of(etcd), of(quorate));
            line(what, megabytes(one), megabytes(two), one as f64 / two.max(1) as f64, aim);
        }
    }

    /// Each system beside itself when it is quiet.
    pub(crate) fn upkeep(&mut self, keys: u64, [etcd, quorate]: &[Vec<upkeep::Measured>; 2]) {
        let of = |measured: &upkeep::Measured, name: &str| {
            measured.puts["latency_us"][name].as_f64().unwrap_or(0.0)
        };
        let Some((quiet, ours_quiet)) = etcd.first().zip(quorate.first()) else { return };
        let _ = writeln!(self.upkeep, "At {keys} keys:\n");
        self.upkeep.push_str("| | p50 | p99 | p99.9 | p99 to quiet | once takes | errors |\n");
        self.upkeep.push_str("|---|---|---|---|---|---|---|\n");
        for (theirs, ours) in etcd.iter().zip(quorate) {
            let pair =
                |name: &str| format!("{} / {}", time(of(theirs, name)), time(of(ours, name)));
            let to_quiet = [(theirs, quiet), (ours, ours_quiet)].map(|(beside, quiet)| {
                ratio(Some(of(beside, "p99")), Some(of(quiet, "p99")))
                    .map_or_else(|| "-".to_owned(), factor)
            });
            let once = [theirs, ours].map(|measured| {
                let times = measured.times.iter().map(Duration::as_secs_f64).collect();
                median(times).map_or_else(|| "-".to_owned(), |took| time(took * 1e6))
            });
            let _ = writeln!(
                self.upkeep,
                "| {} | {} | {} | {} | {} / **{}** | {} | {} / {} |",
                theirs.title,
                pair("p50"),
                pair("p99"),
                pair("p99.9"),
                to_quiet[0],
                to_quiet[1],
                once.join(" / "),
                theirs.puts["errors"],
                ours.puts["errors"],
            );
        }
    }

    pub(crate) fn text(&self) -> String {
        TEXT.replace("{about}\n", &self.about)
            .replace("{results}\n", &self.results)
            .replace("{costs}\n", &self.costs)
            .replace("{restart}\n", &format!("{}{}", self.restart, self.written))
            .replace("{upkeep}\n", &self.upkeep)
    }
}

/// One run on one line, while the page is being made.
pub(crate) fn line(system: System, run: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    format!(
        "{:<8}{:>10}/s  p50 {:>9}  p99 {:>9}  CPU s/100k {:.2} + {:.2}",
        system.name(),
        count(number(&run["per_second"])),
        time(number(&run["latency_us"]["p50"])),
        time(number(&run["latency_us"]["p99"])),
        number(&run["servers_cpu_s_per_100k"]),
        number(&run["client_cpu_s_per_100k"]),
    )
}

fn first_line(command: &mut Command) -> Outcome<String> {
    let output = command.output()?;
    Ok(String::from_utf8(output.stdout)?.lines().next().unwrap_or_default().to_owned())
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let (low, high) = (numbers.len().checked_sub(1)? / 2, numbers.len() / 2);
    Some(f64::midpoint(numbers[low], numbers[high]))
}

fn field(runs: &[Value], of: impl Fn(&Value) -> Option<f64>) -> Option<f64> {
    median(runs.iter().filter_map(of).collect())
}

/// What stands beside a row of which some calls failed.
fn failures(of: [&[Value]; 2]) -> String {
    let count = |runs: &[Value]| -> u64 {
        runs.iter().map(|run| run["errors"].as_u64().unwrap_or(0)).sum()
    };
    match of.map(count) {
        [0, 0] => String::new(),
        [etcd, quorate] => format!(" (failed calls, all runs: {etcd} / {quorate})"),
    }
}

fn latency(runs: &[Value], name: &str) -> Option<f64> {
    field(runs, |run| run["latency_us"][name].as_f64())
}

fn ratio(one: Option<f64>, two: Option<f64>) -> Option<f64> {
    Some(one? / two.filter(|two| *two > 0.0)?)
}

fn factor(ratio: f64) -> String {
    if ratio >= 10.0 { format!("{ratio:.0}x") } else { format!("{ratio:.1}x") }
}

fn count(number: f64) -> String {
    if number < 100.0 { format!("{number:.1}") } else { format!("{number:.0}") }
}

fn seconds(number: f64) -> String {
    if number < 100.0 { format!("{number:.2}") } else { format!("{number:.0}") }
}

/// Microseconds.
fn time(micros: f64) -> String {
    match micros {
        ..1_000.0 => format!("{micros:.0} µs"),
        ..100_000.0 => format!("{:.1} ms", micros / 1e3),
        ..10_000_000.0 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.1} s", micros / 1e6),
    }
}

fn duration(took: Duration) -> String {
    time(took.as_secs_f64() * 1e6)
}
