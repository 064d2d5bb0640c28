//! quinn's settings, in one place. What is not named here was measured to make no difference to small calls.

use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use crate::base::limits;

/// The first guess of a round trip; the default of 333 ms makes one lost handshake packet cost a second.
const INITIAL_RTT: Duration = Duration::from_millis(50);

/// For connections that come in. Before it is admitted, a caller has one stream for its Hello and little memory.
#[cfg(feature = "server")]
pub(super) fn accepting() -> Arc<TransportConfig> {
    let mut config = bounded(limits::CLIENT_WINDOW_BYTES, limits::CLIENT_IDLE);
    config.max_concurrent_bidi_streams(VarInt::from_u32(1));
    config.max_concurrent_uni_streams(VarInt::from_u32(0));
    Arc::new(config)
}

/// For dialling members.
#[cfg(feature = "server")]
pub(super) fn dialling_members() -> Arc<TransportConfig> {
    let mut config = bounded(limits::PEER_WINDOW_BYTES, limits::PEER_IDLE);
    config.keep_alive_interval(Some(limits::PEER_KEEP_ALIVE));
    // Nothing is received on a dialled connection but the answers on its own streams.
    config.max_concurrent_bidi_streams(VarInt::from_u32(0));
    config.max_concurrent_uni_streams(VarInt::from_u32(0));
    Arc::new(config)
}

/// For clients that dial.
pub(super) fn dialling(idle: Duration, keep_alive: Option<Duration>) -> Arc<TransportConfig> {
    let mut config = bounded(limits::PEER_WINDOW_BYTES, idle);
    config.keep_alive_interval(keep_alive);
    config.max_concurrent_bidi_streams(VarInt::from_u32(0));
    // Answers that move to a stream of their own.
    config.max_concurrent_uni_streams(VarInt::from_u32(limits::CONNECTION_STREAMS_MAX));
    Arc::new(config)
}

fn bounded(window: u32, idle: Duration) -> TransportConfig {
    let mut config = TransportConfig::default();
    let idle_ms = u32::try_from(idle.as_millis()).unwrap_or(u32::MAX);
    config.max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_ms))));
    config.stream_receive_window(VarInt::from_u32(limits::STREAM_WINDOW_BYTES));
    // quinn's own default has no bound.
    config.receive_window(VarInt::from_u32(window));
    config.send_window(u64::from(window));
    config.initial_rtt(INITIAL_RTT);
    // Fewer, larger datagrams cost less where the path takes them: loopback, jumbo frames.
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(limits::DATAGRAM_BYTES_MAX);
    config.mtu_discovery_config(Some(mtu));
    config.datagram_receive_buffer_size(None);
    config
}
