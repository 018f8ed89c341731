use super::*;
use chrono::{DateTime, Datelike, Duration, LocalResult, NaiveDate, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use proptest::prelude::*;

struct Chrono(Tz);

impl Zone for Chrono {
    fn offset_at(&self, unix_seconds: i64) -> i32 {
        let moment = DateTime::<Utc>::from_timestamp(unix_seconds, 0).unwrap().naive_utc();
        self.0.offset_from_utc_datetime(&moment).fix().local_minus_utc()
    }
}

fn zone(name: &str) -> Chrono {
    Chrono(name.parse().unwrap())
}

fn unix(utc: &str) -> i64 {
    NaiveDateTime::parse_from_str(utc, "%Y-%m-%d %H:%M").unwrap().and_utc().timestamp()
}

/// The bounds around a moment as UTC texts.
fn around(period: Period, name: &str, utc: &str) -> (String, String) {
    let Bounds { start: Some(start), end: Some(end) } = bounds(period, &zone(name), unix(utc)) else {
        panic!("unbounded")
    };
    let print = |at| DateTime::<Utc>::from_timestamp(at, 0).unwrap().naive_utc().to_string()[..16].to_string();
    (print(start), print(end))
}

#[track_caller]
fn expect(period: Period, name: &str, utc: &str, start: &str, end: &str) {
    assert_eq!(around(period, name, utc), (start.to_string(), end.to_string()), "{period:?} {name} {utc}");
}

const FROM: i64 = 946_684_800; // 2000-01-01
const TO: i64 = 2_145_916_800; // 2038-01-01

#[test]
fn names_round_trip() {
    for period in Period::ALL {
        assert_eq!(Period::parse(period.as_str()), Some(period));
    }
    assert_eq!(Period::parse("Hour"), None);
}

#[test]
fn a_lifetime_has_no_bounds() {
    let all = bounds(Period::Lifetime, &zone("UTC"), i64::MAX);
    assert_eq!(all, Bounds { start: None, end: None });
    assert!(all.contains(i64::MIN));
}

#[test]
fn bounds_hold_their_first_second_and_not_their_end() {
    let within = |start, end| [9, 10, 15, 19, 20, 21].map(|at| Bounds { start, end }.contains(at));
    assert_eq!(within(Some(10), Some(20)), [false, true, true, true, false, false]);
    assert_eq!(within(None, Some(20)), [true, true, true, true, false, false]);
    assert_eq!(within(Some(10), None), [false, true, true, true, true, true]);
}

#[test]
fn extreme_moments_do_not_overflow() {
    struct Fixed(i32);
    impl Zone for Fixed {
        fn offset_at(&self, _: i64) -> i32 {
            self.0
        }
    }
    for period in Period::ALL {
        for moment in [i64::MIN, i64::MIN + 1, -MAX_MOMENT, MAX_MOMENT, i64::MAX] {
            for seconds in [i32::MIN, -43_200, 0, 50_400, i32::MAX] {
                bounds(period, &Fixed(seconds), moment);
            }
        }
    }
}

#[test]
fn daylight_saving_days_have_23_and_25_hours() {
    expect(Period::Day, "Europe/Berlin", "2024-03-31 12:00", "2024-03-30 23:00", "2024-03-31 22:00");
    expect(Period::Day, "Europe/Berlin", "2024-10-27 12:00", "2024-10-26 22:00", "2024-10-27 23:00");
    expect(Period::Day, "America/New_York", "2024-03-10 12:00", "2024-03-10 05:00", "2024-03-11 04:00");
    expect(Period::Day, "America/New_York", "2024-11-03 12:00", "2024-11-03 04:00", "2024-11-04 05:00");
}

#[test]
fn a_repeated_hour_is_two_periods() {
    expect(Period::Hour, "Europe/Berlin", "2024-10-27 00:30", "2024-10-27 00:00", "2024-10-27 01:00");
    expect(Period::Hour, "Europe/Berlin", "2024-10-27 01:30", "2024-10-27 01:00", "2024-10-27 02:00");
}

#[test]
fn a_day_without_midnight_starts_at_its_first_instant() {
    expect(Period::Day, "America/Sao_Paulo", "2018-11-04 12:00", "2018-11-04 03:00", "2018-11-05 02:00");
    expect(Period::Day, "America/Sao_Paulo", "2018-11-04 02:59", "2018-11-03 03:00", "2018-11-04 03:00");
    // Clocks go from 24:00 back to 23:00, so the day has 25 hours and one midnight.
    expect(Period::Day, "America/Sao_Paulo", "2018-02-18 02:30", "2018-02-17 02:00", "2018-02-18 03:00");
}

#[test]
fn of_two_midnights_the_first_counts() {
    expect(Period::Day, "America/Havana", "2024-11-03 04:30", "2024-11-03 04:00", "2024-11-04 05:00");
    expect(Period::Day, "America/Havana", "2024-11-03 05:30", "2024-11-03 04:00", "2024-11-04 05:00");
}

#[test]
fn a_clock_set_back_over_midnight_does_not_reopen_the_day() {
    // 00:01 on the 7th became 23:01 on the 6th at 02:31 UTC.
    expect(Period::Day, "America/St_Johns", "2010-11-07 02:00", "2010-11-06 02:30", "2010-11-07 02:30");
    expect(Period::Day, "America/St_Johns", "2010-11-07 03:00", "2010-11-07 02:30", "2010-11-08 03:30");
    expect(Period::Hour, "America/St_Johns", "2010-11-07 02:30", "2010-11-07 02:30", "2010-11-07 03:30");
}

#[test]
fn half_hour_shifts_cut_the_hour() {
    // 02:00 (+11) became 01:30 (+10:30) at 15:00 UTC, and 02:00 became 02:30 at 15:30 UTC.
    expect(Period::Hour, "Australia/Lord_Howe", "2024-04-06 14:59", "2024-04-06 14:00", "2024-04-06 15:00");
    expect(Period::Hour, "Australia/Lord_Howe", "2024-04-06 15:00", "2024-04-06 15:00", "2024-04-06 15:30");
    expect(Period::Hour, "Australia/Lord_Howe", "2024-10-05 15:30", "2024-10-05 15:30", "2024-10-05 16:00");
    expect(Period::Day, "Australia/Lord_Howe", "2024-04-07 00:00", "2024-04-06 13:00", "2024-04-07 13:30");
}

#[test]
fn odd_offsets_and_skipped_days() {
    expect(Period::Day, "Asia/Kathmandu", "2024-05-01 12:00", "2024-04-30 18:15", "2024-05-01 18:15");
    expect(Period::Hour, "Asia/Kathmandu", "2024-05-01 12:00", "2024-05-01 11:15", "2024-05-01 12:15");
    expect(Period::Day, "Pacific/Apia", "2011-12-30 09:59", "2011-12-29 10:00", "2011-12-30 10:00");
    expect(Period::Day, "Pacific/Apia", "2011-12-30 10:00", "2011-12-30 10:00", "2011-12-31 10:00");
    expect(Period::Week, "Pacific/Apia", "2011-12-30 09:59", "2011-12-26 10:00", "2012-01-01 10:00");
}

#[test]
fn a_month_of_utc_is_the_months_bounds_in_utc() {
    for utc in ["2024-02-29 23:59", "2026-01-01 00:00", "2026-12-31 23:59", "1969-12-31 23:59"] {
        let Bounds { start: Some(start), end: Some(end) } = bounds(Period::Month, &zone("UTC"), unix(utc)) else {
            panic!("unbounded")
        };
        assert_eq!(utc_month(unix(utc)), (start, end), "{utc}");
    }
    assert_eq!(utc_month(unix("2024-02-29 23:59")), (unix("2024-02-01 00:00"), unix("2024-03-01 00:00")));
    assert!(utc_month(i64::MIN).0 < 0 && utc_month(i64::MAX).0 > 0);
}

#[test]
fn weeks_months_and_years_follow_the_calendar() {
    expect(Period::Week, "UTC", "2025-01-01 00:00", "2024-12-30 00:00", "2025-01-06 00:00");
    expect(Period::Week, "UTC", "1970-01-01 00:00", "1969-12-29 00:00", "1970-01-05 00:00");
    expect(Period::Month, "UTC", "2024-02-29 23:59", "2024-02-01 00:00", "2024-03-01 00:00");
    expect(Period::Month, "UTC", "2100-02-28 23:59", "2100-02-01 00:00", "2100-03-01 00:00");
    expect(Period::Month, "Europe/Berlin", "2024-03-31 22:00", "2024-03-31 22:00", "2024-04-30 22:00");
    expect(Period::Month, "UTC", "2023-12-31 23:59", "2023-12-01 00:00", "2024-01-01 00:00");
    expect(Period::Year, "UTC", "2000-02-29 00:00", "2000-01-01 00:00", "2001-01-01 00:00");
    expect(Period::Year, "America/New_York", "2025-01-01 04:59", "2024-01-01 05:00", "2025-01-01 05:00");
}

/// Every change of offset from 2000 to 2037, to the second, found by steps of three hours.
fn changes(zone: &Chrono) -> Vec<i64> {
    let step = 3 * HOUR;
    (FROM..TO)
        .step_by(step as usize)
        .filter(|&at| zone.offset_at(at) != zone.offset_at(at + step))
        .map(|at| first_change(at, at + step, |at| offset(zone, at)))
        .collect()
}

fn partition_law(zone: &Chrono, moment: i64) {
    let name = zone.0.name();
    let hour_start = |at| bounds(Period::Hour, zone, at).start;
    for period in [Period::Hour, Period::Day, Period::Week, Period::Month, Period::Year] {
        let found = bounds(period, zone, moment);
        let (start, end) = (found.start.unwrap(), found.end.unwrap());
        let about = format!("{period:?} {name} {moment} {start} {end}");
        assert!(start <= moment && moment < end, "{about}");
        assert_eq!(bounds(period, zone, start), found, "{about}");
        assert_eq!(bounds(period, zone, end - 1), found, "{about}");
        assert_eq!(bounds(period, zone, end).start, Some(end), "{about}");
        assert_eq!(bounds(period, zone, start - 1).end, Some(start), "{about}");
        assert_eq!((start % BUCKET_SECONDS, end % BUCKET_SECONDS), (0, 0), "{about}");
        assert_eq!(hour_start(start), Some(start), "no longer period cuts an hour: {about}");
    }
}

#[test]
fn the_assumptions_on_zones_hold_and_every_change_keeps_the_laws() {
    let mut odd = std::collections::BTreeSet::new();
    let mut nearest = i64::MAX;
    for tz in TZ_VARIANTS {
        let zone = Chrono(tz);
        let changes = changes(&zone);
        assert_eq!(zone.offset_at(FROM) % 900, 0, "{} has an odd offset", tz.name());
        for pair in changes.windows(2) {
            nearest = nearest.min(pair[1] - pair[0]);
        }
        for &at in &changes {
            if at % BUCKET_SECONDS != 0 {
                odd.insert((tz.name(), DateTime::<Utc>::from_timestamp(at, 0).unwrap().year()));
            }
            assert_eq!(zone.offset_at(at) % 900, 0, "{} has an odd offset", tz.name());
            for seconds in [-DAY, -HOUR, -900, -60, -1, 0, 1, 59, 840, HOUR - 1, HOUR, 2 * HOUR, DAY] {
                partition_law(&zone, at + seconds);
            }
        }
    }
    println!("nearest changes {nearest} s; odd {odd:?}");
    assert!(nearest > 2 * DAY, "two changes are {nearest} s apart");
    let zones: std::collections::BTreeSet<_> = odd.iter().map(|&(name, _)| name).collect();
    let known = [
        "America/Goose_Bay",
        "America/Moncton",
        "America/St_Johns",
        "Antarctica/Casey",
        "Asia/Gaza",
        "Asia/Hebron",
        "Canada/Newfoundland",
    ];
    assert!(zones.iter().all(|name| known.contains(name)), "{zones:?}");
}

/// What a straightforward use of chrono says, when both midnights are unambiguous.
fn naive(period: Period, tz: Tz, moment: i64) -> Option<Bounds> {
    let date = DateTime::<Utc>::from_timestamp(moment, 0)?.with_timezone(&tz).date_naive();
    let month = |months: u32| {
        NaiveDate::from_ymd_opt(date.year(), date.month(), 1)?.checked_add_months(chrono::Months::new(months))
    };
    let (first, next) = match period {
        Period::Day => (date, date.succ_opt()?),
        Period::Week => {
            let monday = date.week(chrono::Weekday::Mon).first_day();
            (monday, monday + Duration::days(7))
        }
        Period::Month => (month(0)?, month(1)?),
        _ => (NaiveDate::from_ymd_opt(date.year(), 1, 1)?, NaiveDate::from_ymd_opt(date.year() + 1, 1, 1)?),
    };
    let midnight = |date: NaiveDate| match tz.from_local_datetime(&date.and_hms_opt(0, 0, 0)?) {
        LocalResult::Single(at) => Some(at.timestamp()),
        _ => None,
    };
    Some(Bounds { start: Some(midnight(first)?), end: Some(midnight(next)?) })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn periods_partition_time(index in 0..TZ_VARIANTS.len(), moment in FROM..TO) {
        partition_law(&Chrono(TZ_VARIANTS[index]), moment);
    }

    /// In all years that chrono knows.
    #[test]
    fn the_calendar_is_gregorian(moment in -8_200_000_000_000..8_200_000_000_000_i64) {
        for period in [Period::Day, Period::Week, Period::Month, Period::Year] {
            prop_assert_eq!(Some(bounds(period, &zone("UTC"), moment)), naive(period, Tz::UTC, moment), "{:?}", period);
        }
    }

    #[test]
    fn unambiguous_calendars_agree_with_chrono(index in 0..TZ_VARIANTS.len(), moment in FROM..TO) {
        let tz = TZ_VARIANTS[index];
        for period in [Period::Day, Period::Week, Period::Month, Period::Year] {
            if let Some(expected) = naive(period, tz, moment) {
                prop_assert_eq!(bounds(period, &Chrono(tz), moment), expected, "{:?} {}", period, tz);
            }
        }
    }
}
