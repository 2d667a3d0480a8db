//! Knowing a report that says the same again by its bytes, without reading it: all but its sequence number is what the
//! last one was.

use std::collections::BTreeMap;

use holdfast_domain::{DeviceId, Incarnation, ReportOrder};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The identity of a report's bytes, its sequence number left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SameAgain([u8; 32]);

#[derive(Deserialize)]
struct Head<'a> {
    incarnation: Incarnation,
    boot: u64,
    #[serde(borrow)]
    sequence: &'a RawValue,
}

impl SameAgain {
    /// The identity of `body`, with the device and the order that it names; `None` if it does not look like a report.
    pub(crate) fn of(body: &[u8]) -> Option<(Self, DeviceId, ReportOrder)> {
        let body = std::str::from_utf8(body).ok()?;
        let envelope: BTreeMap<DeviceId, Head<'_>> = serde_json::from_str(body).ok()?;
        let (device, head) = envelope.into_iter().next()?;
        let digits = head.sequence.get();
        let start = (digits.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
        let (before, after) = (body.get(..start)?, body.get(start + digits.len()..)?);
        let mut hasher = blake3::Hasher::new();
        hasher.update(before.as_bytes());
        hasher.update(after.as_bytes());
        let order = ReportOrder {
            incarnation: head.incarnation,
            boot: head.boot,
            sequence: digits.parse().ok()?,
        };
        Some((Self(*hasher.finalize().as_bytes()), device, order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: &str = "0192b3a4-0000-7000-8000-000000000001";

    fn body(sequence: u64, rest: &str) -> String {
        format!(
            r#"{{"{DEVICE}":{{"incarnation":"{DEVICE}","boot":3,"sequence":{sequence},"heldVersion":{rest}}}}}"#
        )
    }

    #[test]
    fn only_the_sequence_may_differ() {
        let of = |sequence, rest: &str| {
            SameAgain::of(body(sequence, rest).as_bytes()).expect("a report")
        };
        let (first, _, order) = of(9, "4");
        assert_eq!((order.boot, order.sequence), (3, 9));
        assert_eq!(first, of(10, "4").0);
        assert_ne!(first, of(10, "5").0);
    }

    #[test]
    fn what_is_no_report_has_no_identity() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"x":{}}"#,
            &body(1, "4").replace('1', "\"1\""),
        ] {
            assert!(SameAgain::of(body.as_bytes()).is_none(), "{body}");
        }
    }
}
