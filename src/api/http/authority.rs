//! An authority that is a URL: what etcdctl 3.4 and grpc-go of its time send to one member that is named with a scheme
//! (`:authority: http://10.0.0.1:2379`). Go's servers take it, the HTTP/2 library beneath us refuses the stream.
//!
//! Nothing here decodes HPACK: it walks over lengths, in the stream as it is read, and where the value of a literal
//! `:authority` begins with `http://` or `https://`, as Go writes them (in Huffman's code), three characters become
//! harmless ones of the same length in bits. So no length changes, and both sides' tables agree. Knows nothing of: who
//! the authority is; nobody here asks.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pace::{Pace, Seen};
use crate::base::limits;

/// A stream of HTTP/2 behind its preface, without URLs in its authorities.
pub(super) struct Mended<S> {
    stream: S,
    walk: Walk,
    /// The beginning of an authority whose rest is still to come.
    held: Vec<u8>,
    pace: Pace,
}

impl<S> Mended<S> {
    /// `stream` begins with `preface` bytes that are no frame, and is read at this pace.
    pub(super) fn new(stream: S, preface: usize, pace: Pace) -> Self {
        Self { stream, walk: Walk::new(preface), held: Vec::new(), pace }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Mended<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.pace.poll_turn(context));
        let room = self.pace.room();
        if room >= buffer.remaining() {
            return self.read(context, buffer);
        }
        let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(room));
        let polled = self.read(context, &mut piece);
        let filled = piece.filled().len();
        buffer.advance(filled);
        polled
    }
}

impl<S: AsyncRead + Unpin> Mended<S> {
    /// What there is, without URLs.
    fn read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self;
        loop {
            let start = buffer.filled().len();
            if buffer.remaining() <= this.held.len() {
                // No room to see what follows: it stays as it is.
                let length = this.held.len().min(buffer.remaining());
                buffer.put_slice(&this.held[..length]);
                this.walk.pass(&mut this.held[..length], true);
                this.held.drain(..length);
                return Poll::Ready(Ok(()));
            }
            let held = this.held.len();
            let mut ahead = [0; URL_BYTES];
            ahead[..held].copy_from_slice(&this.held);
            buffer.put_slice(&ahead[..held]);
            let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
            if !matches!(polled, Poll::Ready(Ok(()))) {
                buffer.set_filled(start);
                this.pace.rest();
                return polled;
            }
            let is_end = buffer.filled().len() == start + held;
            this.held.clear();
            let fresh = &mut buffer.filled_mut()[start..];
            let keep = this.walk.pass(fresh, is_end);
            let split = fresh.len() - keep;
            this.pace.read(fresh.len(), std::mem::take(&mut this.walk.seen))?;
            this.held.extend_from_slice(&fresh[split..]);
            buffer.set_filled(start + split);
            // No bytes would mean the end.
            if split > 0 || is_end {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mended<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    /// Not in pieces: the HTTP/2 library would write each message of 256 bytes or more on its own, and so gathers what is
    /// shorter than 1 KiB.
    fn is_write_vectored(&self) -> bool {
        false
    }
}

/// Bytes that decide whether a string in Huffman's code begins with one of [`URLS`].
const URL_BYTES: usize = 6;

/// Characters in Huffman's code (RFC 7541, appendix B): the code, and its bits.
type Character = (u64, u32);
const H: Character = (0b100111, 6);
const T: Character = (0b01001, 5);
const P: Character = (0b101011, 6);
const S: Character = (0b01000, 5);
const COLON: Character = (0b1011100, 7);
const SLASH: Character = (0b011000, 6);
/// As long as a colon, and part of a name.
const X: Character = (0b1111001, 7);
/// As long as a slash.
const DASH: Character = (0b010110, 6);

/// What is looked for, what stands there then, and which bits that is about: `http://` and `https://`.
const URLS: [(u64, u64, u64); 2] = [
    of(&[H, T, T, P, COLON, SLASH, SLASH], &[H, T, T, P, X, DASH, DASH]),
    of(&[H, T, T, P, S, COLON, SLASH, SLASH], &[H, T, T, P, S, X, DASH, DASH]),
];

const fn of(from: &[Character], to: &[Character]) -> (u64, u64, u64) {
    let (from, bits) = packed(from);
    let (to, _) = packed(to);
    (from, to, !(u64::MAX >> bits))
}

/// From the highest bit on, and how many bits.
const fn packed(characters: &[Character]) -> (u64, u32) {
    let (mut code, mut bits, mut at) = (0, 0, 0);
    while at < characters.len() {
        bits += characters[at].1;
        code |= characters[at].0 << (64 - bits);
        at += 1;
    }
    (code, bits)
}

/// Makes the URL at the beginning of `string` something harmless; anything else stays.
fn mend(string: &mut [u8]) {
    let mut bytes = [0; 8];
    bytes[..URL_BYTES].copy_from_slice(&string[..URL_BYTES]);
    let found = u64::from_be_bytes(bytes);
    for (from, to, mask) in URLS {
        if found & mask == from {
            let mended = (found & !mask) | to;
            string[..URL_BYTES].copy_from_slice(&mended.to_be_bytes()[..URL_BYTES]);
        }
    }
}

/// Where in the stream the next byte stands.
struct Walk {
    place: Place,
    /// The frame's head as far as it came: length, kind, flags, stream.
    head: [u8; 9],
    /// Of this frame's payload: still to come before its block of fields; its block; behind it.
    before: usize,
    block: usize,
    behind: usize,
    /// In the block of fields, which may go on in the next frame.
    field: Field,
    /// Since it was last asked.
    seen: Seen,
}

enum Place {
    Head(usize),
    /// The length of the padding at a frame's end.
    Padding,
    Payload,
}

#[derive(Clone, Copy)]
enum Field {
    Start,
    /// An index, or a size, of several bytes; then what.
    Number(Next),
    Length(Text),
    /// A length of several bytes: so far, its next bit.
    LongLength(Text, usize, u32),
    Bytes(Text, usize),
}

#[derive(Clone, Copy)]
enum Next {
    Start,
    Value,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Text {
    Name,
    Value,
    Authority,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY_ALONE: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END: u8 = 0x1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// `:authority` in HPACK's static table.
const AUTHORITY: u8 = 1;

impl Walk {
    fn new(preface: usize) -> Self {
        Self {
            place: Place::Payload,
            head: [0; 9],
            before: preface,
            block: 0,
            behind: 0,
            field: Field::Start,
            seen: Seen::default(),
        }
    }

    /// Walks over what was read. Returns how many bytes at its end are to come once more, with more behind them; none
    /// at the end of the stream.
    fn pass(&mut self, bytes: &mut [u8], is_end: bool) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            match self.place {
                Place::Head(got) => {
                    self.head[got] = bytes[at];
                    at += 1;
                    self.place = Place::Head(got + 1);
                    if got + 1 == self.head.len() {
                        self.frame();
                    }
                }
                Place::Padding => {
                    self.behind = usize::from(bytes[at]).min(self.block);
                    self.block -= self.behind;
                    at += 1;
                    self.payload();
                }
                Place::Payload if self.before > 0 => {
                    at += skip(&mut self.before, bytes.len() - at);
                    self.payload();
                }
                Place::Payload if self.block > 0 => {
                    let Some(taken) = self.fields(&mut bytes[at..], is_end) else {
                        return bytes.len() - at;
                    };
                    self.block -= taken;
                    at += taken;
                    self.payload();
                }
                Place::Payload => {
                    at += skip(&mut self.behind, bytes.len() - at);
                    self.payload();
                }
            }
        }
        0
    }

    /// A frame's head is there.
    fn frame(&mut self) {
        let [a, b, c, kind, flags, ..] = self.head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.seen.cost += if kind == RESET { limits::HTTP2_RESET_COST } else { 1 };
        self.seen.noise += u32::from(asks_nothing(kind, flags, length));
        (self.before, self.block, self.behind) = (0, 0, length);
        self.place = Place::Payload;
        if kind != HEADERS && kind != CONTINUATION {
            return self.payload();
        }
        (self.block, self.behind) = (length, 0);
        if kind == HEADERS {
            self.field = Field::Start;
            self.before = if flags & PRIORITY == 0 { 0 } else { 5.min(self.block) };
            self.block -= self.before;
            if flags & PADDED != 0 && self.block > 0 {
                self.block -= 1;
                self.place = Place::Padding;
                return;
            }
        }
        self.payload();
    }

    fn payload(&mut self) {
        let is_over = self.before + self.block + self.behind == 0;
        self.place = if is_over { Place::Head(0) } else { Place::Payload };
    }

    /// One step in a block of fields: how many bytes it took, or none if it needs more to decide.
    fn fields(&mut self, bytes: &mut [u8], is_end: bool) -> Option<usize> {
        let first = bytes[0];
        self.field = match self.field {
            Field::Start => start(first),
            Field::Number(next) if first & 0x80 != 0 => Field::Number(next),
            Field::Number(Next::Start) => Field::Start,
            Field::Number(Next::Value) => Field::Length(Text::Value),
            Field::Length(text) => {
                // An authority as it is needs no look.
                let text =
                    if text == Text::Authority && first & 0x80 == 0 { Text::Value } else { text };
                match usize::from(first & 0x7f) {
                    0x7f => Field::LongLength(text, 0x7f, 0),
                    length => string(text, length),
                }
            }
            Field::LongLength(text, length, shift) => {
                // Longer than any block: the library will say so.
                let more = usize::from(first & 0x7f).checked_shl(shift).unwrap_or(0);
                let length = length.saturating_add(more);
                match first & 0x80 {
                    0 => string(text, length),
                    _ => Field::LongLength(text, length, shift + 7),
                }
            }
            Field::Bytes(text, mut left) => {
                if text == Text::Authority && left.min(self.block) >= URL_BYTES {
                    if bytes.len() >= URL_BYTES {
                        mend(bytes);
                    } else if !is_end {
                        return None;
                    }
                }
                let taken = skip(&mut left, bytes.len().min(self.block));
                // What was looked at is not looked at again.
                let rest = if text == Text::Authority { Text::Value } else { text };
                self.field = string(rest, left);
                return Some(taken);
            }
        };
        Some(1)
    }
}

/// Whether a frame is one that a client needs few of: what carries nothing, and what is about the connection alone.
fn asks_nothing(kind: u8, flags: u8, length: usize) -> bool {
    match kind {
        // Shorter than the prefix of a message, and not the end.
        DATA => length < 5 && flags & END == 0,
        CONTINUATION => length == 0,
        PRIORITY_ALONE | RESET | SETTINGS => true,
        // Clients measure the line with pings; what they cost the turns bound.
        HEADERS | WINDOW_UPDATE | PING => false,
        // Of later versions, or of none.
        _ => true,
    }
}

/// Takes what there is of what is left.
fn skip(left: &mut usize, there: usize) -> usize {
    let taken = there.min(*left);
    *left -= taken;
    taken
}

/// A field's first byte.
fn start(first: u8) -> Field {
    let (index, most) = match first {
        0x80.. => (first & 0x7f, 0x7f),
        0x40.. => (first & 0x3f, 0x3f),
        0x20.. => (first & 0x1f, 0x1f),
        _ => (first & 0x0f, 0x0f),
    };
    let is_literal = !matches!(first, 0x80.. | 0x20..0x40);
    match (is_literal, index == most) {
        (false, false) => Field::Start,
        (false, true) => Field::Number(Next::Start),
        (true, true) => Field::Number(Next::Value),
        (true, false) => match index {
            0 => Field::Length(Text::Name),
            AUTHORITY => Field::Length(Text::Authority),
            _ => Field::Length(Text::Value),
        },
    }
}

/// In a string, or behind it.
fn string(text: Text, left: usize) -> Field {
    match (text, left) {
        (Text::Name, 0) => Field::Length(Text::Value),
        (_, 0) => Field::Start,
        _ => Field::Bytes(text, left),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// `http://127.0.0.1:2379` as Go's encoder writes it.
    const URL: [u8; 15] =
        [0x9d, 0x29, 0xae, 0xe3, 0x0c, 0x04, 0x4e, 0xae, 0x05, 0xc0, 0xb8, 0x6e, 0x09, 0x97, 0x5f];

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    fn literal(first: u8, string: &[u8]) -> Vec<u8> {
        [&[first, 0x80 | string.len() as u8], string].concat()
    }

    /// What is read of it, in pieces of so many bytes.
    async fn read(stream: &[u8], piece: usize) -> Vec<u8> {
        let (mut writer, reader) = tokio::io::duplex(piece);
        let mut mended = Mended::new(reader, 3, Pace::new(|| {}));
        let stream = stream.to_vec();
        let writing = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            writer.write_all(&stream).await.unwrap();
        });
        let mut all = Vec::new();
        mended.read_to_end(&mut all).await.unwrap();
        writing.await.unwrap();
        all
    }

    #[tokio::test]
    async fn an_authority_that_is_a_url_becomes_a_name_wherever_it_is_cut() {
        let before =
            [&[0x83, 0x86][..], &literal(0x44, b"path"), &[0x40, 0x01, b'n', 0x02, b'v', b'w']]
                .concat();
        let authority = literal(0x41, &URL);
        let mut expected_url = URL;
        mend(&mut expected_url);
        assert_ne!(expected_url, URL);
        let block = [&before[..], &authority, &[0xc0]].concat();
        let padded = [&[2][..], &[0; 5], &block, &[0x41, 0x41]].concat();
        let first = frame(HEADERS, 0, &block[..before.len() + 4]);
        let rest = frame(CONTINUATION, 4, &block[before.len() + 4..]);
        for headers in [frame(HEADERS, 4, &block), frame(HEADERS, 4 | PADDED | PRIORITY, &padded)] {
            let data = frame(0, 1, &literal(0x41, &URL));
            let stream = [&b"PRI"[..], &frame(4, 0, &[]), &headers, &data, &headers].concat();
            let text =
                |stream: &[u8]| stream.windows(URL.len()).filter(|part| *part == URL).count();
            assert_eq!(text(&stream), 3);
            for piece in 1..stream.len() + 1 {
                let found = read(&stream, piece).await;
                assert_eq!(found.len(), stream.len());
                // What is data stays as it is.
                assert_eq!(text(&found), 1, "in pieces of {piece}");
                let place = stream.windows(URL.len()).position(|part| part == URL).unwrap();
                assert_eq!(found[place..place + URL.len()], expected_url);
                assert_eq!(found[..place], stream[..place]);
            }
        }
        // Cut by a frame within its first bytes, it is left to the library.
        let stream = [b"PRI", &first[..], &rest].concat();
        assert_eq!(read(&stream, 64).await, stream);
    }

    #[tokio::test]
    async fn everything_else_stays() {
        let long = [&[0x41, 0xff, 0x80, 0x01][..], &[0x9d; 255]].concat();
        let mut plain = vec![0x41, 0x07];
        plain.extend_from_slice(b"http://");
        for block in [
            // Of another field; a dynamic name; an index of two bytes; a change of the table's size.
            literal(0x44, &URL),
            literal(0x7e, &URL),
            [&[0x7f, 0x01][..], &literal(0, &URL)[1..]].concat(),
            [&[0x3f, 0xe1, 0x1f][..], &literal(0x42, &URL)].concat(),
            [&[0xff, 0x01][..], &literal(0x43, &URL)].concat(),
            literal(0x41, &URL[..5]),
            plain,
        ] {
            let stream = [&b"PRI"[..], &frame(HEADERS, 4, &block)].concat();
            for piece in [1, 7, 64] {
                assert_eq!(read(&stream, piece).await, stream, "{block:x?}");
            }
        }
        let mut stream = b"PRI".to_vec();
        stream.extend_from_slice(&[0, 1, 3, HEADERS, 4, 0, 0, 0, 1]);
        stream.extend_from_slice(&long);
        assert_eq!(read(&stream, 16).await, stream);
        // An end within a frame, and one with bytes that are held.
        for cut in 1..stream.len() {
            assert_eq!(read(&stream[..cut], 16).await, stream[..cut]);
        }
    }
}
