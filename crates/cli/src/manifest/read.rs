//! Files in, checked manifests out.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::{Path as FilePath, PathBuf},
};

use holdfast_domain::{
    Fields, Name, Path, Problems, SensorId, document::target::read_items, limits::DOCUMENT_BYTES,
};
use holdfast_wire::{DeviceCreate, Request as _};
use serde::Deserialize as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{API_VERSION, Manifest, ManifestError, Origin, yaml};

/// Most bytes of one file: what the hub takes of one device, and YAML is rarely shorter than JSON.
pub(super) const FILE_BYTES: usize = DOCUMENT_BYTES;

/// Reads the manifests of files, folders (their `.yaml`, `.yml` and `.json` files, by name) and `-` for standard input.
///
/// # Errors
/// The first thing that is wrong; within one document, everything that is.
pub fn read_all(places: &[PathBuf]) -> Result<Vec<Manifest>, ManifestError> {
    let mut manifests: Vec<Manifest> = Vec::new();
    for place in places {
        for (file, text) in texts(place)? {
            for manifest in read_text(&file, &text)? {
                if let Some(first) = manifests
                    .iter()
                    .find(|first| first.device == manifest.device)
                {
                    let (device, first, second) =
                        (manifest.device, first.origin.clone(), manifest.origin);
                    return Err(ManifestError::Twice {
                        device,
                        first,
                        second,
                    });
                }
                manifests.push(manifest);
            }
        }
    }
    Ok(manifests)
}

fn texts(place: &FilePath) -> Result<Vec<(String, String)>, ManifestError> {
    let failed = |path: &FilePath| {
        let path = path.to_owned();
        move |source| ManifestError::Read { path, source }
    };
    if place == FilePath::new("-") {
        return Ok(vec![bounded(io::stdin().lock(), "standard input", place)?]);
    }
    if !place.is_dir() {
        let file = File::open(place).map_err(failed(place))?;
        return Ok(vec![bounded(file, &place.display().to_string(), place)?]);
    }
    let mut paths = Vec::new();
    for entry in place.read_dir().map_err(failed(place))? {
        let path = entry.map_err(failed(place))?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_file() && matches!(extension, Some("yaml" | "yml" | "json")) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(ManifestError::Empty {
            place: format!("{} (*.yaml, *.yml, *.json)", place.display()),
        });
    }
    paths.sort();
    paths
        .iter()
        .map(|path| {
            bounded(
                File::open(path).map_err(failed(path))?,
                &path.display().to_string(),
                path,
            )
        })
        .collect()
}

fn bounded(
    reader: impl io::Read,
    name: &str,
    path: &FilePath,
) -> Result<(String, String), ManifestError> {
    let mut text = String::new();
    let most = FILE_BYTES as u64 + 1;
    reader
        .take(most)
        .read_to_string(&mut text)
        .map_err(|source| ManifestError::Read {
            path: path.to_owned(),
            source,
        })?;
    if text.len() > FILE_BYTES {
        return Err(ManifestError::TooLarge {
            file: name.to_owned(),
        });
    }
    Ok((name.to_owned(), text))
}

/// Reads the manifests in `text`, the content of `file`.
///
/// # Errors
/// The first document with something wrong, and everything that is wrong in it.
pub fn read_text(file: &str, text: &str) -> Result<Vec<Manifest>, ManifestError> {
    let mut manifests = Vec::new();
    for (index, document) in serde_yaml_ng::Deserializer::from_str(text).enumerate() {
        let origin = Origin {
            file: file.to_owned(),
            document: index + 1,
        };
        let failed = |error: String| ManifestError::Yaml {
            origin: origin.clone(),
            error,
        };
        let yaml = serde_yaml_ng::Value::deserialize(document)
            .map_err(|error| failed(error.to_string()))?;
        if yaml.is_null() {
            continue;
        }
        let document = yaml::to_json(yaml).map_err(failed)?;
        let mut problems = Problems::default();
        let read = read_document(document, &mut problems);
        problems.refuse_unknown();
        match problems.check(read) {
            Ok((device, labels, sensors)) => manifests.push(Manifest {
                origin,
                device,
                labels,
                sensors,
            }),
            Err(problems) => return Err(ManifestError::Invalid { origin, problems }),
        }
    }
    if manifests.is_empty() {
        return Err(ManifestError::Empty {
            place: file.to_owned(),
        });
    }
    Ok(manifests)
}

type Read = (Name, Option<BTreeMap<String, String>>, Vec<Value>);

fn read_document(document: Value, problems: &mut Problems) -> Option<Read> {
    let mut fields = Fields::open(document, &Path::ROOT, problems)?;
    let version = fields.required("apiVersion", api_version, format_args!("{API_VERSION:?}"));
    let device = fields.required("device", name, Name::EXPECTED);
    let labels = fields.optional("labels", labels);
    let sensors = fields.required("sensors", sensors, "the list of sensors ([] for none)");
    fields.rest();
    version?;
    Some((device?, labels?, sensors?))
}

#[allow(clippy::needless_pass_by_value, reason = "the form of every reader")]
fn api_version(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<()> {
    if value == API_VERSION {
        return Some(());
    }
    problems.add(path, format_args!("{API_VERSION:?}"), value);
    None
}

#[allow(clippy::needless_pass_by_value, reason = "the form of every reader")]
fn name(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Name> {
    let name = value.as_str().and_then(|text| Name::new(text).ok());
    if name.is_none() {
        problems.add(path, Name::EXPECTED, value);
    }
    name
}

/// The labels, by the reader that the hub has for them.
#[allow(clippy::needless_pass_by_value, reason = "the form of every reader")]
fn labels(
    value: Value,
    path: &Path<'_>,
    problems: &mut Problems,
) -> Option<BTreeMap<String, String>> {
    match DeviceCreate::from_json(json!({ "name": "any", "labels": value })) {
        Ok(device) => Some(device.labels),
        Err(found) => {
            for problem in found.list() {
                let field = problem
                    .field
                    .strip_prefix("labels")
                    .unwrap_or(&problem.field);
                problems.add(
                    format_args!("{path}{field}"),
                    &problem.expected,
                    &problem.found,
                );
            }
            None
        }
    }
}

/// Checks the sensors as the hub will, with ids where there are none, and gives them as they were written.
fn sensors(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Vec<Value>> {
    let mut with_ids = value.clone();
    give_ids(&mut with_ids);
    read_items(with_ids, path, problems)?;
    match value {
        Value::Array(sensors) => Some(sensors),
        _ => None,
    }
}

/// Gives every sensor and point without an id one that no other in the document has.
pub(crate) fn give_ids(sensors: &mut Value) {
    let mut last = 0_u128;
    let mut next = || {
        last += 1;
        Value::String(SensorId(Uuid::from_u128(last)).to_string())
    };
    for sensor in sensors.as_array_mut().into_iter().flatten() {
        let Value::Object(sensor) = sensor else {
            continue;
        };
        if sensor.get("id").is_none_or(Value::is_null) {
            sensor.insert("id".to_owned(), next());
        }
        for point in sensor
            .get_mut("dataPoints")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Value::Object(point) = point
                && point.get("id").is_none_or(Value::is_null)
            {
                point.insert("id".to_owned(), next());
            }
        }
    }
}
