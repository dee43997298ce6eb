//! Requests that wait for the pool: a bounded number, in one line per model.
//!
//! Only the first of a line asks the store, so that a limit's end, or room on a busy account, wakes one request per
//! replica and not all of them. One that is admitted makes way for the next, which asks at once. While the first waits
//! for room, requests that come stand behind the line before they ask: else they would take the room that is announced,
//! and those who wait would never get any. When the store is away the line breaks up: each waits for that by itself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::tally::Waited;

/// The requests of this process that wait.
pub(super) struct Waiting {
    room: Arc<Semaphore>,
    lines: Mutex<HashMap<Arc<str>, Line>>,
}

/// Those who wait for one model.
#[derive(Clone, Default)]
struct Line {
    /// Fair: they are served in the order in which they came.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Whether the first waits for room.
    pressed: Arc<AtomicBool>,
    /// Told when the line breaks up.
    broken: Arc<Notify>,
}

/// One request's place among those that wait; it leaves when this is dropped.
pub(super) struct Place {
    _room: OwnedSemaphorePermit,
    /// Held by the first of its line.
    turn: Option<(OwnedMutexGuard<()>, Arc<Notify>)>,
    /// Takes the time.
    waited: Option<Waited>,
}

/// The first of a line waits for room as long as this lives.
pub(super) struct Pressed(Arc<AtomicBool>);

impl Drop for Pressed {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What a request does that has come to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It was the first already: nothing has changed since it asked.
    Mine,
    /// It has become the first, or the line has broken up: it asks at once.
    Now,
    /// Its time is over.
    Late,
}

impl Waiting {
    /// Room for `most` requests.
    pub(super) fn new(most: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))), lines: Mutex::default() }
    }

    /// A place, `None` when there is no room.
    pub(super) fn enter(&self) -> Option<Place> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(Place { _room: room, turn: None, waited: None })
    }

    fn line(&self, model: &str) -> Line {
        // Each change is a single step. There are as many lines as models that were ever waited for.
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(model) {
            return line.clone();
        }
        lines.entry(model.into()).or_default().clone()
    }

    /// Whether room for `model` is waited for, so that a request that comes now stands behind the others.
    pub(super) fn pressed(&self, model: &str) -> bool {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.get(model).is_some_and(|line| line.pressed.load(Ordering::Relaxed))
    }

    /// Says so on behalf of the first of the line.
    pub(super) fn press(&self, model: &str) -> Pressed {
        let pressed = self.line(model).pressed;
        pressed.store(true, Ordering::Relaxed);
        Pressed(pressed)
    }
}

impl Place {
    /// The wait that begins is counted and timed until the place is left.
    pub(super) fn timed(&mut self, waited: Waited) {
        self.waited = Some(waited);
    }

    /// Stands in the line for `model` until it is first, at most until `deadline`.
    pub(super) async fn first(&mut self, waiting: &Waiting, model: &str, deadline: Instant) -> Turn {
        if self.turn.is_some() {
            return Turn::Mine;
        }
        let Line { turn, broken, .. } = waiting.line(model);
        if let Ok(turn) = Arc::clone(&turn).try_lock_owned() {
            self.turn = Some((turn, broken));
            return Turn::Mine;
        }
        tokio::select! {
            // First: breaking up also frees the turn, and who took it would be the first of a line that is no more.
            biased;
            () = broken.notified() => Turn::Now,
            turn = timeout_at(deadline, turn.lock_owned()) => match turn {
                Ok(turn) => {
                    self.turn = Some((turn, Arc::clone(&broken)));
                    Turn::Now
                }
                Err(_elapsed) => Turn::Late,
            },
        }
    }

    /// Lets the others ask: this request waits for something that is no matter of theirs.
    pub(super) fn step_aside(&mut self) {
        self.turn = None;
    }

    /// Lets all others ask, as the first of the line: the store does not answer, and one after the other would wait for
    /// it else.
    pub(super) fn break_up(&mut self) {
        if let Some((_turn, broken)) = self.turn.take() {
            broken.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

    #[tokio::test(start_paused = true)]
    async fn a_line_is_served_in_order_and_models_do_not_meet() {
        let waiting = Arc::new(Waiting::new(10));
        let deadline = Clock::system().instant() + Duration::from_secs(10);
        let mut first = waiting.enter().unwrap();
        assert_eq!(first.first(&waiting, "m", deadline).await, Turn::Mine);
        assert_eq!(first.first(&waiting, "m", deadline).await, Turn::Mine, "asked again");
        let mut other = waiting.enter().unwrap();
        assert_eq!(other.first(&waiting, "n", deadline).await, Turn::Mine);

        let tasks = tokio_util::task::TaskTracker::new();
        let (order, mut came) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..3 {
            let (waiting, order) = (Arc::clone(&waiting), order.clone());
            tasks.spawn(async move {
                let mut place = waiting.enter().unwrap();
                assert_eq!(place.first(&waiting, "m", deadline).await, Turn::Now);
                order.send(number).unwrap();
            });
            tokio::task::yield_now().await;
        }
        drop(first);
        for number in 0..3 {
            assert_eq!(came.recv().await, Some(number));
        }
    }

    #[test]
    fn a_line_is_pressed_while_its_first_waits_for_room() {
        let waiting = Waiting::new(1);
        assert!(!waiting.pressed("m"));
        let first = waiting.press("m");
        assert!(waiting.pressed("m") && !waiting.pressed("n"));
        drop(first);
        assert!(!waiting.pressed("m"));
    }

    #[tokio::test(start_paused = true)]
    async fn all_leave_a_line_that_breaks_up() {
        let waiting = Waiting::new(3);
        let deadline = Clock::system().instant() + Duration::from_secs(10);
        let [mut first, mut second, mut third] = [(); 3].map(|()| waiting.enter().unwrap());
        assert_eq!(first.first(&waiting, "m", deadline).await, Turn::Mine);
        let (second, third, ()) = tokio::join!(
            second.first(&waiting, "m", deadline),
            third.first(&waiting, "m", deadline),
            async { first.break_up() }
        );
        assert_eq!([second, third], [Turn::Now; 2]);
        assert_eq!(first.first(&waiting, "m", deadline).await, Turn::Mine, "nobody is the first any more");
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_wait_leaves() {
        let waiting = Waiting::new(2);
        let mut first = waiting.enter().unwrap();
        let mut second = waiting.enter().unwrap();
        assert!(waiting.enter().is_none(), "there is room for two");
        let deadline = Clock::system().instant() + Duration::from_secs(1);
        assert_eq!(first.first(&waiting, "m", deadline).await, Turn::Mine);
        assert_eq!(second.first(&waiting, "m", deadline).await, Turn::Late);
        first.step_aside();
        assert_eq!(second.first(&waiting, "m", deadline).await, Turn::Mine);
        drop(first);
        assert!(waiting.enter().is_some(), "who leaves makes room");
    }
}
