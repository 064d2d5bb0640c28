//! The event log of a world: what happened, line by line, the same for the same seed.
//!
//! ```text
//!   0.123456s n2 turn Driver role Leader term 3 leader 2 commit 40 last 44 applied 39 revision 30
//!   time      |  |    text                      lines of "-" are the world's own
//!             |  event, one word
//!             the member it happens to
//! ```
//!
//! `examples/replay` walks through it. `SIM_TRACE=file` writes all of it; otherwise its end is kept.

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
        Self { whole: whole.then(String::new), file, ..Self::default() }
    }

    /// `node` 0 is the world itself.
    pub(crate) fn note(&mut self, now: Moment, node: u64, event: &str, text: fmt::Arguments<'_>) {
        self.line.clear();
        let _ = match node {
            0 => write!(self.line, "{now} - {event} "),
            node => write!(self.line, "{now} n{node} {event} "),
        };
        let begin = self.line.len();
        let _ = self.line.write_fmt(text);
        if self.line[begin..].contains('\n') {
            let text = self.line.split_off(begin).replace('\n', " ");
            self.line.push_str(&text);
        }
        self.line.push('\n');
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
