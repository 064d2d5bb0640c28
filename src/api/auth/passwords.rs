//! Passwords, hashed as etcd hashes them (bcrypt): on threads of their own and few at a time, because each keeps a core busy,
//! and anybody may ask for it.

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::api::status;
use crate::base::limits;
use crate::proto::{Code, Retry, Status};

/// See the module.
pub(super) struct Passwords {
    cost: u32,
    working: Semaphore,
    /// Those at work, too.
    waiting: Semaphore,
}

impl Passwords {
    pub(super) fn new(cost: u32) -> Self {
        let (at_once, waiting) =
            (limits::AUTH_PASSWORDS_AT_ONCE_MAX, limits::AUTH_PASSWORDS_WAITING_MAX);
        Self { cost, working: Semaphore::new(at_once), waiting: Semaphore::new(at_once + waiting) }
    }

    /// What is kept of a password.
    pub(super) async fn hashed(&self, password: String) -> Result<String, Status> {
        if password.len() > limits::AUTH_PASSWORD_BYTES_MAX {
            let max = limits::AUTH_PASSWORD_BYTES_MAX;
            // Go's words, which etcd passes on.
            let text = format!("bcrypt: password length exceeds {max} bytes");
            return Err(Status::new(Code::Unknown, text, Retry::Never));
        }
        let cost = self.cost;
        let hashed = self.alone(move || bcrypt::hash(password, cost)).await?;
        hashed.map_err(|error| {
            let text = format!("quorate: the password cannot be hashed: {error}");
            Status::new(Code::Internal, text, Retry::NotProposed)
        })
    }

    /// Whether it is the one of which this was kept.
    pub(super) async fn matches(&self, password: String, hash: String) -> Result<bool, Status> {
        if password.len() > limits::AUTH_PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let compared = self.alone(move || bcrypt::verify(password, &hash)).await?;
        Ok(matches!(compared, Ok(true)))
    }

    async fn alone<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let _waiting = self.waiting.try_acquire().map_err(|_| status::no_room())?;
        let _working = self.working.acquire().await.map_err(|_| status::no_room())?;
        spawn_blocking(job).await.map_err(|_| crate::api::ask::stopped())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_what_is_kept_of_it() {
        let passwords = Passwords::new(4);
        let kept = passwords.hashed("secret".to_owned()).await.unwrap();
        assert!(!kept.contains("secret"));
        let matches =
            |password: &str, kept: &str| passwords.matches(password.to_owned(), kept.to_owned());
        assert!(matches("secret", &kept).await.unwrap());
        assert!(!matches("Secret", &kept).await.unwrap());
        assert!(!matches("", "").await.unwrap(), "nothing was kept: nobody is let in");
        let long = "x".repeat(limits::AUTH_PASSWORD_BYTES_MAX);
        let kept = passwords.hashed(long.clone()).await.unwrap();
        assert!(matches(&long, &kept).await.unwrap());
        assert!(!matches(&format!("{long}y"), &kept).await.unwrap());
        let refused = passwords.hashed(format!("{long}y")).await.unwrap_err();
        assert_eq!(refused.to_string(), "Unknown: bcrypt: password length exceeds 72 bytes");
        // As Go writes it.
        let of_etcd = "$2a$04$lKQjKFAMVqZ9.5cH8Q4WQeB3B6hHZKs0DPfxkxJYqFVJRcTlqCGcu";
        assert!(!matches("other", of_etcd).await.unwrap());
    }

    #[tokio::test]
    async fn who_comes_when_too_many_wait_is_sent_away() {
        let passwords = Passwords::new(4);
        let _all = passwords
            .waiting
            .acquire_many(
                (limits::AUTH_PASSWORDS_AT_ONCE_MAX + limits::AUTH_PASSWORDS_WAITING_MAX) as u32,
            )
            .await
            .unwrap();
        assert_eq!(passwords.hashed("x".to_owned()).await, Err(status::no_room()));
    }
}
