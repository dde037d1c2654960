//! Medians and how far figures lie apart, and how they are written.

/// The middle of some figures, and where their middle half lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub lower: f64,
    pub median: f64,
    pub upper: f64,
}

impl Spread {
    /// Of at least one figure.
    pub fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            lower: quartile(&sorted, 1)?,
            median: quartile(&sorted, 2)?,
            upper: quartile(&sorted, 3)?,
        })
    }
}

/// The quartile of that number, between the two figures that are nearest to it.
fn quartile(sorted: &[f64], number: usize) -> Option<f64> {
    // In quarters of a place.
    let place = sorted.len().checked_sub(1)? * number;
    let below = sorted[place / 4];
    let above = sorted[(place / 4 + 1).min(sorted.len() - 1)];
    #[expect(clippy::cast_precision_loss, reason = "0 to 3")]
    let share = (place % 4) as f64 / 4.0;
    Some(below + (above - below) * share)
}

/// A unit of time that suits a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Nanoseconds,
    Microseconds,
    Milliseconds,
}

impl Unit {
    /// Which has one to four digits before the point.
    pub fn of(nanoseconds: f64) -> Self {
        match nanoseconds {
            ..2e3 => Self::Nanoseconds,
            2e3..2e6 => Self::Microseconds,
            _ => Self::Milliseconds,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "µs",
            Self::Milliseconds => "ms",
        }
    }

    /// A time in this unit.
    pub fn write(self, nanoseconds: f64) -> String {
        let figure = match self {
            Self::Nanoseconds => nanoseconds,
            Self::Microseconds => nanoseconds / 1e3,
            Self::Milliseconds => nanoseconds / 1e6,
        };
        format!("{figure:.1}")
    }
}

/// A time with the unit that suits it, to two or three digits.
pub fn time(nanoseconds: f64) -> String {
    // 0.2 µs rather than 213 ns: what is added to a call is read in one unit.
    let (figure, unit) = match nanoseconds.abs() {
        ..1e6 => (nanoseconds / 1e3, "µs"),
        1e6..1e9 => (nanoseconds / 1e6, "ms"),
        _ => (nanoseconds / 1e9, "s"),
    };
    let digits = if figure.abs() < 10.0 { 2 } else { 0 };
    format!("{figure:.digits$} {unit}")
}

/// How many times as long, to three digits or so.
pub fn ratio(ratio: f64) -> String {
    let digits = match ratio {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{ratio:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(figures: &[f64]) -> (f64, f64, f64) {
        let spread = Spread::of(figures).expect("figures");
        (spread.lower, spread.median, spread.upper)
    }

    #[test]
    fn the_middle_half() {
        assert_eq!(spread(&[5.0, 1.0, 4.0, 2.0, 3.0]), (2.0, 3.0, 4.0));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), (1.75, 2.5, 3.25));
        assert_eq!(spread(&[7.0]), (7.0, 7.0, 7.0));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn times_have_a_unit_that_suits_them() {
        assert_eq!(time(213.0), "0.21 µs");
        assert_eq!(time(125_942.6), "126 µs");
        assert_eq!(time(1_500_000.0), "1.50 ms");
        assert_eq!(time(2.5e9), "2.50 s");
        assert_eq!(Unit::of(216.0).write(216.54), "216.5");
        assert_eq!(Unit::of(4e6), Unit::Milliseconds);
        assert_eq!(Unit::Microseconds.write(2500.0), "2.5");
    }

    #[test]
    fn ratios_have_three_digits() {
        assert_eq!(ratio(1.987), "1.99");
        assert_eq!(ratio(58.18), "58.2");
        assert_eq!(ratio(581.83), "582");
    }
}
