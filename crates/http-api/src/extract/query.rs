//! Query parameters: those that are known, each at most once unless it is a list, and no others.

use axum::{
    extract::{FromRequestParts, Query as Pairs},
    http::request::Parts,
};
use holdfast_domain::Problems;
use holdfast_ports::page::Page;
use holdfast_wire::page;

use crate::{
    App,
    problem::{ApiProblem, ApiResult},
};

/// The parameters of a request, taken out one after the other; [`Query::finish`] refuses what is left.
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    problems: Problems,
}

impl FromRequestParts<App> for Query {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> ApiResult<Self> {
        let Pairs(pairs) = Pairs::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| ApiProblem::bad_request("query", "name=value pairs", error))?;
        Ok(Self {
            pairs,
            known: Vec::new(),
            problems: Problems::default(),
        })
    }
}

impl Query {
    /// Every value of a parameter that may be given several times.
    pub(crate) fn many(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let (wanted, rest) = std::mem::take(&mut self.pairs)
            .into_iter()
            .partition(|(key, _)| key == name);
        self.pairs = rest;
        let wanted: Vec<(String, String)> = wanted;
        wanted.into_iter().map(|(_, value)| value).collect()
    }

    /// A parameter's value as `read` understands it.
    pub(crate) fn one<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let mut values = self.many(name);
        let value = values.pop()?;
        if !values.is_empty() {
            self.problems
                .add(name, "the parameter once", "it several times");
            return None;
        }
        let found = read(&value);
        if found.is_none() {
            self.problem(name, expected, &value);
        }
        found
    }

    /// Says that a value is wrong.
    pub(crate) fn problem(&mut self, name: &str, expected: &str, value: &str) {
        let shown: String = value.chars().take(64).collect();
        self.problems.add(name, expected, format_args!("{shown:?}"));
    }

    /// true or false.
    pub(crate) fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.one(name, "true or false", |value| value.parse().ok())
    }

    /// A value of a type that `FromStr` reads.
    pub(crate) fn parsed<T: std::str::FromStr>(
        &mut self,
        name: &'static str,
        expected: &str,
    ) -> Option<T> {
        self.one(name, expected, |value| value.parse().ok())
    }

    /// Which page of a list is wanted: `after` and `limit`.
    pub(crate) fn page(&mut self) -> Page {
        let limit = self.limit();
        let after = self.one("after", "what `next` of the page before said", |value| {
            (1..=512).contains(&value.len()).then(|| value.to_owned())
        });
        Page { after, limit }
    }

    /// The most items of a page.
    pub(crate) fn limit(&mut self) -> u32 {
        let limit = self.one("limit", "a whole number from 1 to 1000", |value| {
            value
                .parse()
                .ok()
                .filter(|limit| (1..=page::MOST).contains(limit))
        });
        limit.unwrap_or(page::DEFAULT_LIMIT)
    }

    /// Why an edit is made, in the operator's words.
    pub(crate) fn reason(&mut self) -> Option<String> {
        self.one("reason", "1 to 1,024 characters", |value| {
            (1..=1_024)
                .contains(&value.chars().count())
                .then(|| value.to_owned())
        })
    }

    /// Everything that is wrong, unknown parameters included.
    pub(crate) fn finish(self) -> ApiResult<()> {
        let Self {
            pairs,
            known,
            mut problems,
        } = self;
        let expected = if known.is_empty() {
            "no parameters".to_owned()
        } else {
            format!("one of the parameters {}", known.join(", "))
        };
        for (name, _) in pairs {
            let name: String = name.chars().take(64).collect();
            problems.add(name, &expected, "an unknown parameter");
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ApiProblem::bad_parameters(&problems))
        }
    }
}
