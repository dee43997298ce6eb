//! What tokio says of the threads that do the work (`tokio::runtime::RuntimeMetrics`).

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Error, IntGauge};
use tokio::runtime::Handle;

use super::total::Total;
use super::{Metric, help_of};

/// The metrics of the runtime.
pub const TABLE: &[Metric] = &[
    Metric { name: "tokio_workers", kind: "gauge", labels: &[], help: "Threads that run tasks." },
    Metric {
        name: "tokio_alive_tasks",
        kind: "gauge",
        labels: &[],
        help: "Tasks that have not ended: one per connection of a client, and the gateway's own.",
    },
    Metric {
        name: "tokio_global_queue_depth",
        kind: "gauge",
        labels: &[],
        help: "Tasks that wait until any worker takes them.",
    },
    Metric {
        name: "tokio_worker_busy_seconds_total",
        kind: "counter",
        labels: &[],
        help: "Time in which workers did not sleep, of all together: in a second at most as many as there are.",
    },
    Metric {
        name: "tokio_worker_parks_total",
        kind: "counter",
        labels: &[],
        help: "How often workers went to sleep.",
    },
];

/// Asks the runtime that it is collected in.
pub(super) struct Runtime {
    workers: IntGauge,
    tasks: IntGauge,
    queued: IntGauge,
    busy: Total,
    parks: Total,
}

impl Runtime {
    pub(super) fn new() -> Result<Self, Error> {
        let gauge = |name| IntGauge::new(name, help_of(TABLE, name));
        let total = |name| Total::new(name, help_of(TABLE, name));
        Ok(Self {
            workers: gauge("tokio_workers")?,
            tasks: gauge("tokio_alive_tasks")?,
            queued: gauge("tokio_global_queue_depth")?,
            busy: total("tokio_worker_busy_seconds_total")?,
            parks: total("tokio_worker_parks_total")?,
        })
    }

    fn read(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let (metrics, whole) = (runtime.metrics(), |count| i64::try_from(count).unwrap_or(i64::MAX));
        let workers = 0..metrics.num_workers();
        self.workers.set(whole(workers.len()));
        self.tasks.set(whole(metrics.num_alive_tasks()));
        self.queued.set(whole(metrics.global_queue_depth()));
        self.busy.reaches(workers.clone().map(|n| metrics.worker_total_busy_duration(n).as_secs_f64()).sum());
        #[expect(clippy::cast_precision_loss, reason = "a counter of Prometheus is a double")]
        self.parks.reaches(workers.map(|n| metrics.worker_park_count(n)).sum::<u64>() as f64);
    }

    fn parts(&self) -> [&dyn Collector; 5] {
        [&self.workers, &self.tasks, &self.queued, &self.busy.counter, &self.parks.counter]
    }
}

impl Collector for Runtime {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(|one| one.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        self.parts().into_iter().flat_map(Collector::collect).collect()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Registry, TextEncoder};
    use tokio_util::task::TaskTracker;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_runtime_is_described_under_every_name() {
        let registry = Registry::new();
        registry.register(Box::new(Runtime::new().unwrap())).unwrap();
        // Tasks are run by workers, which this test is not.
        let (open, until) = tokio::sync::oneshot::channel::<()>();
        let tasks = TaskTracker::new();
        let task = tasks.spawn(async move { drop(until.await) });
        tasks.spawn(std::future::ready(())).await.unwrap();
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        drop(open);
        task.await.unwrap();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
        };
        assert_eq!(value("tokio_workers").to_string(), "2");
        assert!(value("tokio_alive_tasks") >= 1.0);
        for row in TABLE {
            assert!(value(row.name) >= 0.0, "{}", row.name);
        }
    }

    #[test]
    fn without_a_runtime_there_is_nothing_to_tell() {
        assert_eq!(Runtime::new().unwrap().collect().len(), TABLE.len());
    }
}
