//! Inventory from real files into a real lake: times, order, idempotence, what is reported, who held what.

use std::path::Path;

use chrono::{DateTime, Utc};
use flowaudit_ingest::inventory::{Coverage, ImportSettings, ImportSummary, import, who};
use flowaudit_ingest::{IngestError, Input};
use flowaudit_lake::read;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_rules::kubernetes::{self, Body};

use crate::common::{Place, gzip};

fn at(text: &str) -> DateTime<Utc> {
    format!("2026-11-24T{text}Z").parse().unwrap()
}

fn settings(time: &str) -> ImportSettings {
    ImportSettings {
        cluster: "prod".to_owned(),
        at: (!time.is_empty()).then(|| at(time)),
        ..ImportSettings::default()
    }
}

impl Place {
    fn try_import(
        &self,
        paths: &[&Path],
        settings: &ImportSettings,
    ) -> Result<ImportSummary, IngestError> {
        let inputs: Vec<Input> = paths.iter().map(|path| Input::from(*path)).collect();
        // After all that is seen here, files that are written now included.
        let now = "2099-01-01T00:00:00Z".parse().unwrap();
        import(&self.lake, &inputs, settings, now)
    }

    #[track_caller]
    fn import(&self, name: &str, content: impl AsRef<[u8]>, time: &str) -> ImportSummary {
        let path = self.file(name, content);
        let summary = self.try_import(&[&path], &settings(time)).unwrap();
        assert_eq!(summary.issues, []);
        summary
    }

    fn endpoints(&self) -> Vec<EndpointRow> {
        read::rows(&self.lake, &self.lake.snapshot().unwrap()).unwrap()
    }

    fn objects(&self, kind: &str) -> Vec<ObjectRow> {
        let rows: Vec<ObjectRow> = read::rows(&self.lake, &self.lake.snapshot().unwrap()).unwrap();
        rows.into_iter().filter(|row| row.kind == kind).collect()
    }

    #[track_caller]
    fn check_who(&self, addr: &str, time: &str, expected: &[(&str, bool)]) {
        let held = who(&self.lake, addr.parse().unwrap(), at(time)).unwrap();
        let got: Vec<_> = held
            .iter()
            .map(|held| (held.row.name.as_str(), held.surely))
            .collect();
        assert_eq!(got, expected, "{addr} at {time}");
    }
}

/// A pod as `kubectl get` shows it.
fn pod(namespace: &str, name: &str, addr: &str, started: &str, more: &str) -> String {
    format!(
        "- apiVersion: v1\n  kind: Pod\n  metadata: {{name: {name}, namespace: {namespace}, uid: uid-{name}, labels: {{app: {name}, pod-template-hash: abc}}, \
         creationTimestamp: '2026-11-24T{started}Z', ownerReferences: [{{kind: ReplicaSet, name: {name}-abc, controller: true}}]}}\n  \
         spec: {{nodeName: n1, serviceAccountName: sa, containers: [{{ports: [{{name: http, containerPort: 8080}}]}}]{more}}}\n  \
         status:\n    phase: Running\n    podIPs: [{{ip: {addr}}}]\n    conditions:\n    - {{type: PodScheduled, status: 'True', lastTransitionTime: '2026-11-24T{started}Z'}}\n    \
         - {{type: PodReadyToStartContainers, status: 'True', lastTransitionTime: '2026-11-24T{started}Z'}}\n"
    )
}

fn list(items: &[String]) -> String {
    format!("apiVersion: v1\nkind: List\nitems:\n{}", items.concat())
}

const OTHERS: &str = "\
- {apiVersion: v1, kind: Node, metadata: {name: n1, uid: un, creationTimestamp: '2026-11-24T01:00:00Z'}, spec: {providerID: cn-hangzhou.i-bp1}, status: {addresses: [{type: InternalIP, address: 10.1.0.1}, {type: Hostname, address: n1}]}}
- {apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop, uid: us, creationTimestamp: '2026-11-24T02:00:00Z'}, spec: {clusterIPs: [172.16.0.9], selector: {app: a}, ports: [{port: 80}]}, status: {loadBalancer: {ingress: [{ip: 47.0.0.1}]}}}
- {apiVersion: v1, kind: Namespace, metadata: {name: shop, uid: uns, creationTimestamp: '2026-11-24T01:00:00Z', labels: {team: x}}}
- {apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: a-abc, namespace: shop, uid: ur, ownerReferences: [{kind: Rollout, name: a, controller: true}]}}
- {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny, namespace: shop, uid: up, generation: 1, creationTimestamp: '2026-11-24T03:00:00Z'}, spec: {podSelector: {}}}
";

fn world() -> String {
    let pods = [
        pod("shop", "a", "10.0.0.1", "08:00:00", ""),
        pod("web", "b", "10.0.0.2", "08:10:00", ""),
        pod(
            "kube-system",
            "proxy",
            "10.1.0.1",
            "01:00:05",
            ", hostNetwork: true",
        ),
    ];
    list(&[pods.concat(), OTHERS.to_owned()])
}

#[test]
fn one_snapshot_becomes_rows_of_every_kind() {
    let place = Place::new();
    let summary = place.import("all.yaml", world(), "09:00:00");
    assert_eq!(
        (
            summary.files,
            summary.objects,
            summary.endpoints,
            summary.versions
        ),
        (1, 8, 6, 5)
    );
    assert_eq!(summary.problems, []);
    let rows = place.endpoints();
    let a = rows.iter().find(|row| row.name == "a").unwrap();
    assert_eq!(
        (a.valid_from_us, a.valid_to_us),
        (
            at("08:00:00").timestamp_micros(),
            Some(at("09:00:00").timestamp_micros())
        )
    );
    assert_eq!((a.from_slack_ms, a.to_slack_ms), (Some(0), None));
    // The ReplicaSet is known, so this is no guess by name.
    assert_eq!(
        (a.workload_kind.as_deref(), a.workload.as_deref()),
        (Some("Rollout"), Some("a"))
    );
    assert_eq!(
        a.container_ports.as_deref(),
        Some(r#"[{"name":"http","port":8080,"protocol":"TCP","owner":"container"}]"#)
    );
    assert_eq!(
        a.labels.as_deref(),
        Some(r#"{"app":"a","pod-template-hash":"abc"}"#)
    );
    assert!(
        a.evidence
            .starts_with(r#"{"by":["snapshot"],"first_seen":"2026-11-24T09:00:00Z""#),
        "{}",
        a.evidence
    );
    let b = rows.iter().find(|row| row.name == "b").unwrap();
    assert_eq!(
        (b.workload_kind.as_deref(), b.workload.as_deref()),
        (Some("Deployment"), Some("b"))
    );
    place.check_who("10.1.0.1", "08:00:00", &[("n1", true), ("proxy", true)]);
    place.check_who("172.16.0.9", "02:30:00", &[("web", true)]);
    place.check_who("47.0.0.1", "02:30:00", &[("web", false)]);
    place.check_who("::ffff:10.0.0.1", "08:30:00", &[("a", true)]);
    place.check_who("10.0.0.1", "07:59:00", &[]);
    place.check_who("10.0.0.1", "23:00:00", &[("a", false)]);
    let policy = &place.objects("NetworkPolicy")[0];
    assert_eq!(
        (
            policy.valid_from_us,
            policy.from_slack_ms,
            policy.to_slack_ms
        ),
        (at("03:00:00").timestamp_micros(), Some(0), None)
    );
    assert!(policy.origin.ends_with("all.yaml:38"), "{}", policy.origin);
    let back = kubernetes::read("", &policy.spec);
    assert!(matches!(back.objects[0].body, Body::NetworkPolicy(_)));
    let namespace = &place.objects("Namespace")[0];
    let hours = (at("09:00:00") - at("01:00:00")).num_milliseconds();
    assert_eq!(
        (namespace.valid_from_us, namespace.from_slack_ms),
        (at("09:00:00").timestamp_micros(), Some(hours))
    );
}

#[test]
fn the_same_again_changes_nothing_and_news_reopen_only_what_came_after() {
    let place = Place::new();
    let first = place.import("all.yaml", world(), "09:00:00");
    assert!(first.commit.is_some());
    let before = place.endpoints();
    let again = place.import("copy.yaml.gz", gzip(world()), "09:00:00");
    assert_eq!((again.commit, again.changed_from), (None, None));
    let later = place.import("all.yaml", world(), "10:00:00");
    let us = |text: &str| at(text).timestamp_micros();
    assert_eq!(later.changed_from, Some(us("09:00:00")));
    // A snapshot that lies between two others and agrees with them says nothing new but that it was taken.
    let between = place.import("all.yaml", world(), "09:30:00");
    assert!(between.commit.is_some());
    assert_eq!(between.changed_from, None);
    assert_eq!(place.endpoints().len(), before.len());
    assert_eq!(place.objects("Snapshot").len(), 3);
}

#[test]
fn what_is_absent_later_has_ended_unless_the_later_file_is_partial() {
    let (a, b) = (
        pod("shop", "a", "10.0.0.1", "08:00:00", ""),
        pod("web", "b", "10.0.0.2", "08:00:00", ""),
    );
    let ends = |later: String, coverage: Coverage| {
        let place = Place::new();
        place.import("t1.yaml", list(&[a.clone(), b.clone()]), "09:00:00");
        let path = place.file("t2.yaml", later);
        place
            .try_import(
                &[&path],
                &ImportSettings {
                    coverage,
                    ..settings("10:00:00")
                },
            )
            .unwrap();
        let rows = place.endpoints();
        rows.iter().find(|row| row.name == "a").unwrap().to_slack_ms
    };
    let hour = Some(3_600_000);
    let c = pod("web", "c", "10.0.0.3", "09:30:00", "");
    assert_eq!(
        ends(list(std::slice::from_ref(&b)), Coverage::Detect),
        None,
        "a list of another namespace"
    );
    assert_eq!(
        ends(list(std::slice::from_ref(&b)), Coverage::Complete),
        hour
    );
    let all = list(&[b.clone(), pod("x", "d", "10.0.0.4", "09:30:00", "")]);
    assert_eq!(ends(all.clone(), Coverage::Detect), hour);
    assert_eq!(ends(all, Coverage::Partial), None);
    assert_eq!(
        ends(
            c.replace("\n  ", "\n").trim_start_matches("- ").to_owned(),
            Coverage::Detect
        ),
        None,
        "one object"
    );
    assert_eq!(
        ends(
            "apiVersion: v1\nkind: List\nitems: []\n".to_owned(),
            Coverage::Detect
        ),
        None,
        "an empty list"
    );
    let broken = list(&[
        b.clone(),
        pod("x", "d", "10.0.0.4", "09:30:00", ""),
        "- {apiVersion: v1, kind: Pod, metadata: {name: Bad_Name}}\n".to_owned(),
    ]);
    assert_eq!(
        ends(broken, Coverage::Detect),
        None,
        "what is missing may be what was refused"
    );
}

#[test]
fn an_address_used_again_within_seconds_in_any_order_of_imports() {
    let ended = pod("shop", "a", "10.0.0.1", "08:00:00", "").replace("phase: Running", "phase: Succeeded\n    containerStatuses: [{state: {terminated: {startedAt: '2026-11-24T08:00:00Z', finishedAt: '2026-11-24T09:10:00Z'}}}]");
    let snapshots = [
        (
            "20261124T090000Z.yaml",
            list(&[
                pod("shop", "a", "10.0.0.1", "08:00:00", ""),
                pod("web", "z", "10.0.0.9", "08:00:00", ""),
            ]),
        ),
        (
            "20261124T091100Z.yaml",
            list(&[
                ended,
                pod("shop", "b", "10.0.0.1", "09:10:03", ""),
                pod("web", "z", "10.0.0.9", "08:00:00", ""),
            ]),
        ),
        (
            "20261124T100000Z.yaml",
            list(&[
                pod("shop", "b", "10.0.0.1", "09:10:03", ""),
                pod("web", "z", "10.0.0.9", "08:00:00", ""),
            ]),
        ),
    ];
    let mut results = Vec::new();
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let place = Place::new();
        for index in order {
            let (name, content) = &snapshots[index];
            place.import(name, content, "");
        }
        place.check_who("10.0.0.1", "09:09:59", &[("a", true)]);
        place.check_who("10.0.0.1", "09:10:02", &[("a", false)]);
        place.check_who("10.0.0.1", "09:10:03", &[("b", true), ("a", false)]);
        place.check_who("10.0.0.1", "09:59:00", &[("b", true)]);
        results.push(place.endpoints());
    }
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0], results[2]);
}

#[test]
fn a_changed_policy_has_two_versions_with_doubt_between_them() {
    let place = Place::new();
    let policy = |generation: u32, label: &str| {
        format!(
            "kind: NetworkPolicy\napiVersion: networking.k8s.io/v1\nmetadata: {{name: p, namespace: shop, uid: up, generation: {generation}, creationTimestamp: '2026-11-24T03:00:00Z'}}\nspec: {{podSelector: {{matchLabels: {{app: {label}}}}}}}\n"
        )
    };
    place.import("1.yaml", policy(1, "a"), "08:00:00");
    place.import("3.yaml", policy(2, "b"), "10:00:00");
    place.import("2.yaml", policy(1, "a"), "09:00:00");
    let mut rows = place.objects("NetworkPolicy");
    rows.sort_by_key(|row| row.valid_from_us);
    let us = |text: &str| at(text).timestamp_micros();
    let times: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.valid_from_us,
                row.valid_to_us.unwrap(),
                row.from_slack_ms,
                row.to_slack_ms,
            )
        })
        .collect();
    assert_eq!(
        times,
        [
            (us("03:00:00"), us("09:00:00"), Some(0), Some(3_600_000)),
            (us("10:00:00"), us("10:00:00"), Some(3_600_000), None),
        ]
    );
    // Deleted, and made anew under the same name.
    place.import(
        "4.yaml",
        policy(1, "c")
            .replace("uid: up", "uid: up2")
            .replace("03:00:00", "11:00:00"),
        "12:00:00",
    );
    let rows = place.objects("NetworkPolicy");
    let second = rows.iter().find(|row| row.spec.contains("\"b\"")).unwrap();
    assert_eq!(second.to_slack_ms, Some(3_600_000));
}

#[test]
fn a_recorded_watch_gives_the_end() {
    let place = Place::new();
    let event = |change: &str, name: &str, created: &str, status: &str| {
        format!(
            r#"{{"type":"{change}","object":{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","namespace":"shop","uid":"{name}","creationTimestamp":"2026-11-24T{created}Z"}},"status":{{"podIP":"10.0.0.1",{status}}}}}}}"#
        )
    };
    let running = r#""phase":"Running","containerStatuses":[{"state":{"running":{"startedAt":"2026-11-24T08:00:05Z"}}}]"#;
    let ended = r#""phase":"Running","containerStatuses":[{"state":{"terminated":{"startedAt":"2026-11-24T08:00:05Z","finishedAt":"2026-11-24T08:30:00Z"}}}]"#;
    let gone = event("DELETED", "a", "08:00:00", ended).replace(
        "\"uid\"",
        "\"deletionTimestamp\":\"2026-11-24T08:30:30Z\",\"uid\"",
    );
    let stream = [
        event("ADDED", "a", "08:00:00", running),
        gone,
        event("ADDED", "b", "08:30:02", r#""phase":"Pending""#).replace("10.0.0.1", ""),
        "{\"type\":\"MODIF".to_owned(),
    ]
    .join("\n");
    let path = place.file("watch.json", stream);
    let summary = place.try_import(&[&path], &settings("")).unwrap();
    assert_eq!(
        summary.issues.len(),
        1,
        "the cut tail: {:?}",
        summary.issues
    );
    let rows = place.endpoints();
    assert_eq!(rows.len(), 1);
    let us = |text: &str| at(text).timestamp_micros();
    assert_eq!(
        (rows[0].valid_from_us, rows[0].valid_to_us),
        (us("08:00:05"), Some(us("08:30:00")))
    );
    assert_eq!(
        (rows[0].from_slack_ms, rows[0].to_slack_ms),
        (Some(5000), Some(3000))
    );
    assert!(rows[0].evidence.contains("watch"));
}

#[test]
fn times_of_files() {
    let place = Place::new();
    let problems = |summary: &ImportSummary| {
        let root = place.dir.path().canonicalize().unwrap();
        summary
            .problems
            .iter()
            .map(|problem| {
                problem
                    .to_string()
                    .replace(&format!("{}/", root.display()), "")
            })
            .collect::<Vec<_>>()
    };
    let path = place.file("dump/20261124T090000Z/pods.yaml", world());
    let summary = place.try_import(&[&path], &settings("")).unwrap();
    assert_eq!(
        summary.snapshots.into_iter().collect::<Vec<_>>(),
        [at("09:00:00").timestamp_micros()]
    );
    // Older than what is in it.
    let path = place.file("20261124T080000Z.yaml", world());
    let summary = place.try_import(&[&path], &settings("")).unwrap();
    assert_eq!(
        problems(&summary),
        [
            "`20261124T080000Z.yaml` cannot be from 2026-11-24T08:00:00Z: something in it is from 2026-11-24T08:10:00Z"
        ]
    );
    assert_eq!(summary.commit, None);
    let path = place.file("undated.yaml", world());
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(at("11:00:00").into()).unwrap();
    let summary = place.try_import(&[&path], &settings("")).unwrap();
    assert_eq!(
        problems(&summary),
        ["`undated.yaml` is taken to be from 2026-11-24T11:00:00Z, when it was last written"]
    );
    assert_eq!(
        summary.snapshots.into_iter().collect::<Vec<_>>(),
        [at("11:00:00").timestamp_micros()]
    );
}

#[test]
fn what_cannot_be_used_is_named_with_its_line_and_the_rest_is_used() {
    let place = Place::new();
    place.file("dir/a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: x, name: y}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    place.file("dir/b.json", b"\xff\xff\0\0");
    place.file("dir/bom.json", b"\xff\xfe{\0}\0");
    place.file("dir/c.yaml", "");
    place.file("dir/d.json.gz", &gzip(world())[..200]);
    place.file("dir/logs.txt", "not inventory");
    place.file("dir/policy.yaml", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n  podSelector: {}\n  ingress:\n  - ports:\n    - port: 70000\n");
    let summary = place
        .try_import(&[&place.path("dir")], &settings("09:00:00"))
        .unwrap();
    let issues: Vec<_> = summary
        .issues
        .iter()
        .map(|issue| issue.to_string().rsplit('/').next().unwrap().to_owned())
        .collect();
    assert_eq!(issues.len(), 2, "{issues:?}");
    assert!(
        issues[0].starts_with("a.yaml:3: error: the key `name` is there twice"),
        "{}",
        issues[0]
    );
    assert!(
        summary.issues[1]
            .to_string()
            .contains("policy.yaml:8: error: NetworkPolicy shop/p: spec.ingress[0].ports[0].port"),
        "{}",
        issues[1]
    );
    let problems: Vec<_> = summary
        .problems
        .iter()
        .map(|problem| problem.to_string().rsplit('/').next().unwrap().to_owned())
        .collect();
    assert_eq!(
        problems,
        [
            "dir` holds 1 other or hidden files, left out",
            "b.json` is not text: byte 0 is not UTF-8",
            "bom.json` is written in UTF-16, as PowerShell does where output goes to a file",
            "c.yaml` holds no Kubernetes object",
            "d.json.gz` is cut off: its packed data ends too early",
        ]
    );
    assert_eq!(place.objects("Namespace").len(), 1);
    let error = place
        .try_import(&[&place.path("none")], &settings(""))
        .unwrap_err();
    assert!(error.is_usage());
}

#[test]
fn nothing_was_seen_at_a_time_that_is_yet_to_come() {
    let place = Place::new();
    let path = place.file("2136-11-24T08-00-00Z.yaml", world());
    let summary = place.try_import(&[&path], &settings("")).unwrap();
    let problem = summary.problems[0].to_string();
    let said = "cannot be from 2136-11-24T08:00:00Z: that is yet to come";
    assert!(problem.ends_with(said), "{problem}");
    assert_eq!((summary.commit, place.endpoints().len()), (None, 0));
    let wanted = ImportSettings {
        declared_from: Some("2136-11-24T08:00:00Z".parse().unwrap()),
        ..settings("")
    };
    let summary = place.try_import(&[&path], &wanted).unwrap();
    assert!(
        summary.commit.is_some(),
        "what is wanted may be wanted later"
    );
}

#[test]
fn clusters_do_not_touch_each_other() {
    let place = Place::new();
    place.import("all.yaml", world(), "09:00:00");
    let path = place.path("all.yaml");
    let other = ImportSettings {
        cluster: "test".to_owned(),
        ..settings("09:30:00")
    };
    place.try_import(&[&path], &other).unwrap();
    let rows = place.endpoints();
    assert_eq!(rows.len(), 12);
    assert!(
        rows.iter()
            .filter(|row| row.cluster == "prod")
            .all(|row| row.valid_to_us == Some(at("09:00:00").timestamp_micros()))
    );
}

#[test]
fn rows_that_others_wrote_stay() {
    use flowaudit_lake::{Partition, Table};
    let place = Place::new();
    place.import("all.yaml", world(), "09:00:00");
    let eni = EndpointRow {
        kind: "eni".to_owned(),
        name: "eni-1".to_owned(),
        evidence: "describe".to_owned(),
        ..place.endpoints()[0].clone()
    };
    let group = ObjectRow {
        kind: "SecurityGroup".to_owned(),
        group: "ecs".to_owned(),
        spec: r#"{"SecurityGroupId":"sg-1"}"#.to_owned(),
        ..place.objects("Namespace")[0].clone()
    };
    let mut batch = place.lake.batch("other").unwrap();
    batch
        .write(
            Table::Endpoints,
            Partition::None,
            &EndpointRow::to_batch(std::slice::from_ref(&eni)),
        )
        .unwrap();
    batch
        .write(
            Table::Objects,
            Partition::None,
            &ObjectRow::to_batch(std::slice::from_ref(&group)),
        )
        .unwrap();
    batch.publish().unwrap();
    place.import("all.yaml", world(), "10:00:00");
    assert!(place.endpoints().contains(&eni));
    assert_eq!(place.objects("SecurityGroup"), [group]);
}
