//! Dependencies point downward only, and what needs more than rustc and gcc stays out.

use std::collections::BTreeSet;

use serde_json::Value;

/// Each crate of the product and what it may depend on, lowest first. A crate that is not here may use all of these,
/// but none of these may use it: that is how tests and tasks stay outside.
const MAY_USE: &[(&str, &[&str])] = &[
    ("braid-io", &[]),
    ("braid-record", &[]),
    ("braid-store", &["braid-io", "braid-record"]),
    ("braid-broker", &["braid-io", "braid-record", "braid-store"]),
    ("braid-reactor", &["braid-io", "braid-record", "braid-store"]),
    ("braid-wire-rocketmq", &["braid-record"]),
    ("braid-wire-kafka", &[]),
    ("braid-crossing", &["braid-record", "braid-wire-kafka"]),
    (
        "braid-edge-rocketmq",
        &[
            "braid-io",
            "braid-record",
            "braid-store",
            "braid-broker",
            "braid-reactor",
            "braid-wire-rocketmq",
            "braid-crossing",
        ],
    ),
    (
        "braid-edge-kafka",
        &[
            "braid-io",
            "braid-record",
            "braid-store",
            "braid-broker",
            "braid-reactor",
            "braid-wire-kafka",
            "braid-crossing",
        ],
    ),
    ("braid-bench", &["braid-io", "braid-record", "braid-wire-rocketmq", "braid-wire-kafka"]),
    (
        "braidmq",
        &[
            "braid-io",
            "braid-record",
            "braid-store",
            "braid-broker",
            "braid-reactor",
            "braid-wire-rocketmq",
            "braid-wire-kafka",
            "braid-crossing",
            "braid-edge-rocketmq",
            "braid-edge-kafka",
            "braid-bench",
        ],
    ),
];

/// Crates that would ask the builder for CMake, clang, OpenSSL or protoc.
const BANNED: &[&str] = &[
    "aws-lc-sys",
    "bindgen",
    "cmake",
    "grpcio-sys",
    "openssl-sys",
    "prost-build",
    "protobuf-codegen",
    "protobuf-src",
    "protoc-bin-vendored",
    "tonic-build",
    "tonic-prost-build",
];

/// The feature of planted defects, which no dependency may switch on.
const MUTANTS: &str = "mutants";

/// Everything that is wrong in an answer of `cargo metadata`, a sentence each.
pub(crate) fn violations(metadata: &Value) -> Vec<String> {
    let members: BTreeSet<_> = strings(&metadata["workspace_members"]).collect();
    let packages: Vec<_> = array(&metadata["packages"]).collect();
    let member = |package: &Value| package["id"].as_str().is_some_and(|id| members.contains(id));
    let names: BTreeSet<_> = packages.iter().filter(|p| member(p)).map(|p| name(p)).collect();

    let mut found = Vec::new();
    for (listed, _) in MAY_USE {
        if !names.contains(listed) {
            found.push(format!("{listed} has a place among the layers but is not in the workspace"));
        }
    }
    for package in &packages {
        let used = array(&package["dependencies"]);
        if member(package) {
            found.extend(used.filter_map(|dependency| misuse(name(package), dependency, &names)));
            found.extend(mutants_by_default(package));
        }
        if BANNED.contains(&name(package)) {
            found.push(format!(
                "{} {} is banned: the build needs rustc and gcc alone",
                name(package),
                package["version"]
            ));
        }
    }
    found
}

/// What is wrong with a member's dependency, if anything.
fn misuse(package: &str, dependency: &Value, members: &BTreeSet<&str>) -> Option<String> {
    let used = name(dependency);
    if strings(&dependency["features"]).any(|feature| feature == MUTANTS) {
        return Some(format!("{package} switches on planted defects in {used}"));
    }
    if !members.contains(used) {
        return None;
    }
    // Tests of codecs, which themselves do no I/O, draw their chance from where everything else does.
    if used == "braid-io" && dependency["kind"] == "dev" {
        return None;
    }
    match MAY_USE.iter().find(|(layer, _)| *layer == package) {
        Some((_, allowed)) if !allowed.contains(&used) => {
            Some(format!("{package} must not depend on {used}; it may use {allowed:?}"))
        }
        None if package.starts_with("braid") => {
            Some(format!("{package} has no place among the layers: give it one"))
        }
        _ => None,
    }
}

fn mutants_by_default(package: &Value) -> Option<String> {
    strings(&package["features"]["default"])
        .any(|feature| feature.ends_with(MUTANTS))
        .then(|| format!("{} has planted defects by default", name(package)))
}

fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap_or_default()
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    array(value).filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A workspace of all layers without a dependency, plus these packages as (name, dependencies, member).
    fn workspace(more: &[(&str, Value, bool)]) -> Value {
        let mut packages: Vec<_> = MAY_USE
            .iter()
            .filter(|(layer, _)| more.iter().all(|(name, ..)| name != layer))
            .map(|(layer, _)| (*layer, json!([]), true))
            .collect();
        packages.extend(more.iter().cloned());
        json!({
            "workspace_members": packages.iter().filter(|p| p.2).map(|p| p.0).collect::<Vec<_>>(),
            "packages": packages.iter()
                .map(|(name, dependencies, _)| json!({"id": name, "name": name, "version": "1", "dependencies": dependencies}))
                .collect::<Vec<_>>(),
        })
    }

    fn check(more: &[(&str, Value, bool)], expected: &[&str]) {
        let found = violations(&workspace(more));
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (sentence, part) in found.iter().zip(expected) {
            assert!(sentence.contains(part), "{sentence} does not say {part}");
        }
    }

    #[test]
    fn downward_is_allowed() {
        check(&[], &[]);
        check(&[("braid-broker", json!([{"name": "braid-store"}, {"name": "bytes"}]), true)], &[]);
        check(&[("crash", json!([{"name": "braid-wire-rocketmq"}]), true)], &[]);
        check(&[("braid-record", json!([{"name": "braid-io", "kind": "dev"}]), true)], &[]);
    }

    #[test]
    fn upward_and_sideways_are_not() {
        check(
            &[("braid-store", json!([{"name": "braid-broker"}]), true)],
            &["braid-store must not depend on braid-broker"],
        );
        check(
            &[("braid-wire-rocketmq", json!([{"name": "braid-io"}]), true)],
            &["must not depend on braid-io"],
        );
        check(
            &[("crash", json!([]), true), ("braidmq", json!([{"name": "crash", "kind": "dev"}]), true)],
            &["braidmq must not depend on crash"],
        );
        check(&[("braid-new", json!([{"name": "braid-io"}]), true)], &["braid-new has no place"]);
    }

    #[test]
    fn banned_crates_and_mutants_are_named() {
        check(&[("openssl-sys", json!([]), false)], &["openssl-sys"]);
        check(
            &[("braidmq", json!([{"name": "braid-store", "features": ["mutants"]}]), true)],
            &["braidmq switches on planted defects in braid-store"],
        );
    }
}
