//! Counts of allocations, of this process or of one of its children.

use std::io::{Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use anyhow::{Context as _, Result};

use crate::line::float;
use crate::process::Child;

const GATEWAY: &str = "ANTIGRAVITY_BENCH_GATEWAY";

/// What was asked of the allocator.
#[derive(Clone, Copy)]
pub(crate) struct Counts {
    /// New ones, and those that were made larger or smaller.
    pub(crate) allocations: f64,
    pub(crate) bytes: f64,
}

impl Counts {
    /// Of this process, since its start.
    pub(crate) fn now() -> Self {
        let stats = crate::ALLOCATOR.stats();
        Self {
            allocations: float((stats.allocations + stats.reallocations) as u64),
            bytes: float(stats.bytes_allocated as u64),
        }
    }

    /// Of a child that [answers](answer), since its start.
    pub(crate) fn of(child: &Child) -> Result<Self> {
        let mut text = String::new();
        UnixStream::connect_addr(&address(child.0)?)?.read_to_string(&mut text)?;
        let (allocations, bytes) = text.split_once(' ').context("malformed counts")?;
        Ok(Self { allocations: allocations.parse()?, bytes: bytes.parse()? })
    }

    pub(crate) fn since(self, before: Self) -> Self {
        self.less(before, 1.0)
    }

    /// Without `share` of `other`.
    pub(crate) fn less(self, other: Self, share: f64) -> Self {
        Self {
            allocations: self.allocations - other.allocations * share,
            bytes: self.bytes - other.bytes * share,
        }
    }

    /// The part of one among `count`.
    pub(crate) fn per(self, count: u32) -> Self {
        Self { allocations: self.allocations / f64::from(count), bytes: self.bytes / f64::from(count) }
    }
}

/// Tells the counts of this process to everybody who connects.
pub(crate) fn answer() -> Result<()> {
    let listener = UnixListener::bind_addr(&address(std::process::id())?)?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let counts = Counts::now();
            // Who went away does not want to know.
            let _ = write!(stream, "{} {}", counts.allocations, counts.bytes);
        }
    });
    Ok(())
}

/// Whether this process is to be the gateway.
#[expect(clippy::disallowed_methods, reason = "a bench's own switch between its roles")]
pub(crate) fn gateway_role() -> bool {
    std::env::var(GATEWAY).is_ok()
}

/// The variable that makes a child the gateway.
pub(crate) fn gateway_environment() -> (&'static str, String) {
    (GATEWAY, "1".to_owned())
}

fn address(process: u32) -> Result<SocketAddr> {
    Ok(SocketAddr::from_abstract_name(format!("antigravity-bench-{process}"))?)
}
