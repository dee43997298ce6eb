//! Exit codes.

use std::process::ExitCode;

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
    /// Not everything was imported.
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

impl Exit {
    /// The exit code's number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
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
                    _ => {}
                }
                cause.is::<Unavailable>().then_some(Self::Unavailable)
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
        assert_eq!(Exit::of(&ConfigErrors { problems: Vec::new() }.into()), Exit::Usage);
    }
}
