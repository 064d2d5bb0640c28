//! Simple tokens: who has shown a password, as far as this member knows.
//!
//! A login is an entry of the log, so every member learns of it when it is applied; what is known here is in memory alone, as
//! in etcd, and who comes with a token that is forgotten shows the password again. Kept by the token's hash: neither the
//! log nor the memory has the token. A login that is applied long after it was proposed (at a start, from the log) counts for
//! nothing. Pure but for the lock of its owner.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::handle::Handle;
use super::shared::lock;
use crate::base::{Moment, limits};
use crate::state::{Auth, AuthNote};

/// How exactly the end of a token follows its use (etcd's).
const RESOLUTION: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(super) struct Tokens {
    known: HashMap<Bytes, Token>,
    by_end: BTreeSet<(Moment, Bytes)>,
}

struct Token {
    user: Arc<str>,
    end: Moment,
}

impl Tokens {
    pub(super) fn note(&mut self, note: AuthNote, ttl: Duration, now: Moment, wall_ms: i64) {
        match note {
            AuthNote::LoggedIn { user, token_hash, at_ms } => {
                let age = u64::try_from(wall_ms.saturating_sub(at_ms)).unwrap_or(0);
                if Duration::from_millis(age) < ttl {
                    self.insert(user.into(), token_hash, now + ttl, now);
                }
            }
            AuthNote::Changed { user } => {
                let gone: Vec<Bytes> = self
                    .known
                    .iter()
                    .filter(|(_, token)| *token.user == *user)
                    .map(|(hash, _)| hash.clone())
                    .collect();
                gone.iter().for_each(|hash| self.remove(hash));
            }
            AuthNote::Disabled => self.clear(),
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn insert(&mut self, user: Arc<str>, hash: Bytes, end: Moment, now: Moment) {
        self.remove(&hash);
        let is_full = |tokens: &Self| tokens.known.len() >= limits::AUTH_TOKENS_MAX;
        while let Some((first, hash)) = self.by_end.first().cloned()
            && (first <= now || is_full(self))
        {
            self.remove(&hash);
        }
        self.by_end.insert((end, hash.clone()));
        self.known.insert(hash, Token { user, end });
    }

    fn remove(&mut self, hash: &Bytes) {
        if let Some(token) = self.known.remove(hash) {
            self.by_end.remove(&(token.end, hash.clone()));
        }
    }

    /// Whose it is. Being used, it lives for another `ttl`.
    fn user(&mut self, hash: &Bytes, ttl: Duration, now: Moment) -> Option<Arc<str>> {
        let token = self.known.get_mut(hash)?;
        if token.end <= now {
            self.remove(hash);
            return None;
        }
        let user = Arc::clone(&token.user);
        let end = now + ttl;
        if end.since(token.end) >= RESOLUTION {
            self.by_end.remove(&(token.end, hash.clone()));
            token.end = end;
            self.by_end.insert((end, hash.clone()));
        }
        Some(user)
    }
}

impl Handle {
    /// Users and roles of the v3 API, as they are applied here.
    pub fn auth(&self) -> Arc<Auth> {
        self.shared.state.auth()
    }

    /// The user of the simple token with this hash, if this member knows it; that counts as a use of it.
    pub fn token_user(&self, hash: &Bytes) -> Option<Arc<str>> {
        let now = self.shared.clock.now();
        lock(&self.shared.tokens).user(hash, self.shared.config.token_ttl, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(300);

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    fn hash(number: u64) -> Bytes {
        Bytes::copy_from_slice(&number.to_be_bytes())
    }

    fn login(tokens: &mut Tokens, user: &str, number: u64, now: Moment) {
        let note = AuthNote::LoggedIn { user: user.to_owned(), token_hash: hash(number), at_ms: 0 };
        tokens.note(note, TTL, now, 1_000);
    }

    fn user(tokens: &mut Tokens, number: u64, now: Moment) -> Option<String> {
        tokens.user(&hash(number), TTL, now).map(|user| user.to_string())
    }

    #[test]
    fn a_token_lives_as_long_as_it_is_used() {
        let mut tokens = Tokens::default();
        login(&mut tokens, "bob", 1, at(0));
        login(&mut tokens, "bob", 2, at(0));
        assert_eq!(user(&mut tokens, 1, at(299)).as_deref(), Some("bob"));
        assert_eq!(user(&mut tokens, 2, at(300)), None);
        assert_eq!(user(&mut tokens, 1, at(598)).as_deref(), Some("bob"));
        assert_eq!(user(&mut tokens, 3, at(598)), None);
        assert_eq!(user(&mut tokens, 1, at(898)), None);
        assert!(tokens.known.is_empty() && tokens.by_end.is_empty());
    }

    #[test]
    fn who_is_another_one_now_has_no_tokens() {
        let mut tokens = Tokens::default();
        login(&mut tokens, "bob", 1, at(0));
        login(&mut tokens, "eve", 2, at(0));
        tokens.note(AuthNote::Changed { user: "bob".to_owned() }, TTL, at(1), 0);
        assert_eq!(user(&mut tokens, 1, at(1)), None);
        assert_eq!(user(&mut tokens, 2, at(1)).as_deref(), Some("eve"));
        tokens.note(AuthNote::Disabled, TTL, at(1), 0);
        assert_eq!(user(&mut tokens, 2, at(1)), None);
    }

    #[test]
    fn a_login_of_long_ago_is_none() {
        let mut tokens = Tokens::default();
        let note = AuthNote::LoggedIn { user: "bob".to_owned(), token_hash: hash(1), at_ms: 0 };
        tokens.note(note, TTL, at(0), 300_000);
        assert_eq!(user(&mut tokens, 1, at(0)), None);
    }

    #[test]
    fn those_not_used_for_longest_make_room() {
        let mut tokens = Tokens::default();
        for number in 0..=limits::AUTH_TOKENS_MAX as u64 {
            login(&mut tokens, "bob", number, at(number / 1_000));
        }
        assert_eq!(tokens.known.len(), limits::AUTH_TOKENS_MAX);
        assert_eq!(user(&mut tokens, 0, at(101)), None);
        assert!(user(&mut tokens, 1, at(101)).is_some());
    }
}
