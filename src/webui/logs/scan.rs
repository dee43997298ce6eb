//! Looking for lines in what the feed keeps, page by page.

use std::time::Duration;

use super::filter::Filter;
use super::line::LogLine;
use crate::store::feed::{Cursor, Feed, FeedError, PAGE_MAX, Topic};

/// Entries that one search looks at: about as many as are kept.
const ENTRIES: usize = 20_000;
/// Pause before a search is begun again that failed.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// Lines from older to newer.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) lines: Vec<LogLine>,
    /// Behind what was looked at.
    pub(super) next: Cursor,
    /// Whether lines are missing before the first one.
    pub(super) gap: bool,
}

/// Lines from newer to older, but the oldest first.
#[derive(Debug)]
pub(super) struct Backward {
    pub(super) lines: Vec<LogLine>,
    /// Behind the newest of all that could have been among them.
    pub(super) next: Cursor,
    /// Before what was looked at, where there may be more.
    pub(super) older: Option<Cursor>,
}

/// The first `limit` lines behind `since`.
pub(super) async fn forward(
    feed: &dyn Feed,
    filter: &Filter,
    since: Cursor,
    limit: usize,
) -> Result<Forward, FeedError> {
    let mut found = Forward { lines: Vec::new(), next: since, gap: false };
    let mut looked = 0;
    while looked < ENTRIES {
        let page = match feed.after(Topic::Logs, found.next, PAGE_MAX).await {
            Err(FeedError::Lost) => {
                found.gap = true;
                feed.beyond(Topic::Logs, found.next, PAGE_MAX).await?
            }
            other => other?,
        };
        looked += page.entries.len();
        let full = page.entries.len() == PAGE_MAX;
        for entry in &page.entries {
            found.next = entry.cursor;
            found.lines.extend(filter.line(entry));
            if found.lines.len() == limit {
                return Ok(found);
            }
        }
        found.next = page.next;
        if !full {
            break;
        }
    }
    Ok(found)
}

/// The newest `limit` lines, or those before a place.
pub(super) async fn backward(
    feed: &dyn Feed,
    filter: &Filter,
    before: Option<Cursor>,
    limit: usize,
) -> Result<Backward, FeedError> {
    let (mut entries, next) = match before {
        None => {
            let page = feed.recent(Topic::Logs, PAGE_MAX).await?;
            (page.entries, page.next)
        }
        Some(cursor) => (feed.before(Topic::Logs, cursor, PAGE_MAX).await?, cursor),
    };
    let mut found = Backward { lines: Vec::new(), next, older: None };
    let mut looked = 0;
    loop {
        looked += entries.len();
        let oldest = entries.first().map(|entry| entry.cursor);
        let full = entries.len() == PAGE_MAX;
        let mut left = entries.len();
        for entry in entries.iter().rev() {
            left -= 1;
            found.lines.extend(filter.line(entry));
            if found.lines.len() == limit {
                found.older = (left > 0 || full).then_some(entry.cursor);
                found.lines.reverse();
                return Ok(found);
            }
        }
        match oldest {
            Some(cursor) if full && looked < ENTRIES => {
                entries = feed.before(Topic::Logs, cursor, PAGE_MAX).await?;
            }
            oldest => {
                found.older = oldest.filter(|_| full);
                found.lines.reverse();
                return Ok(found);
            }
        }
    }
}
