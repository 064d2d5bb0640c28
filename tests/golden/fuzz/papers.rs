//! Certificates, which are read before anybody is known: those that are shown, and those in files.

use std::sync::Arc;

use base64::Engine as _;
use quorate::base::{Clock, SystemClock};
use quorate::tls::make::{self, Authority, Subject, Validity};
use quorate::tls::{
    Description, Doors, Keychain, KeychainFiles, PlaneFiles, Protocol, Scheme, certificates,
};

use super::judge::judge;
use super::mutate::Inputs;

/// Made once, long-lived: the corpus would end otherwise.
fn papers() -> (Authority, make::Made, Validity) {
    let validity = Validity { wall_ms: SystemClock::new().wall_ms(), days: 1 };
    let authority = make::authority("fuzz", validity).unwrap();
    let subject = Subject {
        common_name: "root".to_owned(),
        hosts: vec![
            "localhost".to_owned(),
            "*.example.com".to_owned(),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
        ],
        member: Some((quorate::base::ClusterId(7), quorate::base::MemberId(8))),
    };
    let made = make::peer(&authority, &subject, validity).unwrap();
    (authority, made, validity)
}

fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}

/// A server that believes this authority, with the list of revoked certificates that is written there.
fn keychain(folder: &std::path::Path, crl: bool) -> KeychainFiles {
    let file = |name: &str| folder.join(name);
    KeychainFiles {
        client: Some(PlaneFiles {
            cert: file("n.crt"),
            key: file("n.key"),
            trusted_ca: Some(file("ca.crt")),
            crl: crl.then(|| file("ca.crl")),
            client_cert_auth: true,
            ..PlaneFiles::default()
        }),
        ..KeychainFiles::default()
    }
}

#[test]
fn certificates_that_are_shown() {
    let (authority, made, validity) = papers();
    let folder = tempfile::tempdir().unwrap();
    authority.made.write(folder.path(), "ca", false).unwrap();
    made.write(folder.path(), "n", false).unwrap();
    let keychain: Arc<Keychain> = Keychain::load(keychain(folder.path(), false)).unwrap();
    let doors = Doors { peers: None, clients: Some(Scheme::Https) };
    let genuine = der(&made.cert_pem);
    let words = ["\x02\x01", "\x06\x03\x55\x1d\x11", "\x17\x0d", "\x30\x0a", "quorate://"];
    judge(
        Inputs::new(
            "certificates",
            vec![genuine.clone(), der(&authority.made.cert_pem)],
            &words,
            4_000,
        ),
        |bytes| {
            let _ = Description::of(bytes);
            let chain = [bytes.to_vec().into(), der(&authority.made.cert_pem).into()];
            let admitted = keychain.admit(Protocol::Client, doors, &chain, validity.wall_ms);
            // Whatever is changed of it, the signature is for one certificate alone.
            assert_eq!(admitted.is_ok(), bytes == genuine, "{admitted:?}");
        },
    );
}

#[test]
fn files_of_certificates_keys_and_lists() {
    let (authority, made, validity) = papers();
    let folder = tempfile::tempdir().unwrap();
    authority.made.write(folder.path(), "ca", false).unwrap();
    made.write(folder.path(), "n", false).unwrap();
    let crl = make::revocation_list(&authority, &[der(&made.cert_pem).into()], validity).unwrap();
    std::fs::write(folder.path().join("ca.crl"), &crl).unwrap();
    let files = keychain(folder.path(), true);
    Keychain::load(files.clone()).unwrap();
    let examples = [&authority.made.cert_pem, &made.cert_pem, &made.key_pem, &crl];
    let mut examples: Vec<Vec<u8>> = examples.iter().map(|it| it.as_bytes().to_vec()).collect();
    examples.push(der(&crl));
    let words = [
        "-----BEGIN CERTIFICATE-----\n",
        "-----END CERTIFICATE-----\n",
        "-----BEGIN X509 CRL-----\n",
        "-----BEGIN PRIVATE KEY-----\n",
        "==",
        "\n",
    ];
    let places = ["ca.crt", "n.crt", "n.key", "ca.crl"].map(|name| folder.path().join(name));
    let before = places.each_ref().map(|path| std::fs::read(path).unwrap());
    judge(Inputs::new("pem", examples, &words, 100), |bytes| {
        for (path, genuine) in places.iter().zip(&before) {
            std::fs::write(path, bytes).unwrap();
            let _ = certificates(path);
            if let Err(error) = Keychain::load(files.clone()) {
                assert!(!error.to_string().is_empty());
            }
            std::fs::write(path, genuine).unwrap();
        }
    });
}
