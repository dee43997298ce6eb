//! What a gateway exports, as a reader of metrics sees it.

use std::collections::{BTreeMap, BTreeSet};

/// Labels by name.
pub(crate) type Labels = BTreeMap<String, String>;

/// One reading of all metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scrape(Vec<(String, Labels, f64)>);

impl Scrape {
    /// Reads Prometheus' text format.
    pub(crate) fn of(text: &str) -> Self {
        let series = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.strip_suffix('}').map_or((series, ""), |series| {
                let (name, labels) = series.split_once('{').unwrap();
                (name, labels)
            });
            let pairs = labels.split_terminator("\",").map(|pair| {
                let (label, value) = pair.trim_end_matches('"').split_once("=\"").unwrap();
                (label.to_owned(), value.to_owned())
            });
            (name.to_owned(), pairs.collect(), value.parse().unwrap())
        });
        Self(series.collect())
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Name and labels of each.
    pub(crate) fn series(&self) -> impl Iterator<Item = (&str, &Labels)> {
        self.0.iter().map(|(name, labels, _)| (name.as_str(), labels))
    }

    /// The sum of the series of `antigravity_proxy_<name>` that have these labels, 0 without any.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let name = format!("antigravity_proxy_{name}");
        let has = |series: &Labels| {
            labels.iter().all(|(label, value)| series.get(*label).is_some_and(|other| other == value))
        };
        self.0.iter().filter(|(other, series, _)| *other == name && has(series)).map(|(_, _, v)| v).sum()
    }

    /// Every value that `label` has anywhere.
    pub(crate) fn values(&self, label: &str) -> BTreeSet<&str> {
        self.0.iter().filter_map(|(_, labels, _)| labels.get(label)).map(String::as_str).collect()
    }

    /// Every value that any label has anywhere, but for the bounds of buckets.
    pub(crate) fn all_values(&self) -> BTreeSet<&str> {
        let labels = self.0.iter().flat_map(|(_, labels, _)| labels);
        labels.filter(|(label, _)| *label != "le").map(|(_, value)| value.as_str()).collect()
    }

    /// How many series each metric has, those of a histogram together.
    pub(crate) fn by_metric(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (name, _, _) in &self.0 {
            let end = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| name.strip_suffix(end));
            let metric = end.filter(|metric| metric.ends_with("_seconds"));
            *counts.entry(metric.unwrap_or(name).to_owned()).or_default() += 1;
        }
        counts
    }
}
