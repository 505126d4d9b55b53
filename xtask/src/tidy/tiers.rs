//! Rules for the tiers of ARCHITECTURE.md: the tier of each crate and the dependencies that it permits.

use crate::tidy::tree::{Crate, Dependency, Finding, Tree};

/// The tier of a crate. Only [`Tier::Context`] and [`Tier::Recording`] may be depended on, by the tiers after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    Context,
    Recording,
    /// The transports, and the crates next to them for transactions, endpoint selection and tasks.
    Transport,
    App,
    Dev,
}

/// The names of a transport's two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sides {
    ClientServer,
    ProducerConsumer,
}

struct CrateRow {
    name: &'static str,
    tier: Tier,
    /// `None` unless the crate is a transport.
    sides: Option<Sides>,
}

const fn row(name: &'static str, tier: Tier) -> CrateRow {
    CrateRow { name, tier, sides: None }
}

const fn transport(name: &'static str, sides: Sides) -> CrateRow {
    CrateRow { name, tier: Tier::Transport, sides: Some(sides) }
}

/// All crates, including planned ones.
const CRATES: &[CrateRow] = &[
    row("otel-propagation", Tier::Context),
    row("otel-operation", Tier::Recording),
    row("otel-request", Tier::Recording),
    row("otel-messaging", Tier::Recording),
    row("otel-database", Tier::Recording),
    transport("otel-http", Sides::ClientServer),
    transport("otel-grpc", Sides::ClientServer),
    transport("otel-kafka", Sides::ProducerConsumer),
    transport("otel-nats", Sides::ProducerConsumer),
    transport("otel-amqp", Sides::ProducerConsumer),
    row("otel-sqlx", Tier::Transport),
    row("otel-redis", Tier::Transport),
    row("otel-saga", Tier::Transport),
    row("otel-discovery", Tier::Transport),
    row("otel-resilience", Tier::Transport),
    row("otel-tasks", Tier::Transport),
    row("otel-tasks-macros", Tier::Transport),
    row("otel-telemetry", Tier::App),
    row("otel-waterfall", Tier::App),
    row(TESTING, Tier::Dev),
];

/// The permitted dependencies within a tier, as pairs of user and dependency.
const NEIGHBOURS: &[(&str, &str)] = &[
    ("otel-request", "otel-operation"),
    ("otel-messaging", "otel-operation"),
    ("otel-database", "otel-operation"),
    ("otel-tasks", "otel-tasks-macros"),
    // The pool that its journal and its participants can be given.
    ("otel-saga", "otel-sqlx"),
];

/// The crates that may depend on the SDK outside of tests.
const SDK_USERS: &[&str] = &["otel-telemetry", "otel-waterfall", TESTING];

const TESTING: &str = "otel-testing";

impl Tier {
    pub(crate) fn of(name: &str) -> Option<Self> {
        find(name).map(|row| row.tier)
    }
}

/// Returns the sides of a transport; `None` for other crates.
pub(super) fn sides(name: &str) -> Option<Sides> {
    find(name)?.sides
}

/// Returns true for the crates that write names of the semantic conventions of a protocol.
pub(super) fn has_conventions(name: &str) -> bool {
    ["otel-messaging", "otel-database", "otel-redis"].contains(&name) || sides(name).is_some()
}

fn find(name: &str) -> Option<&'static CrateRow> {
    CRATES.iter().find(|row| row.name == name)
}

/// Every crate has a tier.
pub(super) fn known(tree: &Tree) -> Vec<Finding> {
    let unknown = tree.crates.iter().filter(|one| Tier::of(&one.name).is_none());
    unknown
        .map(|one| {
            let message = format!("`{}` has no tier; add a row in xtask/src/tidy/tiers.rs", one.name);
            Finding::new(one.manifest(), 1, message)
        })
        .collect()
}

/// Dependencies between crates of this workspace point to a lower tier.
pub(super) fn direction(tree: &Tree) -> Vec<Finding> {
    each_dependency(tree, |user, used| {
        // Dev-dependencies are exempt except those of otel-testing, because all other crates test with it.
        let is_checked = !used.dev || user.name == TESTING;
        // Dependencies on otel-testing are checked by `testing`.
        if !is_checked || used.name == TESTING || allowed(&user.name, &used.name) {
            return None;
        }
        Some(format!("`{}` must not depend on `{}`, which is not in a lower tier", user.name, used.name))
    })
}

/// Returns `true` if `user` may depend on `used`; crates without a tier are external and always permitted.
fn allowed(user: &str, used: &str) -> bool {
    let (Some(from), Some(to)) = (Tier::of(user), Tier::of(used)) else { return true };
    NEIGHBOURS.contains(&(user, used))
        || match to {
            Tier::Context => from != Tier::Context,
            Tier::Recording => from != Tier::Context && from != Tier::Recording,
            Tier::Transport | Tier::App | Tier::Dev => false,
        }
}

/// Instrumentation depends on the OpenTelemetry API and not on its SDK.
pub(super) fn sdk(tree: &Tree) -> Vec<Finding> {
    each_dependency(tree, |user, used| {
        let wrong = used.name == "opentelemetry_sdk" && !used.dev && !SDK_USERS.contains(&&*user.name);
        wrong.then(|| {
            format!("`{}` must not depend on `opentelemetry_sdk` except as a dev-dependency", user.name)
        })
    })
}

/// otel-testing is a dev-dependency without a version, because it depends on the crates that test with it: with a
/// version, each would have to be published before the other.
pub(super) fn testing(tree: &Tree) -> Vec<Finding> {
    each_dependency(tree, |_, used| {
        if used.name != TESTING {
            return None;
        }
        if !used.dev {
            return Some(format!("`{TESTING}` may only be a dev-dependency"));
        }
        (!used.path_only).then(|| format!("`{TESTING}` must be a path dependency without a version"))
    })
}

/// Calls `wrong` for each dependency of each crate, and reports its message at the line of the manifest.
fn each_dependency(tree: &Tree, wrong: impl Fn(&Crate, &Dependency) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for user in &tree.crates {
        for used in &user.dependencies {
            if let Some(message) = wrong(user, used) {
                let path = user.manifest();
                let line = tree
                    .file(&path)
                    .and_then(|file| file.lines().find(|(_, text)| declares(text, &used.name)))
                    .map_or(1, |(line, _)| line);
                findings.push(Finding::new(path, line, message));
            }
        }
    }
    findings
}

/// Returns `true` if the line of a manifest declares the dependency.
fn declares(line: &str, dependency: &str) -> bool {
    line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with([' ', '.', '=']))
}

#[cfg(test)]
mod tests {
    use super::{direction, known, sdk, testing};
    use crate::tidy::tree::{Crate, Dependency, Finding, Tree, tree};

    /// A crate with one dependency.
    fn one(user: &str, used: &str, dev: bool, path_only: bool) -> Tree {
        let folder = format!("crates/{user}");
        let dependency = Dependency { name: used.to_owned(), dev, path_only };
        let dependencies = vec![dependency];
        Tree {
            crates: vec![Crate { name: user.to_owned(), folder, dependencies, ..Crate::default() }],
            ..Tree::default()
        }
    }

    fn normal(user: &str, used: &str) -> Tree {
        one(user, used, false, false)
    }

    #[test]
    fn a_crate_without_a_tier_is_reported() {
        assert_eq!(known(&normal("otel-http", "x")), []);
        let message = "`otel-carrier-pigeon` has no tier; add a row in xtask/src/tidy/tiers.rs";
        let finding = Finding::new("crates/otel-carrier-pigeon/Cargo.toml", 1, message);
        assert_eq!(known(&normal("otel-carrier-pigeon", "x")), [finding]);
    }

    #[test]
    fn dependencies_point_down() {
        for (user, used) in [
            ("otel-operation", "otel-propagation"),
            ("otel-messaging", "otel-operation"),
            ("otel-http", "otel-propagation"),
            ("otel-http", "otel-operation"),
            ("otel-kafka", "otel-messaging"),
            ("otel-telemetry", "otel-propagation"),
            ("otel-testing", "otel-operation"),
            ("otel-http", "tokio"),
        ] {
            assert_eq!(direction(&normal(user, used)), [], "{user} -> {used}");
        }
        for (user, used) in [
            ("otel-propagation", "otel-operation"),
            ("otel-operation", "otel-messaging"),
            ("otel-grpc", "otel-http"),
            ("otel-saga", "otel-grpc"),
            ("otel-telemetry", "otel-waterfall"),
            ("otel-telemetry", "otel-http"),
            ("otel-http", "otel-telemetry"),
            ("otel-testing", "otel-http"),
        ] {
            let findings = direction(&normal(user, used));
            assert_eq!(findings.len(), 1, "{user} -> {used}");
            assert!(findings[0].message.starts_with(&format!("`{user}` must not depend on `{used}`")));
        }
    }

    #[test]
    fn dev_dependencies_are_permitted_except_for_otel_testing() {
        assert_eq!(direction(&one("otel-grpc", "otel-http", true, false)), []);
        assert_eq!(direction(&one("otel-testing", "otel-http", true, false)).len(), 1);
    }

    #[test]
    fn only_three_crates_may_use_the_sdk() {
        assert_eq!(sdk(&normal("otel-telemetry", "opentelemetry_sdk")), []);
        assert_eq!(sdk(&one("otel-http", "opentelemetry_sdk", true, false)), []);
        assert_eq!(sdk(&normal("otel-http", "opentelemetry")), []);
        assert_eq!(sdk(&normal("otel-http", "opentelemetry_sdk")).len(), 1);
    }

    #[test]
    fn otel_testing_is_a_dev_dependency_without_a_version() {
        assert_eq!(testing(&one("otel-http", "otel-testing", true, true)), []);
        let findings = testing(&one("otel-http", "otel-testing", false, true));
        assert_eq!(findings[0].message, "`otel-testing` may only be a dev-dependency");
        let findings = testing(&one("otel-http", "otel-testing", true, false));
        assert_eq!(findings[0].message, "`otel-testing` must be a path dependency without a version");
    }

    #[test]
    fn a_finding_has_the_line_of_the_manifest() {
        let text = "[dependencies]\nopentelemetry.workspace = true\nopentelemetry_sdk.workspace = true\n";
        let mut wrong = normal("otel-http", "opentelemetry_sdk");
        wrong.files = tree(&[("crates/otel-http/Cargo.toml", text)]).files;
        assert_eq!(sdk(&wrong)[0].line, 3);
    }
}
