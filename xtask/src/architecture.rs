//! Holds the workspace against the floors of the house: which crate may use which, and what the pure ones may not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which crates of the house a crate may use. A crate that is not listed has no floor yet: give it one here.
const FLOORS: &[(&str, &[&str])] = &[
    ("mainstay-types", &[]),
    ("mainstay-listen", &[]),
    ("mainstay-domain", &["types"]),
    ("mainstay-storage", &["types"]),
    ("mainstay-engine", &["types", "dataplane"]),
    ("mainstay-journal", &["types", "domain", "storage"]),
    ("mainstay-custody", &["types", "storage"]),
    ("mainstay-policy", &[]),
    // What is said and signed; where facts and keys come from is others' affair.
    ("mainstay-evidence", &[]),
    // What keeps secrets and lets callers in knows the contract alone, and neither the core nor one another.
    ("mainstay-secrets-engine", &["types", "storage", "custody"]),
    ("mainstay-secrets-kv", &["types", "custody", "secrets-engine"]),
    ("mainstay-secrets-transit", &["types", "custody", "secrets-engine"]),
    ("mainstay-secrets-pki", &["types", "custody", "secrets-engine"]),
    ("mainstay-secrets-database", &["types", "custody", "secrets-engine"]),
    ("mainstay-auth-methods", &["types", "custody", "secrets-engine"]),
    ("mainstay-secrets", &["types", "storage", "custody", "secrets-engine", "policy"]),
    ("mainstay-engine-postgresql", &["types", "engine", "dataplane"]),
    ("mainstay-bucket", &["types"]),
    // Who moves bytes knows the contract alone; what they are moved by is the root's choice.
    ("mainstay-dataplane", &["types"]),
    ("mainstay-content", &["types", "dataplane"]),
    ("mainstay-dataplane-fs", &["types", "dataplane", "content"]),
    ("mainstay-transport", &[]),
    ("mainstay-dataplane-s3", &["types", "dataplane", "content", "transport"]),
    ("mainstay-repository", &["types", "dataplane", "content", "transport"]),
    ("mainstay-dataplane-remote", &["types", "dataplane"]),
    ("mainstay-engine-redis", &["types", "engine", "dataplane"]),
    ("mainstay-engine-nats", &["types", "engine", "dataplane"]),
    ("mainstay-engine-rabbitmq", &["types", "engine", "dataplane"]),
    ("mainstay-authority", &["types", "engine"]),
    ("mainstay-objects", &["types", "storage", "dataplane", "bucket"]),
    ("mainstay-engine-objects", &["types", "engine", "dataplane", "bucket", "objects"]),
    ("mainstay-s3", &["types", "listen", "bucket", "dataplane", "objects"]),
    // The control plane knows engines by their trait alone.
    ("mainstay-control", &["types", "domain", "evidence", "storage", "engine", "dataplane", "journal", "custody"]),
    (
        "mainstay-http",
        &[
            "types", "listen", "domain", "evidence", "storage", "engine", "journal", "custody", "control", "secrets",
            "objects",
        ],
    ),
    // The command line is a client like any other: it knows the API and nothing behind it, and what anybody verifies.
    ("mainstay-cli", &["types", "evidence"]),
    (
        "mainstay",
        &[
            "types",
            "domain",
            "storage",
            "engine",
            "journal",
            "custody",
            "engine-postgresql",
            "engine-objects",
            "engine-redis",
            "engine-nats",
            "engine-rabbitmq",
            "authority",
            "bucket",
            "dataplane",
            "dataplane-fs",
            "dataplane-remote",
            "dataplane-s3",
            "repository",
            "objects",
            "s3",
            "secrets-engine",
            "secrets-kv",
            "secrets-transit",
            "secrets-pki",
            "secrets-database",
            "auth-methods",
            "secrets",
            "control",
            "http",
            "cli",
        ],
    ),
    ("xtask", &[]),
];

/// What the tests of a crate may use beside: those of the core of secret custody mount real engines.
/// Those of the object store keep real bytes.
const TESTS: &[(&str, &[&str])] = &[
    ("mainstay-secrets", &["secrets-kv", "secrets-transit", "auth-methods"]),
    ("mainstay-dataplane-remote", &["dataplane-fs"]),
    ("mainstay-objects", &["dataplane-fs"]),
    ("mainstay-engine-objects", &["dataplane-fs", "storage"]),
    ("mainstay-s3", &["dataplane-fs", "storage"]),
];

/// The crate whose decisions are pure.
const PURE: &str = "mainstay-domain";

/// What the pure crate may not reach, not even through another crate: an async runtime, a socket, a process.
const NEVER_REACHED: &[&str] = &["tokio", "async-std", "smol", "mio", "socket2", "sqlx", "rusqlite", "hyper"];

/// What it may not use itself; `types` parses and prints time, so that a clock is within reach.
const NEVER_USED: &[&str] = &["rand", "getrandom", "jiff", "chrono", "time", "rustix", "uuid", "tracing"];

/// What its sources may not name: the clocks, files, sockets, processes and environment of the standard library.
const NEVER_NAMED: &[&str] = &[
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "HashMap", // Its order differs from run to run, and the same events must give the same bytes.
    "HashSet",
];

/// Reads the workspace and checks it. The answer is a sentence either way.
pub fn check() -> Result<String, String> {
    let root = workspace_root();
    let graph = Graph::parse(&metadata(&root)?)?;
    let mut violations = graph.violations();
    violations.extend(impure_sources(&root.join("crates/domain/src"))?);
    if violations.is_empty() {
        return Ok(format!("architecture: {} crates keep to their floors", graph.uses.len()));
    }
    Err(format!("the crates do not keep to their floors:\n  {}", violations.join("\n  ")))
}

/// The workspace as `cargo metadata` tells it.
struct Graph {
    /// What each workspace member uses itself, development dependencies included.
    uses: BTreeMap<String, BTreeSet<String>>,
    /// What the pure crate reaches in its normal and build dependencies.
    reached_by_pure: BTreeSet<String>,
}

impl Graph {
    fn parse(metadata: &Value) -> Result<Self, String> {
        let names: BTreeMap<&str, &str> = each(metadata, "packages")
            .filter_map(|package| Some((text(package, "id")?, text(package, "name")?)))
            .collect();
        let members: BTreeSet<&str> = each(metadata, "workspace_members").filter_map(Value::as_str).collect();

        let uses = each(metadata, "packages")
            .filter(|package| text(package, "id").is_some_and(|id| members.contains(id)))
            .filter_map(|package| {
                let name = text(package, "name")?;
                let dependencies = each(package, "dependencies").filter(|d| !is_for_tests(name, d));
                let dependencies = dependencies.filter_map(|d| text(d, "name")).map(str::to_owned);
                Some((name.to_owned(), dependencies.collect()))
            })
            .collect();

        let edges: BTreeMap<&str, Vec<&str>> = each(&metadata["resolve"], "nodes")
            .filter_map(|node| {
                Some((
                    text(node, "id")?,
                    each(node, "deps").filter(|d| is_shipped(d)).filter_map(|d| text(d, "pkg")).collect(),
                ))
            })
            .collect();
        let pure = members
            .iter()
            .find(|id| names.get(**id) == Some(&PURE))
            .ok_or(format!("{PURE} is not in the workspace"))?;
        let mut reached = BTreeSet::new();
        let mut open = vec![*pure];
        while let Some(id) = open.pop() {
            for next in edges.get(id).into_iter().flatten() {
                if reached.insert(names.get(next).copied().unwrap_or(next).to_owned()) {
                    open.push(next);
                }
            }
        }
        Ok(Self { uses, reached_by_pure: reached })
    }

    /// Each way in which the workspace differs from the table, as a sentence with its remedy.
    fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, dependencies) in &self.uses {
            let Some((_, allowed)) = FLOORS.iter().find(|(listed, _)| listed == name) else {
                found.push(format!("{name} has no floor: add it to FLOORS in xtask/src/architecture.rs"));
                continue;
            };
            // A crate's tests may name the crate itself, to turn a feature of it on.
            for used in dependencies.iter().filter(|used| *used != name && self.uses.contains_key(*used)) {
                if !allowed.contains(&used.trim_start_matches("mainstay-")) {
                    found.push(format!(
                        "{name} uses {used}, which is not below it: move what it needs down, or pass it in"
                    ));
                }
            }
        }
        let used = self.uses.get(PURE).into_iter().flatten().filter(|name| NEVER_USED.contains(&name.as_str()));
        let reached = self.reached_by_pure.iter().filter(|name| NEVER_REACHED.contains(&name.as_str()));
        found.extend(used.chain(reached).map(|name| {
            format!("{PURE} depends on {name}: its decisions are pure, pass what it needs in as an argument")
        }));
        found
    }
}

/// Whether a dependency is one that a crate's tests alone have, and may.
fn is_for_tests(name: &str, dependency: &Value) -> bool {
    let used = text(dependency, "name").unwrap_or_default().trim_start_matches("mainstay-");
    let allowed = TESTS.iter().any(|(listed, allowed)| *listed == name && allowed.contains(&used));
    allowed && text(dependency, "kind") == Some("dev")
}

/// Whether a dependency is part of what is built, rather than of tests only.
fn is_shipped(dependency: &Value) -> bool {
    each(dependency, "dep_kinds").any(|kind| kind["kind"].as_str() != Some("dev"))
}

fn impure_sources(folder: &Path) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for path in rust_files(folder)? {
        let source = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        found.extend(impure_lines(&source).map(|(line, name)| {
            format!("{}:{line} names {name}: the domain's decisions are pure, pass what it needs in", path.display())
        }));
    }
    Ok(found)
}

/// The lines, comments and the file's tests left out, that name what is not pure.
fn impure_lines(source: &str) -> impl Iterator<Item = (usize, &'static str)> {
    let code = source.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    code.filter(|(_, line)| !line.trim_start().starts_with("//")).flat_map(|(number, line)| {
        NEVER_NAMED.iter().filter(|name| names(line, name)).map(move |name| (number + 1, *name))
    })
}

/// Whether a line holds a name as a word of its own.
fn names(line: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(name)
        .any(|(at, _)| !line[..at].ends_with(is_word) && !line[at + name.len()..].starts_with(is_word))
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| format!("{}: {error}", folder.display()))?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn metadata(root: &Path) -> Result<Value, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        // For one system alone, so that the crates of other systems need not be fetched.
        .args(["metadata", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cargo metadata could not be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata gave no JSON: {error}"))
}

fn each<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value[key].as_str()
}

#[cfg(test)]
mod tests {
    use super::{FLOORS, Graph, PURE, check, impure_lines};

    #[test]
    fn this_workspace_keeps_to_its_floors() {
        check().unwrap();
    }

    #[test]
    fn what_breaks_the_floors_is_named() {
        let violations = |uses: &[(&str, &[&str])], reached: &[&str]| {
            let own = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
            let uses = uses.iter().map(|(name, used)| (name.to_string(), own(used))).collect();
            Graph { uses, reached_by_pure: own(reached) }.violations().join("\n")
        };
        let fine: &[(&str, &[&str])] = &[("mainstay-cli", &["mainstay-types", "clap"]), ("mainstay-types", &["jiff"])];
        assert_eq!(violations(fine, &["serde"]), "");
        assert!(
            violations(&[("mainstay-cli", &["mainstay-control"]), ("mainstay-control", &[])], &[])
                .starts_with("mainstay-cli uses mainstay-control, which is not below it")
        );
        assert!(violations(&[("mainstay-attic", &[])], &[]).starts_with("mainstay-attic has no floor"));
        assert!(violations(&[(PURE, &["getrandom"])], &[]).starts_with("mainstay-domain depends on getrandom"));
        assert!(violations(&[(PURE, &[])], &["tokio"]).starts_with("mainstay-domain depends on tokio"));
    }

    /// With the tables above it follows that nothing which the control plane is built from reaches one.
    #[test]
    fn the_root_alone_knows_what_bytes_are_moved_by() {
        for implementation in ["dataplane-fs", "dataplane-s3", "dataplane-remote"] {
            let users = FLOORS.iter().filter(|(_, used)| used.contains(&implementation));
            assert_eq!(users.map(|(name, _)| *name).collect::<Vec<_>>(), ["mainstay"], "{implementation}");
        }
    }

    #[test]
    fn impure_names_are_found_outside_comments_and_tests() {
        let source =
            "use std::fs;\n// std::fs\nlet a = Instant::now();\nlet instants = MyInstant;\n#[cfg(test)]\nuse std::env;";
        assert_eq!(impure_lines(source).collect::<Vec<_>>(), [(1, "std::fs"), (3, "Instant")]);
    }
}
