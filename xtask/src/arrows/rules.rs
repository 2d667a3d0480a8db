//! The architecture as tables: which crate of ours may use which, which outside library belongs where, and what must
//! not come in through features. A change of the architecture is a change here, in the same commit.
//!
//! Pure: the graph comes in as data, breaches go out as sentences.

/// Which of our crates each one may use, in its code and build script. Each crate has a row, also one that may use none.
const MAY_USE: [(&str, &[&str]); 27] = [
    ("domain", &[]),
    ("ports", &["domain"]),
    // The core: use cases and loops, which see the outside through ports.
    ("hub", &["domain", "ports"]),
    ("reconcile", &["domain", "ports"]),
    ("edge", &["domain", "ports"]),
    ("wire", &["domain"]),
    // Adapters: never another adapter.
    ("http-api", &["domain", "ports", "hub", "wire"]),
    ("agent-api", &["domain", "ports", "edge", "wire"]),
    ("hub-client", &["domain", "ports", "wire"]),
    ("ledger", &["domain", "ports"]),
    ("notify", &["domain", "ports"]),
    ("store-postgres", &["domain", "ports"]),
    ("store-sqlite", &["domain", "ports"]),
    ("bus-modbus", &["domain", "ports"]),
    ("runtime", &["domain", "ports"]),
    ("device-sim", &["domain"]),
    // Wiring and programs.
    (
        "compose",
        &[
            "domain",
            "ports",
            "hub",
            "reconcile",
            "edge",
            "wire",
            "http-api",
            "agent-api",
            "hub-client",
            "ledger",
            "notify",
            "store-postgres",
            "store-sqlite",
            "bus-modbus",
            "runtime",
            "device-sim",
        ],
    ),
    ("cli", &["domain", "wire", "hub-client", "compose"]),
    ("api", &["compose"]),
    ("reconciler", &["compose"]),
    ("agent", &["compose"]),
    ("holdfast", &["compose", "cli"]),
    // Tests and tasks.
    ("testkit", &["domain", "ports"]),
    (
        "e2e",
        &["domain", "wire", "hub-client", "device-sim", "testkit"],
    ),
    // Tests alone: the core as it is, with everything around it simulated.
    (
        "simulation",
        &["domain", "ports", "hub", "reconcile", "edge"],
    ),
    // The benchmarks see Holdfast through its programs; the documents serve to speak to them. What no program shows by itself,
    // the value loop of an agent, is measured on the agent's pieces.
    (
        "bench",
        &[
            "bus-modbus",
            "domain",
            "edge",
            "ledger",
            "ports",
            "runtime",
            "wire",
        ],
    ),
    ("xtask", &[]),
];

/// What the tests, benches and examples of any crate may use besides its row. The last three are the real hub, which on the
/// testkit's memory store is the counterpart of every client's tests.
const TESTS_MAY_USE: [&str; 6] = [
    "domain",
    "testkit",
    "device-sim",
    "ports",
    "hub",
    "http-api",
];

/// Outside libraries that belong to certain crates: (library, or all that begin so with `*`; where; also in tests). `bench` has
/// some of them for the limits that stand beside its figures: the same library with nothing of ours around it.
const ONLY_THERE: [(&str, &[&str], Scope); 11] = [
    (
        "sqlx*",
        &["store-postgres", "store-sqlite", "bench"],
        Scope::TestsToo,
    ),
    (
        "jiff-sqlx",
        &["store-postgres", "store-sqlite"],
        Scope::TestsToo,
    ),
    (
        "axum*",
        &["http-api", "agent-api", "runtime", "bench"],
        Scope::Code,
    ),
    ("utoipa-axum", &["http-api"], Scope::Code),
    (
        "tokio-modbus",
        &["bus-modbus", "device-sim", "bench"],
        Scope::Code,
    ),
    ("tokio-serial", &["bus-modbus"], Scope::Code),
    ("reqwest", &["hub-client", "notify"], Scope::Code),
    ("redb", &["ledger"], Scope::Code),
    // Written in C, with the memory of all: where it was measured to pay.
    ("mimalloc", &["api"], Scope::TestsToo),
    ("proptest", &["testkit"], Scope::Code),
    (
        "anyhow",
        // compose is the body of the programs: what it can't bring up is told to a person, never matched on.
        &[
            "api",
            "reconciler",
            "agent",
            "holdfast",
            "compose",
            "bench",
            "xtask",
        ],
        Scope::Code,
    ),
];

/// Features that would bring a clock, randomness or the standard library into the domain.
const NOT_IN_DOMAIN: [&str; 11] = [
    "std",
    "now",
    "clock",
    "v1",
    "v4",
    "v6",
    "v7",
    "rng",
    "rng-getrandom",
    "tz-system",
    "tzdb-zoneinfo",
];

/// How far a rule of `ONLY_THERE` reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Code and build scripts; a test may use it as a counterpart
    Code,
    /// Tests as well
    TestsToo,
}

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Code or build script
    Normal,
    /// Tests, benches and examples
    Dev,
}

/// One declared dependency, by short names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrow {
    pub(super) from: String,
    pub(super) to: String,
    /// Whether `to` is in this workspace
    pub(super) ours: bool,
    pub(super) kind: Kind,
}

/// Every package has a row, every row a package.
pub(super) fn check_packages(packages: &[String]) -> Vec<String> {
    let table = "xtask/src/arrows/rules.rs";
    let unknown = packages.iter().filter(|package| row(package).is_none());
    let stale = MAY_USE
        .iter()
        .filter(|(name, _)| !packages.iter().any(|package| package == name));
    unknown
        .map(|package| format!("{package} has no row in the table of {table}: say what it may use"))
        .chain(
            stale.map(|(name, _)| {
                format!("{name} has a row in the table of {table} but is no package")
            }),
        )
        .collect()
}

/// Every dependency is allowed.
pub(super) fn check_arrows(arrows: &[Arrow]) -> Vec<String> {
    arrows
        .iter()
        .filter_map(|arrow| {
            if arrow.ours {
                check_ours(arrow)
            } else {
                check_outside(arrow)
            }
        })
        .collect()
}

/// Nothing of SQL among what the agent pulls in (the lines of `cargo tree`, `name version|…`).
pub(super) fn check_no_sql_in_agent(tree: &str) -> Vec<String> {
    let is_sql =
        |name: &&str| name.contains("sqlx") || name.contains("sqlite") || name.contains("postgres");
    let mut found: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split([' ', '|']).next())
        .filter(is_sql)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
        .iter()
        .map(|name| {
            format!("agent pulls in {name}: an agent carries no SQL (features of compose?)")
        })
        .collect()
}

/// No clock and no standard library among the features of what the domain pulls in (lines `name version|a,b`).
pub(super) fn check_domain_features(tree: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    for line in tree.lines() {
        let Some((package, features)) = line.split_once('|') else {
            continue;
        };
        let name = package.split(' ').next().unwrap_or(package);
        // `cargo tree` marks what it has listed before with `(*)`.
        for feature in features.trim_end_matches("(*)").trim().split(',') {
            if NOT_IN_DOMAIN.contains(&feature) {
                breaches.push(format!("domain pulls in {name} with feature `{feature}`: no std, clock or randomness there"));
            }
        }
    }
    breaches.sort();
    breaches.dedup();
    breaches
}

/// The domain's crate root opts out of the standard library and does not bring it back.
pub(super) fn check_domain_source(lib: &str) -> Vec<String> {
    let has = |attribute: &str| lib.lines().any(|line| line.trim() == attribute);
    let mut breaches = Vec::new();
    // The schemas of the OpenAPI description are made by a macro that wants the standard library; that feature is for
    // servers.
    let opts_out = has("#![no_std]") || has(r#"#![cfg_attr(not(feature = "openapi"), no_std)]"#);
    if !opts_out {
        breaches.push(
            "domain is not `#![no_std]`: without it nothing keeps clocks and I/O out".to_owned(),
        );
    }
    if has("extern crate std;") {
        breaches.push("domain has `extern crate std`: alloc is all it gets".to_owned());
    }
    breaches
}

fn row(package: &str) -> Option<&'static [&'static str]> {
    MAY_USE
        .iter()
        .find(|(name, _)| *name == package)
        .map(|(_, may_use)| *may_use)
}

fn check_ours(arrow: &Arrow) -> Option<String> {
    let Arrow {
        from,
        to,
        ours: _,
        kind,
    } = arrow;
    let allowed = row(from).unwrap_or_default();
    let in_tests = *kind == Kind::Dev && TESTS_MAY_USE.contains(&to.as_str());
    if in_tests || from == to || allowed.contains(&to.as_str()) {
        return None;
    }
    let wording = match kind {
        Kind::Normal => "may use",
        Kind::Dev => "may, in tests too, use",
    };
    let list = if allowed.is_empty() {
        "none of ours".to_owned()
    } else {
        allowed.join(", ")
    };
    Some(format!("{from} -> {to}: {from} {wording} only: {list}"))
}

fn check_outside(arrow: &Arrow) -> Option<String> {
    let Arrow {
        from,
        to,
        ours: _,
        kind,
    } = arrow;
    let (library, places, _) = ONLY_THERE.iter().find(|(library, places, scope)| {
        let hit = library
            .strip_suffix('*')
            .map_or(to == library, |prefix| to.starts_with(prefix));
        let in_scope = *kind == Kind::Normal || *scope == Scope::TestsToo;
        hit && in_scope && !places.contains(&from.as_str())
    })?;
    Some(format!(
        "{from} -> {to}: {library} belongs in {} only",
        places.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrow(from: &str, to: &str, ours: bool, kind: Kind) -> Arrow {
        Arrow {
            from: from.to_owned(),
            to: to.to_owned(),
            ours,
            kind,
        }
    }

    fn breach(from: &str, to: &str, ours: bool, kind: Kind) -> String {
        check_arrows(&[arrow(from, to, ours, kind)]).join("; ")
    }

    #[test]
    fn a_package_without_row_and_a_row_without_package_are_named() {
        let mut packages: Vec<String> =
            MAY_USE.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(check_packages(&packages), [""; 0]);
        packages[0] = "surprise".to_owned();
        let breaches = check_packages(&packages).join("; ");
        assert!(
            breaches.contains("surprise has no row") && breaches.contains("domain has a row"),
            "{breaches}"
        );
    }

    #[test]
    fn the_domain_uses_none_of_ours() {
        assert!(breach("domain", "ports", true, Kind::Normal).contains("none of ours"));
    }

    #[test]
    fn no_adapter_uses_another() {
        assert!(
            breach("http-api", "store-sqlite", true, Kind::Normal)
                .contains("http-api -> store-sqlite")
        );
        assert!(
            breach("bus-modbus", "ledger", true, Kind::Normal).contains("bus-modbus -> ledger")
        );
        assert_eq!(breach("http-api", "hub", true, Kind::Normal), "");
    }

    #[test]
    fn the_testkit_is_for_tests() {
        assert!(breach("hub", "testkit", true, Kind::Normal).contains("hub -> testkit"));
        assert_eq!(breach("hub", "testkit", true, Kind::Dev), "");
    }

    #[test]
    fn tests_too_see_no_other_adapter() {
        assert!(breach("hub", "store-sqlite", true, Kind::Dev).contains("in tests too"));
    }

    #[test]
    fn every_library_stays_where_it_belongs() {
        for (library, from) in [
            ("sqlx", "compose"),
            ("sqlx-core", "hub"),
            ("jiff-sqlx", "domain"),
            ("axum", "compose"),
            ("axum-server", "hub"),
            ("utoipa-axum", "wire"),
            ("tokio-modbus", "edge"),
            ("tokio-serial", "device-sim"),
            ("reqwest", "cli"),
            ("redb", "edge"),
            ("proptest", "domain"),
            ("anyhow", "hub"),
        ] {
            assert!(
                breach(from, library, false, Kind::Normal).contains("belongs in"),
                "{from} -> {library}"
            );
        }
        assert_eq!(breach("store-postgres", "sqlx", false, Kind::Normal), "");
        assert_eq!(breach("hub-client", "axum", false, Kind::Dev), "");
        assert!(breach("e2e", "sqlx", false, Kind::Dev).contains("belongs in"));
    }

    #[test]
    fn sql_in_the_agent_is_found_once() {
        let tree = "holdfast-agent v0.1.0|\nsqlx v0.9.0|\nsqlx-core v0.9.0|\nsqlx v0.9.0| (*)\ntokio v1.54.1|";
        assert_eq!(check_no_sql_in_agent(tree).len(), 2);
        assert_eq!(
            check_no_sql_in_agent("holdfast-agent v0.1.0|\ntokio v1.54.1|"),
            [""; 0]
        );
    }

    #[test]
    fn the_domain_is_without_std() {
        assert_eq!(
            check_domain_source("//! D.\n#![no_std]\nextern crate alloc;\n"),
            [""; 0]
        );
        assert!(check_domain_source("//! D.\n")[0].contains("not `#![no_std]`"));
        assert!(
            check_domain_source("#![no_std]\nextern crate std;\n")[0].contains("extern crate std")
        );
    }

    #[test]
    fn a_clock_in_the_domain_is_found() {
        let tree = "holdfast-domain v0.1.0|\njiff v0.2.43|alloc,serde,std\nuuid v1.29.0|serde,v7 (*)\nserde v1.0|alloc";
        let breaches = check_domain_features(tree);
        assert_eq!(breaches.len(), 2, "{breaches:?}");
        assert!(
            breaches[0].contains("jiff with feature `std`")
                && breaches[1].contains("uuid with feature `v7`")
        );
    }
}
