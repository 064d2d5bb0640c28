//! One connection, whoever dialled it.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::VarInt;
use tokio::time::timeout;

use super::{CloseCode, Lost, RecvStream, SendStream, StreamError};
use crate::base::limits;

/// What has gone over a connection, to be compared with what had gone earlier.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// Frames sent that the other side must acknowledge.
    pub asked: u64,
    /// Datagrams received.
    pub heard: u64,
}

/// A QUIC connection whose handshake is over. Cheap to clone; it lives until [`Connection::close`], or until the last
/// clone and the last stream are gone.
#[derive(Clone, Debug)]
pub struct Connection {
    quic: quinn::Connection,
}

impl Connection {
    pub(super) fn new(quic: quinn::Connection) -> Self {
        Self { quic }
    }

    /// Opens a stream both ways. The other side hears of it with the first byte. If it allows no more streams, waits
    /// for one to end, at most [`limits::HELLO_DEADLINE`].
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), StreamError> {
        let opened = timeout(limits::HELLO_DEADLINE, self.quic.open_bi()).await;
        let (send, recv) = opened.map_err(|_| StreamError::Slow)??;
        Ok((SendStream::new(send), RecvStream::new(recv)))
    }

    /// The same, one way.
    pub async fn open_uni(&self) -> Result<SendStream, StreamError> {
        let opened = timeout(limits::HELLO_DEADLINE, self.quic.open_uni()).await;
        Ok(SendStream::new(opened.map_err(|_| StreamError::Slow)??))
    }

    /// The next stream that the other side opens both ways.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), Lost> {
        let (send, recv) = self.quic.accept_bi().await?;
        Ok((SendStream::new(send), RecvStream::new(recv)))
    }

    /// The next stream that the other side opens towards us.
    pub async fn accept_uni(&self) -> Result<RecvStream, Lost> {
        Ok(RecvStream::new(self.quic.accept_uni().await?))
    }

    /// Closes every stream at once, and tells the other side why.
    pub fn close(&self, code: CloseCode, text: &str) {
        self.quic.close(code.code(), text.as_bytes());
    }

    /// Waits until the connection is no more.
    pub async fn closed(&self) -> Lost {
        self.quic.closed().await.into()
    }

    /// Why it is no more; `None` while it lives.
    pub fn lost(&self) -> Option<Lost> {
        self.quic.close_reason().map(Lost::from)
    }

    /// IPv4 as IPv4, also where the socket is one of both.
    pub fn remote_address(&self) -> SocketAddr {
        let address = self.quic.remote_address();
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    pub fn rtt(&self) -> Duration {
        self.quic.rtt()
    }

    pub fn traffic(&self) -> Traffic {
        let stats = self.quic.stats();
        let sent = stats.frame_tx;
        // What has not been acknowledged is asked for again, with an IMMEDIATE_ACK.
        let asked = sent.ping
            + sent.immediate_ack
            + sent.stream
            + sent.max_data
            + sent.max_stream_data
            + sent.max_streams_bidi
            + sent.max_streams_uni
            + sent.reset_stream
            + sent.stop_sending;
        Traffic { asked, heard: stats.udp_rx.datagrams }
    }

    /// Unlike the address, the same for the connection's whole life; unique among those of one endpoint.
    pub fn id(&self) -> usize {
        self.quic.stable_id()
    }

    /// How many streams the other side may have open.
    pub fn allow_streams(&self, bidirectional: u32, unidirectional: u32) {
        self.quic.set_max_concurrent_bi_streams(VarInt::from_u32(bidirectional));
        self.quic.set_max_concurrent_uni_streams(VarInt::from_u32(unidirectional));
    }
}
