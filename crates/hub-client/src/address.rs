//! Where a hub is, checked once: no token ever leaves for an address that was not.
//!
//! Leaves to [`crate::transport`]: speaking to it.

use std::fmt;

use reqwest::Url;

/// A hub's base address: `https://hub.example`, `http://127.0.0.1:3002`, `https://example/holdfast`.
///
/// Plain HTTP is for loopback alone, unless the caller allows it: a token sent in the clear is everybody's.
#[derive(Clone, PartialEq, Eq)]
pub struct HubAddress {
    base: Url,
    loopback: bool,
}

/// Why a text is no address of a hub.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not an address at all, or of another scheme.
    #[error(
        "expected a hub's address such as https://hub.example or http://127.0.0.1:3002, found {found:?}"
    )]
    NotAnAddress {
        /// What was given.
        found: String,
    },
    /// It carries what has no place in it.
    #[error("expected a hub's address without {what}")]
    Surplus {
        /// User and password, a query, or a fragment; not echoed: it may be a secret.
        what: &'static str,
    },
    /// Plain HTTP to another machine.
    #[error(
        "expected https for a hub on another machine ({host}), found plain http: a token would be sent in the clear. Use https, or allow plain HTTP explicitly"
    )]
    PlainHttp {
        /// That machine.
        host: String,
    },
}

impl HubAddress {
    /// Checks `text`.
    ///
    /// # Errors
    /// Says what an address must look like when `text` does not.
    pub fn new(text: &str, allow_plain_http: bool) -> Result<Self, AddressError> {
        let not = || AddressError::NotAnAddress {
            found: text.chars().take(128).collect(),
        };
        let mut base = Url::parse(text.trim()).map_err(|_| not())?;
        if !base.username().is_empty() || base.password().is_some() {
            return Err(AddressError::Surplus {
                what: "user name and password: the hub takes tokens",
            });
        }
        if !matches!(base.scheme(), "http" | "https") {
            return Err(not());
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(AddressError::Surplus {
                what: "a query or fragment",
            });
        }
        let loopback = is_loopback(&base);
        if base.scheme() == "http" && !loopback && !allow_plain_http {
            let host = base.host_str().unwrap_or_default().to_owned();
            return Err(AddressError::PlainHttp { host });
        }
        base.path_segments_mut().map_err(|()| not())?.pop_if_empty();
        Ok(Self { base, loopback })
    }

    /// Is it this machine?
    pub(crate) const fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// Is it spoken to with TLS?
    pub(crate) fn is_encrypted(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// The address of `/api/v1/` and `segments`, each of which may hold any character.
    ///
    /// # Panics
    /// If a segment is `.` or `..`, which no server gets to see. Ids and fixed words never are.
    pub(crate) fn api(&self, segments: &[&str]) -> Url {
        assert!(
            segments
                .iter()
                .all(|segment| !matches!(*segment, "." | "..")),
            "ids and words, not relative paths"
        );
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("checked when the address was made")
            .extend(["api", "v1"])
            .extend(segments);
        url
    }
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for HubAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for HubAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback() {
        for good in [
            "http://127.0.0.1:3002",
            "http://localhost:3002/",
            "http://[::1]:3002",
            "https://hub.example",
        ] {
            assert!(HubAddress::new(good, false).is_ok(), "{good}");
        }
        for bad in [
            "http://10.0.0.5:3002",
            "http://hub.example",
            "http://127.0.0.1.example",
        ] {
            assert!(
                matches!(
                    HubAddress::new(bad, false),
                    Err(AddressError::PlainHttp { .. })
                ),
                "{bad}"
            );
            assert!(HubAddress::new(bad, true).is_ok(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in ["", "hub", "ftp://hub", "https://", "mailto:a@b"] {
            assert!(
                matches!(
                    HubAddress::new(bad, false),
                    Err(AddressError::NotAnAddress { .. })
                ),
                "{bad}"
            );
        }
        let error =
            HubAddress::new("https://anna:geheim@hub.example", false).expect_err("a password");
        assert!(!error.to_string().contains("geheim"), "{error}");
        assert!(HubAddress::new("https://hub.example/?token=1", false).is_err());
    }

    #[test]
    fn segments_are_escaped_under_the_base() {
        let address = HubAddress::new("https://hub.example/holdfast/", false).expect("good");
        let url = address.api(&["devices", "a/b?c#d %"]);
        assert_eq!(
            url.as_str(),
            "https://hub.example/holdfast/api/v1/devices/a%2Fb%3Fc%23d%20%25"
        );
        let address = HubAddress::new("http://127.0.0.1:3002", false).expect("good");
        assert_eq!(
            address.api(&["healthz"]).as_str(),
            "http://127.0.0.1:3002/api/v1/healthz"
        );
    }
}
