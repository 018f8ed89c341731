//! Hours of a day in which a model is cheaper.

use super::price_key::{PriceError, Tier, number, parse_key, read, read_object};
use super::{Part, Rate};
use crate::json::Exact;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// A stretch of minutes of the UTC day: past midnight when it ends before it begins, all day when it is empty. It is on
/// the days of the week whose bits are set, Monday's the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    from: u16,
    to: u16,
    days: u8,
}

/// One of the list's windows.
#[derive(Deserialize)]
struct Rule {
    hours_utc: Exact,
    #[serde(default = "every_day")]
    weekdays: Vec<Weekday>,
}

fn every_day() -> Vec<Weekday> {
    (1..=7).map(Weekday).collect()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Hours {
    One(Stretch),
    Many(Vec<Stretch>),
}

/// The minutes at which it begins and ends.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Stretch(u16, u16);

impl TryFrom<String> for Stretch {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (from, to) = text.split_once('-').ok_or("no stretch")?;
        let minute = |text: &str| minute(text.trim()).ok_or("no time");
        Ok(Self(minute(from)?, minute(to)?))
    }
}

/// Monday is 1.
#[derive(Deserialize)]
#[serde(try_from = "Exact")]
struct Weekday(u8);

impl TryFrom<Exact> for Weekday {
    type Error = &'static str;

    fn try_from(Exact(value): Exact) -> Result<Self, Self::Error> {
        const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let day = match value {
            Value::String(name) => {
                let name = name.trim().to_ascii_lowercase();
                NAMES.iter().position(|short| name.starts_with(short)).map(|place| place as u64 + 1)
            }
            value => value.as_u64(),
        };
        let day = day.and_then(|day| u8::try_from(day).ok()).filter(|day| (1..=7).contains(day));
        day.map(Self).ok_or("no day of the week")
    }
}

/// `off_peak_pricing` of the list: prices in place of the usual ones, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OffPeak {
    windows: Vec<Window>,
    /// The zone of the days of the week; UTC when there is none.
    zone: Option<String>,
    rates: Vec<(Part, Rate)>,
}

impl OffPeak {
    /// Reads the object; also gives the keys that are not known.
    pub(super) fn new(key: &str, object: &Map<String, Value>) -> Result<(Self, Vec<String>), PriceError> {
        let mut off_peak = Self { windows: Vec::new(), zone: None, rates: Vec::new() };
        let mut unknown = Vec::new();
        for (inner, value) in object {
            let path = || format!("{key}.{inner}");
            match inner.as_str() {
                "hours_utc" => off_peak.add_hours(&path(), value, &every_day())?,
                "weekday_timezone" => off_peak.zone = Some(read(&path(), value, "a time zone")?),
                "windows" => {
                    for Exact(rule) in read::<Vec<Exact>>(&path(), value, "a list of windows")? {
                        let needs = "a list of windows with hours_utc and weekdays";
                        let rule: Rule = read_object(&path(), &rule, needs)?;
                        off_peak.add_hours(&path(), &rule.hours_utc.0, &rule.weekdays)?;
                    }
                }
                _ => match parse_key(inner) {
                    Some((part, None, Tier::Standard)) => off_peak.rates.push((part, number(&path(), value)?)),
                    _ => unknown.push(path()),
                },
            }
        }
        Ok((off_peak, unknown))
    }

    fn add_hours(&mut self, key: &str, hours: &Value, weekdays: &[Weekday]) -> Result<(), PriceError> {
        let stretches = match read(key, hours, "hours such as 16:30-00:30, or a list of them")? {
            Hours::One(stretch) => vec![stretch],
            Hours::Many(list) => list,
        };
        let days = weekdays.iter().fold(0, |days, Weekday(day)| days | 1 << (day - 1));
        self.windows.extend(stretches.into_iter().map(|Stretch(from, to)| Window { from, to, days }));
        Ok(())
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        self.rates.iter().map(|(part, _)| *part)
    }

    pub(super) fn rate(&self, part: Part) -> Option<Rate> {
        self.rates.iter().find(|(own, _)| *own == part).map(|(_, rate)| *rate)
    }

    /// Whether a moment, in seconds since 1970 UTC, is off-peak. A zone that is not known is taken for UTC.
    pub(super) fn holds(&self, at: i64, offset: impl Fn(&str, i64) -> Option<i32>) -> bool {
        let minute = u16::try_from(at.rem_euclid(86_400) / 60).unwrap_or(0);
        let ahead = self.zone.as_deref().and_then(|zone| offset(zone, at)).unwrap_or(0);
        // 1970 began on a Thursday, the fourth day.
        let day = at.saturating_add(i64::from(ahead)).div_euclid(86_400).saturating_add(3).rem_euclid(7);
        self.windows.iter().any(|window| {
            let within = if window.from < window.to {
                (window.from..window.to).contains(&minute)
            } else {
                minute >= window.from || minute < window.to
            };
            within && window.days >> day & 1 == 1
        })
    }
}

/// The minute of the day that `HH:MM` names.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two =
        |digits: &str| (digits.len() <= 2 && digits.bytes().all(|d| d.is_ascii_digit())).then(|| digits.parse().ok());
    let (hours, minutes): (u16, u16) = (two(hours)??, two(minutes)??);
    (minutes < 60 && hours * 60 + minutes < DAY).then_some(hours * 60 + minutes)
}
