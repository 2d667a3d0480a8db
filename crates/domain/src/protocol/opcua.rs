//! OPC UA: the endpoint of a server and the node of a point.
//!
//! Source: OPC 10000-4 (sessions, subscriptions, deadband), 10000-6 (node id notation), 10000-7 (security policies).

use alloc::string::String;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    document::point::PointAddress,
    fields::{Choice, Fields, Path, Problems, words},
    protocol::secret::SecretRef,
};

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = OpcuaConnection))]
pub struct Connection {
    /// `opc.tcp://host:port/path`.
    pub endpoint_url: String,
    /// How messages are signed and encrypted.
    pub security_policy: SecurityPolicy,
    /// Whether they are.
    pub security_mode: SecurityMode,
    /// Who the agent is to the server.
    pub identity: Identity,
    /// Which server certificates are accepted.
    pub trust: Trust,
    /// Fields that this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Map<String, Value>,
}

/// Security policies that are not deprecated, and none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SecurityPolicy {
    /// No security.
    None,
    /// Basic256Sha256.
    Basic256Sha256,
    /// Aes128_Sha256_RsaOaep.
    Aes128Sha256RsaOaep,
    /// Aes256_Sha256_RsaPss.
    Aes256Sha256RsaPss,
}
words!(SecurityPolicy {
    None => "None",
    Basic256Sha256 => "Basic256Sha256",
    Aes128Sha256RsaOaep => "Aes128Sha256RsaOaep",
    Aes256Sha256RsaPss => "Aes256Sha256RsaPss",
});

/// What is done with each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SecurityMode {
    /// Nothing.
    None,
    /// Signed.
    Sign,
    /// Signed and encrypted.
    SignAndEncrypt,
}
words!(SecurityMode { None => "None", Sign => "Sign", SignAndEncrypt => "SignAndEncrypt" });

/// Who the agent is to the server.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = OpcuaIdentity))]
pub struct Identity {
    /// In which way it says who it is.
    #[serde(flatten)]
    pub kind: IdentityKind,
    /// Fields that this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Map<String, Value>,
}

/// In which way the agent says who it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = OpcuaIdentityKind))]
pub enum IdentityKind {
    /// Nobody in particular.
    Anonymous,
    /// A user with a password.
    User {
        /// User name.
        username: String,
        /// Where the password is.
        password: SecretRef,
    },
    /// The holder of a certificate.
    Certificate {
        /// Where the certificate is.
        certificate: SecretRef,
        /// Where its private key is.
        #[cfg_attr(feature = "openapi", schema(rename = "privateKey"))]
        private_key: SecretRef,
    },
}

/// Which server certificates are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = OpcuaTrust, rename_all = "camelCase"))]
pub enum Trust {
    /// Those in the agent's trust folder.
    Listed,
    /// The first one seen, and then only that.
    OnFirstUse,
    /// Any: for a bench, not for a plant.
    Any,
}
words!(Trust { Listed => "listed", OnFirstUse => "onFirstUse", Any => "any" });

#[derive(Clone, Copy)]
enum IdentityType {
    Anonymous,
    User,
    Certificate,
}

impl Choice for IdentityType {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("anonymous", Self::Anonymous),
        ("user", Self::User),
        ("certificate", Self::Certificate),
    ];
}

impl Identity {
    /// Nobody in particular.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            kind: IdentityKind::Anonymous,
            extra: Map::new(),
        }
    }

    fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(value, path, problems)?;
        let kind = match fields.choice::<IdentityType>("type", None)? {
            IdentityType::Anonymous => Some(IdentityKind::Anonymous),
            IdentityType::User => {
                let username = fields.text("username", "a user name");
                let password =
                    fields.required("password", SecretRef::read, "where the password is");
                username
                    .zip(password)
                    .map(|(username, password)| IdentityKind::User { username, password })
            }
            IdentityType::Certificate => {
                let certificate =
                    fields.required("certificate", SecretRef::read, "where the certificate is");
                let private_key =
                    fields.required("privateKey", SecretRef::read, "where the private key is");
                certificate
                    .zip(private_key)
                    .map(|(certificate, private_key)| IdentityKind::Certificate {
                        certificate,
                        private_key,
                    })
            }
        };
        let extra = fields.rest();
        Some(Self { kind: kind?, extra })
    }
}

impl Connection {
    /// Reads a connection.
    pub fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        const URL: &str = "an address such as opc.tcp://host:4840/path";
        let mut fields = Fields::open(value, path, problems)?;
        let endpoint_url = fields.text("endpointUrl", URL).filter(|url| {
            let good = url
                .strip_prefix("opc.tcp://")
                .is_some_and(|rest| !rest.is_empty());
            if !good {
                fields.problem(
                    "endpointUrl",
                    URL,
                    format_args!("{:?}", crate::ids::shorten(url)),
                );
            }
            good
        });
        let security_policy = fields.choice("securityPolicy", Some(SecurityPolicy::None));
        let security_mode = fields.choice("securityMode", Some(SecurityMode::None));
        let identity = fields
            .optional("identity", Identity::read)
            .map(|identity| identity.unwrap_or_else(Identity::anonymous));
        let trust = fields.choice("trust", Some(Trust::Listed));
        if let (Some(policy), Some(mode)) = (security_policy, security_mode)
            && (policy == SecurityPolicy::None) != (mode == SecurityMode::None)
        {
            fields.problem(
                "securityMode",
                "None exactly where securityPolicy is None",
                mode,
            );
            return None;
        }
        let extra = fields.rest();
        Some(Self {
            endpoint_url: endpoint_url?,
            security_policy: security_policy?,
            security_mode: security_mode?,
            identity: identity?,
            trust: trust?,
            extra,
        })
    }
}

/// The node of a point.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = OpcuaAddress))]
pub struct Address {
    /// Node id in the notation of Part 6, such as `ns=2;s=Boiler.Temperature`.
    pub node_id: String,
    /// How often the server samples, in ms; left out: as often as the sensor is polled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling_interval_ms: Option<u32>,
    /// Changes smaller than this are not reported (absolute deadband, Part 4, 7.22.2); 0: every change is.
    pub deadband: f64,
}

impl PointAddress for Address {
    const WHERE: &'static str = "nodeId";

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        const NODE: &str = "a node id such as ns=2;s=Boiler.Temperature or i=2258";
        let node_id = fields.text("nodeId", NODE).filter(|node| {
            let good = is_node_id(node);
            if !good {
                fields.problem(
                    "nodeId",
                    NODE,
                    format_args!("{:?}", crate::ids::shorten(node)),
                );
            }
            good
        });
        let sampling_interval_ms = if fields.has("samplingIntervalMs") {
            fields
                .int("samplingIntervalMs", &(0..=86_400_000), None)
                .map(Some)
        } else {
            fields.take("samplingIntervalMs");
            Some(None)
        };
        let deadband = fields.number("deadband", 0.0).filter(|deadband| {
            if *deadband < 0.0 {
                fields.problem("deadband", "a number not below 0", deadband);
            }
            *deadband >= 0.0
        });
        Some(Self {
            node_id: node_id?,
            sampling_interval_ms: sampling_interval_ms?,
            deadband: deadband?,
        })
    }

    fn is_writable(&self) -> bool {
        true
    }
}

/// Part 6, 5.3.1.10: `[ns=<index>;]<i|s|g|b>=<value>`.
fn is_node_id(text: &str) -> bool {
    let identifier = match text.strip_prefix("ns=").map(|rest| rest.split_once(';')) {
        Some(Some((namespace, identifier))) if namespace.parse::<u16>().is_ok() => identifier,
        Some(_) => return false,
        None => text,
    };
    match identifier.split_once('=') {
        Some(("i", number)) => number.parse::<u32>().is_ok(),
        Some(("s" | "b", value)) => !value.is_empty(),
        Some(("g", guid)) => uuid::Uuid::parse_str(guid).is_ok(),
        _ => false,
    }
}
