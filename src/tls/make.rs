//! Makes authorities and certificates: for `quorate cert`, the playground and a `serve` without files.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber,
};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{Description, Error};
use crate::base::{ClusterId, MemberId};

/// When a certificate begins and how long it lives. The beginning lies an hour back, for clocks that differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// Now, milliseconds since 1970.
    pub wall_ms: i64,
    pub days: u32,
}

/// PEM texts of one certificate and its private key.
#[derive(Clone)]
pub struct Made {
    pub cert_pem: String,
    pub key_pem: String,
}

/// One that signs: an authority that was made just now, or read from its files.
pub struct Authority {
    pub made: Made,
    issuer: Issuer<'static, KeyPair>,
}

/// For whom a certificate is.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    pub common_name: String,
    /// DNS names and IP addresses.
    pub hosts: Vec<String>,
    /// Binds a peer's certificate to one member: SAN `quorate://<cluster>/<member>`.
    pub member: Option<(ClusterId, MemberId)>,
}

const SKEW_S: i64 = 3_600;
const DAY_S: i64 = 86_400;

/// A self-signed CA that signs certificates and revocation lists.
pub fn authority(common_name: &str, validity: Validity) -> Result<Authority, Error> {
    let mut params = parameters(common_name, validity)?;
    // No intermediates: what this key signs is used by members and clients themselves.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let cert_pem = params.self_signed(&key)?.pem();
    let made = Made { cert_pem, key_pem: key.serialize_pem() };
    Ok(Authority { made, issuer: Issuer::new(params, key) })
}

impl Authority {
    /// Reads an authority back.
    pub fn read(cert: &Path, key: &Path) -> Result<Self, Error> {
        let text = |path: &Path| {
            std::fs::read_to_string(path)
                .map_err(|source| Error::Read { path: path.to_owned(), source })
        };
        let made = Made { cert_pem: text(cert)?, key_pem: text(key)? };
        let pair = KeyPair::from_pem(&made.key_pem)
            .map_err(|error| Error::file(key, format!("is no private key: {error}")))?;
        let issuer = Issuer::from_ca_cert_pem(&made.cert_pem, pair)
            .map_err(|error| Error::file(cert, format!("is no CA certificate: {error}")))?;
        super::load::certified_key(cert, key)?;
        Ok(Self { made, issuer })
    }
}

/// For a member towards members: both ends of a connection.
pub fn peer(authority: &Authority, subject: &Subject, validity: Validity) -> Result<Made, Error> {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    signed(authority, subject, validity, &[ServerAuth, ClientAuth])
}

/// For a member towards clients.
pub fn server(authority: &Authority, subject: &Subject, validity: Validity) -> Result<Made, Error> {
    signed(authority, subject, validity, &[ExtendedKeyUsagePurpose::ServerAuth])
}

/// For a client; its common name is the user it is, where authentication is on.
pub fn client(authority: &Authority, subject: &Subject, validity: Validity) -> Result<Made, Error> {
    signed(authority, subject, validity, &[ExtendedKeyUsagePurpose::ClientAuth])
}

/// A revocation list of these certificates of the authority, PEM. It replaces any older one: a list names all.
pub fn revocation_list(
    authority: &Authority,
    revoked: &[CertificateDer<'_>],
    validity: Validity,
) -> Result<String, Error> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now_s = validity.wall_ms.div_euclid(1_000);
    let now = epoch + seconds(now_s - SKEW_S);
    let revoked_certs = revoked
        .iter()
        .map(|certificate| {
            let shown = Description::of(certificate).map_err(Error::Make)?;
            let serial: Vec<u8> = shown
                .serial
                .split(':')
                .filter_map(|byte| u8::from_str_radix(byte, 16).ok())
                .collect();
            Ok(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&serial),
                revocation_time: now,
                reason_code: None,
                invalidity_date: None,
            })
        })
        .collect::<Result<_, Error>>()?;
    let list = CertificateRevocationListParams {
        this_update: now,
        next_update: epoch + seconds(now_s + i64::from(validity.days) * DAY_S),
        // Grows with each list that is made later, as the standard wants it.
        crl_number: SerialNumber::from_slice(&now_s.to_be_bytes()),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(list.signed_by(&authority.issuer)?.pem()?)
}

impl Made {
    /// Writes `<stem>.crt` and `<stem>.key` (0600) into `dir`. Without `force`, neither may exist.
    pub fn write(&self, dir: &Path, stem: &str, force: bool) -> Result<(PathBuf, PathBuf), Error> {
        std::fs::create_dir_all(dir)
            .map_err(|source| Error::Read { path: dir.to_owned(), source })?;
        let (cert, key) = (dir.join(format!("{stem}.crt")), dir.join(format!("{stem}.key")));
        for path in [&cert, &key] {
            if path.exists() && !force {
                return Err(Error::file(path, "exists already; --force overwrites it"));
            }
        }
        write(&key, &self.key_pem, 0o600, force)?;
        write(&cert, &self.cert_pem, 0o644, force)?;
        Ok((cert, key))
    }

    /// Writes both (0600), over what is there; their folders are made, closed to others.
    pub fn write_to(&self, cert: &Path, key: &Path) -> Result<(), Error> {
        for (path, text) in [(key, &self.key_pem), (cert, &self.cert_pem)] {
            if let Some(dir) = path.parent() {
                let mut folder = DirBuilder::new();
                folder.recursive(true);
                #[cfg(unix)]
                std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
                folder
                    .create(dir)
                    .map_err(|source| Error::Read { path: dir.to_owned(), source })?;
            }
            write(path, text, 0o600, true)?;
        }
        Ok(())
    }
}

/// One that nobody can verify: for both ends of a connection, signed by itself.
pub fn self_signed(hosts: &[String], validity: Validity) -> Result<Made, Error> {
    let mut params = parameters("etcd", validity)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    for host in hosts {
        params.subject_alt_names.push(alternative_name(host)?);
    }
    let key = KeyPair::generate()?;
    let cert_pem = params.self_signed(&key)?.pem();
    Ok(Made { cert_pem, key_pem: key.serialize_pem() })
}

/// A certificate for `http://` endpoints: QUIC cannot go without one, and nobody verifies it.
pub(super) fn throwaway() -> Result<Arc<CertifiedKey>, Error> {
    let key = KeyPair::generate()?;
    let params = CertificateParams::new(vec!["localhost".to_owned()])?;
    let cert = CertificateDer::from(params.self_signed(&key)?);
    let private = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|error| Error::Make(error.to_owned()))?;
    Ok(Arc::new(CertifiedKey::new(vec![cert], any_supported_type(&private)?)))
}

fn signed(
    authority: &Authority,
    subject: &Subject,
    validity: Validity,
    usages: &[ExtendedKeyUsagePurpose],
) -> Result<Made, Error> {
    let mut params = parameters(&subject.common_name, validity)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages.to_vec();
    params.use_authority_key_identifier_extension = true;
    for host in &subject.hosts {
        params.subject_alt_names.push(alternative_name(host)?);
    }
    if let Some((cluster, member)) = subject.member {
        let uri = format!("quorate://{cluster}/{member}");
        params.subject_alt_names.push(SanType::URI(uri.as_str().try_into()?));
    }
    let key = KeyPair::generate()?;
    let cert = params.signed_by(&key, &authority.issuer)?;
    Ok(Made { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
}

/// An IP address, or a host name whose first label may be a star.
fn alternative_name(host: &str) -> Result<SanType, Error> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    if DnsName::try_from(host.strip_prefix("*.").unwrap_or(host)).is_err() {
        return Err(Error::Make(format!("{host:?} is neither a host name nor an IP address")));
    }
    Ok(SanType::DnsName(host.try_into()?))
}

fn parameters(common_name: &str, validity: Validity) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now_s = validity.wall_ms.div_euclid(1_000);
    // rcgen's dates are a type of a crate that is not ours to name: counted from the one date it hands out.
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + seconds(now_s - SKEW_S);
    params.not_after = epoch + seconds(now_s + i64::from(validity.days) * DAY_S);
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|error| Error::Make(error.to_string()))?;
    // A positive number, as the standard wants it.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or_default())
}

impl From<rcgen::Error> for Error {
    fn from(error: rcgen::Error) -> Self {
        Self::Make(error.to_string())
    }
}

fn write(path: &Path, text: &str, mode: u32, force: bool) -> Result<(), Error> {
    let fail = |source: io::Error| Error::Read { path: path.to_owned(), source };
    if force && path.exists() {
        // The mode below counts for new files only.
        std::fs::remove_file(path).map_err(fail)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let mut file = options.open(path).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)
}
