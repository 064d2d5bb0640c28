//! Long files, written beside a log.
//!
//! The kernel keeps what is written until somebody syncs it, or until it finds that this is too much, and then hands all
//! of it to the disk at once: whoever syncs a little meanwhile waits behind it, and with the log every writer does. So
//! a long file goes to the disk in small pieces, each before the next one.

use std::fs::File;
use std::io::{self, Write};

use super::limits;

/// A file that is never far behind what was written to it. The last piece is the caller's to sync.
#[derive(Debug)]
pub struct Steady<'a> {
    file: &'a File,
    /// Bytes since the last sync.
    waiting: usize,
}

impl<'a> Steady<'a> {
    pub fn new(file: &'a File) -> Self {
        Self { file, waiting: 0 }
    }
}

impl Write for Steady<'_> {
    /// Of what is longer than a piece, a piece.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(limits::STEADY_BYTES)];
        let written = self.file.write(piece)?;
        self.waiting += written;
        if self.waiting >= limits::STEADY_BYTES {
            self.file.sync_data()?;
            self.waiting = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    #[test]
    fn everything_arrives_and_little_waits() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..3 * limits::STEADY_BYTES + 7).map(|n| n as u8).collect();
        let mut steady = Steady::new(&file);
        for piece in bytes.chunks(limits::STEADY_BYTES + 3) {
            steady.write_all(piece).unwrap();
            assert!(steady.waiting < limits::STEADY_BYTES);
        }
        let mut read = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut read).unwrap();
        assert!(read == bytes);
    }
}
