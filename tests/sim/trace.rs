//! The event log of a world: what happened, line by line, the same for the same seed.
//!
//! `SIM_TRACE=file` keeps all of it; otherwise its hash and its end are kept.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{BufWriter, Write as _};

use quorate::base::Moment;

/// Lines shown with a failure.
const TAIL_LINES: usize = 60;

#[derive(Debug, Default)]
pub(crate) struct Trace {
    line: String,
    hash: u64,
    lines: u64,
    tail: VecDeque<String>,
    file: Option<BufWriter<File>>,
    whole: Option<String>,
}

impl Trace {
    /// `whole` keeps every line in memory.
    pub(crate) fn new(whole: bool) -> Self {
        let file = std::env::var_os("SIM_TRACE").map(|path| {
            BufWriter::new(File::options().create(true).append(true).open(path).unwrap())
        });
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            whole: whole.then(String::new),
            file,
            ..Self::default()
        }
    }

    pub(crate) fn note(&mut self, now: Moment, what: fmt::Arguments<'_>) {
        self.line.clear();
        let _ = writeln!(self.line, "{now} {what}");
        for byte in self.line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines += 1;
        if let Some(file) = &mut self.file {
            file.write_all(self.line.as_bytes()).unwrap();
        }
        if let Some(whole) = &mut self.whole {
            whole.push_str(&self.line);
        }
        let mut line = match self.tail.len() < TAIL_LINES {
            true => String::new(),
            false => self.tail.pop_front().unwrap_or_default(),
        };
        line.clear();
        line.push_str(&self.line);
        self.tail.push_back(line);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    pub(crate) fn whole(&self) -> &str {
        self.whole.as_deref().unwrap_or_default()
    }

    pub(crate) fn tail(&self) -> String {
        self.tail.iter().map(String::as_str).collect()
    }
}
