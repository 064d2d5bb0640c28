//! Reads certificates, keys (of tokens, too), trust and revocation lists again when their files have changed, or when somebody asks.
//!
//! ```text
//!   another stamp ──► the same at the next look (nobody writes any more) ──► reload ──► in force
//!   somebody asks ─────────────────────────────────────────────────────────►   └──► one WARN; the old stay; again
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use crate::api::TokenKeys;
use crate::base::{Clock, limits};
use crate::tls::{Keychain, Stamp};

/// The keychain's keeper.
#[derive(Clone)]
pub(super) struct Reloading {
    pub keychain: Arc<Keychain>,
    pub tokens: Arc<TokenKeys>,
    pub asked: Arc<Notify>,
    clock: Arc<dyn Clock>,
}

impl Reloading {
    pub(super) fn new(
        keychain: &Arc<Keychain>,
        tokens: &Arc<TokenKeys>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let (keychain, tokens) = (Arc::clone(keychain), Arc::clone(tokens));
        Self { keychain, tokens, asked: Arc::default(), clock: Arc::clone(clock) }
    }

    /// The keys of tokens: as with certificates, what cannot be used is told once, and tried on.
    async fn look_at_tokens(&self, looks: &mut TokenLooks, asked: bool) {
        let files = self.tokens.files();
        if files.is_empty() {
            return;
        }
        let stamp = move || Stamp::of(files.iter().map(PathBuf::as_path));
        let Ok(now) = spawn_blocking(stamp).await else { return };
        let in_force = looks.in_force.get_or_insert_with(|| now.clone()).clone();
        let last = looks.looks.get_or_insert_with(|| Looks { last: now.clone() });
        if !last.is_due(&now, &in_force) && !asked {
            return;
        }
        let tokens = Arc::clone(&self.tokens);
        let error = match spawn_blocking(move || tokens.reload()).await {
            Ok(Ok(())) => {
                looks.in_force = Some(now);
                looks.told = None;
                return tracing::info!("the keys of tokens were read anew");
            }
            Ok(Err(error)) => error.to_string(),
            Err(panicked) => panicked.to_string(),
        };
        if looks.told.as_ref() != Some(&error) || asked {
            tracing::warn!(%error, "cannot use the new keys of tokens: the old ones stay in force, trying on");
        }
        looks.told = Some(error);
    }

    fn warn(&self) {
        for warning in self.keychain.warnings(self.clock.wall_ms()) {
            tracing::warn!("{warning}");
        }
    }

    /// For ever.
    pub(super) async fn run(self) {
        let mut looks = Looks { last: self.keychain.in_force() };
        let mut told = None;
        let mut warned = self.clock.now();
        let mut tokens = TokenLooks::default();
        // What is there now is what was read at the start.
        self.look_at_tokens(&mut tokens, false).await;
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(limits::CERTIFICATE_POLL) => false,
                () = self.asked.notified() => true,
            };
            if self.clock.now().since(warned) > WARN_AGAIN {
                warned = self.clock.now();
                self.warn();
            }
            self.look_at_tokens(&mut tokens, asked).await;
            // A file system that hangs must not hold the other chores.
            let keychain = Arc::clone(&self.keychain);
            let Ok(now) = spawn_blocking(move || keychain.stamp()).await else { continue };
            if !looks.is_due(&now, &self.keychain.in_force()) && !asked {
                continue;
            }
            let keychain = Arc::clone(&self.keychain);
            match spawn_blocking(move || keychain.reload()).await {
                Ok(Ok(())) => {
                    told = None;
                    tracing::info!("certificates, keys, trust and revocation lists were read anew");
                    self.warn();
                }
                Ok(Err(error)) => {
                    let error = error.to_string();
                    if told.as_ref() != Some(&error) || asked {
                        tracing::warn!(
                            %error,
                            "cannot use the new certificate files: the old ones stay in force, trying on"
                        );
                    }
                    told = Some(error);
                }
                Err(panicked) => {
                    tracing::warn!(%panicked, "reading the certificate files panicked")
                }
            }
        }
    }
}

/// Between two looks at what is unwise.
const WARN_AGAIN: Duration = Duration::from_secs(86_400);

/// What is known of the keys of tokens.
#[derive(Default)]
struct TokenLooks {
    /// Of the first look on.
    in_force: Option<Stamp>,
    looks: Option<Looks>,
    told: Option<String>,
}

/// What was seen last; pure.
struct Looks {
    last: Stamp,
}

impl Looks {
    /// Whether there are other files than those in force, and nobody has written them since the look before: half of
    /// a bundle may look whole, and a certificate comes a moment before its key.
    fn is_due(&mut self, now: &Stamp, in_force: &Stamp) -> bool {
        let is_quiet = *now == self.last;
        self.last = now.clone();
        is_quiet && now != in_force
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_when_they_have_settled_and_again_until_they_are_right() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let write = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Stamp::of([path.as_path()])
        };
        let one = write("1");
        let mut looks = Looks { last: one.clone() };
        assert!(!looks.is_due(&one, &one));
        let half = write("1 2");
        assert!(!looks.is_due(&half, &one), "somebody may still be writing");
        let whole = write("1 2 3");
        assert!(!looks.is_due(&whole, &one), "somebody was still writing");
        assert!(looks.is_due(&whole, &one));
        assert!(looks.is_due(&whole, &one), "they could not be used: again");
        assert!(!looks.is_due(&whole, &whole));
    }
}
