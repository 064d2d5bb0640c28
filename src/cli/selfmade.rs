//! Certificates that the program makes for itself: for a playground, and for `serve` without settings.

use std::path::Path;

use crate::base::{Clock, SystemClock};
use crate::config::Profile;
use crate::tls::{KeychainFiles, PlaneFiles, make};

use super::exit::Exit;

/// The folder of the certificates, inside the folder they are for.
pub(super) const CERTS: &str = "certs";
const CERTIFICATE_DAYS: u32 = 3_650;

/// A CA and one certificate for each of the three uses, unless they are there. The CA's key stays in the folder, so
/// that more can be made with `quorate cert`.
pub(super) fn certificates(certs: &Path) -> Result<(), Exit> {
    if certs.join("client.crt").exists() {
        return Ok(());
    }
    let failed = |error: crate::tls::Error| Exit::error(error.to_string());
    let validity = make::Validity { wall_ms: SystemClock::new().wall_ms(), days: CERTIFICATE_DAYS };
    let authority = make::authority("Quorate, made for this folder", validity).map_err(failed)?;
    authority.made.write(certs, "ca", true).map_err(failed)?;
    let hosts = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let subject = |name: &str, hosts: &[String]| make::Subject {
        common_name: name.to_owned(),
        hosts: hosts.to_vec(),
        member: None,
    };
    let peer = make::peer(&authority, &subject("peer", &hosts), validity).map_err(failed)?;
    peer.write(certs, "peer", true).map_err(failed)?;
    let server = make::server(&authority, &subject("server", &hosts), validity).map_err(failed)?;
    server.write(certs, "server", true).map_err(failed)?;
    // Last, because it tells the next start that all of them are there.
    let client = make::client(&authority, &subject("root", &[]), validity).map_err(failed)?;
    client.write(certs, "client", true).map_err(failed)?;
    Ok(())
}

/// A member's keychain of them: members and clients are believed under the one CA, each with its own purpose.
pub(super) fn keychain(certs: &Path) -> KeychainFiles {
    let plane = |name: &str| PlaneFiles {
        cert: certs.join(format!("{name}.crt")),
        key: certs.join(format!("{name}.key")),
        trusted_ca: Some(certs.join("ca.crt")),
        client_cert_auth: true,
        ..PlaneFiles::default()
    };
    KeychainFiles {
        peer: Some(plane("peer")),
        client: Some(plane("server")),
        ..KeychainFiles::default()
    }
}

/// What a client needs to reach `endpoints`, with the paths as they stand in the profile.
pub(super) fn profile(endpoints: Vec<String>) -> Profile {
    let cert = |name: &str| Path::new(CERTS).join(name);
    Profile { endpoints, cacert: cert("ca.crt"), cert: cert("client.crt"), key: cert("client.key") }
}
