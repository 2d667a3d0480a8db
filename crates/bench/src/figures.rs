//! Figures and the tables that they are shown in.

use std::time::Duration;

/// The median; 0 of nothing.
pub fn median(values: &[f64]) -> f64 {
    share(values, 0.5)
}

/// The value that so many of all stay at or under; 0 of nothing.
pub fn share(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * share) as usize;
    sorted
        .get(at.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// The root of the mean square of deviations.
pub fn deviation(values: &[f64]) -> f64 {
    let squares = values.iter().map(|value| value * value).sum::<f64>();
    (squares / values.len().max(1) as f64).sqrt()
}

/// In microseconds.
pub fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Figures that were taken in turns: what is measured, and its limit.
#[derive(Debug, Default, Clone)]
pub struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    /// Those of a single turn.
    pub fn one(figure: f64, limit: f64) -> Self {
        Self(vec![(figure, limit)])
    }

    /// One more turn.
    pub fn push(&mut self, figure: f64, limit: f64) {
        self.0.push((figure, limit));
    }

    /// The median of what is measured.
    pub fn figure(&self) -> f64 {
        median(&self.0.iter().map(|pair| pair.0).collect::<Vec<_>>())
    }

    /// The median of its limit.
    pub fn limit(&self) -> f64 {
        median(&self.0.iter().map(|pair| pair.1).collect::<Vec<_>>())
    }

    /// The median of the ratios within turns.
    pub fn ratio(&self) -> f64 {
        median(
            &self
                .0
                .iter()
                .map(|pair| pair.0 / pair.1)
                .collect::<Vec<_>>(),
        )
    }
}

/// What is asked of a figure.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// Nothing: it is there to compare.
    None,
    /// The ratio to the limit, at least.
    RatioAtLeast(f64),
    /// The ratio to the limit, at most.
    RatioAtMost(f64),
    /// The figure itself, at most.
    AtMost(f64),
}

/// A table of figures, printed as Markdown so that it can go into the documentation as it is.
#[derive(Debug)]
pub struct Table {
    head: [String; 5],
    rows: Vec<[String; 5]>,
}

impl Table {
    /// An empty one; `limit` says what stands beside the figures.
    pub fn new(limit: &str) -> Self {
        let head = ["what", "figure", limit, "ratio", "target"];
        Self {
            head: head.map(str::to_owned),
            rows: Vec::new(),
        }
    }

    /// A figure beside its limit.
    pub fn pair(&mut self, what: &str, unit: &str, pairs: &Pairs, target: Target) {
        let (figure, limit, ratio) = (pairs.figure(), pairs.limit(), pairs.ratio());
        let row = [
            what.to_owned(),
            with_unit(figure, unit),
            with_unit(limit, unit),
            number(ratio),
            judged(target, figure, ratio, unit),
        ];
        self.rows.push(row);
    }

    /// Prints it.
    pub fn print(&self) {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| lines().map(|row| row[column].chars().count()).max();
        let widths: [usize; 5] = std::array::from_fn(|column| width(column).unwrap_or_default());
        println!();
        for (index, row) in lines().enumerate() {
            let cells = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!(" {cell:<width$} |"));
            println!("|{}", cells.collect::<String>());
            if index == 0 {
                let rules = widths.map(|width| "-".repeat(width + 2) + "|");
                println!("|{}", rules.concat());
            }
        }
        println!();
    }
}

fn judged(target: Target, figure: f64, ratio: f64, unit: &str) -> String {
    let (reached, asked) = match target {
        Target::None => return String::new(),
        Target::RatioAtLeast(least) => (ratio >= least, format!("≥ {} of it", number(least))),
        Target::RatioAtMost(most) => (ratio <= most, format!("≤ {} × it", number(most))),
        Target::AtMost(most) => (figure <= most, format!("≤ {}", with_unit(most, unit))),
    };
    format!("{asked}: {}", if reached { "reached" } else { "MISSED" })
}

fn with_unit(value: f64, unit: &str) -> String {
    format!("{} {unit}", number(value)).trim_end().to_owned()
}

/// Three digits that mean something, thousands set apart.
fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1_000.0 {
        let digits = format!("{value:.0}");
        let mut grouped = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        return grouped;
    }
    match size {
        s if s >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        s if s >= 10.0 => format!("{value:.1}"),
        s if s >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_taken_within_turns() {
        let mut pairs = Pairs::default();
        for (figure, limit) in [(1.0, 2.0), (10.0, 20.0), (4.0, 5.0)] {
            pairs.push(figure, limit);
        }
        assert_eq!(
            (pairs.figure(), pairs.limit(), pairs.ratio()),
            (4.0, 5.0, 0.5)
        );
    }

    #[test]
    fn shares_and_deviations() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((share(&values, 0.99), share(&[], 0.5)), (100.0, 0.0));
        assert_eq!(deviation(&[3.0, -3.0]), 3.0);
    }

    #[test]
    fn numbers_are_short() {
        let shown = [12_345.6, 123.4, 12.34, 1.234, 0.1234, 2.0, 1_234_567.0].map(number);
        assert_eq!(
            shown,
            ["12,346", "123", "12.3", "1.23", "0.123", "2", "1,234,567"]
        );
    }
}
