//! Exit codes.

use std::process::ExitCode;

use crate::auth::VaultError;
use crate::config::ConfigErrors;
use crate::store::host::StoreError;

/// How a command ended (spec `http-api.md` §8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok,
    /// Failed.
    Failed,
    /// Called the wrong way.
    Usage,
    /// Something is there already that would have to give way: a file, another gateway on the data directory.
    Conflict,
    /// Not everything was done: imported, migrated, verified, removed.
    Partial,
    /// The store or a running gateway does not answer.
    Unavailable,
    /// The settings are not usable.
    Config,
}

/// The store or a running gateway does not answer; anywhere in an error's chain it makes the exit code 69.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Called the wrong way, which only shows while running; anywhere in an error's chain it makes the exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(pub String);

/// Something is there already; anywhere in an error's chain it makes the exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Conflict(pub String);

impl Exit {
    /// The exit code's number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Conflict => 3,
            Self::Partial => 4,
            Self::Unavailable => 69,
            Self::Config => 78,
        }
    }

    /// What an error that ended a command means.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        error
            .chain()
            .find_map(|cause| {
                if let Some(errors) = cause.downcast_ref::<ConfigErrors>() {
                    return Some(if errors.is_usage() { Self::Usage } else { Self::Config });
                }
                match cause.downcast_ref::<StoreError>() {
                    Some(StoreError::Unavailable { .. }) => return Some(Self::Unavailable),
                    Some(StoreError::Unsuitable { .. }) => return Some(Self::Config),
                    Some(StoreError::Locked { .. }) => return Some(Self::Conflict),
                    _ => {}
                }
                let kinds = [
                    (cause.is::<Unavailable>(), Self::Unavailable),
                    (cause.is::<Misuse>(), Self::Usage),
                    (cause.is::<Conflict>(), Self::Conflict),
                    (cause.is::<VaultError>(), Self::Config),
                ];
                kinds.into_iter().find_map(|(is, exit)| is.then_some(exit))
            })
            .unwrap_or(Self::Failed)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn causes_decide_the_code() {
        let wrapped = Err::<(), _>(Unavailable("gone".into())).context("listing accounts").unwrap_err();
        assert_eq!(Exit::of(&wrapped), Exit::Unavailable);
        assert_eq!(Exit::of(&anyhow::anyhow!("other")), Exit::Failed);
        assert_eq!(Exit::of(&anyhow::Error::from(Misuse("x".into())).context("y")), Exit::Usage);
        assert_eq!(Exit::of(&Conflict("x".into()).into()).code(), 3);
        assert_eq!(Exit::of(&StoreError::Locked { dir: "d".into() }.into()).code(), 3);
        assert_eq!(Exit::of(&ConfigErrors { problems: Vec::new() }.into()), Exit::Usage);
    }
}
