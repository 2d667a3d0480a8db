//! MQTT: the broker and the topics of a point.
//!
//! Source: MQTT 3.1.1 and 5.0 (OASIS): topic names and filters section 4.7, quality of service section 4.3.

use alloc::string::String;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    document::point::PointAddress,
    fields::{Fields, Path, Problems, words},
    protocol::secret::SecretRef,
};

/// How a broker is reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MqttConnection))]
pub struct Connection {
    /// Host name or address.
    pub host: String,
    /// TCP port; 1883, or 8883 with TLS, unless stated.
    pub port: u16,
    /// Is the connection encrypted (and the broker's certificate checked)?
    pub tls: bool,
    /// Where the certificate of the authority is that signed the broker's; the system's authorities otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretRef>,
    /// User name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Where the password is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
    /// Version of the protocol.
    pub protocol_version: Version,
    /// Client id; made from the device's and the sensor's id unless stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Map<String, Value>,
}

/// Versions of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MqttVersion))]
pub enum Version {
    /// 3.1.1.
    #[cfg_attr(feature = "openapi", schema(rename = "3.1.1"))]
    V311,
    /// 5.
    #[cfg_attr(feature = "openapi", schema(rename = "5"))]
    V5,
}
words!(Version { V311 => "3.1.1", V5 => "5" });

impl Connection {
    /// Reads a connection.
    pub fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(value, path, problems)?;
        let host = fields.text("host", "a host name or address");
        let tls = fields.flag("tls", false);
        let port = fields.int(
            "port",
            &(1..=65_535),
            Some(if tls == Some(true) { 8_883 } else { 1_883 }),
        );
        let ca = fields.optional("ca", SecretRef::read);
        let username = fields.text_opt("username", "a user name");
        let password = fields.optional("password", SecretRef::read);
        let protocol_version = fields.choice("protocolVersion", Some(Version::V5));
        let client_id = fields.text_opt("clientId", "a client id");
        let extra = fields.rest();
        Some(Self {
            host: host?,
            port: port?,
            tls: tls?,
            ca: ca?,
            username: username?,
            password: password?,
            protocol_version: protocol_version?,
            client_id: client_id?,
            extra,
        })
    }
}

/// The topics of a point.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MqttAddress))]
pub struct Address {
    /// The topic (or topic filter with wildcards) on which the value is published.
    pub topic: String,
    /// How the value stands in the message.
    pub payload: Payload,
    /// JSON pointer (RFC 6901) to the value, where the payload is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Quality of service, 0 to 2.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 2, default = 1))]
    pub qos: u8,
    /// For writing: where a wanted value is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
}

/// How a value stands in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MqttPayload, rename_all = "lowercase"))]
pub enum Payload {
    /// The whole message is the value.
    Raw,
    /// The message is JSON, and the value stands at `pointer`.
    Json,
}
words!(Payload { Raw => "raw", Json => "json" });

/// How a wanted value is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MqttCommand))]
pub struct Command {
    /// The topic.
    pub topic: String,
    /// The message, with `{value}` where the value goes.
    pub template: String,
    /// The topic on which the instrument says what it holds: the read-back. The point's own topic unless stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_topic: Option<String>,
    /// Is the message kept by the broker for late subscribers?
    pub retain: bool,
    /// Fields that this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Map<String, Value>,
}

const FILTER: &str = "a topic or topic filter (# only at the end, + and # only as a whole level)";

impl Command {
    fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        const TEMPLATE: &str = "a text with {value} in it";
        let mut fields = Fields::open(value, path, problems)?;
        let topic = checked(&mut fields, "topic", "a topic without wildcards", |topic| {
            !topic.contains(['+', '#'])
        });
        let template = if fields.has("template") {
            checked(&mut fields, "template", TEMPLATE, |template| {
                template.contains("{value}")
            })
        } else {
            fields.take("template");
            Some("{value}".into())
        };
        let state_topic = if fields.has("stateTopic") {
            checked(&mut fields, "stateTopic", FILTER, is_filter).map(Some)
        } else {
            fields.take("stateTopic");
            Some(None)
        };
        let retain = fields.flag("retain", false);
        let extra = fields.rest();
        Some(Self {
            topic: topic?,
            template: template?,
            state_topic: state_topic?,
            retain: retain?,
            extra,
        })
    }
}

fn checked(
    fields: &mut Fields<'_>,
    key: &'static str,
    expected: &str,
    good: impl FnOnce(&str) -> bool,
) -> Option<String> {
    let text = fields.text(key, expected)?;
    if good(&text) {
        return Some(text);
    }
    fields.problem(
        key,
        expected,
        format_args!("{:?}", crate::ids::shorten(&text)),
    );
    None
}

impl PointAddress for Address {
    const WHERE: &'static str = "topic";

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let topic = checked(fields, "topic", FILTER, is_filter);
        let payload = fields.choice("payload", Some(Payload::Raw));
        let pointer = fields.text_opt("pointer", "a JSON pointer such as /temperature/value");
        if let (Some(Payload::Raw), Some(Some(pointer))) = (payload, &pointer) {
            fields.problem(
                "pointer",
                "no pointer where payload is raw",
                format_args!("{pointer:?}"),
            );
            return None;
        }
        let qos = fields.int("qos", &(0..=2), Some(1));
        let command = fields.optional("command", Command::read);
        Some(Self {
            topic: topic?,
            payload: payload?,
            pointer: pointer?,
            qos: qos?,
            command: command?,
        })
    }

    fn is_writable(&self) -> bool {
        self.command.is_some()
    }
}

fn is_filter(text: &str) -> bool {
    let levels = text.split('/').count();
    text.split('/')
        .enumerate()
        .all(|(index, level)| match level {
            "+" => true,
            "#" => index + 1 == levels,
            other => !other.contains(['+', '#', '\0']),
        })
}
