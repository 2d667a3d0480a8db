//! Who is told of trouble that persists: the configuration of webhooks.

use std::{collections::BTreeSet, fs, sync::Arc};

use anyhow::Context as _;
use holdfast_notify::{Secret, Webhook, WebhookOptions};
use holdfast_ports::clock::Entropy as _;
use holdfast_reconcile::notices::{NoticeParts, Way};
use holdfast_runtime::{
    clock::{SystemClock, SystemEntropy},
    config::ConfigError,
};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::stores::Stores;

/// Who is told of trouble that persists, and that it is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifyConfig {
    /// A receiver that takes nothing is tried again for so long, in s (60 to 604,800); then a notice is given up.
    pub give_up_after_s: u32,
    /// Receivers, at most ten.
    pub webhooks: Vec<WebhookConfig>,
}

/// A receiver of notices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Its name, of its own among all: how far it was told is kept under it.
    pub name: String,
    /// `https://…`.
    pub url: String,
    /// Where the secret stands that requests are signed with: `env:NAME` or `file:PATH`.
    pub secret: String,
}

impl Default for NotifyConfig {
    fn default() -> Self {
        Self {
            give_up_after_s: 86_400,
            webhooks: Vec::new(),
        }
    }
}

impl NotifyConfig {
    /// Receivers: each is told by a task of its own.
    const MOST: usize = 10;

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let Self {
            give_up_after_s,
            webhooks,
        } = self;
        if !(60..=604_800).contains(give_up_after_s) {
            return Err(ConfigError::key(
                "notify.give_up_after_s",
                "60 to 604800",
                give_up_after_s,
            ));
        }
        if webhooks.len() > Self::MOST {
            let expected = format!("at most {}", Self::MOST);
            return Err(ConfigError::key(
                "notify.webhooks",
                expected,
                &webhooks.len(),
            ));
        }
        let mut names = BTreeSet::new();
        for WebhookConfig { name, .. } in webhooks {
            if name.is_empty() || name.len() > 64 || !names.insert(name) {
                return Err(ConfigError::key(
                    "notify.webhooks.name",
                    "1 to 64 characters, other than those of the other webhooks",
                    name,
                ));
            }
        }
        Ok(())
    }
}

/// The ways to tell somebody.
///
/// # Errors
/// Names the webhook that can't be used, and why.
pub(crate) fn ways(stores: &Stores, config: &NotifyConfig) -> anyhow::Result<Vec<Way>> {
    config.check()?;
    let clock = Arc::new(SystemClock);
    let parts = NoticeParts {
        events: stores.events.clone(),
        places: stores.notices.clone(),
        clock: clock.clone(),
        holder: SystemEntropy.uuid(),
        give_up_after: SignedDuration::from_secs(i64::from(config.give_up_after_s)),
    };
    let way = |webhook: &WebhookConfig| {
        let WebhookConfig { name, url, secret } = webhook;
        let secret =
            secret_at(secret).with_context(|| format!("the secret of webhook {name:?}"))?;
        let options = WebhookOptions {
            name: name.clone(),
            url: url.clone(),
            secret,
        };
        let webhook = Webhook::new(options, clock.clone())?;
        Ok(Way::new(parts.clone(), Arc::new(webhook)))
    };
    config.webhooks.iter().map(way).collect()
}

/// Secrets don't stand in a configuration, but where it says.
fn secret_at(place: &str) -> anyhow::Result<Secret> {
    let text = match place.split_once(':') {
        Some(("env", name)) => std::env::var(name)
            .with_context(|| format!("expected it in the environment as {name}"))?,
        Some(("file", path)) => {
            fs::read_to_string(path).with_context(|| format!("reading {path}"))?
        }
        // What was found may be the secret itself.
        _ => anyhow::bail!("expected `env:NAME` or `file:PATH`, found something else"),
    };
    Ok(Secret::parse(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(name: &str) -> WebhookConfig {
        WebhookConfig {
            name: name.to_owned(),
            url: "https://pager.example/hook".to_owned(),
            secret: "env:PAGER".to_owned(),
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let config = |names: &[&str]| NotifyConfig {
            webhooks: names.iter().map(|name| webhook(name)).collect(),
            ..NotifyConfig::default()
        };
        config(&["pager", "mail"]).check().expect("they fit");
        let many: Vec<String> = (0..11).map(|number| format!("w-{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (wrong, expected) in [
            (config(&["pager", "pager"]), "notify.webhooks.name"),
            (config(&[""]), "notify.webhooks.name"),
            (config(&many), "notify.webhooks"),
            (
                NotifyConfig {
                    give_up_after_s: 59,
                    ..NotifyConfig::default()
                },
                "notify.give_up_after_s",
            ),
        ] {
            let error = wrong.check().expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_secret_is_not_told_where_its_place_is_expected() {
        let error = secret_at("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect_err("no place");
        assert!(!format!("{error:#}").contains("MfKQ"), "{error:#}");
    }
}
