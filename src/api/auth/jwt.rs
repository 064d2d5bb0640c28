//! JSON web tokens as etcd has them: claims `username`, `revision` (of users and roles) and `exp`, signed by a key that every
//! member has. With a public key alone they are verified and not given out.

use std::str::FromStr;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RsaKeyPair,
};
use serde::{Deserialize, Serialize};

use super::tokens::Error;
use crate::state::Asker;

/// One algorithm, and its keys.
pub(super) struct Jwt {
    algorithm: Algorithm,
    signing: Option<EncodingKey>,
    verifying: DecodingKey,
    ttl: Duration,
}

#[derive(Deserialize, Serialize)]
struct Claims {
    username: String,
    revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
}

impl std::fmt::Debug for Jwt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jwt").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Jwt {
    /// Whether tokens can be signed so.
    pub(super) fn is_method(method: &str) -> Result<(), Error> {
        algorithm(method).map(|_| ())
    }

    /// Keys in PEM; of HMAC the private one is the secret, byte by byte. Two of them must belong together.
    pub(super) fn new(
        method: &str,
        public: Option<&[u8]>,
        private: Option<&[u8]>,
        ttl: Duration,
    ) -> Result<Self, Error> {
        let algorithm = algorithm(method)?;
        let wrong = |what: &str, error: &dyn std::fmt::Display| {
            Error::Key(format!("{what} is no key for {method} in PEM: {error}"))
        };
        let is_secret = matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
        let signing = match private.filter(|key| !key.is_empty()) {
            None => None,
            Some(secret) if is_secret => Some(EncodingKey::from_secret(secret)),
            Some(pem) => {
                let key = signing(algorithm, pem).map_err(|error| wrong("priv-key", &error))?;
                Some(key)
            }
        };
        let verifying = match (public.filter(|key| !key.is_empty()), private) {
            (_, Some(secret)) if is_secret => DecodingKey::from_secret(secret),
            (Some(pem), _) if !is_secret => {
                verifying(algorithm, pem).map_err(|error| wrong("pub-key", &error))?
            }
            (_, Some(pem)) if !is_secret => {
                public_of(algorithm, pem).map_err(|error| wrong("priv-key", &error))?
            }
            _ => return Err(Error::Key(format!("{method} has no key: name one with priv-key"))),
        };
        let jwt = Self { algorithm, signing, verifying, ttl };
        jwt.check_pair()?;
        Ok(jwt)
    }

    fn check_pair(&self) -> Result<(), Error> {
        let Some(key) = &self.signing else { return Ok(()) };
        let claims = Claims { username: "nobody".to_owned(), revision: 1, exp: None };
        let token = encode(&Header::new(self.algorithm), &claims, key);
        let token = token.map_err(|error| Error::Key(format!("priv-key cannot sign: {error}")))?;
        let verified = self.verified(&token);
        verified
            .map(|_| ())
            .map_err(|_| Error::Key("pub-key and priv-key do not belong together".to_owned()))
    }

    /// A token for the user; the text is etcd's where there is no key to sign with.
    pub(super) fn signed(&self, user: &str, revision: u64, now_ms: i64) -> Result<String, String> {
        let Some(key) = &self.signing else {
            return Err("auth: token signing attempted with verify-only key".to_owned());
        };
        let now = u64::try_from(now_ms / 1_000).unwrap_or(0);
        let exp = Some(now.saturating_add(self.ttl.as_secs()));
        let claims = Claims { username: user.to_owned(), revision, exp };
        encode(&Header::new(self.algorithm), &claims, key)
            .map_err(|error| format!("quorate: a token cannot be signed: {error}"))
    }

    /// Whose it is, and of which revision; or why it is not to be believed.
    pub(super) fn verified(&self, token: &str) -> Result<Asker, String> {
        // Its own word for the algorithm counts only if it is ours.
        let mut validation = Validation::new(self.algorithm);
        validation.leeway = 0;
        validation.required_spec_claims.clear();
        validation.validate_nbf = true;
        validation.validate_aud = false;
        let claims = decode::<Claims>(token, &self.verifying, &validation);
        let claims = claims.map_err(|error| error.to_string())?.claims;
        if claims.username.is_empty() || claims.revision == 0 {
            return Err("it names nobody, or no revision".to_owned());
        }
        Ok(Asker { user: claims.username, auth_revision: claims.revision })
    }
}

fn algorithm(method: &str) -> Result<Algorithm, Error> {
    Algorithm::from_str(method).map_err(|_| {
        Error::Setting(format!(
            "{method:?} is no signing method: say RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, \
             EdDSA, HS256, HS384 or HS512"
        ))
    })
}

fn signing(algorithm: Algorithm, pem: &[u8]) -> jsonwebtoken::errors::Result<EncodingKey> {
    match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
        _ => EncodingKey::from_rsa_pem(pem),
    }
}

fn verifying(algorithm: Algorithm, pem: &[u8]) -> jsonwebtoken::errors::Result<DecodingKey> {
    match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(pem),
        _ => DecodingKey::from_rsa_pem(pem),
    }
}

/// The public half of a private key.
fn public_of(algorithm: Algorithm, pem: &[u8]) -> Result<DecodingKey, String> {
    let (label, der) = der(pem).ok_or("no PEM")?;
    let rejected = |error: ring::error::KeyRejected| error.to_string();
    match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => {
            let kind = match algorithm {
                Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
                _ => &ECDSA_P384_SHA384_FIXED_SIGNING,
            };
            let pair = EcdsaKeyPair::from_pkcs8(kind, &der, &SystemRandom::new());
            Ok(DecodingKey::from_ec_der(pair.map_err(rejected)?.public_key().as_ref()))
        }
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(rejected)?;
            Ok(DecodingKey::from_ed_der(pair.public_key().as_ref()))
        }
        _ => {
            let pair = match label.as_str() {
                "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der),
                _ => RsaKeyPair::from_pkcs8(&der),
            };
            Ok(DecodingKey::from_rsa_der(pair.map_err(rejected)?.public_key().as_ref()))
        }
    }
}

/// The first block of a PEM file: what it says it is, and its bytes.
fn der(pem: &[u8]) -> Option<(String, Vec<u8>)> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, text) = text.split_once("-----BEGIN ")?;
    let (label, text) = text.split_once("-----")?;
    let (body, _) = text.split_once("-----END")?;
    let body: String = body.split_whitespace().collect();
    Some((label.to_owned(), BASE64_STANDARD.decode(body).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Clock, SystemClock};

    const TTL: Duration = Duration::from_secs(60);

    fn now_ms() -> i64 {
        SystemClock::new().wall_ms()
    }

    fn asker(user: &str, auth_revision: u64) -> Asker {
        Asker { user: user.to_owned(), auth_revision }
    }

    fn pem(label: &str, der: &[u8]) -> Vec<u8> {
        let body = BASE64_STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n").into_bytes()
    }

    fn ec_key() -> Vec<u8> {
        let rng = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
        pem("PRIVATE KEY", der.as_ref())
    }

    #[test]
    fn what_was_signed_is_believed_until_it_ends() {
        let ed = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let ed = pem("PRIVATE KEY", ed.as_ref());
        for (method, key) in [("HS256", b"secret\n".to_vec()), ("ES256", ec_key()), ("EdDSA", ed)] {
            let jwt = Jwt::new(method, None, Some(&key), TTL).unwrap();
            let token = jwt.signed("bob", 7, now_ms()).unwrap();
            assert_eq!(jwt.verified(&token), Ok(asker("bob", 7)), "{method}");
            let ended = jwt.signed("bob", 7, now_ms() - 61_000).unwrap();
            assert!(jwt.verified(&ended).unwrap_err().contains("Expired"), "{method}");
            let other = token.replace('.', ".e");
            assert!(jwt.verified(&other).is_err());
        }
    }

    #[test]
    fn a_token_does_not_choose_its_algorithm() {
        let key = ec_key();
        let jwt = Jwt::new("ES256", None, Some(&key), TTL).unwrap();
        let claims = Claims { username: "root".to_owned(), revision: 99, exp: None };
        let none =
            ["{\"alg\":\"none\",\"typ\":\"JWT\"}", "{\"username\":\"root\",\"revision\":9}", ""];
        let none = none.map(|part| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(part)).join(".");
        assert!(jwt.verified(&none).is_err());
        // With the public key as a secret.
        let secret = EncodingKey::from_secret(&der(&key).unwrap().1);
        let forged = encode(&Header::new(Algorithm::HS256), &claims, &secret).unwrap();
        assert!(jwt.verified(&forged).is_err());
        let another = Jwt::new("ES256", None, Some(&ec_key()), TTL).unwrap();
        let token = another.signed("root", 99, now_ms()).unwrap();
        assert!(jwt.verified(&token).is_err());
    }

    #[test]
    fn a_key_is_one_for_its_method() {
        let key = ec_key();
        let text = |method, public, private| {
            Jwt::new(method, public, private, TTL).unwrap_err().to_string()
        };
        assert!(text("RS256", None, Some(&key)).contains("priv-key is no key for RS256"));
        assert!(text("ES256", None, None).contains("no key"));
        assert!(text("HS256", Some(&key), None).contains("no key"));
        assert!(text("ES256", Some(b"x"), Some(&key)).contains("pub-key is no key"));
    }
}
