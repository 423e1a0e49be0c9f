//! Environments of a GitOps repository, through the binary: several at once, and what is no manifest.

use serde_json::{Value, json};

use crate::Place;

const FROM: &str = "2026-11-24T08:00:00Z";

fn policy(name: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{podSelector: {{}}}}\n"
    )
}

fn repository() -> Place {
    let place = Place::new();
    place.write("envs/prod/policies.yaml", policy("strict"));
    place.write(
        "envs/staging/policies.yaml",
        [policy("loose"), policy("other")].join("---\n"),
    );
    place
}

fn import<'a>(environments: &[&'a str]) -> Vec<&'a str> {
    let each = environments.iter().flat_map(|one| ["--environment", one]);
    [
        "inventory",
        "import",
        "--declared-from",
        FROM,
        "--shows",
        "complete",
        "-o",
        "json",
    ]
    .into_iter()
    .chain(each)
    .collect()
}

/// What became otherwise from one noon to the next.
fn changed_in_a_day(place: &Place) -> Value {
    let said = place.run(&[
        "inventory",
        "diff",
        "2026-11-24T12:00:00Z",
        "2026-11-25T12:00:00Z",
        "-o",
        "json",
    ]);
    serde_json::from_str(&said.out).unwrap()
}

#[test]
fn several_are_imported_at_once_each_as_a_cluster() {
    let place = repository();
    let both = ["prod=envs/prod", "staging=envs/staging"];
    let said = place.run(&import(&both));
    said.check(0, &[]);
    let told: Value = serde_json::from_str(&said.out).unwrap();
    let versions = |told: &Value| -> Vec<(String, u64)> {
        let each = told.as_array().unwrap().iter();
        each.map(|one| {
            (
                one["cluster"].as_str().unwrap().to_owned(),
                one["versions"].as_u64().unwrap(),
            )
        })
        .collect()
    };
    assert_eq!(
        versions(&told),
        [("prod".to_owned(), 1), ("staging".to_owned(), 2)]
    );
    // Again, nothing of it is new.
    let again: Value = serde_json::from_str(&place.run(&import(&both)).out).unwrap();
    assert!(
        again[0]["commit"].is_null() && again[1]["commit"].is_null(),
        "{again:#}"
    );
    // What is gone from one is gone there and nowhere else.
    place.write("envs/staging/policies.yaml", policy("other"));
    let later = import(&both).into_iter().map(|word| {
        if word == FROM {
            "2026-11-25T08:00:00Z"
        } else {
            word
        }
    });
    place.run(&later.collect::<Vec<_>>()).check(0, &[]);
    let changed = changed_in_a_day(&place);
    let changed = changed.as_array().unwrap();
    assert_eq!(changed.len(), 1, "{changed:#?}");
    assert_eq!(
        (&changed[0]["cluster"], &changed[0]["name"]),
        (&"staging".into(), &"loose".into())
    );
}

#[test]
fn environments_that_cannot_be_meant_are_refused() {
    let place = repository();
    for (environments, more, told) in [
        (
            vec!["prod=envs/prod", "prod=envs/staging"],
            vec![],
            "environment `prod` is there twice",
        ),
        (
            vec!["all=envs", "prod=envs/prod"],
            vec![],
            "environments `all` and `prod` share files",
        ),
        (
            vec!["prod=envs/prod", "again=envs/prod"],
            vec![],
            "share files",
        ),
        (
            vec!["prod"],
            vec![],
            "write it as NAME=PATH, as in prod=envs/prod",
        ),
        (vec!["prod=envs/none"], vec![], "there is no `envs/none`"),
        (vec!["prod=-"], vec![], "cannot be standard input"),
        (
            vec!["prod=envs/prod"],
            vec!["--cluster", "x"],
            "cannot be used with",
        ),
        (
            vec!["prod=envs/prod"],
            vec!["--cluster-vpc", "vpc-1"],
            "cannot be used with",
        ),
        (
            vec!["prod=envs/prod"],
            vec!["envs/staging"],
            "cannot be used with",
        ),
    ] {
        let said = place.run(&[import(&environments), more].concat());
        said.check(2, &[told]);
        assert!(!place.path("flowaudit-lake").exists(), "{told}");
    }
    let without_time = ["inventory", "import", "--environment", "prod=envs/prod"];
    place.run(&without_time).check(2, &["--declared-from"]);
}

#[test]
fn what_is_not_rendered_is_told_and_not_half_read() {
    let place = repository();
    place.write("envs/prod/policies.yaml", policy("strict"));
    place.write(
        "envs/prod/overlay/kustomization.yaml",
        "resources: [base]\n",
    );
    place.write(
        "envs/prod/overlay/base/policy.yaml",
        policy("before-patches"),
    );
    place.write("envs/prod/chart/Chart.yaml", "name: shop\nversion: 1.0.0\n");
    place.write(
        "envs/prod/chart/templates/policy.yaml",
        policy("in-a-chart"),
    );
    place.write(
        "envs/prod/half.yaml",
        format!(
            "{}---\n{{{{- if .Values.strict }}}}\n{}{{{{- end }}}}\n",
            policy("first"),
            policy("second")
        ),
    );
    place.write("envs/prod/quoted.yaml", policy("\"{{ .Release.Name }}\""));
    // Texts that others fill in are none of ours.
    place.write("envs/prod/rules.yaml", "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: r, namespace: shop}\nspec: {summary: 'down: {{ $labels.pod }}'}\n");
    let said = place.run(&import(&["prod=envs/prod"]));
    said.check(
        3,
        &[
            "envs/prod/overlay` is a kustomization",
            "kubectl kustomize ",
            "envs/prod/chart` is a Helm chart",
            "envs/prod/half.yaml` is a template",
            "envs/prod/quoted.yaml` is a template",
        ],
    );
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (&told[0]["versions"], &told[0]["left_out"]),
        (&1.into(), &4.into()),
        "{told:#}\n{}",
        said.err
    );
}

#[test]
fn what_could_not_be_read_is_not_taken_to_be_gone() {
    let place = repository();
    place.run(&import(&["staging=envs/staging"])).check(0, &[]);
    place.write("envs/staging/policies.yaml", policy("other"));
    place.write(
        "envs/staging/overlay/kustomization.yaml",
        "resources: [policy.yaml]\n",
    );
    let later = import(&["staging=envs/staging"]).into_iter().map(|word| {
        if word == FROM {
            "2026-11-25T08:00:00Z"
        } else {
            word
        }
    });
    place
        .run(&later.collect::<Vec<_>>())
        .check(3, &["what is missing in it is not taken to be gone"]);
    let changed = changed_in_a_day(&place);
    assert_eq!(changed, json!([]));
}
