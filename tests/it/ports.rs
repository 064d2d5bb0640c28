//! Ports for servers that come and go, free for UDP and TCP: below the range from which the system gives ports to clients, so that no
//! client takes the port of a server that is down for a moment; and each given out once, to one test run at a time.

use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// Locked while this process lives: other test runs on this machine look, too.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port that nobody has, given out once by this process.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let locks = std::env::temp_dir().join("quorate-test-ports");
    std::fs::create_dir_all(&locks).unwrap();
    for _ in 0..COUNT {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let lock = File::create(locks.join(port.to_string())).unwrap();
        if lock.try_lock().is_ok()
            && UdpSocket::bind(("127.0.0.1", port)).is_ok()
            && TcpListener::bind(("127.0.0.1", port)).is_ok()
        {
            TAKEN.lock().unwrap().push(lock);
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}

/// The same for several.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    (0..count).map(|_| free_port()).collect()
}
