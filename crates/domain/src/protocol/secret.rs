//! References to secrets: a document never holds the secret itself.

use alloc::string::String;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::fields::{Fields, Path, Problems};

/// Where the agent finds a secret: `{"secret": "env:NAME"}` (an environment variable) or `{"secret": "name"}` (a file in
/// the agent's one secrets folder).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SecretRef {
    /// `env:NAME`, or the name of a file in the secrets folder.
    pub secret: String,
    /// Fields that this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Map<String, Value>,
}

impl SecretRef {
    const EXPECTED: &'static str = "a reference such as {\"secret\": \"env:NAME\"} or {\"secret\": \"file-name\"}; the secret itself never stands in a document";

    /// Reads a reference. A text is refused without being echoed: it may be a secret.
    pub(crate) fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        if value.is_string() {
            problems.add(path, Self::EXPECTED, "a text");
            return None;
        }
        let mut fields = Fields::open(value, path, problems)?;
        let secret = fields.text("secret", Self::EXPECTED).filter(|name| {
            let good = Self::is_plain(name.strip_prefix("env:").unwrap_or(name));
            if !good {
                fields.problem("secret", Self::EXPECTED, "something else");
            }
            good
        });
        let extra = fields.rest();
        Some(Self {
            secret: secret?,
            extra,
        })
    }

    /// No path can be built out of it.
    fn is_plain(name: &str) -> bool {
        !name.is_empty()
            && !name.starts_with('.')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
    }
}
