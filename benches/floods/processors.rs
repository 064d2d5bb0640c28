//! What the machine's processors did: on a virtual one, the host may run others on them meanwhile.

use std::fs;

use crate::Outcome;

/// Ticks of all processors together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Processors {
    all: u64,
    /// Somebody here wanted to run, and the host ran others.
    stolen: u64,
}

impl Processors {
    /// Since the machine began.
    pub(crate) fn now() -> Outcome<Self> {
        // user, nice, system, idle, iowait, irq, softirq, steal; what follows is in the first two already.
        const KINDS: usize = 8;
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().unwrap_or_default();
        let ticks = line.split_ascii_whitespace().skip(1).take(KINDS);
        let ticks: Vec<u64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
        match ticks.as_slice() {
            [.., stolen] if ticks.len() == KINDS => {
                Ok(Self { all: ticks.iter().sum(), stolen: *stolen })
            }
            _ => Err(format!("/proc/stat begins with {line:?}").into()),
        }
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self { all: self.all - before.all, stolen: self.stolen - before.stolen }
    }

    pub(crate) fn and(self, more: Self) -> Self {
        Self { all: self.all + more.all, stolen: self.stolen + more.stolen }
    }

    /// Of a hundred.
    pub(crate) fn percent_stolen(self) -> u64 {
        (self.stolen * 100).checked_div(self.all).unwrap_or_default()
    }
}
