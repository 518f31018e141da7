//! Instants and dates as the wire and people write them. No clock is read here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    minicbor::Encode,
    minicbor::Decode,
)]
#[serde(transparent)]
#[cbor(transparent)]
pub struct UnixMillis(#[n(0)] pub i64);

/// Why a text is no instant or date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CivilRefusal {
    /// Not `YYYY-MM-DD`, or no such day.
    #[error("not a date of the form YYYY-MM-DD between 0000 and 9999")]
    Date,
    /// Not `YYYY-MM-DDTHH:MM:SS[.mmm]Z` or with a numeric offset.
    #[error("not an instant of the form YYYY-MM-DDTHH:MM:SS.mmmZ between 0000 and 9999")]
    Instant,
}

const DAY_MS: i64 = 86_400_000;
/// 0000-01-01T00:00:00.000Z.
const EARLIEST_MS: i64 = -62_167_219_200_000;
/// 9999-12-31T23:59:59.999Z.
const LATEST_MS: i64 = 253_402_300_799_999;

impl UnixMillis {
    /// Says whether the instant lies between the years 0000 and 9999, where its text form sorts like its value.
    pub const fn is_civil(self) -> bool {
        EARLIEST_MS <= self.0 && self.0 <= LATEST_MS
    }

    /// Adds milliseconds, stopping at the edges of 64 bits.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add_unsigned(ms))
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant, "days_from_civil").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0.div_euclid(DAY_MS));
        let ms = self.0.rem_euclid(DAY_MS);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
    }
}

fn digits(text: &[u8], refusal: CivilRefusal) -> Result<i64, CivilRefusal> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(refusal);
    }
    Ok(text.iter().fold(0, |n, b| n * 10 + i64::from(b - b'0')))
}

/// Checks a `YYYY-MM-DD` date and returns its day number since 1970-01-01.
///
/// # Errors
/// [`CivilRefusal::Date`] for any other form, and for days that do not exist.
pub fn check_date(text: &str) -> Result<i64, CivilRefusal> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return Err(CivilRefusal::Date);
    }
    let year = digits(&bytes[..4], CivilRefusal::Date)?;
    let month = digits(&bytes[5..7], CivilRefusal::Date)?;
    let day = digits(&bytes[8..], CivilRefusal::Date)?;
    if !(1..=12).contains(&month) {
        return Err(CivilRefusal::Date);
    }
    let days = days_from_civil(year, month, day);
    if civil_from_days(days) != (year, month, day) {
        return Err(CivilRefusal::Date);
    }
    Ok(days)
}

impl FromStr for UnixMillis {
    type Err = CivilRefusal;

    fn from_str(text: &str) -> Result<Self, CivilRefusal> {
        let refusal = CivilRefusal::Instant;
        let bytes = text.as_bytes();
        if bytes.len() < 20 || !text.is_ascii() || bytes[10] != b'T' {
            return Err(refusal);
        }
        let days = check_date(&text[..10]).map_err(|_| refusal)?;
        if bytes[13] != b':' || bytes[16] != b':' {
            return Err(refusal);
        }
        let hour = digits(&bytes[11..13], refusal)?;
        let minute = digits(&bytes[14..16], refusal)?;
        let second = digits(&bytes[17..19], refusal)?;
        if hour > 23 || minute > 59 || second > 59 {
            return Err(refusal);
        }
        let (ms, zone) = fraction(&bytes[19..], refusal)?;
        let at = days * DAY_MS + hour * 3_600_000 + minute * 60_000 + second * 1000 + ms;
        let at = Self(at - offset_minutes(zone, refusal)? * 60_000);
        at.is_civil().then_some(at).ok_or(refusal)
    }
}

/// Reads `.m`, `.mm` or `.mmm` and returns the milliseconds and what follows.
fn fraction(rest: &[u8], refusal: CivilRefusal) -> Result<(i64, &[u8]), CivilRefusal> {
    let Some(after) = rest.strip_prefix(b".") else { return Ok((0, rest)) };
    let len = after.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(1..=3).contains(&len) {
        return Err(refusal);
    }
    let scale = [100, 10, 1][len - 1];
    Ok((digits(&after[..len], refusal)? * scale, &after[len..]))
}

fn offset_minutes(zone: &[u8], refusal: CivilRefusal) -> Result<i64, CivilRefusal> {
    match zone {
        b"Z" => Ok(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let minutes = digits(&[*h1, *h2], refusal)? * 60 + digits(&[*m1, *m2], refusal)?;
            if minutes > 18 * 60 {
                return Err(refusal);
            }
            Ok(if *sign == b'-' { -minutes } else { minutes })
        }
        _ => Err(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn every_civil_instant_survives_its_text(ms: i64) -> bool {
            let at = UnixMillis(ms.rem_euclid(LATEST_MS - EARLIEST_MS) + EARLIEST_MS);
            at.to_string().parse() == Ok(at)
        }
    }

    #[test]
    fn known_instants_have_known_texts() {
        assert_eq!(UnixMillis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!("2024-02-29T12:00:00+01:00".parse(), Ok(UnixMillis(1_709_204_400_000)));
        assert_eq!(UnixMillis(EARLIEST_MS).to_string(), "0000-01-01T00:00:00.000Z");
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for bad in ["2023-02-29", "2024-13-01", "2024-00-10", "24-01-01", "2024-1-1", "２024-01-01"] {
            assert_eq!(check_date(bad), Err(CivilRefusal::Date), "{bad}");
        }
        for bad in ["2024-01-01T24:00:00Z", "2024-01-01 10:00:00Z", "2024-01-01T10:00:00", ""] {
            assert!(bad.parse::<UnixMillis>().is_err(), "{bad}");
        }
    }
}
