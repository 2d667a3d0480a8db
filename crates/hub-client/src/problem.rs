//! What an answer that is not the wanted one means.
//!
//! An answer counts as the hub's only if it is a problem document (RFC 9457). Anything else comes from something between
//! here and there: a proxy, a captive portal, another server on the same port.

use holdfast_wire::{ProblemDetails, problem::MEDIA_TYPE};
use serde::Deserialize;

use crate::transport::{Answer, NoAnswer, append};

/// Why a call did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The hub gave no answer.
    #[error("{call}: {error}")]
    NoAnswer {
        /// `GET http://…`.
        call: String,
        /// Why.
        error: NoAnswer,
    },
    /// The hub refused, and says why.
    #[error("{}", describe(.problem))]
    Refused {
        /// `GET http://…`.
        call: String,
        /// What it says.
        problem: Box<ProblemDetails>,
    },
    /// Something answered that is not the hub.
    #[error("{call}: {status} from a proxy ({media_type})")]
    NotTheHub {
        /// `GET http://…`.
        call: String,
        /// `502 Bad Gateway`.
        status: String,
        /// What it sent.
        media_type: String,
    },
    /// The answer is not what this version understands.
    #[error("{call}: expected {expected}, found an answer that is not ({error})")]
    NotUnderstood {
        /// `GET http://…`.
        call: String,
        /// What was asked for.
        expected: &'static str,
        /// Where it differs.
        error: String,
    },
}

impl CallError {
    /// What the hub says, if it refused.
    #[must_use]
    pub fn problem(&self) -> Option<&ProblemDetails> {
        match self {
            Self::Refused { problem, .. } => Some(problem),
            Self::NoAnswer { .. } | Self::NotTheHub { .. } | Self::NotUnderstood { .. } => None,
        }
    }

    /// Did the hub refuse with this HTTP status?
    #[must_use]
    pub fn is_status(&self, status: u16) -> bool {
        self.problem()
            .is_some_and(|problem| problem.status == status)
    }

    /// Will the same call never succeed until somebody changes something? Then trying again is pointless.
    #[must_use]
    pub fn is_final(&self) -> bool {
        const TOO_MANY_REQUESTS: u16 = 429;
        self.problem()
            .is_some_and(|problem| problem.status < 500 && problem.status != TOO_MANY_REQUESTS)
    }
}

/// A problem in words: its kind, what is wrong this time, and each field that is wrong, on a line of its own.
pub(crate) fn describe(problem: &ProblemDetails) -> String {
    let mut text = problem.title.clone();
    let detail = problem.detail.as_deref().unwrap_or_default();
    // The detail of a document that is wrong is the list of what is wrong with it.
    let says_the_list = !problem.errors.is_empty()
        && (problem.errors.iter()).all(|error| detail.contains(&error.to_string()));
    if !says_the_list {
        append(&mut text, detail);
    }
    for error in &problem.errors {
        text.push_str("\n  ");
        text.push_str(&error.to_string());
    }
    text
}

/// The problem document in `answer`, if it is one.
pub(crate) fn of(answer: &Answer) -> Option<ProblemDetails> {
    let is_problem = answer
        .media_type()
        .is_some_and(|media| media.eq_ignore_ascii_case(MEDIA_TYPE));
    serde_json::from_slice(&answer.body)
        .ok()
        .filter(|_| is_problem)
}

/// What an answer with the wrong status means.
pub(crate) fn refusal(call: String, answer: &Answer) -> CallError {
    match of(answer) {
        Some(problem) => CallError::Refused {
            call,
            problem: Box::new(problem),
        },
        None => not_the_hub(call, answer),
    }
}

fn not_the_hub(call: String, answer: &Answer) -> CallError {
    let media_type = answer.media_type().unwrap_or("no content type").to_owned();
    CallError::NotTheHub {
        call,
        status: answer.status.to_string(),
        media_type,
    }
}

/// Reads an answer's body as the wanted document.
pub(crate) fn read<'a, T: Deserialize<'a>>(
    call: String,
    answer: &'a Answer,
    expected: &'static str,
) -> Result<T, CallError> {
    let is_json = answer
        .media_type()
        .is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
    if !is_json {
        return Err(not_the_hub(call, answer));
    }
    serde_json::from_slice(&answer.body).map_err(|error| CallError::NotUnderstood {
        call,
        expected,
        error: error.to_string(),
    })
}
