//! Tells whoever supervises this process how it is: systemd's `sd_notify`, a datagram to the socket of NOTIFY_SOCKET.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

const SOCKET: &str = "NOTIFY_SOCKET";

/// Says it once; nothing, if nobody listens. A failure is told and nothing else: the member serves anyway.
pub(super) fn tell(state: &str) {
    let Some(socket) = std::env::var_os(SOCKET).filter(|socket| !socket.is_empty()) else { return };
    match send(socket.as_bytes(), state) {
        Ok(()) => tracing::info!(state, "notified the init daemon"),
        Err(error) => tracing::warn!(
            state,
            socket = %socket.display(),
            %error,
            "cannot notify the init daemon: a unit of Type=notify will not see it as started"
        ),
    }
}

/// A path, or a name without one behind an `@`.
fn send(socket: &[u8], state: &str) -> io::Result<()> {
    let address = match socket.strip_prefix(b"@") {
        Some(name) => of_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(socket))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(|_| ())
}

#[cfg(target_os = "linux")]
fn of_name(name: &[u8]) -> io::Result<SocketAddr> {
    <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn of_name(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_hears_it_by_path_and_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let heard = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str().as_bytes(), "READY=1").unwrap();
        let mut bytes = [0; 32];
        let length = heard.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"READY=1");
        let name = format!("quorate-test-{}", std::process::id());
        let heard = UnixDatagram::bind_addr(&of_name(name.as_bytes()).unwrap()).unwrap();
        send(format!("@{name}").as_bytes(), "STOPPING=1").unwrap();
        let length = heard.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"STOPPING=1");
        assert!(send(b"/nowhere/notify", "READY=1").is_err());
    }
}
