//! Metrics whose labels are closed: a handle per value, made once, all at 0 from the start.
//!
//! Counters that appear with the first thing they count are invisible to `rate()` and `increase()` until the second;
//! these are not. A handle is found by its place: no lock, no hash.

use std::fmt;
use std::marker::PhantomData;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};

use super::label::Label;

/// The family that is collected and the handles into it.
macro_rules! family {
    ($(#[doc = $about:literal])+ $name:ident of $handle:ident in $family:ident by $opts:ident) => {
        $(#[doc = $about])+
        #[derive(Clone)]
        pub struct $name<L> {
            family: $family,
            handles: Box<[$handle]>,
            labels: PhantomData<fn(L)>,
        }

        impl<L: Label> $name<L> {
            pub(super) fn new(opts: $opts, label: &str) -> Result<Self, Error> {
                let family = $family::new(opts, &[label])?;
                let handles = L::ALL.iter().map(|value| family.with_label_values(&[value.label()])).collect();
                Ok(Self { family, handles, labels: PhantomData })
            }

            /// The one of `value`.
            #[must_use]
            pub fn of(&self, value: L) -> &$handle {
                &self.handles[value.index()]
            }
        }

        impl<L> fmt::Debug for $name<L> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.family.fmt(f)
            }
        }

        impl<L> Collector for $name<L> {
            fn desc(&self) -> Vec<&Desc> {
                self.family.desc()
            }

            fn collect(&self) -> Vec<MetricFamily> {
                self.family.collect()
            }
        }
    };
}

family! {
    /// One counter per value of a label.
    Counters of IntCounter in IntCounterVec by Opts
}
family! {
    /// One gauge per value of a label.
    Gauges of IntGauge in IntGaugeVec by Opts
}
family! {
    /// One histogram per value of a label.
    Histograms of Histogram in HistogramVec by HistogramOpts
}

/// One counter per pair of values of two labels.
#[derive(Clone)]
pub struct Grid<A, B> {
    family: IntCounterVec,
    handles: Box<[IntCounter]>,
    labels: PhantomData<fn(A, B)>,
}

impl<A: Label, B: Label> Grid<A, B> {
    pub(super) fn new(opts: Opts, labels: [&str; 2]) -> Result<Self, Error> {
        let family = IntCounterVec::new(opts, &labels)?;
        let pairs = A::ALL.iter().flat_map(|a| B::ALL.iter().map(|b| [a.label(), b.label()]));
        let handles = pairs.map(|pair| family.with_label_values(&pair)).collect();
        Ok(Self { family, handles, labels: PhantomData })
    }

    /// The one of `a` and `b`.
    #[must_use]
    pub fn of(&self, a: A, b: B) -> &IntCounter {
        &self.handles[a.index() * B::ALL.len() + b.index()]
    }
}

impl<A, B> fmt::Debug for Grid<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.family.fmt(f)
    }
}

impl<A, B> Collector for Grid<A, B> {
    fn desc(&self) -> Vec<&Desc> {
        self.family.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.family.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::label::{Label as _, RetryReason, RetryStep, Topic};
    use super::*;

    #[test]
    fn every_handle_is_that_of_its_values() {
        let grid = Grid::<RetryReason, RetryStep>::new(Opts::new("g", "h"), ["reason", "step"]).unwrap();
        for reason in RetryReason::ALL {
            for step in RetryStep::ALL {
                grid.of(*reason, *step).inc();
                let labels = [reason.label(), step.label()];
                assert_eq!(grid.family.with_label_values(&labels).get(), 1, "{labels:?}");
            }
        }
        let series: usize = grid.collect().iter().map(|family| family.get_metric().len()).sum();
        assert_eq!(series, RetryReason::ALL.len() * RetryStep::ALL.len());

        let counters = Counters::<Topic>::new(Opts::new("c", "h"), "topic").unwrap();
        counters.of(Topic::Logs).inc_by(3);
        assert_eq!(counters.family.with_label_values(&["logs"]).get(), 3);
        assert_eq!(counters.family.with_label_values(&["events"]).get(), 0);
    }
}
