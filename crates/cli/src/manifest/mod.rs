//! Manifests: what people write down of a device, as YAML (or JSON, which is YAML).
//!
//! [`read_all`] turns files into checked manifests: the domain's own readers check them here first, with file, document and
//! field in every message; the hub checks again. [`schema`] describes them for editors. Leaves to the commands: what
//! is done with them.

mod read;
pub mod schema;
mod yaml;

use std::{collections::BTreeMap, fmt, path::PathBuf};

use holdfast_domain::{Name, Problems};
use serde_json::Value;

pub(crate) use read::give_ids;
pub use read::{read_all, read_text};

/// What `apiVersion` must be.
pub const API_VERSION: &str = "holdfast/v1";

/// What one document declares of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Where it stands.
    pub origin: Origin,
    /// The device, by name.
    pub device: Name,
    /// The labels that it shall have; `None`: whatever it has.
    pub labels: Option<BTreeMap<String, String>>,
    /// The sensors as they were written: valid, ids mostly left out.
    pub sensors: Vec<Value>,
}

/// Where a manifest stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file, or `standard input`.
    pub file: String,
    /// Which document of it, from 1.
    pub document: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, document {}", self.file, self.document)
    }
}

/// Why manifests could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A file can't be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        source: std::io::Error,
    },
    /// A file is too large.
    #[error("{file}: expected at most {} bytes, found more", read::FILE_BYTES)]
    TooLarge {
        /// The file.
        file: String,
    },
    /// There is nothing in it.
    #[error("{place}: expected at least one manifest, found none")]
    Empty {
        /// File or folder.
        place: String,
    },
    /// It is not YAML, or uses what has no meaning here.
    #[error("{origin}: expected a manifest in YAML, found something else: {error}")]
    Yaml {
        /// Where.
        origin: Origin,
        /// What is wrong, with line and column where known.
        error: String,
    },
    /// Fields are wrong.
    #[error("{origin}:{}", listed(.problems))]
    Invalid {
        /// Where.
        origin: Origin,
        /// Which, with what is expected and what was found.
        problems: Problems,
    },
    /// Two documents are about the same device.
    #[error("{second}: expected each device in one document, found {device} in {first} too")]
    Twice {
        /// The device.
        device: Name,
        /// The first document.
        first: Origin,
        /// The second one.
        second: Origin,
    },
}

/// One problem on the same line, many on a line each.
fn listed(problems: &Problems) -> String {
    match problems.list() {
        [only] => format!(" {only}"),
        many => many
            .iter()
            .map(|problem| format!("\n  {problem}"))
            .collect(),
    }
}
