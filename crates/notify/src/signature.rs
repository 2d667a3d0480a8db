//! What a request is signed with (Standard Webhooks 1.0.0, "Signature scheme").

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What a secret begins with, before its bytes in base64.
const PREFIX: &str = "whsec_";

/// Fewer bytes could be guessed; more than that gain nothing (the standard asks for 24 to 64).
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A shared secret.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

/// Not a secret of that form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected `whsec_` and 24 to 64 bytes in base64 (`echo whsec_$(openssl rand -base64 32)` makes one)"
)]
pub struct SecretError;

impl Secret {
    /// Reads `whsec_…`.
    ///
    /// # Errors
    /// If it has another form; without what was found, which may be a secret all the same.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let bytes = text
            .trim()
            .strip_prefix(PREFIX)
            .and_then(|encoded| BASE64_STANDARD.decode(encoded).ok());
        bytes
            .filter(|bytes| BYTES.contains(&bytes.len()))
            .map(Self)
            .ok_or(SecretError)
    }

    /// The value of `webhook-signature`.
    pub(crate) fn sign(&self, id: &str, at: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("keys of any length are fine");
        mac.update(format!("{id}.{at}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard's own libraries.
    #[test]
    fn the_signature_is_the_standards() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let signed = secret.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_has_a_form_and_is_not_shown() {
        for wrong in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKYqrTwjUPD8I",
            "whsec_%%%",
        ] {
            assert_eq!(Secret::parse(wrong).expect_err(wrong), SecretError);
        }
        let secret =
            Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("a file's line");
        assert!(!format!("{secret:?}").contains("MfKQ"));
    }
}
