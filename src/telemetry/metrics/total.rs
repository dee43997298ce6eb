//! A counter of what is counted elsewhere.

use std::sync::{Mutex, PoisonError};

use prometheus::{Counter, Error};

/// Follows a sum that only grows.
pub(super) struct Total {
    pub(super) counter: Counter,
    /// What it has counted.
    counted: Mutex<f64>,
}

impl Total {
    pub(super) fn new(name: &str, help: &str) -> Result<Self, Error> {
        Ok(Self { counter: Counter::new(name, help)?, counted: Mutex::new(0.0) })
    }

    /// The sum is `value` now. Two scrapes at once do not count the same twice.
    pub(super) fn reaches(&self, value: f64) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        self.counter.inc_by((value - *counted).max(0.0));
        *counted = counted.max(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_grows() {
        let total = Total::new("total", "A sum.").unwrap();
        for (reached, expected) in [(1.5, 1.5), (1.0, 1.5), (4.0, 4.0)] {
            total.reaches(reached);
            assert!((total.counter.get() - expected).abs() < f64::EPSILON);
        }
    }
}
