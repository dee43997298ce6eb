//! Argon2id, off the threads that serve, and one at a time: guesses must not eat the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Hashes computed at once: each takes one core and [`MEMORY_KIB`].
const AT_ONCE: usize = 1;
/// Those that wait for their turn; more are turned away.
const WAITING: usize = 32;
/// Memory, passes and lanes of a new hash, as OWASP recommends them for Argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_LEN: usize = 16;

/// Why there is no hash.
#[derive(Debug, thiserror::Error)]
pub(super) enum HashingError {
    /// Too many wait already.
    #[error("too many passwords are being checked")]
    Busy,
    /// The system gives no randomness, or the library refused.
    #[error("a password could not be hashed")]
    Failed,
}

/// Computes hashes.
#[derive(Debug)]
pub(super) struct Hashing {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// One that waits, or is computed for somebody who still wants it.
struct Place<'h>(&'h AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hashing {
    pub(super) fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(AT_ONCE)), waiting: AtomicUsize::new(0) }
    }

    /// Whether `hash`, in PHC form, is that of `password`. A hash that cannot be read is that of none.
    pub(super) async fn verify(
        &self,
        password: &[u8],
        hash: Arc<SecretString>,
    ) -> Result<bool, HashingError> {
        let password = Zeroizing::new(password.to_vec());
        self.run(move || Argon2::default().verify_password(&password, hash.expose_secret()).is_ok()).await
    }

    /// The hash of `password` in PHC form.
    pub(super) async fn hash(&self, password: &SecretString) -> Result<String, HashingError> {
        let password = password.clone();
        self.run(move || hash(&password)).await?
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashingError> {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place(&self.waiting);
        if waiting >= AT_ONCE + WAITING {
            return Err(HashingError::Busy);
        }
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| HashingError::Failed)?;
        // Who goes away does not stop it; the permit is its own until it ends.
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        let done = done.await.map_err(|_| HashingError::Failed);
        drop(place);
        done
    }
}

/// The hash of `password` in PHC form, computed here and now.
pub(super) fn hash(password: &SecretString) -> Result<String, HashingError> {
    let mut salt = [0_u8; SALT_LEN];
    getrandom::fill(&mut salt).map_err(|_| HashingError::Failed)?;
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| HashingError::Failed)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2.hash_password_with_salt(password.expose_secret().as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|_| HashingError::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_is_argon2id_with_a_salt_of_its_own() {
        let hashing = Hashing::new();
        let (one, two) = (
            hashing.hash(&"open sesame".into()).await.unwrap(),
            hashing.hash(&"open sesame".into()).await.unwrap(),
        );
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, two);
        let hash = Arc::new(SecretString::from(one));
        assert!(hashing.verify(b"open sesame", Arc::clone(&hash)).await.unwrap());
        assert!(!hashing.verify(b"open sesam", hash).await.unwrap());
        let damaged = Arc::new(SecretString::from("$argon2id$v=19$m=8"));
        assert!(!hashing.verify(b"open sesame", damaged).await.unwrap());
    }

    #[tokio::test]
    async fn a_crowd_is_turned_away_and_the_rest_is_served_in_turn() {
        let hashing = Hashing::new();
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let first = hashing.run(move || gate.recv().is_ok());
        let others = (0..WAITING).map(|number| hashing.run(move || number));
        let late = async {
            let late = hashing.run(|| 0).await;
            open.send(()).unwrap();
            late
        };
        // Polled in their order.
        let (first, others, late) = tokio::join!(biased; first, futures_util::future::join_all(others), late);
        assert!(matches!(late, Err(HashingError::Busy)));
        assert!(first.unwrap());
        assert_eq!(
            others.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
            (0..WAITING).collect::<Vec<_>>()
        );
        assert_eq!(hashing.waiting.load(Ordering::Relaxed), 0);
        assert!(hashing.run(|| true).await.unwrap());
    }
}
