//! The pages of `docs/` that are made from the sources.

use crate::store::registry;
use crate::telemetry::metrics::reference;

/// `docs/metrics.md`.
pub(super) fn metrics() -> String {
    let mut scripts: Vec<&str> = registry::ALL.iter().map(|script| script.name).collect();
    scripts.sort_unstable();
    reference::reference(&scripts)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_manual_of_metrics_in_the_repository_is_current() {
        let page = include_str!("../../docs/metrics.md");
        assert!(page == super::metrics(), "docs/metrics.md is out of date: run `make generate`");
    }
}
