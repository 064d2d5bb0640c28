//! The last word on who may come in, after the handshake and before a single stream byte is read.

use std::fmt;
use std::time::Duration;

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;

use super::keychain::{Loaded, Plane};
use super::{Description, Doors, Protocol, Scheme};
use crate::base::{ClusterId, MemberId};

/// Somebody whose certificate was verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    pub subject: String,
    pub common_name: Option<String>,
    pub serial: String,
    /// When the certificate ends, milliseconds since 1970: the connection must not outlive it.
    pub not_after_ms: i64,
    /// From a SAN `quorate://<cluster>/<member>`: the only member that may show this certificate.
    pub member: Option<(ClusterId, MemberId)>,
}

/// Why somebody may not come in; subject and serial are "-" if nothing was shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    pub subject: String,
    pub serial: String,
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.serial == "-" {
            return f.write_str(&self.reason);
        }
        write!(f, "{} (certificate {:?}, serial {})", self.reason, self.subject, self.serial)
    }
}

impl Refusal {
    fn nobody(reason: &str) -> Self {
        Self { subject: "-".into(), serial: "-".into(), reason: reason.into() }
    }

    fn of(shown: &Description, reason: impl Into<String>) -> Self {
        Self { subject: shown.subject.clone(), serial: shown.serial.clone(), reason: reason.into() }
    }
}

pub(super) fn caller(
    loaded: &Loaded,
    protocol: Protocol,
    doors: Doors,
    chain: &[CertificateDer<'_>],
    wall_ms: i64,
) -> Result<Option<Identity>, Refusal> {
    let plane = match (doors.scheme(protocol), loaded.plane(protocol)) {
        (None, _) => return Err(Refusal::nobody("this protocol is not served on this address")),
        (Some(Scheme::Http), _) => return Ok(None),
        (Some(Scheme::Https), Some(plane)) => plane,
        (Some(Scheme::Https), None) => return Err(Refusal::nobody("no certificates are loaded")),
    };
    match protocol {
        // The settings say that members are not asked who they are.
        Protocol::Peer if plane.callers.is_none() => Ok(None),
        Protocol::Peer => {
            let (identity, shown) = member(plane, chain, wall_ms)?;
            names_allowed(plane, chain, &shown)?;
            Ok(Some(identity))
        }
        Protocol::Client => client(plane, chain, wall_ms),
    }
}

pub(super) fn dialled(
    loaded: &Loaded,
    scheme: Scheme,
    chain: &[CertificateDer<'_>],
    wall_ms: i64,
) -> Result<Option<Identity>, Refusal> {
    match (scheme, &loaded.peer) {
        (Scheme::Http, _) => Ok(None),
        // The handshake has asked for all that can be asked for.
        (Scheme::Https, Some(plane)) if plane.callers.is_none() => Ok(None),
        (Scheme::Https, Some(plane)) => Ok(Some(member(plane, chain, wall_ms)?.0)),
        (Scheme::Https, None) => Err(Refusal::nobody("no peer certificates are loaded")),
    }
}

fn client(
    plane: &Plane,
    chain: &[CertificateDer<'_>],
    wall_ms: i64,
) -> Result<Option<Identity>, Refusal> {
    if chain.is_empty() {
        return match plane.client_cert_auth {
            true => Err(Refusal::nobody("a client certificate is required and none was shown")),
            false => Ok(None),
        };
    }
    // Without a CA there is nothing to verify under: the caller is nobody.
    if plane.callers.is_none() {
        return Ok(None);
    }
    let shown = verified(plane, chain, wall_ms)?;
    names_allowed(plane, chain, &shown)?;
    Ok(Some(identity(&shown)?))
}

fn member(
    plane: &Plane,
    chain: &[CertificateDer<'_>],
    wall_ms: i64,
) -> Result<(Identity, Description), Refusal> {
    if chain.is_empty() {
        return Err(Refusal::nobody("a peer certificate is required and none was shown"));
    }
    let shown = verified(plane, chain, wall_ms)?;
    if !(shown.usage_stated && shown.server_auth && shown.client_auth) {
        let has = match (shown.server_auth, shown.client_auth) {
            (true, false) => "only serverAuth",
            (false, true) => "only clientAuth",
            _ => "neither",
        };
        return Err(Refusal::of(
            &shown,
            format!(
                "a peer certificate needs the extended key usages serverAuth and clientAuth; this one has {has}"
            ),
        ));
    }
    Ok((identity(&shown)?, shown))
}

fn verified(
    plane: &Plane,
    chain: &[CertificateDer<'_>],
    wall_ms: i64,
) -> Result<Description, Refusal> {
    let Some((end_entity, intermediates)) = chain.split_first() else {
        return Err(Refusal::nobody("no certificate was shown"));
    };
    let shown = Description::of(end_entity).map_err(|error| Refusal::nobody(&error))?;
    let Some(verifier) = &plane.callers else {
        return Err(Refusal::of(&shown, "there is no CA to believe it under"));
    };
    let since_1970 = Duration::from_millis(u64::try_from(wall_ms).unwrap_or_default());
    match verifier.verify_client_cert(
        end_entity,
        intermediates,
        UnixTime::since_unix_epoch(since_1970),
    ) {
        Ok(_) => Ok(shown),
        Err(error) => Err(Refusal::of(&shown, error.to_string())),
    }
}

/// Whether the names in it are among those that settings allow.
pub(super) fn names_allowed(
    plane: &Plane,
    chain: &[CertificateDer<'_>],
    shown: &Description,
) -> Result<(), Refusal> {
    if !plane.allowed_cn.is_empty()
        && !shown.common_name.as_ref().is_some_and(|name| plane.allowed_cn.contains(name))
    {
        return Err(Refusal::of(shown, "its common name is not an allowed one"));
    }
    if plane.allowed_hostname.is_empty() {
        return Ok(());
    }
    let parsed =
        chain.first().and_then(|certificate| ParsedCertificate::try_from(certificate).ok());
    let matches = parsed.is_some_and(|parsed| {
        plane.allowed_hostname.iter().any(|host| {
            ServerName::try_from(host.as_str())
                .is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
        })
    });
    match matches {
        true => Ok(()),
        false => Err(Refusal::of(shown, "it is valid for none of the allowed host names")),
    }
}

/// A `quorate://` name that cannot be read is a refusal: whoever wrote it meant to bind the certificate.
fn identity(shown: &Description) -> Result<Identity, Refusal> {
    let mut names = shown.uris.iter().filter_map(|uri| uri.strip_prefix("quorate://"));
    let member = match names.next() {
        None => None,
        Some(name) => {
            let ids = name.split_once('/').and_then(|(cluster, member)| {
                Some((cluster.parse::<ClusterId>().ok()?, member.parse::<MemberId>().ok()?))
            });
            let text =
                format!("its SAN quorate://{name} does not read quorate://<cluster>/<member>");
            Some(ids.ok_or_else(|| Refusal::of(shown, text))?)
        }
    };
    if names.next().is_some() {
        return Err(Refusal::of(shown, "it names more than one member"));
    }
    Ok(Identity {
        subject: shown.subject.clone(),
        common_name: shown.common_name.clone(),
        serial: shown.serial.clone(),
        not_after_ms: shown.not_after_ms,
        member,
    })
}
