//! References to secrets: a document never holds the secret itself.

use alloc::string::String;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fields::{Fields, Path, Problems};

/// Where the agent finds a secret: `{"secret": "env:NAME"}` (an environment variable) or `{"secret": "name"}` (a file in
/// the agent's one secrets folder).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SecretRef {
    /// `env:NAME`, or the name of a file in the secrets folder.
    pub secret: String,
}

impl SecretRef {
    const EXPECTED: &'static str =
        "a reference such as {\"secret\": \"env:NAME\"} or {\"secret\": \"file-name\"}; the secret itself never stands in a document";

    /// Reads a reference. A text is refused without being echoed: it may be a secret.
    pub(crate) fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        if value.is_string() {
            problems.add(path, Self::EXPECTED, "a text");
            return None;
        }
        let mut fields = Fields::open(value, path, problems)?;
        let secret = fields.text("secret", Self::EXPECTED);
        let checked = secret.filter(|name| Self::is_plain(name.strip_prefix("env:").unwrap_or(name)));
        if checked.is_none() {
            fields.problem("secret", Self::EXPECTED, "something else");
        }
        fields.rest();
        checked.map(|secret| Self { secret })
    }

    /// No path can be built out of it.
    fn is_plain(name: &str) -> bool {
        !name.is_empty()
            && !name.starts_with('.')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
    }
}
