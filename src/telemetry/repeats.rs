//! Warnings that repeat: the first few of a call site are written, the rest is counted and summed up in one line.
//!
//! A store that is away, an upstream that refuses or a collector that does not answer makes every request say the same.
//! Of each call site at most ten warnings or errors are written in a minute; then one line says how many there were
//! besides. Lines about requests and lines for auditors are no warnings that repeat: they are never held back.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::logs::AUDIT;
use super::requests::TARGET as REQUESTS;
use crate::clock::Clock;

/// The target of the summaries.
const SUMMARIES: &str = "antigravity_proxy::repeats";
/// Lines of one call site that are written in one interval.
const WRITTEN: u64 = 10;
/// The interval, from the first line on.
const INTERVAL: Duration = Duration::from_mins(1);
/// How often is looked whether one has ended.
const LOOK: Duration = Duration::from_secs(1);
/// Call sites that are watched; the lines of any further one are all written.
const SITES: usize = 512;
/// Longest text of a line that its summary repeats, in bytes.
const TEXT: usize = 200;

/// Holds back what repeats. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Repeats {
    sites: Arc<Mutex<HashMap<Identifier, Site>>>,
    clock: Clock,
}

/// One call site's lines.
#[derive(Debug)]
struct Site {
    metadata: &'static Metadata<'static>,
    /// The first line of the interval that lasts, or lasted last.
    since: Instant,
    /// The lines in it.
    lines: u64,
    /// Lines held back before it, which no summary has told of yet, and the time they took.
    untold: u64,
    untold_time: Duration,
    /// What the last of them said.
    text: String,
}

/// What is said of lines that were held back.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    level: Level,
    target: &'static str,
    text: String,
    repeated: u64,
    time: Duration,
}

impl Site {
    fn new(metadata: &'static Metadata<'static>, now: Instant) -> Self {
        Self { metadata, since: now, lines: 0, untold: 0, untold_time: Duration::ZERO, text: String::new() }
    }

    /// One more line at `now`: whether it is written. `text` is what it says.
    fn saw(&mut self, now: Instant, text: impl FnOnce() -> String) -> bool {
        if now.saturating_duration_since(self.since) >= INTERVAL {
            self.turn(INTERVAL);
            self.since = now;
        }
        self.lines += 1;
        if self.lines == WRITTEN + 1 {
            self.text = text();
        }
        self.lines <= WRITTEN
    }

    /// Ends the interval, which took `time`.
    fn turn(&mut self, time: Duration) {
        let held_back = self.lines.saturating_sub(WRITTEN);
        if held_back > 0 {
            self.untold += held_back;
            self.untold_time += time;
        }
        self.lines = 0;
    }

    /// What is to be said at `now`: of intervals that are over, in the `end` also of the one that is not.
    fn summary(&mut self, now: Instant, end: bool) -> Option<Summary> {
        let passed = now.saturating_duration_since(self.since);
        if passed >= INTERVAL || end {
            self.turn(passed.min(INTERVAL));
        }
        let (repeated, time) = (std::mem::take(&mut self.untold), std::mem::take(&mut self.untold_time));
        (repeated > 0).then(|| Summary {
            level: *self.metadata.level(),
            target: self.metadata.target(),
            text: self.text.clone(),
            repeated,
            time,
        })
    }
}

impl Repeats {
    /// Nothing has been seen yet.
    pub(super) fn new(clock: Clock) -> Self {
        Self { sites: Arc::default(), clock }
    }

    fn sites(&self) -> MutexGuard<'_, HashMap<Identifier, Site>> {
        // Each change is a single step.
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `event` is written.
    fn admits(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        let exempt = matches!(metadata.target(), REQUESTS | AUDIT | SUMMARIES);
        if exempt || *metadata.level() > Level::WARN {
            return true;
        }
        let now = self.clock.instant();
        let mut sites = self.sites();
        let site = metadata.callsite();
        if !sites.contains_key(&site) && sites.len() >= SITES {
            return true;
        }
        sites.entry(site).or_insert_with(|| Site::new(metadata, now)).saw(now, || Text::of(event))
    }

    fn summaries(&self, end: bool) -> Vec<Summary> {
        let now = self.clock.instant();
        self.sites().values_mut().filter_map(|site| site.summary(now, end)).collect()
    }

    /// Writes the summaries until `stop`, then those of the intervals that last.
    pub(super) async fn tell(self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let end = tokio::select! {
                _ = looks.tick() => false,
                () = stop.cancelled() => true,
            };
            self.summaries(end).iter().for_each(Summary::write);
            if end {
                return;
            }
        }
    }
}

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.admits(event)
    }
}

impl Summary {
    fn write(&self) {
        let Self { target, text, repeated, .. } = self;
        let seconds = self.time.as_secs().max(1);
        macro_rules! write_at {
            ($level:expr) => {
                tracing::event!(
                    target: SUMMARIES, $level, repeated, seconds, source = target,
                    "{text} … repeated {repeated} times in {seconds} s"
                )
            };
        }
        if self.level == Level::ERROR {
            write_at!(Level::ERROR);
        } else {
            write_at!(Level::WARN);
        }
    }
}

/// The message of a line, cut.
#[derive(Default)]
struct Text(String);

impl Text {
    fn of(event: &Event<'_>) -> String {
        let mut text = Self::default();
        event.record(&mut text);
        if text.0.is_empty() {
            // Libraries may say all in fields.
            event.metadata().name().clone_into(&mut text.0);
        }
        text.0.truncate(text.0.floor_char_boundary(TEXT));
        text.0
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Kept as far as it came.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests;
