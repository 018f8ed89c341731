//! Quota periods: calendar periods of a time zone, as half-open ranges of Unix seconds.
//!
//! The periods of one kind and zone partition time: every moment is in exactly one, and each ends where the next
//! begins. Local clocks jump forwards and backwards, so that has to be made true:
//!
//! - Days and longer follow the *high-water clock*, the latest local time that the zone's clocks have shown so far. It
//!   never runs backwards. A period starts when it first reaches the local midnight of its first day. That is the first
//!   of two midnights, or the first instant of a day whose midnight is skipped. A clock that is set back over midnight
//!   (St. John's until 2011, 00:01 → 23:01) does not go back to the day that has ended.
//! - Hours follow the clock as it is. The hour that a clock repeats is a period of its own. An hour in which the offset
//!   changes is cut there (Lord Howe shifts by 30 minutes).
//!
//! Rollups are kept in buckets of 15 minutes, so every boundary has to be a multiple of 900 s. Since 2000 all offsets
//! are, but some changes are not: St. John's and Goose Bay (until 2011), Moncton (until 2006), Gaza and Hebron (2010
//! and 2011) and Casey (2020 to 2022) moved their clocks at 00:01. Hours therefore treat a change as made at the start
//! of its quarter of an hour. Offsets with odd minutes or seconds ended with Liberia's in 1972; periods before that may
//! have odd boundaries.

/// The length of a rollup bucket, in seconds: every period boundary from 2000 on is a multiple of it.
pub const BUCKET_SECONDS: i64 = 900;

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// Offsets lie between −12 and +14 hours; Postgres takes custom zones below 16 hours. The instant at which a local time
/// is shown is less than this far from the same reading in UTC.
const MAX_OFFSET: i64 = 16 * HOUR;

/// Moments are clamped to ±10^13 s (about 300,000 years), beyond Postgres' range of 4713 BC to 294276 AD. No sum of
/// seconds in this module can overflow for that reason.
const MAX_MOMENT: i64 = 10_000_000_000_000;

/// How often a quota starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// A clock hour of the zone.
    Hour,
    /// A local calendar day: 23, 24 or 25 hours.
    Day,
    /// An ISO week, which starts on Monday.
    Week,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
    /// All of time.
    Lifetime,
}

impl Period {
    /// All periods, the shortest first.
    pub const ALL: [Self; 6] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year, Self::Lifetime];

    /// Reads the name that `cost_quotas.period` uses.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.as_str() == text)
    }

    /// The name that `cost_quotas.period` uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
            Self::Lifetime => "lifetime",
        }
    }
}

/// A time zone. It may change its offset at most once in any two days, which all IANA zones keep from 2000 to 2037.
pub trait Zone {
    /// Seconds east of UTC that the zone's clocks are ahead at `unix_seconds`; less than 16 hours either way.
    fn offset_at(&self, unix_seconds: i64) -> i32;
}

/// A half-open range of Unix seconds, `start <= t < end`; `None` is unbounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// The first second inside.
    pub start: Option<i64>,
    /// The first second that is no longer inside.
    pub end: Option<i64>,
}

impl Bounds {
    /// Whether the moment lies inside.
    pub fn contains(&self, unix_seconds: i64) -> bool {
        self.start.is_none_or(|start| start <= unix_seconds) && self.end.is_none_or(|end| unix_seconds < end)
    }
}

/// The bounds of the period of this kind, on the calendar of `zone`, that holds the moment `unix_seconds`.
///
/// Moments outside of Postgres' range are taken for the nearest one inside.
pub fn bounds(period: Period, zone: &impl Zone, unix_seconds: i64) -> Bounds {
    let moment = unix_seconds.clamp(-MAX_MOMENT, MAX_MOMENT);
    if period == Period::Lifetime {
        return Bounds { start: None, end: None };
    }
    if period == Period::Hour {
        return hour_bounds(zone, moment);
    }
    let day = high_water_clock(zone, moment).div_euclid(DAY);
    let (first, next) = calendar_days(period, day);
    Bounds { start: Some(first_instant(zone, first * DAY)), end: Some(first_instant(zone, next * DAY)) }
}

/// The month in UTC that holds the moment: its first second, and the first that is no longer inside.
pub fn utc_month(unix_seconds: i64) -> (i64, i64) {
    let moment = unix_seconds.clamp(-MAX_MOMENT, MAX_MOMENT);
    let (first, next) = calendar_days(Period::Month, moment.div_euclid(DAY));
    (first * DAY, next * DAY)
}

/// The first day of the period that holds `day`, and the first day of the next one, in days since 1970-01-01.
fn calendar_days(period: Period, day: i64) -> (i64, i64) {
    let (year, month) = civil_month(day);
    match period {
        Period::Hour | Period::Day | Period::Lifetime => (day, day + 1),
        Period::Week => {
            // 1970-01-01 was a Thursday, so day -3 was a Monday.
            let monday = day - (day + 3).rem_euclid(7);
            (monday, monday + 7)
        }
        Period::Month => {
            let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            (days_before_month(year, month), days_before_month(next_year, next_month))
        }
        Period::Year => (days_before_month(year, 1), days_before_month(year + 1, 1)),
    }
}

/// Year and month (1–12) of the day `day` since 1970-01-01 on the proleptic Gregorian calendar.
///
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`. Years start in March, so that the
/// leap day is the last one. Every 400 years (an era of 146,097 days) repeat.
fn civil_month(day: i64) -> (i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month)
}

/// Days from 1970-01-01 to the first day of a month (1–12): the same author's `days_from_civil` with day 1.
fn days_before_month(year: i64, month: i64) -> i64 {
    let march_year = year - i64::from(month <= 2);
    let era = march_year.div_euclid(400);
    let year_of_era = march_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The latest local time, in seconds, that the clocks of the zone have shown up to and including `moment`.
fn high_water_clock(zone: &impl Zone, moment: i64) -> i64 {
    let before = offset(zone, moment - DAY);
    let now = moment + offset(zone, moment);
    if before <= now - moment {
        return now;
    }
    // Clocks were set back during the last day; they had reached one second less than the change in old time.
    let change = first_change(moment - DAY, moment, |at| offset(zone, at));
    now.max(change - 1 + before)
}

/// The first moment at which the high-water clock shows `local` or later.
fn first_instant(zone: &impl Zone, local: i64) -> i64 {
    let (earliest, latest) = (local - MAX_OFFSET, local + MAX_OFFSET);
    let (before, after) = (offset(zone, earliest), offset(zone, latest));
    if before == after {
        return local - before;
    }
    let change = first_change(earliest, latest, |at| offset(zone, at));
    if local - before < change { local - before } else { change.max(local - after) }
}

/// The clock hour around `moment`, cut where the offset changes inside it.
fn hour_bounds(zone: &impl Zone, moment: i64) -> Bounds {
    // The offset at the end of the quarter of an hour makes a change at 00:01 count from 00:00.
    let quarter_offset = |at: i64| offset(zone, at - at.rem_euclid(BUCKET_SECONDS) + BUCKET_SECONDS - 1);
    let now = quarter_offset(moment);
    let mut start = moment - (moment + now).rem_euclid(HOUR);
    let mut end = start + HOUR;
    if quarter_offset(start) != now {
        start = first_change(start, moment, quarter_offset);
    }
    if quarter_offset(end - 1) != now {
        end = first_change(moment, end - 1, quarter_offset);
    }
    Bounds { start: Some(start), end: Some(end) }
}

fn offset(zone: &impl Zone, moment: i64) -> i64 {
    i64::from(zone.offset_at(moment))
}

/// The first moment in `(earliest, latest]` with the offset of `latest`, given that it changes once between them.
fn first_change(earliest: i64, latest: i64, offset_at: impl Fn(i64) -> i64) -> i64 {
    let before = offset_at(earliest);
    let (mut old, mut new) = (earliest, latest);
    while new - old > 1 {
        let middle = old + (new - old) / 2;
        if offset_at(middle) == before { old = middle } else { new = middle }
    }
    new
}

#[cfg(test)]
mod tests;
