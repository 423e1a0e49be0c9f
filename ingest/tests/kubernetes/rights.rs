//! The RBAC file of the documentation allows what is asked for, and nothing else.

use std::collections::BTreeSet;

use flowaudit_ingest::kubernetes::{KINDS, LeaseSettings};
use serde::Deserialize;

#[derive(Deserialize)]
struct Document {
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
    verbs: Vec<String>,
}

/// Group, resource, namespace, name, verb; empty where not narrowed.
type Right = (String, String, String, String, String);

fn rights() -> BTreeSet<Right> {
    let path = "../docs/kubernetes/rbac.yaml";
    let text = std::fs::read_to_string(path).unwrap();
    let documents: Vec<Document> = serde_saphyr::from_multiple(&text).unwrap();
    let mut rights = BTreeSet::new();
    for document in &documents {
        let namespace = match document.kind.as_str() {
            "Role" => document.metadata.namespace.clone().unwrap(),
            "ClusterRole" => String::new(),
            _ => continue,
        };
        assert_eq!(document.metadata.name, "flowaudit-inventory");
        for rule in &document.rules {
            let mut names = rule.resource_names.clone();
            if names.is_empty() {
                names.push(String::new());
            }
            for group in &rule.api_groups {
                for resource in &rule.resources {
                    for name in &names {
                        for verb in &rule.verbs {
                            rights.insert((
                                group.clone(),
                                resource.clone(),
                                namespace.clone(),
                                name.clone(),
                                verb.clone(),
                            ));
                        }
                    }
                }
            }
        }
    }
    rights
}

#[test]
fn the_file_allows_what_is_asked_for_and_nothing_else() {
    let mut asked: BTreeSet<Right> = BTreeSet::new();
    for kind in KINDS {
        for verb in ["list", "watch"] {
            let (namespace, name) = kind.only.unwrap_or(("", ""));
            asked.insert((
                kind.group.to_owned(),
                kind.resource.to_owned(),
                namespace.to_owned(),
                name.to_owned(),
                verb.to_owned(),
            ));
        }
    }
    let lease = LeaseSettings::default().name;
    for (name, verb) in [(lease.as_str(), "get"), (&lease, "update"), ("", "create")] {
        asked.insert((
            "coordination.k8s.io".to_owned(),
            "leases".to_owned(),
            "flowaudit".to_owned(),
            name.to_owned(),
            verb.to_owned(),
        ));
    }
    assert_eq!(rights(), asked);
}
