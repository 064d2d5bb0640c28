//! UDP ports for servers that come and go: below the range from which the system gives ports to clients, so that no
//! client takes the port of a server that is down for a moment.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// A port that nobody has, given out once by this process.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two test runs at once begin at different places.
    let start = (std::process::id() % 97) as u16 * 100;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start + step) % COUNT;
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free UDP port from {FIRST} on");
}
