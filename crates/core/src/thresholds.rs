//! Which thresholds of a quota are reached and not yet told of.

use crate::decision::share_of;
use crate::period::Bounds;

/// Below this figure nothing is left to be written for the period and limit.
#[derive(Clone, Copy)]
pub struct Quiet {
    pub bounds: Bounds,
    pub limit: i64,
    pub below: i64,
}

/// A figure of which the outbox is to tell: a share of the limit, in 1e-12, or (`None`) the first above it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub share: Option<i64>,
    pub nanos: i64,
}

/// An event of the period that is there.
pub struct Seen {
    pub share: Option<i64>,
    pub limit: i64,
    pub spent: i64,
}

/// What a quota with a limit is to tell of, from the lowest figure to the highest.
pub fn marks(limit: i64, shares: &[i64], overrun: bool) -> Vec<Mark> {
    let shares = if limit > 0 { shares } else { &[] };
    let mut marks: Vec<Mark> =
        shares.iter().map(|share| Mark { share: Some(*share), nanos: share_of(limit, *share) }).collect();
    if overrun && let Some(nanos) = limit.checked_add(1) {
        marks.push(Mark { share: None, nanos });
    }
    marks.sort_by_key(|mark| mark.nanos);
    marks
}

/// Whether the mark of a limit still is to be told of.
pub fn is_open(mark: Mark, limit: i64, seen: &[Seen]) -> bool {
    let mut of_mark = seen.iter().filter(|event| event.share == mark.share);
    match mark.share {
        None => of_mark.all(|event| event.limit != limit),
        // They are written under ever higher limits.
        Some(_) => of_mark
            .max_by_key(|event| event.limit)
            .is_none_or(|latest| latest.limit < limit && mark.nanos > latest.spent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARES: [i64; 2] = [800_000_000_000, 1_000_000_000_000];

    fn told(limit: i64, spent: i64, seen: &[Seen]) -> Vec<Option<i64>> {
        let marks = marks(limit, &SHARES, true);
        let due = marks.into_iter().filter(|mark| mark.nanos <= spent && is_open(*mark, limit, seen));
        due.map(|mark| mark.share.map(|share| share / 10_000_000_000)).collect()
    }

    fn seen(hundredths: Option<i64>, limit: i64, spent: i64) -> Seen {
        Seen { share: hundredths.map(|share| share * 10_000_000_000), limit, spent }
    }

    #[test]
    fn each_mark_of_a_jump_is_told_from_the_lowest_up() {
        assert_eq!(told(100, 79, &[]), []);
        assert_eq!(told(100, 80, &[]), [Some(80)]);
        assert_eq!(told(100, 100, &[]), [Some(80), Some(100)]);
        assert_eq!(told(100, 101, &[]), [Some(80), Some(100), None]);
    }

    #[test]
    fn what_is_there_is_not_told_again() {
        let there = [seen(Some(80), 100, 85), seen(None, 100, 101)];
        assert_eq!(told(100, 200, &there), [Some(100)]);
    }

    #[test]
    fn a_raised_limit_arms_what_it_put_out_of_reach() {
        // 85 were spent when 80 percent of 100 were told of: of 200 they are 160, of 104 they are 84.
        let there = [seen(Some(80), 100, 85)];
        assert_eq!(told(200, 160, &there), [Some(80)]);
        assert_eq!(told(104, 90, &there), []);
        // And again to the same limit, by way of a lower one.
        assert_eq!(told(50, 85, &there), [Some(100), None]);
        let there = [seen(Some(80), 100, 85), seen(Some(100), 50, 85), seen(None, 50, 85)];
        assert_eq!(told(100, 99, &there), []);
        assert_eq!(told(100, 100, &there), [Some(100)]);
    }

    #[test]
    fn what_was_told_of_the_same_limit_or_figure_is_closed() {
        assert_eq!(told(100, 90, &[seen(Some(80), 100, 70)]), []);
        assert_eq!(told(200, 160, &[seen(Some(80), 100, 160)]), []);
        assert_eq!(told(200, 160, &[seen(Some(80), 100, 159)]), [Some(80)]);
    }

    #[test]
    fn a_limit_of_zero_has_no_shares_but_can_be_overrun() {
        assert_eq!(told(0, 0, &[]), []);
        assert_eq!(told(0, 1, &[]), [None]);
    }

    #[test]
    fn in_the_shadow_nothing_is_overrun() {
        assert_eq!(marks(100, &SHARES, false).len(), 2);
    }

    #[test]
    fn the_largest_limit_cannot_be_overrun() {
        assert_eq!(marks(i64::MAX, &[], true), []);
    }
}
