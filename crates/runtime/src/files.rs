//! How many files and connections this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the process's own limit of open files to `wanted`, as far as the system lets it; gives what it is then. The
/// usual limit of 1,024 is from a time when a process had no more files than people have fingers.
#[must_use]
pub fn allow_open(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is without limit.
    let Some(now) = current else { return u64::MAX };
    if now >= wanted {
        return now;
    }
    let asked = maximum.map_or(wanted, |most| most.min(wanted));
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(asked),
            maximum,
        },
    );
    if raised.is_ok() { asked } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_and_never_lowered() {
        let before = allow_open(1);
        assert!(before > 1);
        let now = allow_open(before + 1);
        assert!(now == before || now == before + 1);
        assert_eq!(allow_open(1), now);
    }
}
