//! One typed configuration: defaults, then a file (TOML), then the environment; what comes later wins.
//!
//! A variable is named after its role and key: `HOLDFAST_API_LISTEN`, and `HOLDFAST_API_STORE__URL` for `store.url`. A key
//! that does not exist, or a value that does not fit, is an error that names the key, where it was set, what was found and
//! what is allowed.
//!
//! Kubernetes puts variables of its own into every container, named after the services of the namespace: a service called
//! `holdfast-api` makes `HOLDFAST_API_PORT=tcp://10.0.0.1:80` and more like it. Those are passed over, by their form; no key
//! of ours may have that form ([`is_of_a_service`]).

use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use figment::{
    Figment,
    error::{Actual, Kind},
    providers::{Env, Format as _, Serialized, Toml},
};
use serde::{
    Deserializer, Serialize,
    de::{self, DeserializeOwned, Unexpected, Visitor},
};

/// A configuration that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration file {} can't be read: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The file is no TOML.
    #[error("the configuration file {} can't be read: expected TOML, found something else in {place}: {why}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line and column.
        place: String,
        /// What is wrong there.
        why: String,
    },
    /// A key is wrong.
    #[error("configuration key {key} ({origin}): expected {expected}, found {found}")]
    Key {
        /// The key, such as `store.url`.
        key: String,
        /// Where it was set.
        origin: String,
        /// What is allowed.
        expected: String,
        /// What was found.
        found: String,
    },
}

impl ConfigError {
    /// A value that can be read but not used.
    #[must_use]
    pub fn key(key: &str, expected: impl Into<String>, found: &impl ToString) -> Self {
        Self::Key {
            key: key.to_owned(),
            origin: "as configured".to_owned(),
            expected: expected.into(),
            found: found.to_string(),
        }
    }
}

/// Reads the configuration of one role. `prefix` is the role's, such as `HOLDFAST_API_`.
///
/// # Errors
/// Names the first key that is wrong.
pub fn load<T: Default + Serialize + DeserializeOwned>(
    file: Option<&Path>,
    prefix: &str,
) -> Result<T, ConfigError> {
    let mut figment = Figment::from(Serialized::defaults(T::default()));
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::File {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        check_syntax(path, &text)?;
        figment = figment.merge(Toml::string(&text));
    }
    let of_services = of_services(prefix);
    let ours = Env::prefixed(prefix)
        .filter(move |key| !of_services.contains(&key.as_str().to_uppercase()))
        .split("__");
    figment = figment.merge(ours);
    figment
        .extract()
        .map_err(|error| from_figment(error, file, prefix))
}

/// A file that is no TOML has no key that could be named.
fn check_syntax(path: &Path, text: &str) -> Result<(), ConfigError> {
    let Err(error) = toml::from_str::<toml::Table>(text) else {
        return Ok(());
    };
    let before = error.span().and_then(|span| text.get(..span.start));
    let before = before.unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    Err(ConfigError::Syntax {
        path: path.to_owned(),
        place: format!("line {line}, column {column}"),
        why: error.message().to_owned(),
    })
}

/// What Kubernetes has put into the environment behind `prefix`, in capitals and without it.
fn of_services(prefix: &str) -> BTreeSet<String> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?.to_uppercase();
            let rest = name.strip_prefix(&prefix.to_uppercase())?;
            is_of_a_service(rest, &value.to_string_lossy()).then(|| rest.to_owned())
        })
        .collect()
}

/// Is this a variable that tells of a Kubernetes service? `rest` is the name without our prefix, in capitals.
///
/// Source: Kubernetes documentation, "Service", section "Environment variables" (the forms that Docker's links had):
/// `…_SERVICE_HOST`, `…_SERVICE_PORT[_NAME]`, `…_PORT=tcp://…`, `…_PORT_80_TCP[_PROTO|_PORT|_ADDR]`. What is set before
/// `SERVICE` or `PORT` is the rest of the service's name, if that is longer than our prefix.
#[must_use]
pub fn is_of_a_service(rest: &str, value: &str) -> bool {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    let is_url = || {
        PROTOCOLS
            .iter()
            .any(|protocol| value.to_uppercase().starts_with(&format!("{protocol}://")))
    };
    let words: Vec<&str> = rest.split('_').collect();
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let is_port = |words: &[&str]| match words {
        ["PORT"] => is_url(),
        ["PORT", number, protocol, rest @ ..] => {
            is_number(number)
                && PROTOCOLS.contains(protocol)
                && matches!(rest, [] | ["PROTO" | "PORT" | "ADDR"])
        }
        ["SERVICE", "HOST"] => true,
        ["SERVICE", "PORT", ..] => is_number(value),
        _ => false,
    };
    (0..words.len()).any(|at| is_port(&words[at..]))
}

/// The address that a server listens on, for `#[serde(deserialize_with)]`: its error says what an address looks like.
///
/// # Errors
/// If it is none.
pub fn listen<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    struct Address;

    impl Visitor<'_> for Address {
        type Value = SocketAddr;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an IP address and a port, such as 127.0.0.1:3002")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<SocketAddr, E> {
            text.parse()
                .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    }

    from.deserialize_any(Address)
}

/// The variable that set the key at `path`, or one within it, as it is written there.
fn variable(prefix: &str, path: &[String]) -> String {
    let wanted = format!("{prefix}{}", path.join("__")).to_uppercase();
    let within = format!("{wanted}__");
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .find(|name| {
            let name = name.to_uppercase();
            name == wanted || name.starts_with(&within)
        })
        .unwrap_or(wanted)
}

fn from_figment(error: figment::Error, file: Option<&Path>, prefix: &str) -> ConfigError {
    let key = error.path.join(".");
    let from_environment = error
        .metadata
        .as_ref()
        .is_some_and(|metadata| metadata.name.contains("environment"));
    let origin = if from_environment {
        format!("from the environment, {}", variable(prefix, &error.path))
    } else {
        file.map_or_else(
            || "a default".to_owned(),
            |file| format!("in {}", file.display()),
        )
    };
    let below = |field: &str| {
        if key.is_empty() {
            field.to_owned()
        } else {
            format!("{key}.{field}")
        }
    };
    match error.kind {
        Kind::UnknownField(field, allowed) => ConfigError::Key {
            // The path of what is unknown ends with its own name.
            key: if error.path.last().is_some_and(|last| *last == field) {
                key
            } else {
                below(&field)
            },
            origin,
            expected: format!("one of the keys {}", allowed.join(", ")),
            found: "an unknown key".to_owned(),
        },
        Kind::MissingField(field) => ConfigError::Key {
            key: below(&field),
            origin,
            expected: "a value".to_owned(),
            found: "nothing".to_owned(),
        },
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            ConfigError::Key {
                key,
                origin,
                expected: in_words(expected),
                found: shown(&found),
            }
        }
        Kind::UnknownVariant(found, allowed) => ConfigError::Key {
            key,
            origin,
            expected: format!("one of {}", allowed.join(", ")),
            found,
        },
        other => ConfigError::Key {
            key,
            origin,
            expected: "a value that can be read".to_owned(),
            found: other.to_string(),
        },
    }
}

/// What serde calls the types of Rust, as people who write files call them.
fn in_words(expected: String) -> String {
    let words = match expected.as_str() {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not below 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "string" => "a text",
        "a sequence" => "a list",
        "a map" => "a section",
        other if other.starts_with("struct ") => "a section",
        _ => return expected,
    };
    words.to_owned()
}

fn shown(actual: &Actual) -> String {
    match actual {
        Actual::Str(text) => format!("{text:?}"),
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(number) => number.to_string(),
        Actual::Signed(number) => number.to_string(),
        Actual::Float(number) => number.to_string(),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a section".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(deserialize_with = "listen")]
        listen: SocketAddr,
        store: Store,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Store {
        url: String,
        connections: u32,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self {
                listen: SocketAddr::from(([127, 0, 0, 1], 1)),
                store: Store {
                    url: "sqlite:x".into(),
                    connections: 4,
                },
            }
        }
    }

    fn with_file(text: &str) -> Result<Sample, ConfigError> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("written");
        load(Some(file.path()), "HOLDFAST_NO_SUCH_ROLE_")
    }

    #[test]
    fn defaults_then_the_file() {
        let sample = with_file("[store]\nconnections = 9\n").expect("good");
        assert_eq!(
            sample.store,
            Store {
                url: "sqlite:x".into(),
                connections: 9
            }
        );
        assert_eq!(sample.listen, SocketAddr::from(([127, 0, 0, 1], 1)));
    }

    /// The whole error, with `FILE` for the file's name.
    fn refused(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("written");
        load::<Sample>(Some(file.path()), "HOLDFAST_NO_SUCH_ROLE_")
            .expect_err(text)
            .to_string()
            .replace(&file.path().display().to_string(), "FILE")
    }

    #[test]
    fn an_error_names_the_key_as_it_was_written_and_what_is_allowed() {
        for (text, expected) in [
            (
                "lissten = \"x\"",
                "configuration key lissten (in FILE): expected one of the keys listen, store, found an unknown key",
            ),
            (
                "[stor]\nurl = \"x\"",
                "configuration key stor (in FILE): expected one of the keys listen, store, found an unknown key",
            ),
            (
                "[store]\nconections = 9",
                "configuration key store.conections (in FILE): expected one of the keys url, connections, \
                 found an unknown key",
            ),
            (
                "[store]\nstore = 9",
                "configuration key store.store (in FILE): expected one of the keys url, connections, found an unknown key",
            ),
            (
                "[store]\nconnections = \"many\"",
                "configuration key store.connections (in FILE): expected a whole number, not below 0, \
                 found \"many\"",
            ),
            (
                "listen = \"localhost\"",
                "configuration key listen (in FILE): expected an IP address and a port, such as 127.0.0.1:3002, \
                 found \"localhost\"",
            ),
            (
                "listen = 3002",
                "configuration key listen (in FILE): expected an IP address and a port, such as 127.0.0.1:3002, \
                 found 3002",
            ),
        ] {
            assert_eq!(refused(text), expected);
        }
    }

    #[test]
    fn a_file_that_is_no_toml_is_told_with_the_place() {
        assert_eq!(
            refused("[store]\nurl = \"x\nconnections = 3\n"),
            "the configuration file FILE can't be read: expected TOML, found something else in line 2, column 9: \
             invalid basic string"
        );
    }

    #[test]
    fn what_kubernetes_tells_of_services_is_known_by_its_form() {
        for (name, value) in [
            ("PORT", "tcp://10.96.0.7:80"),
            ("SERVICE_HOST", "10.96.0.7"),
            ("SERVICE_PORT", "80"),
            ("SERVICE_PORT_HTTP", "80"),
            ("PORT_80_TCP", "tcp://10.96.0.7:80"),
            ("PORT_80_TCP_PROTO", "tcp"),
            ("PORT_80_TCP_PORT", "80"),
            ("PORT_80_TCP_ADDR", "10.96.0.7"),
            ("PORT_53_UDP_ADDR", "10.96.0.7"),
            // Of a service whose name begins with ours.
            ("METRICS_PORT", "tcp://10.96.0.8:9090"),
            ("METRICS_SERVICE_HOST", "10.96.0.8"),
            ("METRICS_PORT_9090_TCP", "tcp://10.96.0.8:9090"),
        ] {
            assert!(is_of_a_service(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("PORT", "8080"),
            ("LISTEN", "tcp://10.96.0.7:80"),
            ("SERVICE_PORT", "many"),
            ("PORTS", "tcp://10.96.0.7:80"),
            ("PORT_X_TCP", "1"),
            ("STORE__URL", "postgres://x"),
            ("", ""),
        ] {
            assert!(!is_of_a_service(name, value), "{name}={value}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = load::<Sample>(Some(Path::new("no-such.toml")), "X_")
            .expect_err("nothing there")
            .to_string();
        assert!(error.contains("no-such.toml"), "{error}");
    }
}
