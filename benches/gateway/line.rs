//! Straight lines through measured points.

use std::fmt::{self, Display, Formatter};

use serde_json::{Value, json};

/// The line that least squares put through some points.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    pub(crate) intercept: f64,
    pub(crate) slope: f64,
    /// Which share of the variance the line explains.
    pub(crate) r2: f64,
}

impl Line {
    /// Through points of which at least two differ in `x`.
    pub(crate) fn through(points: &[(f64, f64)]) -> Self {
        let count = float(points.len() as u64);
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
        let sum = |of: &dyn Fn(f64, f64) -> f64| {
            points.iter().map(|(x, y)| of(x - x_mean, y - y_mean)).sum::<f64>()
        };
        let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
        let slope = xy / xx;
        let r2 = if yy > 0.0 { xy * xy / (xx * yy) } else { 1.0 };
        Self { intercept: y_mean - slope * x_mean, slope, r2 }
    }

    pub(crate) fn json(self) -> Value {
        json!({"intercept": self.intercept, "slope": self.slope, "r2": self.r2})
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} + {:.4} × x, R² {:.4}", self.intercept, self.slope, self.r2)
    }
}

/// A count as a number to compute with.
#[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
