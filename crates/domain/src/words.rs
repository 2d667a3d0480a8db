//! Errors of libraries and of the system as people read them: with what they came of, and without the system's numbers,
//! which say nothing more than the words beside them.

use alloc::{
    borrow::ToOwned as _,
    string::{String, ToString as _},
};
use core::error::Error;

/// An error and what it comes from, on one line.
#[must_use]
pub fn in_words(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    without_numbers(&text)
}

/// `Permission denied (os error 13)` as `Permission denied`, wherever it stands in a text.
#[must_use]
pub fn without_numbers(text: &str) -> String {
    let mut parts = text.split(OPENS);
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|sign: char| sign.is_ascii_digit());
        match rest.strip_prefix(')') {
            Some(rest) if rest.len() + 1 < part.len() => told.push_str(rest),
            _ => {
                told.push_str(OPENS);
                told.push_str(part);
            }
        }
    }
    told
}

/// How the standard library begins to tell a number of the system.
const OPENS: &str = " (os error ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_system_are_left_out_and_nothing_else() {
        for (text, told) in [
            ("Permission denied (os error 13)", "Permission denied"),
            (
                "a: No such file or directory (os error 2): b (os error 111); c",
                "a: No such file or directory: b; c",
            ),
            ("no (os error x) here", "no (os error x) here"),
            ("no (os error )", "no (os error )"),
            ("no (os error 12", "no (os error 12"),
            ("", ""),
        ] {
            assert_eq!(without_numbers(text), told);
        }
    }

    #[test]
    fn an_error_is_told_with_what_it_came_of() {
        let inner = "x".parse::<u8>().expect_err("no number");
        let outer = Wrapped(inner);
        assert_eq!(
            in_words(&outer),
            "reading a number: invalid digit found in string"
        );
    }

    #[derive(Debug)]
    struct Wrapped(core::num::ParseIntError);

    impl core::fmt::Display for Wrapped {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            f.write_str("reading a number")
        }
    }

    impl Error for Wrapped {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }
}
