//! Times as people say them.

use jiff::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// `12 s ago`, `3 min ago`, `in 2 h`.
#[must_use]
pub fn relative(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(time).as_secs();
    if seconds.abs() < 1 {
        return "just now".to_owned();
    }
    if seconds > 0 {
        return format!("{} ago", span(seconds));
    }
    // What is to come is rounded: two hours from a moment ago are still two hours.
    let left = seconds.abs();
    let unit = match left {
        ..MINUTE => 1,
        MINUTE..HOUR => MINUTE,
        HOUR..DAY => HOUR,
        _ => DAY,
    };
    format!("in {}", span(left + unit / 2))
}

/// [`relative`], or `never`.
#[must_use]
pub fn relative_or(time: Option<Timestamp>, now: Timestamp, never: &str) -> String {
    time.map_or_else(|| never.to_owned(), |time| relative(time, now))
}

/// `for 3 min`, counted from `since`.
#[must_use]
pub fn lasting(since: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(since).as_secs().max(0))
}

fn span(seconds: i64) -> String {
    if seconds < MINUTE {
        format!("{seconds} s")
    } else if seconds < HOUR {
        format!("{} min", seconds / MINUTE)
    } else if seconds < DAY {
        format!("{} h", seconds / HOUR)
    } else {
        format!("{} d", seconds / DAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a time");
        for (time, said) in [
            ("2026-11-22T11:59:59.5Z", "just now"),
            ("2026-11-22T11:59:48Z", "12 s ago"),
            ("2026-11-22T11:57:00Z", "3 min ago"),
            ("2026-11-22T09:00:00Z", "3 h ago"),
            ("2026-11-01T12:00:00Z", "21 d ago"),
            ("2026-11-22T12:30:00Z", "in 30 min"),
            ("2026-11-22T13:59:57Z", "in 2 h"),
            ("2026-11-22T13:20:00Z", "in 1 h"),
        ] {
            assert_eq!(relative(time.parse().expect("a time"), now), said);
        }
    }
}
