//! Which log lines somebody wants to see.

use super::line::{LogLevel, LogLine};
use crate::store::feed::Entry;

/// Each of them.
pub(super) const ALL_LEVELS: [bool; LogLevel::ALL.len()] = [true; LogLevel::ALL.len()];

/// What lines must have to be shown: all of it.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// By [`LogLevel`].
    pub(super) levels: [bool; LogLevel::ALL.len()],
    /// Part of the message, in small letters.
    pub(super) text: Option<String>,
    /// Id of the replica, or name of its machine or pod.
    pub(super) replica: Option<String>,
    /// Id of the request.
    pub(super) request: Option<String>,
    /// From this time on, ms since the epoch.
    pub(super) from: i64,
    /// Before this time.
    pub(super) to: i64,
}

/// Reads names of levels with commas between them, of whatever case.
pub(super) fn levels(text: &str) -> Option<[bool; LogLevel::ALL.len()]> {
    let mut chosen = [false; LogLevel::ALL.len()];
    for name in text.split(',').map(str::trim) {
        let level = LogLevel::ALL.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(name))?;
        chosen[level as usize] = true;
    }
    Some(chosen)
}

impl Filter {
    /// The line that `entry` is, if it is to be shown.
    pub(super) fn line(&self, entry: &Entry) -> Option<LogLine> {
        LogLine::of(entry).filter(|line| self.admits(line))
    }

    fn admits(&self, line: &LogLine) -> bool {
        self.levels[line.level as usize]
            && (self.from..self.to).contains(&line.time)
            && self.replica.as_ref().is_none_or(|name| line.replica == *name || line.pod == *name)
            && self.request.as_ref().is_none_or(|id| line.request_id.as_ref() == Some(id))
            && self.text.as_ref().is_none_or(|text| line.message.to_lowercase().contains(text))
    }
}
