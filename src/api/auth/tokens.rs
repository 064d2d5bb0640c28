//! Which tokens are given out and believed: `--auth-token`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::jwt::Jwt;
use crate::base::parse_duration;

/// etcd's for a JWT that says none.
const JWT_TTL: Duration = Duration::from_secs(300);

/// The setting, as it is written.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum TokenKind {
    /// The members know them.
    #[default]
    Simple,
    /// They say by themselves whose they are.
    Jwt {
        /// JWT's name of the algorithm.
        method: String,
        public: Option<PathBuf>,
        private: Option<PathBuf>,
        ttl: Duration,
    },
}

/// Why a setting, or its keys, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("auth-token: {0}")]
    Setting(String),
    #[error("auth-token: {path} cannot be read: {error}", path = path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("auth-token: {0}")]
    Key(String),
}

/// The keys of JWTs, if that is what tokens are; read again on demand.
#[derive(Debug, Default)]
pub struct TokenKeys {
    kind: TokenKind,
    jwt: RwLock<Option<Arc<Jwt>>>,
}

impl TokenKind {
    /// `simple`, or `jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=5m`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why: String| Err(Error::Setting(why));
        let mut parts = text.split(',');
        let kind = parts.next().unwrap_or_default();
        let mut options = std::collections::BTreeMap::new();
        for part in parts {
            let Some((name, value)) = part.split_once('=').filter(|(_, it)| !it.contains('='))
            else {
                return wrong(format!("{part:?} is no NAME=VALUE"));
            };
            if options.insert(name, value).is_some() {
                return wrong(format!("{name} is there twice"));
            }
        }
        match kind {
            "simple" => match options.into_keys().next() {
                None => Ok(Self::Simple),
                Some(name) => wrong(format!("simple tokens have no {name}")),
            },
            "jwt" => Self::jwt(&options),
            other => wrong(format!(
                "{other:?} is no kind of token: say simple, or \
                 jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=5m"
            )),
        }
    }

    fn jwt(options: &std::collections::BTreeMap<&str, &str>) -> Result<Self, Error> {
        const KNOWN: [&str; 4] = ["sign-method", "pub-key", "priv-key", "ttl"];
        if let Some(name) = options.keys().find(|name| !KNOWN.contains(name)) {
            return Err(Error::Setting(format!("jwt has no {name}; it has {}", KNOWN.join(", "))));
        }
        let given = |name: &str| options.get(name).copied().filter(|value| !value.is_empty());
        let path = |name: &str| given(name).map(PathBuf::from);
        let ttl = match given("ttl") {
            None => JWT_TTL,
            Some(text) => parse_duration(text)
                .ok()
                .filter(|ttl| !ttl.is_zero())
                .ok_or_else(|| Error::Setting(format!("{text:?} is no ttl, such as 5m")))?,
        };
        let method = given("sign-method").unwrap_or_default().to_owned();
        Jwt::is_method(&method)?;
        Ok(Self::Jwt { method, public: path("pub-key"), private: path("priv-key"), ttl })
    }
}

impl TokenKeys {
    /// Reads the keys.
    pub fn load(kind: TokenKind) -> Result<Self, Error> {
        let jwt = RwLock::new(read(&kind)?);
        Ok(Self { kind, jwt })
    }

    /// Reads them again; what cannot be used changes nothing.
    pub fn reload(&self) -> Result<(), Error> {
        let fresh = read(&self.kind)?;
        *self.jwt.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// The files that they are read from.
    pub fn files(&self) -> Vec<PathBuf> {
        match &self.kind {
            TokenKind::Simple => Vec::new(),
            TokenKind::Jwt { public, private, .. } => {
                public.iter().chain(private).cloned().collect()
            }
        }
    }

    pub(super) fn jwt(&self) -> Option<Arc<Jwt>> {
        self.jwt.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(kind: &TokenKind) -> Result<Option<Arc<Jwt>>, Error> {
    let TokenKind::Jwt { method, public, private, ttl } = kind else { return Ok(None) };
    let content = |path: &Option<PathBuf>| path.as_deref().map(bytes).transpose();
    let (public, private) = (content(public)?, content(private)?);
    Ok(Some(Arc::new(Jwt::new(method, public.as_deref(), private.as_deref(), *ttl)?)))
}

fn bytes(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| Error::Read { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_says_a_kind_and_its_options() {
        assert_eq!(TokenKind::parse("simple").unwrap(), TokenKind::Simple);
        let jwt = TokenKind::parse("jwt,sign-method=RS256,priv-key=/k,ttl=10m").unwrap();
        let private = Some(PathBuf::from("/k"));
        let ttl = Duration::from_secs(600);
        let method = "RS256".to_owned();
        assert_eq!(jwt, TokenKind::Jwt { method, public: None, private, ttl });
        for (text, why) in [
            ("", "no kind of token"),
            ("simple,ttl=5m", "simple tokens have no ttl"),
            ("jwt", "no signing method"),
            ("jwt,sign-method=none", "no signing method"),
            ("jwt,sign-method=RS256,ttl=soon", "no ttl"),
            ("jwt,sign-method=RS256,key=x", "jwt has no key"),
            ("jwt,sign-method", "no NAME=VALUE"),
            ("jwt,ttl=1m,ttl=2m", "ttl is there twice"),
        ] {
            let error = TokenKind::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
