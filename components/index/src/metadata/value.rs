//! What a field of a document holds.

use std::collections::BTreeMap;
use std::ops::Range;

/// The fields of one document by name, each with at least one value. Their order says nothing.
pub type Fields = BTreeMap<String, Vec<Value>>;

/// One value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any text that is no date.
    Text(String),
    /// A number, never NaN.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// A day or a moment.
    Date(Date),
}

impl Value {
    /// A date where `text` is a whole one, else the text.
    pub fn of_text(text: impl Into<String>) -> Value {
        let text = text.into();
        Date::parse(&text).map_or(Value::Text(text), Value::Date)
    }
}

/// A moment: milliseconds since the beginning of 1970, UTC. A day is its first moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub i64);

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

impl Date {
    /// Reads a day, `2024-01-31`, or a moment of one, `2024-01-31T09:30:00+01:00`, as ISO 8601
    /// writes them: seconds and their fractions may be missing, a space may stand for the `T`, and
    /// a time without a zone is taken to be UTC.
    pub fn parse(text: &str) -> Option<Date> {
        // A year or a month alone is more often a number or a version.
        if text.len() < "2024-01-31".len() {
            return None;
        }
        Date::span(text).map(|span| Date(span.start))
    }

    /// What [`Date::parse`] reads, a year or a month, from its first to past its last moment, in
    /// milliseconds.
    pub(crate) fn span(text: &str) -> Option<Range<i64>> {
        let mut text = Text(text.as_bytes());
        let year = text.number(4)?;
        if text.0.is_empty() {
            return Some(days(year, 1) * DAY..days(year + 1, 1) * DAY);
        }
        let month = text.after(b"-")?.number(2).filter(|month| (1..=12).contains(month))?;
        let (first, next) = (days(year, month), days(year + month / 12, month % 12 + 1));
        if text.0.is_empty() {
            return Some(first * DAY..next * DAY);
        }
        let day = text.after(b"-")?.number(2).filter(|day| (1..=next - first).contains(day))?;
        let start = (first + day - 1) * DAY;
        if text.0.is_empty() {
            return Some(start..start + DAY);
        }
        let (time, length) = text.after(b"Tt ")?.time()?;
        let start = start + time - text.zone()?;
        Some(start..start + length)
    }
}

/// Days from the beginning of 1970 to that of a month, by the Gregorian calendar (Hinnant, 2013).
fn days(year: i64, month: i64) -> i64 {
    // Counted from March, so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 - 719_468
}

/// What is left of a date to read.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    /// A number of so many digits.
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number.iter().try_fold(0, |sum, digit| {
            digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
        })
    }

    /// What follows one of `marks`.
    fn after(&mut self, marks: &[u8]) -> Option<&mut Self> {
        let (mark, rest) = self.0.split_first()?;
        self.0 = rest;
        marks.contains(mark).then_some(self)
    }

    fn starts_with(&self, marks: &[u8]) -> bool {
        self.0.first().is_some_and(|mark| marks.contains(mark))
    }

    /// A number of two digits below `limit`.
    fn part(&mut self, limit: i64) -> Option<i64> {
        self.number(2).filter(|&number| number < limit)
    }

    /// A time of the day, and how long it lasts.
    fn time(&mut self) -> Option<(i64, i64)> {
        let hour = self.part(24)?;
        let minute = self.after(b":")?.part(60)?;
        let time = hour * HOUR + minute * MINUTE;
        if !self.starts_with(b":") {
            return Some((time, MINUTE));
        }
        let time = time + self.after(b":")?.part(60)? * SECOND;
        if !self.starts_with(b".,") {
            return Some((time, SECOND));
        }
        let digits = self.0[1..].iter().take_while(|digit| digit.is_ascii_digit()).count();
        let (fraction, rest) = self.0[1..].split_at(digits);
        self.0 = rest;
        let digit = |place: usize| fraction.get(place).map_or(0, |digit| i64::from(digit - b'0'));
        let milliseconds = digit(0) * 100 + digit(1) * 10 + digit(2);
        (digits > 0).then_some((time + milliseconds, 1))
    }

    /// How far the rest, a time zone, is ahead of UTC.
    fn zone(&mut self) -> Option<i64> {
        if matches!(self.0, b"" | b"Z" | b"z") {
            return Some(0);
        }
        let sign = if self.starts_with(b"-") { -1 } else { 1 };
        let mut zone = self.after(b"+-")?.part(24)? * HOUR;
        if !self.0.is_empty() {
            if self.starts_with(b":") {
                self.after(b":")?;
            }
            zone += self.part(60)? * MINUTE;
        }
        self.0.is_empty().then_some(sign * zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_moments_are_counted_from_1970() {
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("1969-12-31", -86400),
            ("2000-02-29", 951_782_400),
            ("2024-12-31", 1_735_603_200),
            ("0000-03-01", -62_162_035_200),
            ("9999-12-31", 253_402_214_400),
            ("2024-05-06T07:08", 1_714_979_280),
            ("2024-05-06T07:08:09", 1_714_979_289),
            ("2024-05-06 07:08:09Z", 1_714_979_289),
            ("2024-05-06T07:08:09+02:00", 1_714_972_089),
            ("2024-05-06t07:08:09-0530", 1_714_999_089),
            ("2024-05-06T07:08:09+02", 1_714_972_089),
        ] {
            assert_eq!(Date::parse(text), Some(Date(seconds * 1000)), "{text}");
        }
        let moment = Date::parse("1970-01-01T00:00:01.0625Z");
        assert_eq!(moment, Some(Date(1062)));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "2024",
            "2024-05",
            "2024-13-01",
            "2024-00-01",
            "2023-02-29",
            "2024-04-31",
            "2024-05-06T",
            "2024-05-06T24:00",
            "2024-05-06T07:60",
            "2024-05-06T07:08:09.",
            "2024-05-06T07:08+",
            "2024-05-06T07:08+2:00",
            "2024-05-06 or so",
            "2024/05/06",
            "+024-05-06",
            "12024-05-06",
            "2024-05-0é",
            "the 6th of May",
        ] {
            assert_eq!(Date::parse(text), None, "{text}");
            assert_eq!(Value::of_text(text), Value::Text(text.into()));
        }
    }

    #[test]
    fn a_span_is_as_long_as_what_is_named() {
        let days = |text| Date::span(text).map(|span| (span.end - span.start) / DAY);
        assert_eq!(days("2024"), Some(366));
        assert_eq!(days("2023"), Some(365));
        assert_eq!(days("2024-02"), Some(29));
        assert_eq!(days("2024-12"), Some(31));
        assert_eq!(days("2024-12-31"), Some(1));
        assert_eq!(Date::span("2024-12").unwrap().end, Date::span("2025").unwrap().start);
        let length = |text| Date::span(text).map(|span| span.end - span.start);
        assert_eq!(length("2024-05-06T07:08"), Some(MINUTE));
        assert_eq!(length("2024-05-06T07:08:09"), Some(SECOND));
        assert_eq!(length("2024-05-06T07:08:09.5"), Some(1));
    }
}
