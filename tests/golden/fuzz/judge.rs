//! What every parser owes to every input: an answer, soon, in little memory, and no panic.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::mutate::Inputs;

/// Longest time for one input, which takes microseconds: beyond it the parser hangs, and the whole run is ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the process may have grown by when a target is through, bytes. Inputs have at most 96 KiB, and what is made of one is let go
/// of before the next: this is many times what any parser needs, and far below what a length that is believed would take.
const GROWTH_MAX: u64 = 512 << 20;

/// Tries of making an input smaller that fails.
const SHRINKS_MAX: usize = 4_000;

/// Shows every input to `parse`, which asserts what must hold.
pub(super) fn judge(mut inputs: Inputs, parse: impl Fn(&[u8])) {
    let watched = Watchdog::new();
    let before = resident();
    while let Some(input) = inputs.next() {
        watched.begins(inputs.place());
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| parse(&input))) {
            let small = smaller(&input, &parse);
            eprintln!(
                "{} fails; the smallest input found, for the corpus once it is mended, in hexadecimal:\n{}\nas text: {}",
                inputs.place(),
                small.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
                small.escape_ascii()
            );
            resume_unwind(panic);
        }
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{}: the process has grown by {grown} bytes", inputs.place());
}

/// Leaves out what does not matter to the failure: halves first, single bytes last.
fn smaller(input: &[u8], parse: &impl Fn(&[u8])) -> Vec<u8> {
    let fails = |bytes: &[u8]| catch_unwind(AssertUnwindSafe(|| parse(bytes))).is_err();
    let (mut small, mut tries) = (input.to_vec(), 0);
    let mut piece = small.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < small.len() && tries < SHRINKS_MAX {
            let mut without = small.clone();
            without.drain(at..(at + piece).min(small.len()));
            tries += 1;
            if fails(&without) {
                small = without;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    small
}

/// What of the process is in RAM at most so far, bytes; 0 where the system does not say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse().ok());
    kib.map_or(0, |kib: u64| kib << 10)
}

/// Ends the process where an input is not answered, and says which.
struct Watchdog {
    under_way: Arc<Mutex<Option<(String, Instant)>>>,
}

impl Watchdog {
    fn new() -> Self {
        let under_way = Arc::new(Mutex::new(None));
        let watching = Arc::downgrade(&under_way);
        std::thread::spawn(move || {
            while let Some(under_way) = watching.upgrade() {
                let since: Option<(String, Instant)> =
                    under_way.lock().unwrap_or_else(PoisonError::into_inner).clone();
                drop(under_way);
                if let Some((place, began)) = since
                    && began.elapsed() > PATIENCE
                {
                    eprintln!("{place}: no answer within {PATIENCE:?}");
                    std::process::abort();
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self { under_way }
    }

    #[expect(clippy::disallowed_methods, reason = "a parser that hangs does so in real time")]
    fn begins(&self, place: String) {
        let now = (place, Instant::now());
        *self.under_way.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }
}

#[test]
#[should_panic(expected = "a bad byte")]
fn a_parser_that_panics_is_found() {
    let inputs = Inputs::new("durations", Vec::new(), &["\u{7}"], 5_000);
    judge(inputs, |bytes| assert!(!bytes.contains(&7), "a bad byte"));
}

#[test]
fn an_input_that_fails_is_made_small() {
    let input = [&[1; 300][..], &[7], &[2; 300], &[8], &[3; 99]].concat();
    let parse = |bytes: &[u8]| {
        let at = |byte: u8| bytes.iter().position(|it| *it == byte);
        assert!(at(7).is_none() || at(8).is_none());
    };
    assert_eq!(smaller(&input, &parse), [7, 8]);
}
