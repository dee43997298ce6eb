//! What the operating system says of this process, under the names that Prometheus' own libraries use.
//!
//! Read from `/proc` with each scrape; other systems than Linux have none of it.

use super::Metric;

/// The metrics of the process.
pub const TABLE: &[Metric] = &[
    Metric {
        name: "process_cpu_seconds_total",
        kind: "counter",
        labels: &[],
        help: "Processor time, user and system.",
    },
    Metric {
        name: "process_resident_memory_bytes",
        kind: "gauge",
        labels: &[],
        help: "Memory that is resident.",
    },
    Metric { name: "process_virtual_memory_bytes", kind: "gauge", labels: &[], help: "Address space." },
    Metric {
        name: "process_open_fds",
        kind: "gauge",
        labels: &[],
        help: "Open file descriptors, connections included.",
    },
    Metric {
        name: "process_max_fds",
        kind: "gauge",
        labels: &[],
        help: "File descriptors that may be open; 0 without a bound.",
    },
    Metric { name: "process_threads", kind: "gauge", labels: &[], help: "Threads." },
    Metric {
        name: "process_start_time_seconds",
        kind: "gauge",
        labels: &[],
        help: "When the process started, seconds since the epoch.",
    },
];

#[cfg(target_os = "linux")]
pub(super) use linux::Process;

#[cfg(target_os = "linux")]
mod linux {
    use procfs::process::LimitValue;
    use procfs::{ProcResult, WithCurrentSystemInfo as _};
    use prometheus::core::{Collector, Desc};
    use prometheus::proto::MetricFamily;
    use prometheus::{Error, Gauge, IntGauge};

    use super::super::help_of;
    use super::super::total::Total;
    use super::TABLE;

    /// Reads `/proc/self` when it is collected.
    pub(crate) struct Process {
        cpu: Total,
        resident: IntGauge,
        mapped: IntGauge,
        open: IntGauge,
        most: IntGauge,
        threads: IntGauge,
        started: Gauge,
    }

    impl Process {
        pub(crate) fn new() -> Result<Self, Error> {
            let help = |name: &str| help_of(TABLE, name);
            let gauge = |name: &str| IntGauge::new(name, help(name));
            let (cpu, start) = ("process_cpu_seconds_total", "process_start_time_seconds");
            let process = Self {
                cpu: Total::new(cpu, help(cpu))?,
                resident: gauge("process_resident_memory_bytes")?,
                mapped: gauge("process_virtual_memory_bytes")?,
                open: gauge("process_open_fds")?,
                most: gauge("process_max_fds")?,
                threads: gauge("process_threads")?,
                started: Gauge::new(start, help(start))?,
            };
            // It does not change; without it, it is not known.
            process.started.set(started().unwrap_or_default());
            Ok(process)
        }

        fn read(&self) -> ProcResult<()> {
            let me = procfs::process::Process::myself()?;
            let stat = me.stat()?;
            self.cpu.reaches(seconds(stat.utime + stat.stime));
            self.resident.set(whole(stat.rss_bytes().get()));
            self.mapped.set(whole(stat.vsize));
            self.threads.set(stat.num_threads);
            self.open.set(i64::try_from(me.fd_count()?).unwrap_or(i64::MAX));
            self.most.set(match me.limits()?.max_open_files.soft_limit {
                LimitValue::Value(most) => whole(most),
                LimitValue::Unlimited => 0,
            });
            Ok(())
        }

        fn parts(&self) -> [&dyn Collector; 7] {
            let Self { cpu, resident, mapped, open, most, threads, started } = self;
            [&cpu.counter, resident, mapped, open, most, threads, started]
        }
    }

    fn started() -> ProcResult<f64> {
        let stat = procfs::process::Process::myself()?.stat()?;
        let booted = u32::try_from(procfs::boot_time_secs()?).unwrap_or_default();
        Ok(f64::from(booted) + seconds(stat.starttime))
    }

    /// Clock ticks as seconds.
    fn seconds(ticks: u64) -> f64 {
        let of = |ticks: u64| f64::from(u32::try_from(ticks).unwrap_or(u32::MAX));
        let per_second = procfs::ticks_per_second().max(1);
        of(ticks / per_second) + of(ticks % per_second) / of(per_second)
    }

    fn whole(number: u64) -> i64 {
        i64::try_from(number).unwrap_or(i64::MAX)
    }

    impl Collector for Process {
        fn desc(&self) -> Vec<&Desc> {
            self.parts().into_iter().flat_map(|one| one.desc()).collect()
        }

        fn collect(&self) -> Vec<MetricFamily> {
            if let Err(error) = self.read() {
                tracing::debug!(%error, "this process cannot read its own state");
            }
            self.parts().into_iter().flat_map(Collector::collect).collect()
        }
    }

    #[cfg(test)]
    mod tests {
        use prometheus::{Registry, TextEncoder};

        use super::*;

        #[test]
        fn the_process_is_described_under_every_name() {
            let registry = Registry::new();
            registry.register(Box::new(Process::new().unwrap())).unwrap();
            let text = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            let value = |text: &str, name: &str| -> f64 {
                let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
                line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
            };
            let first = text();
            // There may be no bound, and little was computed so far.
            let open = |row: &&super::super::Metric| {
                !matches!(row.name, "process_cpu_seconds_total" | "process_max_fds")
            };
            for row in TABLE.iter().filter(open) {
                assert!(value(&first, row.name) > 0.0, "{}", row.name);
            }
            let files: Vec<_> = (0..200).map(|_| std::fs::File::open("/proc/self/stat").unwrap()).collect();
            let second = text();
            let opened = value(&second, "process_open_fds") - value(&first, "process_open_fds");
            assert!(opened > 100.0, "{opened} of {}", files.len());
            let cpu = |text: &str| value(text, "process_cpu_seconds_total");
            assert!(cpu(&second) >= cpu(&first));
        }
    }
}
