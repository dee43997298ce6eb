//! What is wrong with the settings, with key, source, value and what is allowed.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// The shared store.
    Store,
    /// An environment variable.
    Env(String),
    /// A file named by an environment variable `NAME_FILE`.
    EnvFile(String, PathBuf),
    /// A command-line flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Store => f.write_str("shared store"),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::EnvFile(name, path) => write!(f, "file {} named by {name}", path.display()),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting, or what else it is about.
    pub key: String,
    /// Where the value came from.
    pub origin: Origin,
    /// What is wrong, with the value (unless it is secret) and what is allowed.
    pub reason: String,
    /// Whether it is a mistake in how the program was called: a flag, or a strategy that does not exist.
    pub usage: bool,
    /// All settings it is about, where they do not fit together.
    pub(super) among: &'static [&'static str],
}

impl Problem {
    pub(super) fn new(key: impl Into<String>, origin: &Origin, reason: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            origin: origin.clone(),
            reason: reason.into(),
            usage: matches!(origin, Origin::Flag(_)),
            among: &[],
        }
    }
}

impl Origin {
    /// `default`, `file`, `store`, `env` or `flag`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File(_) => "file",
            Self::Store => "store",
            Self::Env(_) | Self::EnvFile(..) => "env",
            Self::Flag(_) => "flag",
        }
    }

    /// Whether it lies above the shared store.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        matches!(self, Self::Env(_) | Self::EnvFile(..) | Self::Flag(_))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.origin, self.reason)
        } else {
            write!(f, "{} ({}): {}", self.key, self.origin, self.reason)
        }
    }
}

/// Everything that is wrong with the settings of one load; never empty.
#[derive(Clone, Debug)]
pub struct ConfigErrors {
    /// In the order in which sources were read.
    pub problems: Vec<Problem>,
}

impl ConfigErrors {
    /// Whether all of it lies in how the program was called.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        self.problems.iter().all(|problem| problem.usage)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [only] => write!(f, "a setting is not usable: {only}"),
            several => {
                write!(f, "{} settings are not usable:", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// The nearest of `names` to `name`, when it is near enough to be meant.
pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let wanted = name.to_ascii_lowercase();
    let limit = if wanted.len() < 4 { 1 } else { (wanted.len() / 3).max(2) };
    names
        .map(|known| (distance(&wanted, &known.to_ascii_lowercase()), known))
        .filter(|(far, _)| *far <= limit)
        .min_by_key(|(far, _)| *far)
        .map(|(_, known)| known)
}

/// Levenshtein distance in bytes, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn nearest_names() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
        let names = ["port", "host", "maxRetries"];
        assert_eq!(nearest("prot", names.into_iter()), Some("port"));
        assert_eq!(nearest("Port", names.into_iter()), Some("port"));
        assert_eq!(nearest("maxRetrys", names.into_iter()), Some("maxRetries"));
        assert_eq!(nearest("colour", names.into_iter()), None);
    }
}
