//! What was measured, as a table of Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use quorate::client::Wire;

use crate::QUIET;
use crate::member::System;
use crate::processors::Processors;

/// How long everything took that was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    pub puts: Vec<Duration>,
    pub gets: Vec<Duration>,
    /// The most that the member had, bytes.
    pub memory: u64,
    pub processors: Processors,
}

/// One measurement; nothing but zeros where the client was not served.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    pub put: Times,
    pub get: Times,
    /// The most, bytes.
    pub memory: u64,
    pub processors: Processors,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub p50: Duration,
    pub p99: Duration,
}

#[derive(Debug)]
pub(crate) struct Row {
    pub system: System,
    pub flood: String,
    pub wire: Wire,
    pub measured: Measured,
}

impl Samples {
    pub(crate) fn extend(&mut self, more: Self) {
        self.puts.extend(more.puts);
        self.gets.extend(more.gets);
        self.memory = self.memory.max(more.memory);
        self.processors = self.processors.and(more.processors);
    }

    pub(crate) fn measured(self) -> Measured {
        let Self { puts, gets, memory, processors } = self;
        Measured { put: times(puts), get: times(gets), memory, processors }
    }
}

fn times(mut all: Vec<Duration>) -> Times {
    all.sort_unstable();
    let at = |part: usize| all.get((all.len() * part / 100).min(all.len().saturating_sub(1)));
    let at = |part| at(part).copied().unwrap_or_default();
    Times { p50: at(50), p99: at(99) }
}

pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| flood | system | wire | put p50 ms | put p99 ms | times quiet | get p50 ms | get p99 ms | times quiet | memory MiB | stolen % |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut order: Vec<&str> = Vec::new();
    for row in rows {
        if !order.contains(&row.flood.as_str()) {
            order.push(&row.flood);
        }
    }
    for row in order.iter().flat_map(|flood| rows.iter().filter(|row| row.flood == **flood)) {
        let is_same = |it: &&Row| it.system == row.system && it.wire == row.wire;
        let quiet = rows.iter().filter(is_same).find(|it| it.flood == QUIET);
        let quiet = quiet.map(|it| it.measured).unwrap_or_default();
        let Measured { put, get, memory, processors } = row.measured;
        let wire = match row.wire {
            Wire::Quic => "QUIC",
            Wire::Grpc | Wire::Either => "gRPC",
        };
        let cells = [
            row.flood.clone(),
            row.system.name().to_owned(),
            wire.to_owned(),
            ms(put.p50),
            ms(put.p99),
            ratio(put.p99, quiet.put.p99),
            ms(get.p50),
            ms(get.p99),
            ratio(get.p99, quiet.get.p99),
            (memory >> 20).to_string(),
            processors.percent_stolen().to_string(),
        ];
        // Writing into a String does not fail.
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

fn ms(time: Duration) -> String {
    match time.is_zero() {
        true => "not served".to_owned(),
        false => format!("{:.2}", time.as_secs_f64() * 1_000.0),
    }
}

fn ratio(time: Duration, quiet: Duration) -> String {
    match time.is_zero() || quiet.is_zero() {
        true => "-".to_owned(),
        false => format!("{:.1}", time.as_secs_f64() / quiet.as_secs_f64()),
    }
}
