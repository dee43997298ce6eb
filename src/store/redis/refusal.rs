//! What silence and refusals of a server are to the callers.

use redis::{ErrorKind, RedisError};

use crate::store::host::StoreError;

/// The oldest version whose commands and script rules suffice.
pub(super) const OLDEST: (u32, u32) = (6, 2);

/// What was tried when the server refused.
#[derive(Clone, Copy)]
pub(super) enum Step<'c> {
    Connect,
    Info,
    Slots,
    Subscribe(&'c str),
}

/// A failed exchange with the server at `address`: it may work later.
pub(super) fn unavailable(address: &str, error: &RedisError) -> StoreError {
    let reason = if error.is_timeout() {
        format!("Redis at {address} does not answer")
    } else {
        format!("Redis at {address}: {error}")
    };
    StoreError::Unavailable { reason }
}

/// The server at `address` may not hold a pool.
pub(super) fn unsuitable(address: &str, problem: impl Into<String>) -> StoreError {
    StoreError::Unsuitable { address: address.to_owned(), problem: problem.into() }
}

/// As [`unavailable`], unless the server at `address` said why it never will.
pub(super) fn refused(address: &str, error: &RedisError, step: Step<'_>) -> StoreError {
    match error.kind() {
        _ if is_of_credentials(error) => unsuitable(
            address,
            "it refuses the credentials; set REDIS_PASSWORD, or user and password in REDIS_URL",
        ),
        ErrorKind::RESP3NotSupported => unsuitable(address, too_old("an older version")),
        _ if may_not(error) => match step {
            Step::Connect => unsuitable(address, lacks("+@connection")),
            Step::Info => unsuitable(address, lacks("+info")),
            Step::Slots => unsuitable(address, lacks("+cluster|slots")),
            Step::Subscribe(channel) => unsuitable(address, lacks(&format!("+subscribe &{channel}"))),
        },
        _ => unavailable(address, error),
    }
}

/// Whether the server refuses who this gateway says it is.
pub(super) fn is_of_credentials(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}

/// Whether the access rules refuse a command.
pub(super) fn may_not(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

pub(super) fn lacks(rules: &str) -> String {
    format!("its ACL does not let this user work; docs/redis.md has the whole rule; grant it {rules}")
}

pub(super) fn too_old(version: &str) -> String {
    format!("it is {version}; use Redis {}.{} or later, or Valkey", OLDEST.0, OLDEST.1)
}
