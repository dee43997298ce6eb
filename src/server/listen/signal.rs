//! What is said once, to all connections.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};

use tokio_util::sync::CancellationToken;

/// Something that happens once. Clones are one.
///
/// A token alone takes a lock, the same for all, each time who waits for it is woken by something else; a connection is
/// woken for every piece of an answer. Here that costs one load.
#[derive(Clone, Debug, Default)]
pub(super) struct Signal(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    given: AtomicBool,
    token: CancellationToken,
}

impl Signal {
    /// Lets it happen.
    pub(super) fn give(&self) {
        if !self.0.given.swap(true, Ordering::AcqRel) {
            self.0.token.cancel();
        }
    }

    /// Whether it has happened.
    pub(super) fn is_given(&self) -> bool {
        self.0.given.load(Ordering::Acquire)
    }

    /// Resolves when it has happened.
    pub(super) async fn given(&self) {
        let mut told = pin!(self.0.token.cancelled());
        let mut known: Option<Waker> = None;
        poll_fn(|context| {
            // The token has this task's waker and uses it after the flag is set.
            if known.as_ref().is_some_and(|known| known.will_wake(context.waker())) && !self.is_given() {
                return Poll::Pending;
            }
            known = Some(context.waker().clone());
            told.as_mut().poll(context)
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use futures_util::FutureExt as _;

    use super::*;

    struct Counted(std::sync::atomic::AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// However often and by whomever it is asked, the last one who asked is woken.
    #[test]
    fn who_waits_is_woken() {
        let signal = Signal::default();
        let mut wait = Box::pin(signal.given());
        let wakers = [(); 2].map(|()| Arc::new(Counted(0.into())));
        for which in [0, 0, 1, 1] {
            let waker = Arc::clone(&wakers[which]).into();
            assert!(wait.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        }
        assert!(!signal.is_given());
        signal.clone().give();
        assert_eq!(wakers.map(|waker| waker.0.load(Ordering::Relaxed)), [0, 1]);
        assert!(wait.now_or_never().is_some());
        assert!(signal.is_given());
        assert!(signal.given().now_or_never().is_some(), "who comes late does not wait");
    }
}
