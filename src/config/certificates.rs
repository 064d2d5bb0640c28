//! What etcd's flags say of TLS: the files of the two planes, certificates that a node makes for itself, and what TCP takes.

use std::path::{Path, PathBuf};

use super::check::{Urls, is_proxy};
use super::keys::Settings;
use super::mistakes::Mistakes;
use crate::tls::{MadeHere, PlaneFiles, Scheme, Suite, TcpPolicy, Version};
use crate::transport::Url;

const DAYS_A_YEAR: i64 = 365;
/// As long as an authority lives.
const YEARS_MAX: i64 = 10;

/// Both planes' files.
pub(super) struct Planes<'a> {
    pub(super) settings: &'a Settings,
    pub(super) urls: &'a Urls,
    /// Where a node puts what it makes for itself.
    pub(super) fixtures: &'a Path,
}

impl Planes<'_> {
    /// Of members among each other; none where they speak `http://`.
    pub(super) fn peer(
        &self,
        mistakes: &mut Mistakes,
        warnings: &mut Vec<String>,
    ) -> Option<PlaneFiles> {
        let Self { settings, urls, .. } = self;
        let listens = urls.listen_peers.iter().any(|url| url.scheme == Scheme::Https);
        let advertises = urls.advertise_peers.iter().any(|url| url.scheme == Scheme::Https);
        if !urls.listen_peers.is_empty() && listens != advertises {
            mistakes.push(
                "listen-peer-urls and initial-advertise-peer-urls differ in http:// and https://: members would dial what \
                 this one does not speak",
            );
        }
        // A proxy listens to no member, and asks them as a member asks that joins.
        let asks = is_proxy(settings)
            && settings.initial_cluster.0.iter().any(|(_, url)| url.starts_with("https:"));
        let has_files = !settings.peer_cert_file.is_empty();
        if !listens && !advertises && !asks {
            if has_files || settings.peer_auto_tls {
                let key = if has_files { "peer-cert-file" } else { "peer-auto-tls" };
                warnings.push(format!("{key} is ignored: the peer URLs say http://"));
            }
            return None;
        }
        let made = settings.peer_auto_tls && self.is_made("peer-auto-tls", has_files, warnings);
        if made || settings.peer_trusted_ca_file.is_empty() && !settings.peer_client_cert_auth {
            warnings.push(
                "members encrypt what they say, and whoever reaches the port may join the consensus: peer-trusted-ca-file \
                 with peer-client-cert-auth lets nobody in but members"
                    .to_owned(),
            );
        }
        if made {
            return self.made_peer(mistakes, warnings);
        }
        let mut need = |key: &str, value: &str, why: &str| file(key, value, why, mistakes);
        let secure = "the peer URLs say https://";
        let cert = need("peer-cert-file", &settings.peer_cert_file, secure);
        let key = need("peer-key-file", &settings.peer_key_file, secure);
        let trusted_ca = match (settings.peer_client_cert_auth, &settings.peer_trusted_ca_file) {
            (true, path) => {
                Some(need("peer-trusted-ca-file", path, "peer-client-cert-auth is true")?)
            }
            (false, path) => optional("peer-trusted-ca-file", path, mistakes),
        };
        let shown = pair(
            ("peer-client-cert-file", &settings.peer_client_cert_file),
            ("peer-client-key-file", &settings.peer_client_key_file),
            mistakes,
        );
        let crl = optional("peer-crl-file", &settings.peer_crl_file, mistakes);
        Some(PlaneFiles {
            cert: cert?,
            key: key?,
            client_cert_auth: trusted_ca.is_some(),
            trusted_ca,
            client_cert: shown.0,
            client_key: shown.1,
            crl,
            allowed_cn: settings.peer_cert_allowed_cn.0.clone(),
            allowed_hostname: settings.peer_cert_allowed_hostname.0.clone(),
            made_here: None,
        })
    }

    fn made_peer(&self, mistakes: &mut Mistakes, warnings: &mut Vec<String>) -> Option<PlaneFiles> {
        let Self { settings, urls, .. } = self;
        if settings.peer_client_cert_auth || !settings.peer_trusted_ca_file.is_empty() {
            warnings.push(
                "peer-trusted-ca-file and peer-client-cert-auth are ignored, as in etcd: peer-auto-tls makes certificates of no \
                 authority"
                    .to_owned(),
            );
        }
        self.made("peer", &urls.listen_peers, mistakes)
    }

    /// Towards clients; none where they speak `http://`.
    pub(super) fn client(
        &self,
        mistakes: &mut Mistakes,
        warnings: &mut Vec<String>,
    ) -> Option<PlaneFiles> {
        let Self { settings, urls, .. } = self;
        let has_files = !settings.cert_file.is_empty();
        if !urls.listen_clients.iter().any(|url| url.scheme == Scheme::Https) {
            if has_files || settings.auto_tls {
                let key = if has_files { "cert-file" } else { "auto-tls" };
                warnings.push(format!("{key} is ignored: listen-client-urls says http://"));
            }
            return None;
        }
        let made = settings.auto_tls && self.is_made("auto-tls", has_files, warnings);
        let shown = if made {
            self.made("client", &urls.listen_clients, mistakes)
        } else {
            let secure = "listen-client-urls says https://";
            let cert = file("cert-file", &settings.cert_file, secure, mistakes);
            let key = file("key-file", &settings.key_file, secure, mistakes);
            cert.zip(key).map(|(cert, key)| PlaneFiles { cert, key, ..PlaneFiles::default() })
        };
        let trusted_ca = if settings.client_cert_auth {
            file("trusted-ca-file", &settings.trusted_ca_file, "client-cert-auth is true", mistakes)
        } else {
            optional("trusted-ca-file", &settings.trusted_ca_file, mistakes)
        };
        let crl = optional("client-crl-file", &settings.client_crl_file, mistakes);
        let (client_cert, client_key) = pair(
            ("client-cert-file", &settings.client_cert_file),
            ("client-key-file", &settings.client_key_file),
            mistakes,
        );
        Some(PlaneFiles {
            client_cert,
            client_key,
            // etcd's: whoever names an authority wants to see its certificates.
            client_cert_auth: settings.client_cert_auth || trusted_ca.is_some(),
            trusted_ca,
            crl,
            allowed_cn: settings.client_cert_allowed_cn.0.clone(),
            allowed_hostname: settings.client_cert_allowed_hostname.0.clone(),
            ..shown?
        })
    }

    /// Files count more, as in etcd.
    fn is_made(&self, key: &str, has_files: bool, warnings: &mut Vec<String>) -> bool {
        if has_files {
            warnings.push(format!("{key} is ignored: there are certificate files"));
        }
        !has_files
    }

    fn made(&self, plane: &str, urls: &[Url], mistakes: &mut Mistakes) -> Option<PlaneFiles> {
        let years = self.settings.self_signed_cert_validity;
        if !(1..=YEARS_MAX).contains(&years) {
            mistakes.push(format!(
                "self-signed-cert-validity is {years} years; it must be from 1 to {YEARS_MAX}"
            ));
            return None;
        }
        let mut hosts: Vec<String> = urls.iter().map(|url| url.host.clone()).collect();
        hosts.dedup();
        let folder = self.fixtures.join(plane);
        Some(PlaneFiles {
            cert: folder.join("cert.pem"),
            key: folder.join("key.pem"),
            made_here: Some(MadeHere {
                hosts,
                days: u32::try_from(years * DAYS_A_YEAR).unwrap_or(u32::MAX),
            }),
            ..PlaneFiles::default()
        })
    }
}

/// A certificate to show, and its key: both or none.
fn pair(
    (cert_name, cert): (&str, &str),
    (key_name, key): (&str, &str),
    mistakes: &mut Mistakes,
) -> (Option<PathBuf>, Option<PathBuf>) {
    if cert.is_empty() != key.is_empty() {
        mistakes.push(format!("{cert_name} and {key_name} go together: write both, or none"));
    }
    (optional(cert_name, cert, mistakes), optional(key_name, key, mistakes))
}

/// A file that must be named and readable.
fn file(key: &str, value: &str, why: &str, mistakes: &mut Mistakes) -> Option<PathBuf> {
    if value.is_empty() {
        mistakes.push(format!(
            "{key} is not set, and {why}: make certificates with `quorate cert`, or write http:// to go without"
        ));
        return None;
    }
    optional(key, value, mistakes)
}

fn optional(key: &str, value: &str, mistakes: &mut Mistakes) -> Option<PathBuf> {
    if value.is_empty() {
        return None;
    }
    match std::fs::File::open(value) {
        Ok(_) => Some(PathBuf::from(value)),
        Err(error) => {
            mistakes.push(format!("{key}: cannot read {value}: {error}"));
            None
        }
    }
}

/// Versions and suites of TLS over TCP, with etcd's texts.
pub(super) fn tcp_policy(
    settings: &Settings,
    mistakes: &mut Mistakes,
    warnings: &mut Vec<String>,
) -> TcpPolicy {
    let mut version = |key: &str, name: &str, default: Version| {
        if name.is_empty() {
            return default;
        }
        Version::named(name).unwrap_or_else(|| {
            mistakes.push(format!(
                "{key}: unexpected TLS version {name:?} (must be one of: TLS1.2, TLS1.3)"
            ));
            default
        })
    };
    let min = version("tls-min-version", &settings.tls_min_version, Version::Tls12);
    let max = version("tls-max-version", &settings.tls_max_version, Version::Tls13);
    if min > max {
        mistakes.push(format!(
            "tls-min-version: min version ({}) is greater than max version ({})",
            settings.tls_min_version, settings.tls_max_version
        ));
    }
    if max == Version::Tls12 {
        warnings.push("tls-max-version counts for TCP: QUIC is TLS 1.3".to_owned());
    }
    let names = &settings.cipher_suites.0;
    if !names.is_empty() && min == Version::Tls13 {
        mistakes.push("cipher-suites cannot be configured when only TLS1.3 is enabled");
    }
    let (mut suites, mut weak) = (Vec::new(), Vec::new());
    for name in names {
        match Suite::named(name) {
            Some(Suite::Chosen(suite)) => suites.push(suite),
            Some(Suite::Always) => {}
            Some(Suite::Weak) => weak.push(name.as_str()),
            None => mistakes.push(format!("cipher-suites: unexpected TLS cipher suite {name:?}")),
        }
    }
    if suites.is_empty() && !weak.is_empty() {
        mistakes.push(format!(
            "cipher-suites has weak suites alone ({}), and none of them is here: add TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 \
             and its like",
            weak.join(", ")
        ));
    } else if !weak.is_empty() {
        warnings.push(format!("cipher-suites: {} are weak, and not here", weak.join(", ")));
    }
    TcpPolicy { min, max, suites }
}
