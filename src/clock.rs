//! Injected time: the only file that reads the machine's clocks.
//!
//! Durations and deadlines use [`Clock::instant`], which is tokio's clock so that tests can pause
//! it; wall-clock milliseconds are for log lines, token expiry and journal stamps. Decisions that
//! replicas share never use either: scripts read the store's own time.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A source of time, cheap to clone.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
    Following { epoch_ms: i64, since: Instant },
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A wall clock that stands still at `epoch_ms` until [`Clock::advance_ms`] moves it (tests, simulator).
    #[must_use]
    pub fn manual(epoch_ms: i64) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(epoch_ms))))
    }

    /// A wall clock that reads `epoch_ms` now and goes on with [`Clock::instant`], so that a test which pauses tokio's
    /// clock moves both with one hand.
    #[must_use]
    pub fn following(epoch_ms: i64) -> Self {
        Self(Source::Following { epoch_ms, since: Self::system().instant() })
    }

    /// Wall-clock time in milliseconds since the Unix epoch.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    pub fn epoch_ms(&self) -> i64 {
        match &self.0 {
            Source::System => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)),
            Source::Manual(now) => now.load(Ordering::Relaxed),
            Source::Following { epoch_ms, since } => {
                let passed = self.instant().saturating_duration_since(*since).as_millis();
                epoch_ms.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
            }
        }
    }

    /// Monotonic time; follows tokio's paused clock in tests.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the monotonic clock")]
    pub fn instant(&self) -> Instant {
        Instant::now()
    }

    /// Moves a manual clock forward by `ms`; any other ignores it.
    pub fn advance_ms(&self, ms: i64) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(ms, Ordering::Relaxed);
        }
    }
}

/// A deadline that moves on with every piece of a stream.
///
/// A timer for each piece is set and taken back as often as pieces come, and both cost a lock. This one is set once, and
/// moved when it goes off too early.
#[derive(Debug, Default)]
pub struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom the timer wakes as it is set now.
    told: Option<Waker>,
}

impl Alarm {
    /// What `future` gives; `None` when `deadline` passes first. A dropped call takes nothing but its future along.
    pub async fn within<F: Future>(&mut self, deadline: Instant, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll(deadline, context).map(|()| None),
        })
        .await
    }

    fn poll(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
            self.told = None;
        }
        // A timer that has not gone off and knows whom to wake has nothing to say.
        if self.told.as_ref().is_some_and(|told| told.will_wake(context.waker())) && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        loop {
            if sleep.as_mut().poll(context).is_pending() {
                self.told = Some(context.waker().clone());
                return Poll::Pending;
            }
            if deadline <= sleep.deadline() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

/// A random time between nothing and `most`, so that those who wait for the same moment do not return together.
/// Nothing when the system gives no randomness.
#[must_use]
pub fn jitter(most: Duration) -> Duration {
    getrandom::u32().map_or(Duration::ZERO, |random| most.mul_f64(f64::from(random) / f64::from(u32::MAX)))
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "Clock(system)",
            Source::Manual(_) => "Clock(manual)",
            Source::Following { .. } => "Clock(following)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces that keep coming move the deadline, a silence ends at it to the millisecond, also one that ends sooner.
    #[tokio::test(start_paused = true)]
    async fn an_alarm_goes_off_at_the_deadline_of_the_last_wait() {
        let clock = Clock::system();
        let start = clock.instant();
        let second = Duration::from_secs(1);
        let mut alarm = Alarm::default();
        for n in 1..=5 {
            let piece = tokio::time::sleep(second);
            assert_eq!(alarm.within(clock.instant() + second * 3, piece).await, Some(()));
            assert_eq!(clock.instant() - start, second * n);
        }
        let never = || std::future::pending::<()>();
        assert_eq!(alarm.within(clock.instant() + second * 3, never()).await, None);
        assert_eq!(clock.instant() - start, second * 8);
        // A call that is dropped leaves its timer behind; one that ends sooner than it is on time all the same.
        drop(tokio::time::timeout(second, alarm.within(clock.instant() + second * 60, never())).await);
        assert_eq!(alarm.within(clock.instant() + second, never()).await, None);
        assert_eq!(clock.instant() - start, second * 10);
        assert_eq!(alarm.within(start, async { 1 }).await, Some(1), "what is there is never late");
        assert_eq!(alarm.within(start, never()).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_hand_moves_both_clocks() {
        let clock = Clock::following(1_000);
        let begun = clock.instant();
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(clock.epoch_ms(), 1_250);
        assert_eq!(clock.instant() - begun, Duration::from_millis(250));
    }
}
