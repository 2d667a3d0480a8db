//! Server-sent events: bytes in, events out. No I/O.
//!
//! Source: WHATWG HTML Living Standard, section 9.2.6 (interpreting an event stream).

/// Most bytes of one event: far above what the hub sends, so that a wrong server can't fill the memory.
const EVENT_BYTES: usize = 4 * 1024 * 1024;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Sse {
    /// Its type; empty: `message`.
    pub(crate) kind: String,
    /// Its data, lines joined by newlines.
    pub(crate) data: String,
    /// The stream's last id as of this event.
    pub(crate) id: Option<String>,
}

/// The stream is none, or has an event of more than [`EVENT_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SseError {
    #[error("expected an event of at most {EVENT_BYTES} bytes, found a longer one")]
    TooLong,
    #[error("expected a stream in UTF-8")]
    NotText,
}

/// Turns a stream's bytes, in pieces of any size, into its events.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    line: Vec<u8>,
    after_return: bool,
    event: Sse,
    has_data: bool,
    last_id: Option<String>,
    is_begun: bool,
}

impl Decoder {
    /// Takes `bytes` and gives the events that they complete.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Sse>, SseError> {
        let mut events = Vec::new();
        for &byte in bytes {
            let was_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if was_return => {}
                b'\n' | b'\r' => events.extend(self.end_line()?),
                _ => {
                    self.line.push(byte);
                    if self.line.len() + self.event.data.len() > EVENT_BYTES {
                        return Err(SseError::TooLong);
                    }
                }
            }
        }
        Ok(events)
    }

    /// The place in the stream: the last id that was given, with an event or without.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    fn end_line(&mut self) -> Result<Option<Sse>, SseError> {
        let bytes = std::mem::take(&mut self.line);
        let mut line = std::str::from_utf8(&bytes).map_err(|_| SseError::NotText)?;
        if !std::mem::replace(&mut self.is_begun, true) {
            line = line.trim_start_matches('\u{feff}');
        }
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.kind),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.last_id = Some(value.to_owned()),
            // `retry` is the client's own business here; a comment has an empty field; others are to be ignored.
            _ => {}
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<Sse> {
        let event = std::mem::take(&mut self.event);
        let has_data = std::mem::take(&mut self.has_data);
        has_data.then(|| Sse {
            id: self.last_id.clone(),
            ..event
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Vec<Sse> {
        let mut decoder = Decoder::default();
        pieces
            .iter()
            .flat_map(|piece| decoder.feed(piece).expect("a stream"))
            .collect()
    }

    #[test]
    fn events_come_out_however_the_bytes_are_cut() {
        let text = "\u{feff}: hello\r\nid: 7\r\nevent: sensor.failed\r\ndata: {\"a\":\ndata: 1}\r\rdata\n\nid: 8\n\n".as_bytes();
        let whole = decode(&[text]);
        assert_eq!(
            whole,
            [
                Sse {
                    kind: "sensor.failed".into(),
                    data: "{\"a\":\n1}".into(),
                    id: Some("7".into())
                },
                Sse {
                    kind: String::new(),
                    data: String::new(),
                    id: Some("7".into())
                },
            ]
        );
        for cut in 0..text.len() {
            assert_eq!(decode(&[&text[..cut], &text[cut..]]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_stream_without_end_is_refused() {
        let mut decoder = Decoder::default();
        let piece = vec![b'x'; 1024 * 1024];
        let results: Vec<_> = (0..5).map(|_| decoder.feed(&piece)).collect();
        assert_eq!(results.last(), Some(&Err(SseError::TooLong)));
    }
}
