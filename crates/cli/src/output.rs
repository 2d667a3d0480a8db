//! Where output goes and in which form: tables and sentences for people, documents for programs.
//!
//! Leaves to [`crate::render`] what stands in a table.

use std::io::{self, Write};

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde::Serialize;

use crate::args::Format;

/// The output of a command.
pub struct Out<'a> {
    /// What was asked for.
    pub results: &'a mut dyn Write,
    /// What happens meanwhile: warnings, and progress where the results are for a program.
    pub notes: &'a mut dyn Write,
    /// The form.
    pub format: Format,
    /// May results be coloured?
    pub colours: bool,
    /// Does a person watch, so that lines may move?
    pub is_live: bool,
    /// The time, for "3 min ago".
    pub now: fn() -> Timestamp,
}

impl Out<'_> {
    /// Is the output for a program?
    #[must_use]
    pub fn is_document(&self) -> bool {
        self.format != Format::Table
    }

    /// Writes a document, in the form that was asked for.
    ///
    /// # Errors
    /// What the writer says.
    pub fn document(&mut self, document: &impl Serialize) -> io::Result<()> {
        match self.format {
            Format::Yaml => {
                let text = serde_yaml_ng::to_string(document).map_err(io::Error::other)?;
                self.results.write_all(text.as_bytes())
            }
            Format::Table | Format::Json => {
                let mut text = serde_json::to_vec_pretty(document)?;
                text.push(b'\n');
                self.results.write_all(&text)
            }
        }
    }

    /// Writes one of many documents, as soon as it is there: JSON on a line of its own, or a YAML document.
    ///
    /// # Errors
    /// What the writer says.
    pub fn streamed(&mut self, document: &impl Serialize) -> io::Result<()> {
        if self.format == Format::Yaml {
            writeln!(self.results, "---")?;
            self.document(document)?;
        } else {
            let mut text = serde_json::to_vec(document)?;
            text.push(b'\n');
            self.results.write_all(&text)?;
        }
        self.results.flush()
    }

    /// Writes a line for a person.
    ///
    /// # Errors
    /// What the writer says.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.results, "{text}")
    }

    /// Writes a line about what happens: beside the results where those are for a program.
    ///
    /// # Errors
    /// What the writer says.
    pub fn progress(&mut self, text: &str) -> io::Result<()> {
        if self.is_document() {
            self.note(text)
        } else {
            writeln!(self.results, "{text}")
        }
    }

    /// Writes a note beside the results.
    ///
    /// # Errors
    /// What the writer says.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.notes, "{text}")
    }

    /// Writes a table, or `empty` where it has no rows.
    ///
    /// # Errors
    /// What the writer says.
    pub fn table(&mut self, mut table: Table, empty: &str) -> io::Result<()> {
        /// Narrower than this, columns would break up words: rather let the terminal break the lines.
        const NARROWEST: u16 = 80;
        if table.is_empty() {
            return self.line(empty);
        }
        if table.width().is_some_and(|width| width < NARROWEST) {
            table.set_width(NARROWEST);
        }
        if self.colours {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let text = table.trim_fmt();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        writeln!(self.results, "{}", lines.join("\n"))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }
}

/// An empty table with these columns.
pub(crate) fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(
        columns
            .iter()
            .map(|name| Cell::new(name).add_attribute(Attribute::Bold)),
    );
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// A cell with `text`, made harmless.
pub(crate) fn cell(text: impl AsRef<str>) -> Cell {
    Cell::new(harmless(text.as_ref()))
}

/// How a word should strike a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Busy,
    Bad,
    Quiet,
    Plain,
}

/// A cell with a word and its tone.
pub(crate) fn toned(text: impl AsRef<str>, tone: Tone) -> Cell {
    let cell = cell(text);
    match tone {
        Tone::Good => cell.fg(Color::Green),
        Tone::Busy => cell.fg(Color::Yellow),
        Tone::Bad => cell.fg(Color::Red),
        Tone::Quiet => cell.fg(Color::DarkGrey),
        Tone::Plain => cell,
    }
}

/// `text` without control characters: what an instrument or another person wrote must not steer this terminal.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => ' ',
            c if c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                '\u{fffd}'
            }
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_does_not_steer_the_terminal() {
        assert_eq!(
            harmless("a\u{1b}[2Jb\r\nc\u{202e}d °C"),
            "a\u{fffd}[2Jb\u{fffd} c\u{fffd}d °C"
        );
    }
}
