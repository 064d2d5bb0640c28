//! Bytes that somebody might send: examples of a corpus, changed by dice with a seed.
//!
//! A run is as long as it is told to be, and the same bytes come in the same order from the same seed:
//!
//! - `FUZZ_SEED` is where the dice begin; without it the gate and everybody try the same inputs.
//! - `FUZZ_COUNT` inputs of each target; what a target says itself otherwise.
//! - `FUZZ_SECONDS` of each target instead.
//!
//! What cannot be read in these variables is an error. Knows nothing of what is done with the bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Without `FUZZ_SEED`.
const SEED: u64 = 1;

/// Longest input that grows here, bytes: as long as it takes to pass every bound of a head, a line or a depth.
const LENGTH_MAX: usize = 96 << 10;

/// Changes of one input.
const CHANGES_MAX: usize = 6;

/// Examples of one encoder that are kept.
const KEPT_MAX: usize = 12;

/// Numbers at which readers of lengths fall.
const NUMBERS: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 32,
    1 << 62,
    i64::MAX as u64,
    u64::MAX,
];

/// Where examples are kept.
pub(crate) fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fuzz/corpus").join(target)
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text:?} is no number: {error}")))
}

/// The inputs of one target, one after the other.
pub(crate) struct Inputs {
    target: String,
    examples: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
    dice: fastrand::Rng,
    seed: u64,
    next: u64,
    count: u64,
    ends: Option<Instant>,
}

impl Inputs {
    /// Those of the corpus as they are, then as many changed ones as `count` or a variable says; `words` are what the language of
    /// the target is made of, and `more` examples that are made by an encoder. `FUZZ_CORPUS=write` keeps these in the corpus,
    /// so that what an encoder of today writes is tried when it writes something else.
    pub(crate) fn new(target: &str, more: Vec<Vec<u8>>, words: &[&str], count: u64) -> Self {
        if std::env::var("FUZZ_CORPUS").is_ok_and(|it| it == "write") {
            fs::create_dir_all(folder(target)).unwrap();
            for (at, example) in more.iter().take(KEPT_MAX).enumerate() {
                fs::write(folder(target).join(format!("made-{at:02}")), example).unwrap();
            }
        }
        let mut files: Vec<PathBuf> = fs::read_dir(folder(target))
            .unwrap_or_else(|error| panic!("{target} has no corpus: {error}"))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let mut examples: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).unwrap()).collect();
        assert!(!examples.is_empty(), "{target} has no corpus");
        examples.extend(more);
        let seed = variable("FUZZ_SEED").unwrap_or(SEED);
        let ends = variable("FUZZ_SECONDS").map(|seconds| now() + Duration::from_secs(seconds));
        let count = variable("FUZZ_COUNT").unwrap_or(count);
        let words = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        // Each target has dice of its own, so that one more target changes none.
        let own =
            target.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let (dice, target) = (fastrand::Rng::with_seed(own), target.to_owned());
        println!("fuzz {target}: FUZZ_SEED={seed}, {} examples", examples.len());
        Self { target, examples, words, dice, seed, next: 0, count, ends }
    }

    /// Which input it was, and how it comes again.
    pub(crate) fn place(&self) -> String {
        let (target, seed, number) = (&self.target, self.seed, self.next);
        format!("fuzz {target}: input {number} of FUZZ_SEED={seed}")
    }

    fn is_over(&self) -> bool {
        let whole = self.examples.len() as u64;
        match self.ends {
            Some(ends) => self.next >= whole && now() >= ends,
            None => self.next >= whole + self.count,
        }
    }

    fn changed(&mut self) -> Vec<u8> {
        let mut bytes = self.dice.choice(&self.examples).cloned().unwrap_or_default();
        for _ in 0..self.dice.usize(1..=CHANGES_MAX) {
            self.change(&mut bytes);
        }
        bytes.truncate(LENGTH_MAX);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let dice = &mut self.dice;
        let at = dice.usize(0..=bytes.len());
        // Mostly little; sometimes nearly all.
        let most = if dice.u8(0..8) == 0 { bytes.len() - at } else { (bytes.len() - at).min(16) };
        let piece = at..at + dice.usize(0..=most);
        match dice.u8(0..11) {
            0 if !piece.is_empty() => bytes[at] ^= 1 << dice.u8(0..8),
            1 if !piece.is_empty() => bytes[at] = dice.u8(..),
            2 => drop(bytes.drain(piece)),
            3 => {
                let copy = bytes[piece].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => bytes.truncate(at),
            5 => {
                let fresh: Vec<u8> = (0..dice.usize(1..=16)).map(|_| dice.u8(..)).collect();
                bytes.splice(at..at, fresh);
            }
            6 => overwrite(bytes, at, &number(dice)),
            7 | 8 => {
                if let Some(word) = dice.choice(&self.words) {
                    bytes.splice(piece, word.iter().copied());
                }
            }
            // Half of this one, half of another.
            9 => {
                if let Some(other) = dice.choice(&self.examples) {
                    let from = dice.usize(0..=other.len());
                    bytes.splice(at.., other[from..].iter().copied());
                }
            }
            // The same many times: depth and length.
            _ => {
                let copy = bytes[piece].to_vec();
                let times = 1 << dice.u32(0..12);
                let room = LENGTH_MAX.saturating_sub(bytes.len()) / copy.len().max(1);
                bytes.splice(at..at, copy.repeat(room.min(times)));
            }
        }
    }
}

impl Iterator for Inputs {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.is_over() {
            return None;
        }
        let example = usize::try_from(self.next).ok().and_then(|at| self.examples.get(at)).cloned();
        self.next += 1;
        Some(example.unwrap_or_else(|| self.changed()))
    }
}

/// One of the numbers, in one of the ways that numbers are written.
fn number(dice: &mut fastrand::Rng) -> Vec<u8> {
    let number = NUMBERS[dice.usize(0..NUMBERS.len())];
    let bytes = number.to_be_bytes();
    match dice.u8(0..6) {
        0 => bytes[7..].to_vec(),
        1 => bytes[6..].to_vec(),
        2 => bytes[4..].to_vec(),
        3 => bytes.to_vec(),
        4 => number.to_le_bytes()[..4].to_vec(),
        // protobuf's.
        _ => {
            let (mut rest, mut written) = (number, Vec::new());
            while rest >= 0x80 {
                written.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
                rest >>= 7;
            }
            written.push(u8::try_from(rest).unwrap_or(0));
            written
        }
    }
}

fn overwrite(bytes: &mut Vec<u8>, at: usize, with: &[u8]) {
    let end = (at + with.len()).min(bytes.len());
    bytes.splice(at..end, with.iter().copied());
}

#[expect(clippy::disallowed_methods, reason = "how long a run goes on is told in real time")]
fn now() -> Instant {
    Instant::now()
}
