//! What this run measured, each beside its baseline.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

/// What is measured, beside what, and what the ratio says.
const ROWS: &[(&str, &str, &str)] = &[
    ("request/convert/120 kB", "request/scan/120 kB", "a turn whose tools are known : scan as `&RawValue`"),
    ("request/convert, new tools/120 kB", "request/scan/120 kB", "a turn whose tools are new : scan"),
    ("request/convert/120 kB", "request/parse and print/120 kB", "known tools : parse to `Value` and print"),
    ("request/convert, new tools/120 kB", "request/parse and print/120 kB", "new tools : parse and print"),
    ("request/convert/1.2 MB", "request/convert/120 kB", "ten times the turn"),
    ("request/scan/1.2 MB", "request/scan/120 kB", "ten times the turn, scanned only"),
    ("request/convert/1 kB", "request/scan/1 kB", "a small request : scan"),
    ("request/convert/2 MB", "request/scan/2 MB", "a long conversation : scan"),
    ("tools/convert/24", "tools/parse/24", "24 tools, new : parse to `Value`"),
    ("tools/convert/240", "tools/convert/24", "ten times the tools"),
    ("stream/convert/2000", "stream/decode/2000", "an answer : events split and scanned as `&RawValue`"),
    ("stream/convert/2000", "stream/split/2000", "an answer : events split only"),
    ("stream/convert/2000", "stream/convert/200", "ten times the chunks"),
    ("stream/split/2000", "stream/split/200", "ten times the chunks, split only"),
    ("line/split/10 MB", "line/split/1 MB", "ten times the line"),
];

/// The start of a run.
pub(crate) struct Begun {
    results: PathBuf,
    at: SystemTime,
}

impl Begun {
    /// Now, by the clock of the file system that holds `results`.
    pub(crate) fn now(results: &Path) -> Self {
        fs::create_dir_all(results).unwrap();
        let marker = results.join("begun");
        fs::write(&marker, "").unwrap();
        Self { results: results.to_owned(), at: fs::metadata(marker).unwrap().modified().unwrap() }
    }

    /// Prints the rows of which this run measured both sides.
    pub(crate) fn print(&self) {
        println!("{:>10} {:>10} {:>7}", "median", "baseline", "ratio");
        for (measured, baseline, what) in ROWS {
            if let (Some(measured), Some(baseline)) = (self.median(measured), self.median(baseline)) {
                println!(
                    "{:>8.1}µs {:>8.1}µs {:>7.2}  {what}",
                    measured / 1e3,
                    baseline / 1e3,
                    measured / baseline
                );
            }
        }
    }

    /// The median time of one iteration, in ns, if this run took it.
    fn median(&self, bench: &str) -> Option<f64> {
        let estimates = self.results.join(bench).join("new/estimates.json");
        if fs::metadata(&estimates).ok()?.modified().ok()? < self.at {
            return None;
        }
        let estimates: Value = serde_json::from_slice(&fs::read(estimates).ok()?).ok()?;
        estimates["median"]["point_estimate"].as_f64()
    }
}
