//! Hours of a day in which a model is cheaper.

use super::price_key::{PriceError, Tier, number, parse_key, shape};
use super::{Part, Rate};
use serde_json::{Map, Value};

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// A stretch of minutes of the UTC day, past midnight when it ends before it begins, all day when it is empty; on the days
/// of the week whose bits are set, Monday's the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    from: u16,
    to: u16,
    days: u8,
}

const EVERY_DAY: u8 = 0b111_1111;

/// `off_peak_pricing` of the list: prices in place of the usual ones, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OffPeak {
    windows: Vec<Window>,
    /// Whose days of the week they are; UTC's when there is none.
    zone: Option<String>,
    rates: Vec<(Part, Rate)>,
}

impl OffPeak {
    /// Reads the object; also gives the keys that are not known.
    pub(super) fn new(key: &str, object: &Map<String, Value>) -> Result<(Self, Vec<String>), PriceError> {
        let mut read = Self { windows: Vec::new(), zone: None, rates: Vec::new() };
        let mut unknown = Vec::new();
        for (inner, value) in object {
            let path = || format!("{key}.{inner}");
            match inner.as_str() {
                "hours_utc" => read.add_hours(&path(), value, EVERY_DAY)?,
                "weekday_timezone" => {
                    let zone = value.as_str().ok_or_else(|| shape(&path(), "a time zone"))?;
                    read.zone = Some(zone.to_owned());
                }
                "windows" => {
                    let rules = value.as_array().ok_or_else(|| shape(&path(), "a list of windows"))?;
                    rules.iter().try_for_each(|rule| read.add_rule(&path(), rule))?;
                }
                _ => match parse_key(inner) {
                    Some((part, None, Tier::Standard)) => read.rates.push((part, number(&path(), value)?)),
                    _ => unknown.push(path()),
                },
            }
        }
        Ok((read, unknown))
    }

    fn add_rule(&mut self, key: &str, rule: &Value) -> Result<(), PriceError> {
        let needs = "a list of windows with hours_utc and weekdays";
        let rule = rule.as_object().ok_or_else(|| shape(key, needs))?;
        let mut days = EVERY_DAY;
        if let Some(weekdays) = rule.get("weekdays") {
            let list = weekdays.as_array().ok_or_else(|| shape(key, needs))?;
            let set = |days: u8, day: &Value| weekday(day).map(|day| days | 1 << (day - 1));
            days = list.iter().try_fold(0, set).ok_or_else(|| shape(key, needs))?;
        }
        let hours = rule.get("hours_utc").ok_or_else(|| shape(key, needs))?;
        self.add_hours(key, hours, days)
    }

    fn add_hours(&mut self, key: &str, hours: &Value, days: u8) -> Result<(), PriceError> {
        let needs = "hours such as 16:30-00:30, or a list of them";
        let texts = match hours {
            Value::String(_) => std::slice::from_ref(hours),
            Value::Array(list) => list.as_slice(),
            _ => return Err(shape(key, needs)),
        };
        for text in texts {
            let window = text.as_str().and_then(|text| {
                let (from, to) = text.split_once('-')?;
                Some(Window { from: minute(from.trim())?, to: minute(to.trim())?, days })
            });
            self.windows.push(window.ok_or_else(|| shape(key, needs))?);
        }
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

/// Monday is 1.
fn weekday(value: &Value) -> Option<u8> {
    const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    match value {
        Value::Number(number) => {
            number.as_u64().and_then(|day| u8::try_from(day).ok()).filter(|day| (1..=7).contains(day))
        }
        Value::String(name) => {
            let name = name.trim().to_ascii_lowercase();
            let place = NAMES.iter().position(|short| name.starts_with(short))?;
            u8::try_from(place + 1).ok()
        }
        _ => None,
    }
}
