//! `strftime_now`: the caller's clock in a template's format.

/// A moment on the reader's wall clock. The caller supplies it, so that rendering
/// itself is a function of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// Year of the proleptic Gregorian calendar.
    pub year: i32,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, 1 to 31.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 59.
    pub second: u8,
}

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl LocalTime {
    /// The moment `seconds` after 1970-01-01T00:00:00 on the same wall clock: for local
    /// time add the zone's offset first.
    pub fn from_unix(seconds: i64) -> Self {
        let days = seconds.div_euclid(86_400);
        let rest = seconds.rem_euclid(86_400);
        // Days to civil date, era by era of 400 years: Hinnant, "chrono-Compatible
        // Low-Level Date Algorithms".
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self {
            year: i32::try_from(year).unwrap_or(i32::MAX),
            month: month as u8,
            day: day as u8,
            hour: (rest / 3_600) as u8,
            minute: (rest / 60 % 60) as u8,
            second: (rest % 60) as u8,
        }
    }

    /// Day of the year, 0 for the first of January.
    fn day_of_year(&self) -> i32 {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let month = usize::from(self.month.clamp(1, 12)) - 1;
        let start = before.get(month).copied().unwrap_or(0);
        start + i32::from(leap && month > 1) + i32::from(self.day) - 1
    }

    /// Day of the week, 0 for Sunday (Sakamoto's method).
    fn weekday(&self) -> i32 {
        let offsets = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
        let month = usize::from(self.month.clamp(1, 12)) - 1;
        let year = self.year - i32::from(month < 2);
        let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        let offset = offsets.get(month).copied().unwrap_or(0);
        (year + leaps + offset + i32::from(self.day)).rem_euclid(7)
    }

    /// ISO 8601 year and week.
    fn iso_week(&self) -> (i32, i32) {
        let monday_based = (self.weekday() + 6) % 7;
        let week = (self.day_of_year() - monday_based + 10) / 7;
        let weeks_in = |year: i32| {
            let dec_31 = |year: i32| {
                (year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400))
                    .rem_euclid(7)
            };
            52 + i32::from(dec_31(year) == 4 || dec_31(year - 1) == 3)
        };
        if week < 1 {
            (self.year - 1, weeks_in(self.year - 1))
        } else if week > weeks_in(self.year) {
            (self.year + 1, 1)
        } else {
            (self.year, week)
        }
    }

    /// `strftime` in the C locale, as glibc and so CPython on Linux write it. An unknown
    /// directive is kept as it stands. The result may be long: at most 32 bytes for
    /// each byte of `format`.
    pub fn strftime(&self, format: &str) -> String {
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut flag = None;
            let mut directive = chars.next();
            while let Some(f @ ('-' | '_' | '0' | '^' | '#')) = directive {
                flag = Some(f);
                directive = chars.next();
            }
            let Some(directive) = directive else {
                out.push('%');
                out.extend(flag);
                break;
            };
            match self.directive(directive, flag) {
                Some(text) if flag == Some('^') => out.push_str(&text.to_uppercase()),
                Some(text) => out.push_str(&text),
                None => {
                    out.push('%');
                    out.extend(flag);
                    out.push(directive);
                }
            }
        }
        out
    }

    fn directive(&self, directive: char, flag: Option<char>) -> Option<String> {
        let name = |names: &[&str], index: i32| {
            let found = usize::try_from(index).ok().and_then(|i| names.get(i));
            found.map_or_else(|| "?".to_string(), |name| (*name).to_string())
        };
        let short = |text: String| text.chars().take(3).collect::<String>();
        let number = |value: i32, width: usize, fill: char| match (flag, fill) {
            (Some('-'), _) => value.to_string(),
            (Some('_'), _) => format!("{value:>width$}"),
            (Some('0'), _) | (_, '0') => format!("{value:0>width$}"),
            _ => format!("{value:>width$}"),
        };
        let weekday = self.weekday();
        let hour = i32::from(self.hour);
        let twelve = (hour + 11) % 12 + 1;
        let year_day = self.day_of_year();
        Some(match directive {
            'a' => short(name(&DAYS, weekday)),
            'A' => name(&DAYS, weekday),
            'b' | 'h' => short(name(&MONTHS, i32::from(self.month) - 1)),
            'B' => name(&MONTHS, i32::from(self.month) - 1),
            'c' => self.strftime("%a %b %e %H:%M:%S %Y"),
            'C' => number(self.year.div_euclid(100), 2, '0'),
            'd' => number(self.day.into(), 2, '0'),
            'D' | 'x' => self.strftime("%m/%d/%y"),
            'e' => number(self.day.into(), 2, ' '),
            'f' => "000000".into(),
            'F' => self.strftime("%Y-%m-%d"),
            'g' => number(self.iso_week().0.rem_euclid(100), 2, '0'),
            'G' => self.iso_week().0.to_string(),
            'H' => number(hour, 2, '0'),
            'I' => number(twelve, 2, '0'),
            'j' => number(year_day + 1, 3, '0'),
            'k' => number(hour, 2, ' '),
            'l' => number(twelve, 2, ' '),
            'm' => number(self.month.into(), 2, '0'),
            'M' => number(self.minute.into(), 2, '0'),
            'n' => "\n".into(),
            'p' => if hour < 12 { "AM" } else { "PM" }.into(),
            'P' => if hour < 12 { "am" } else { "pm" }.into(),
            'r' => self.strftime("%I:%M:%S %p"),
            'R' => self.strftime("%H:%M"),
            'S' => number(self.second.into(), 2, '0'),
            't' => "\t".into(),
            'T' | 'X' => self.strftime("%H:%M:%S"),
            'u' => ((weekday + 6) % 7 + 1).to_string(),
            'U' => number((year_day + 7 - weekday) / 7, 2, '0'),
            'V' => number(self.iso_week().1, 2, '0'),
            'w' => weekday.to_string(),
            'W' => number((year_day + 7 - (weekday + 6) % 7) / 7, 2, '0'),
            'y' => number(self.year.rem_euclid(100), 2, '0'),
            'Y' => self.year.to_string(),
            // A naive time has no zone: Python writes nothing.
            'z' | 'Z' => String::new(),
            '%' => "%".into(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_agrees_with_python() {
        // datetime.utcfromtimestamp(..).strftime('%Y-%m-%d %H:%M:%S %j %a %G-W%V-%u %U %W')
        let cases = [
            (0, "1970-01-01 00:00:00 001 Thu 1970-W01-4 00 00"),
            (951_782_400, "2000-02-29 00:00:00 060 Tue 2000-W09-2 09 09"),
            (
                1_721_952_000,
                "2024-07-26 00:00:00 208 Fri 2024-W30-5 29 30",
            ),
            (
                1_735_689_599,
                "2024-12-31 23:59:59 366 Tue 2025-W01-2 52 53",
            ),
            (-1, "1969-12-31 23:59:59 365 Wed 1970-W01-3 52 52"),
            (
                1_609_459_200,
                "2021-01-01 00:00:00 001 Fri 2020-W53-5 00 00",
            ),
        ];
        for (seconds, expected) in cases {
            let time = LocalTime::from_unix(seconds);
            let text = time.strftime("%Y-%m-%d %H:%M:%S %j %a %G-W%V-%u %U %W");
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn directives_and_flags_are_glibcs() {
        let time = LocalTime {
            year: 2024,
            month: 7,
            day: 6,
            hour: 15,
            minute: 4,
            second: 5,
        };
        assert_eq!(time.strftime("%d %b %Y"), "06 Jul 2024");
        assert_eq!(time.strftime("%-d %B, %e %I:%M %p"), "6 July,  6 03:04 PM");
        assert_eq!(
            time.strftime("%c|%x|%X"),
            "Sat Jul  6 15:04:05 2024|07/06/24|15:04:05"
        );
        assert_eq!(time.strftime("100%% %Q %"), "100% %Q %");
        assert_eq!(time.strftime("%^a %z%Z"), "SAT ");
    }
}
