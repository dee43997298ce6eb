//! What the kernel says about a process.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// `USER_HZ`, which Linux fixes at 100 for everything it shows in `/proc`.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process by its id.
#[derive(Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    pub(crate) fn new(id: u32) -> Self {
        Self(id)
    }

    /// The one that asks.
    pub(crate) fn own() -> Self {
        Self(std::process::id())
    }

    /// User and system time of all threads, in seconds.
    pub(crate) fn cpu_seconds(self) -> Result<f64> {
        let stat = std::fs::read_to_string(self.file("stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("malformed stat")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / TICKS_PER_SECOND)
    }

    /// The same of the threads that are alive, to the nanosecond: for short times of a process whose threads stay.
    pub(crate) fn thread_seconds(self) -> Result<f64> {
        let mut nanos = 0.0;
        for thread in std::fs::read_dir(self.file("task"))? {
            let stat = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            let first = stat.split_whitespace().next().context("malformed schedstat")?;
            nanos += first.parse::<f64>()?;
        }
        Ok(nanos / 1e9)
    }

    /// Resident set size in kB.
    pub(crate) fn resident_kib(self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// The largest resident set size since its start, in kB.
    pub(crate) fn peak_kib(self) -> Result<u64> {
        self.status("VmHWM:")
    }

    /// How many threads it has.
    pub(crate) fn threads(self) -> Result<u64> {
        self.status("Threads:")
    }

    /// How many file descriptors it has open.
    pub(crate) fn descriptors(self) -> Result<u64> {
        Ok(std::fs::read_dir(self.file("fd"))?.count() as u64)
    }

    fn status(self, name: &str) -> Result<u64> {
        let status = std::fs::read_to_string(self.file("status"))?;
        let line =
            status.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
        let value = line.split_whitespace().nth(1).with_context(|| format!("malformed {name}"))?;
        Ok(value.parse()?)
    }

    fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }
}
