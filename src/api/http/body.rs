//! What a client is answered: messages with their prefix, and in the trailers how the call ended.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::HeaderValue;
use tokio::sync::{mpsc, oneshot};

use super::gateway::line;
use super::session::{Place, stopped};
use super::tally::{Begun, Tally};
use super::words::percent_encoded;
use crate::base::limits;
use crate::proto::{Code, Item, Method, Status};

/// Longer messages are not copied behind their prefix.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// The body of any response.
pub(super) enum Answer {
    /// A page, or nothing.
    Plain(Option<Bytes>),
    /// A page whose call has its place until it is taken.
    Placed { page: Option<Bytes>, _place: Place },
    /// One message, then the end; the call has its place until that is taken.
    Message { parts: Parts, ended: bool, _place: Option<Place> },
    /// Text that comes bit by bit, until whoever writes it ends.
    Lines(mpsc::Receiver<Bytes>),
    /// What another server answers, as it comes.
    Passed { body: Incoming, _held: oneshot::Sender<()> },
    /// As many as there are, then how it ended.
    Stream(Stream),
}

/// A message on its way: its head, and its bytes if they are not in it.
#[derive(Default)]
pub(super) struct Parts {
    head: Option<Bytes>,
    rest: Option<Bytes>,
}

pub(super) struct Stream {
    pub answers: mpsc::Receiver<Item>,
    /// What was taken of them already.
    pub first: Option<Item>,
    /// Why the door ends the stream before the service does; none where nothing is read any more.
    pub cut: Option<oneshot::Receiver<Status>>,
    pub parts: Parts,
    pub ended: bool,
    /// Who is told how it went; none for what is no method of the service.
    pub count: Option<Count>,
    /// Written as lines of JSON, not as gRPC's messages.
    pub json: Option<Method>,
}

/// One stream's entries in the tally: it ends once, canceled if it is dropped before.
pub(super) struct Count {
    tally: Arc<Tally>,
    begun: Begun,
    is_ended: bool,
}

impl Count {
    pub(super) fn new(tally: &Arc<Tally>, begun: Begun) -> Self {
        Self { tally: Arc::clone(tally), begun, is_ended: false }
    }

    pub(super) fn ended(&mut self, code: Code) {
        if !std::mem::replace(&mut self.is_ended, true) {
            self.tally.handled(self.begun, code);
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.ended(Code::Canceled);
    }
}

impl Parts {
    pub(super) fn of(message: Bytes) -> Self {
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let is_short = message.len() <= COPIED_BYTES_MAX;
        let mut head = BytesMut::with_capacity(5 + if is_short { message.len() } else { 0 });
        head.put_u8(0);
        head.put_u32(length);
        if is_short {
            head.extend_from_slice(&message);
            return Self { head: Some(head.freeze()), rest: None };
        }
        Self { head: Some(head.freeze()), rest: Some(message) }
    }

    /// Of the message, without its prefix.
    pub(super) fn length(&self) -> usize {
        let of = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        (of(&self.head) + of(&self.rest)).saturating_sub(5)
    }

    fn next(&mut self) -> Option<Bytes> {
        self.head.take().or_else(|| piece(&mut self.rest))
    }
}

/// The next of a body's bytes. In pieces: what is given away counts as taken, and a client takes little at a time.
fn piece(rest: &mut Option<Bytes>) -> Option<Bytes> {
    match rest {
        Some(bytes) if bytes.len() > limits::HTTP2_SEND_BYTES_MAX => {
            Some(bytes.split_to(limits::HTTP2_SEND_BYTES_MAX))
        }
        _ => rest.take(),
    }
}

/// `grpc-status` and `grpc-message`.
pub(super) fn trailers(outcome: &Result<(), Status>) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let code = outcome.as_ref().err().map_or(Code::Ok, |status| status.code);
    trailers.insert("grpc-status", HeaderValue::from(code.number()));
    if let Err(status) = outcome
        && let Ok(text) = HeaderValue::from_str(&percent_encoded(&status.text))
    {
        trailers.insert("grpc-message", text);
    }
    trailers
}

impl Stream {
    pub(super) fn new(answers: mpsc::Receiver<Item>, count: Option<Count>) -> Self {
        let parts = Parts::default();
        Self { answers, first: None, cut: None, parts, ended: false, count, json: None }
    }

    /// What the service says, or how it ended.
    fn poll_item(&mut self, context: &mut Context<'_>) -> Poll<Item> {
        if let Some(cut) = &mut self.cut
            && let Poll::Ready(why) = Pin::new(cut).poll(context)
        {
            self.cut = None;
            if let Ok(status) = why {
                return Poll::Ready(Item::End(Err(status)));
            }
        }
        if let Some(first) = self.first.take() {
            return Poll::Ready(first);
        }
        let item = ready!(self.answers.poll_recv(context));
        Poll::Ready(item.unwrap_or_else(|| Item::End(Err(stopped()))))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let data = |bytes| Poll::Ready(Some(Ok(Frame::data(bytes))));
        match &mut *self {
            Self::Placed { page, .. } | Self::Plain(page) => {
                Poll::Ready(piece(page).map(|page| Ok(Frame::data(page))))
            }
            Self::Passed { body, .. } => Pin::new(body).poll_frame(context),
            Self::Lines(lines) => lines.poll_recv(context).map(|line| Some(Ok(Frame::data(line?)))),
            Self::Message { parts, ended, .. } => {
                if let Some(bytes) = parts.next() {
                    return data(bytes);
                }
                let is_first = !std::mem::replace(ended, true);
                Poll::Ready(is_first.then(|| Ok(Frame::trailers(trailers(&Ok(()))))))
            }
            Self::Stream(stream) => {
                if let Some(bytes) = stream.parts.next() {
                    return data(bytes);
                }
                if stream.ended {
                    return Poll::Ready(None);
                }
                match ready!(stream.poll_item(context)) {
                    Item::Message(message) => {
                        if let Some(count) = &stream.count {
                            count.tally.sent(count.begun.method, message.len());
                        }
                        if let Some(method) = stream.json {
                            return data(line(method, Ok(message)));
                        }
                        stream.parts = Parts::of(message);
                        stream.parts.next().map_or(Poll::Pending, data)
                    }
                    Item::End(outcome) => {
                        stream.ended = true;
                        if let Some(count) = &mut stream.count {
                            count.ended(outcome.as_ref().err().map_or(Code::Ok, |it| it.code));
                        }
                        // Nobody takes what comes now: the service learns it from its sender.
                        stream.answers.close();
                        if let Some(method) = stream.json {
                            let told = outcome.err().map(|status| line(method, Err(&status)));
                            return Poll::Ready(told.map(|told| Ok(Frame::data(told))));
                        }
                        Poll::Ready(Some(Ok(Frame::trailers(trailers(&outcome)))))
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain(None) | Self::Placed { page: None, .. } => true,
            Self::Passed { body, .. } => body.is_end_stream(),
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain(page) | Self::Placed { page, .. } => {
                SizeHint::with_exact(page.as_ref().map_or(0, Bytes::len) as u64)
            }
            Self::Passed { body, .. } => body.size_hint(),
            Self::Lines(_) | Self::Message { .. } | Self::Stream(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Retry;

    #[test]
    fn long_messages_are_not_copied() {
        let long = Bytes::from(vec![7; COPIED_BYTES_MAX + 1]);
        let mut parts = Parts::of(long.clone());
        assert_eq!(parts.next().unwrap()[..], [0, 0, 0, 0x10, 1]);
        assert_eq!(parts.next().unwrap().as_ptr(), long.as_ptr());
        assert_eq!(parts.next(), None);
        let most = limits::HTTP2_SEND_BYTES_MAX;
        let mut parts = Parts::of(Bytes::from(vec![7; most + 1]));
        let lengths: Vec<usize> =
            std::iter::from_fn(|| parts.next()).map(|piece| piece.len()).collect();
        assert_eq!(lengths, [5, most, 1]);
        let mut parts = Parts::of(Bytes::from_static(b"ab"));
        assert_eq!(parts.next().unwrap()[..], *b"\0\0\0\0\x02ab");
        assert_eq!(parts.next(), None);
    }

    #[test]
    fn the_end_is_a_number_and_a_text() {
        let status = Status::new(Code::NotFound, "etcdserver: ü", Retry::Never);
        let end = trailers(&Err(status));
        assert_eq!(
            (&end["grpc-status"], &end["grpc-message"]),
            (&"5".parse().unwrap(), &"etcdserver: %C3%BC".parse().unwrap())
        );
        assert_eq!(trailers(&Ok(())).get("grpc-message"), None);
    }
}
