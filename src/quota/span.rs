//! Which rollups a period is added up from.

use crate::pg::{Timestamp, from_unix_seconds, to_unix_seconds};
use tollgate_core::period;

/// The stretches of a period: quarters in `[start, first_day)`, days in `[first_day, first_month)`, months in
/// `[first_month, last_month)`, days in `[last_month, last_day)`, quarters in `[last_day, end)`.
#[derive(Clone, Copy)]
pub struct Span {
    pub start: Timestamp,
    pub first_day: Timestamp,
    pub first_month: Timestamp,
    pub last_month: Timestamp,
    pub last_day: Timestamp,
    pub end: Timestamp,
}

impl Span {
    pub fn of(bounds: period::Bounds) -> Self {
        const DAY: i64 = 86_400_000_000;
        // No moment outside these is ever recorded, so a lifetime lies between them.
        const EARLIEST: Timestamp = 0;
        const LATEST: Timestamp = 200 * 365 * DAY;
        let start = bounds.start.map_or(EARLIEST, from_unix_seconds);
        let end = bounds.end.map_or(LATEST, from_unix_seconds);
        let first_day = start.div_euclid(DAY) * DAY + if start.rem_euclid(DAY) == 0 { 0 } else { DAY };
        let (first_day, last_day) = or_none_at(end, first_day, end.div_euclid(DAY) * DAY);
        let (begins, next) = period::utc_month(to_unix_seconds(first_day));
        let first_month = from_unix_seconds(if from_unix_seconds(begins) == first_day { begins } else { next });
        let last_month = from_unix_seconds(period::utc_month(to_unix_seconds(last_day)).0);
        let (first_month, last_month) = or_none_at(last_day, first_month, last_month);
        Self { start, first_day, first_month, last_month, last_day, end }
    }
}

/// A stretch, or an empty one at a place where it would end before it begins.
fn or_none_at(place: Timestamp, first: Timestamp, last: Timestamp) -> (Timestamp, Timestamp) {
    if first < last { (first, last) } else { (place, place) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_core::period::Bounds;

    /// In hours since 2000-01-01.
    fn span(start: i64, end: i64) -> [i64; 6] {
        let hour = |hours: i64| Some(946_684_800 + hours * 3_600);
        let span = Span::of(Bounds { start: hour(start), end: hour(end) });
        [span.start, span.first_day, span.first_month, span.last_month, span.last_day, span.end]
            .map(|at| at / 3_600_000_000)
    }

    #[test]
    fn a_period_is_months_with_days_and_quarters_at_its_ends() {
        assert_eq!(span(24, 72), [24, 24, 72, 72, 72, 72]);
        assert_eq!(span(23, 49), [23, 24, 48, 48, 48, 49]);
        assert_eq!(span(23, 25), [23, 25, 25, 25, 25, 25]);
        assert_eq!(span(3, 4), [3, 4, 4, 4, 4, 4]);
        // January has 744 hours, February of 2000 has 696.
        assert_eq!(span(0, 744), [0, 0, 0, 744, 744, 744]);
        assert_eq!(span(-1, 720), [-1, 0, 720, 720, 720, 720]);
        assert_eq!(span(-1, 745), [-1, 0, 0, 744, 744, 745]);
        assert_eq!(span(5, 1_500), [5, 24, 744, 1_440, 1_488, 1_500]);
        assert_eq!(span(744, 1_440), [744, 744, 744, 1_440, 1_440, 1_440]);
    }

    #[test]
    fn a_lifetime_holds_every_moment_that_can_be_recorded() {
        let span = Span::of(Bounds { start: None, end: None });
        assert!(span.start == 0 && span.start == span.first_month && span.last_day == span.end);
        assert!(span.end > 3_000_000_000_000_000);
    }
}
