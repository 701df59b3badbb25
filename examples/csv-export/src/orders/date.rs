//! [`Date`]: a day of the calendar.

use std::fmt;

/// A day, counted from 1 January 1970. Prints as `2025-11-24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date(pub(crate) i64);

impl Date {
    pub(crate) const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.div_euclid(86_400))
    }

    /// Year, month, day (H. Hinnant, "chrono-Compatible Low-Level Date
    /// Algorithms", `civil_from_days`).
    const fn civil(self) -> (i64, i64, i64) {
        let z = self.0 + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        let year = year_of_era + era * 400 + (month <= 2) as i64;
        (year, month, day)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_names() {
        let names = [0, 59, 11_016, 19_358, 20_453].map(|day| Date(day).to_string());
        let expected = [
            "1970-01-01",
            "1970-03-01",
            "2000-02-29",
            "2023-01-01",
            "2025-12-31",
        ];
        assert_eq!(names, expected);
        assert_eq!(Date::from_unix_seconds(-1).to_string(), "1969-12-31");
    }
}
