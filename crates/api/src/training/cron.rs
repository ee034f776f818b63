//! When a training is due by `cron` and `timeZone`.
//!
//! Clocks that are put forward skip an hour: a tick in it falls out that day. Clocks that are put back repeat
//! one: a tick in it is at its first time only, unless the schedule has one in every hour.

use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions};
use jiff::{Timestamp, tz::TimeZone};

use super::Training;

/// The times of a `cron`.
#[derive(Clone, Debug)]
pub struct Schedule {
    times: Crontab,
    zone: TimeZone,
    /// Whether every hour has a tick, so that a repeated hour has its own.
    hourly: bool,
}

/// Why `cron` or `timeZone` cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct ScheduleError {
    /// The field.
    pub path: &'static str,
    /// What is wrong with it, and what to write.
    pub message: String,
}

/// Where `cron` stands.
pub const CRON: &str = "spec.training.cron";
/// Where `timeZone` stands.
pub const TIME_ZONE: &str = "spec.training.timeZone";

impl Training {
    /// When a training is due; `None` without `cron`.
    pub fn schedule(&self) -> Result<Option<Schedule>, ScheduleError> {
        let Some(cron) = &self.cron else { return Ok(None) };
        Schedule::read(cron, self.time_zone.as_deref()).map(Some)
    }
}

impl Schedule {
    /// Reads a `cron` of five fields and a name of the IANA time zone database; `None` is UTC.
    pub fn read(cron: &str, time_zone: Option<&str>) -> Result<Self, ScheduleError> {
        let zone = match time_zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| ScheduleError {
                path: TIME_ZONE,
                message: format!(
                    "{name:?} is no time zone; write a name of the IANA time zone database, such as Europe/Berlin or UTC"
                ),
            })?,
        };
        let refuse = |why: &str| ScheduleError {
            path: CRON,
            message: format!(
                "{cron:?} cannot be used: {why}; write minute, hour, day of month, month and day of week, such as 0 3 * * *"
            ),
        };
        let fields: Vec<&str> = cron.split_ascii_whitespace().collect();
        if fields.len() != 5 {
            // A sixth would be taken as a time zone.
            return Err(refuse(&format!("it has {} fields and not 5", fields.len())));
        }
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let text = match time_zone {
            None => fields.join(" "),
            Some(name) => format!("{} {name}", fields.join(" ")),
        };
        let times = cronexpr::parse_crontab_with(&text, options).map_err(|error| {
            // The last line, behind the mark under the place.
            let said = error.to_string();
            let why = said.rsplit('^').next().unwrap_or_default().trim().to_owned();
            refuse(&why)
        })?;
        let hourly = fields.get(1).is_some_and(|hours| hours.starts_with('*'));
        let schedule = Self { times, zone, hourly };
        match schedule.next_after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(refuse("there is no such day")),
        }
    }

    /// The first tick after a time; `None` only if there is none within years.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let mut after = time;
        loop {
            let tick = self.times.find_next(after).ok()?.timestamp();
            if self.hourly || !self.is_repeated(tick) {
                return Some(tick);
            }
            after = tick;
        }
    }

    /// Whether clocks showed the same time before.
    fn is_repeated(&self, tick: Timestamp) -> bool {
        let shown = tick.to_zoned(self.zone.clone()).datetime();
        self.zone.to_ambiguous_timestamp(shown).earlier().is_ok_and(|first| first < tick)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn ticks(cron: &str, zone: Option<&str>, from: &str, number: usize) -> Vec<String> {
        let schedule = Schedule::read(cron, zone).unwrap();
        let mut time: Timestamp = from.parse().unwrap();
        (0..number)
            .map(|_| {
                time = schedule.next_after(time).unwrap();
                time.to_string()
            })
            .collect()
    }

    #[rstest]
    #[case::utc("0 3 * * *", None, "2026-01-01T03:00:00Z", &["2026-01-02T03:00:00Z", "2026-01-03T03:00:00Z"])]
    #[case::zone("0 3 * * *", Some("Europe/Berlin"), "2026-01-01T00:00:00Z", &["2026-01-01T02:00:00Z"])]
    #[case::weekday("30 4 * * 1", None, "2026-01-01T00:00:00Z", &["2026-01-05T04:30:00Z"])]
    #[case::spaces("  0   3 * *  * ", None, "2026-01-01T00:00:00Z", &["2026-01-01T03:00:00Z"])]
    // 29 March 2026: 2:00 becomes 3:00.
    #[case::skipped_hour("30 2 * * *", Some("Europe/Berlin"), "2026-03-28T12:00:00Z",
        &["2026-03-30T00:30:00Z"])]
    #[case::before_the_skipped_hour("30 1 * * *", Some("Europe/Berlin"), "2026-03-28T12:00:00Z",
        &["2026-03-29T00:30:00Z", "2026-03-29T23:30:00Z"])]
    // 25 October 2026: 3:00 becomes 2:00.
    #[case::repeated_hour("30 2 * * *", Some("Europe/Berlin"), "2026-10-24T12:00:00Z",
        &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"])]
    #[case::every_hour("30 * * * *", Some("Europe/Berlin"), "2026-10-24T23:31:00Z",
        &["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"])]
    fn ticks_follow_clocks(
        #[case] cron: &str,
        #[case] zone: Option<&str>,
        #[case] from: &str,
        #[case] expected: &[&str],
    ) {
        assert_eq!(ticks(cron, zone, from, expected.len()), expected);
    }

    #[rstest]
    #[case("61 3 * * *", None, CRON, "61")]
    #[case("0 3 * *", None, CRON, "it has 4 fields")]
    #[case("0 3 * * * Europe/Berlin", None, CRON, "it has 6 fields")]
    #[case("0 3 30 2 *", None, CRON, "no such day")]
    #[case("0 3 * * *", Some("Europe/Berln"), TIME_ZONE, "\"Europe/Berln\" is no time zone")]
    #[case("0 3 * * *", Some("../etc/passwd"), TIME_ZONE, "is no time zone")]
    fn what_cannot_be_used_is_refused_with_its_field(
        #[case] cron: &str,
        #[case] zone: Option<&str>,
        #[case] path: &str,
        #[case] part: &str,
    ) {
        let error = Schedule::read(cron, zone).unwrap_err();
        assert_eq!(error.path, path);
        assert!(error.message.contains(part) && !error.message.contains('\n'), "{error}");
    }
}
