//! Taking turns: every side once a round, so that what else the machine does falls on all of them.

use anyhow::Result;

/// What each round gave for one side.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    pub fn median(&self) -> f64 {
        let mut values = self.0.clone();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => f64::NAN,
            even if even % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        }
    }

    /// The least and the greatest ratio to another side within one round: how far to trust the medians' ratio.
    pub fn ratios(&self, other: &Sample) -> (f64, f64) {
        let ratios = self.0.iter().zip(&other.0).map(|(ours, other)| ours / other);
        ratios.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), ratio| (low.min(ratio), high.max(ratio)))
    }
}

/// Measures `sides` in turn, `rounds` times over. The samples come in the order of the sides.
pub fn take_turns<S: Copy>(
    sides: &[S],
    rounds: u32,
    mut measure: impl FnMut(S, u32) -> Result<f64>,
) -> Result<Vec<Sample>> {
    let mut samples = vec![Sample::default(); sides.len()];
    for round in 1..=rounds {
        for (side, sample) in sides.iter().zip(&mut samples) {
            sample.0.push(measure(*side, round)?);
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Sample(vec![3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(Sample(vec![4.0, 1.0]).median(), 2.5);
        assert!(Sample::default().median().is_nan());
    }

    #[test]
    fn sides_take_turns() {
        let mut order = Vec::new();
        let samples = take_turns(&[1.0, 10.0], 2, |side, round| {
            order.push((side, round));
            Ok(side * f64::from(round))
        });
        let samples = samples.unwrap();
        assert_eq!(order, [(1.0, 1), (10.0, 1), (1.0, 2), (10.0, 2)]);
        assert_eq!(samples[1].median(), 15.0);
        assert_eq!(samples[1].ratios(&samples[0]), (10.0, 10.0));
    }
}
