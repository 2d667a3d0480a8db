//! Logs: text for people, JSON for collectors.

use std::io::{self, IsTerminal as _, Write};

use holdfast_domain::without_numbers;

use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::ConfigError;

/// How a process logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// `text` or `json`.
    pub format: LogFormat,
    /// What is logged, in the notation of `tracing-subscriber`: `info`, `holdfast_hub=debug,info`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors.
    Json,
}

/// Colours are for a terminal, and for those who did not decline them (no-color.org).
fn colours() -> bool {
    let declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !declined
}

/// Standard error, for lines that are whole: what the system says of an error stands there without its number.
struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(line) {
            Ok(text) if text.contains("(os error ") => {
                self.0.write_all(without_numbers(text).as_bytes())?;
            }
            _ => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn lines() -> Lines<io::Stderr> {
    Lines(io::stderr())
}

/// A filter. Words that are no level are refused: to the library they name a part that logs, and everything else falls
/// silent.
fn filter(text: &str) -> Result<EnvFilter, ConfigError> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    const EXPECTED: &str = "a level (off, error, warn, info, debug or trace), and others for parts of it by \
                            their names, as in holdfast_hub=debug,info";
    let is_level = |word: &str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    let is_unclear = |part: &str| {
        let is_word = !part.contains(['=', '[', ']', '{', '}', '"', '/']);
        !part.is_empty() && is_word && !is_level(part)
    };
    let unclear = text.split(',').map(str::trim).find(|part| is_unclear(part));
    let wrong = |found: &str| ConfigError::key("log.filter", EXPECTED, &found);
    if let Some(part) = unclear {
        return Err(wrong(part));
    }
    // Which part it is that can't be read.
    EnvFilter::try_new(text).map_err(|_| {
        let is_wrong = |part: &&str| EnvFilter::try_new(part).is_err();
        wrong(text.split(',').find(is_wrong).unwrap_or(text))
    })
}

/// Starts logging to standard error. The second start in a process does nothing.
///
/// # Errors
/// If the filter can't be read.
pub fn start(config: &LogConfig) -> Result<(), ConfigError> {
    let filter = filter(&config.filter)?;
    let registry = tracing_subscriber::registry().with(filter);
    let _ = match config.format {
        LogFormat::Text => {
            let text = fmt::layer()
                .with_writer(lines)
                .with_ansi(colours())
                .with_target(false);
            registry.with(text).try_init()
        }
        LogFormat::Json => registry
            .with(fmt::layer().json().with_writer(lines))
            .try_init(),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_is_told_in_our_words() {
        for (text, found) in [
            ("inof", "inof"),
            ("holdfast_hub=debug,inof", "inof"),
            ("holdfast_hub=loud,info", "holdfast_hub=loud"),
            ("holdfast_hub=debug=info", "holdfast_hub=debug=info"),
        ] {
            let error = filter(text).expect_err(text).to_string();
            assert!(error.ends_with(&format!("found {found}")), "{error}");
            assert!(error.contains("expected a level (off, error,"), "{error}");
        }
        for right in [
            "info",
            "INFO",
            "holdfast_hub=debug, info",
            "off",
            "",
            "sqlx=off,[poll{device=1}]=trace,warn",
        ] {
            filter(right).expect(right);
        }
    }

    #[test]
    fn a_line_goes_out_whole_and_without_numbers_of_the_system() {
        let mut out = Vec::new();
        for line in ["open /x: No such file (os error 2)\n", "all is well\n"] {
            let written = Lines(&mut out).write(line.as_bytes()).expect("memory");
            assert_eq!(written, line.len(), "the rest would be written again");
        }
        assert_eq!(out, b"open /x: No such file\nall is well\n");
    }
}
