//! What the lake says happened is what was done: one story of many changes, told to any API server and recorded as a user's watch
//! records it. Every change is known with the moments before and after it was made, and each row must fit between them.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use flowaudit_ingest::inventory::live::{Recorder, RecorderSettings};
use flowaudit_ingest::kubernetes::{Event, Record, WatchSettings, WatchSummary, watch};
use flowaudit_ingest::{IngestError, Stop};
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_lake::{Lake, LakeError, read};
use serde_json::{Value, json};

use crate::common::until;
use crate::scenario::{
    Cluster, DEFINITION, POLICIES, create_pod, create_policy_of_cilium, delete_pod, end_pod,
    label_pod, settings,
};

/// Times that objects carry are cut to the second.
const ROUNDED_US: i64 = 1_000_000;
/// From a change to its receipt, usually; an analysis allows for thrice as much.
const RECEIPT_US: i64 = 1_000_000;
/// From a change to the moment at which it is heard, on a busy machine.
const HEARD_WITHIN_US: i64 = 5_000_000;

fn now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

/// Something that was so for a while.
#[derive(Debug, Clone)]
struct Fact {
    what: String,
    /// It began within.
    from: Range<i64>,
    /// It ended within.
    to: Option<Range<i64>>,
    /// Whether anybody could hear of its begin, and of its end.
    is_heard: [bool; 2],
}

/// What was done.
#[derive(Debug, Default)]
struct Truth {
    facts: Vec<Fact>,
    is_unheard: bool,
}

impl Truth {
    /// Does something that ends some facts and begins others.
    fn doing(&mut self, ends: &[&str], begins: &[&str], act: impl FnOnce()) {
        let before = now();
        act();
        let within = before..now();
        for what in ends {
            let open = self.facts.iter_mut().rev().find(|fact| fact.what == *what);
            let fact = open.unwrap_or_else(|| panic!("{what} never began"));
            assert_eq!(fact.to, None, "{what} has ended");
            fact.to = Some(within.clone());
            fact.is_heard[1] = !self.is_unheard;
        }
        for what in begins {
            self.facts.push(Fact {
                what: (*what).to_owned(),
                from: within.clone(),
                to: None,
                is_heard: [!self.is_unheard, false],
            });
        }
    }

    /// Each fact is one row, and each row a fact.
    #[track_caller]
    fn check(&self, rows: &[Row]) {
        let mut left: Vec<&Row> = rows.iter().collect();
        for fact in &self.facts {
            let at = left.iter().position(|row| row.what == fact.what);
            let at = at.unwrap_or_else(|| panic!("no row for {fact:?} in {rows:#?}"));
            left.remove(at).check(fact);
        }
        assert!(left.is_empty(), "nobody did {left:#?}");
    }
}

/// What the lake says was so.
#[derive(Debug)]
struct Row {
    what: String,
    core: (i64, Option<i64>),
    slack_us: [Option<i64>; 2],
}

impl Row {
    #[track_caller]
    fn check(&self, fact: &Fact) {
        let (from, to) = self.core;
        let both = format!("{self:?} is not {fact:?}");
        // What is said to be sure was so.
        assert!(
            from >= fact.from.start - ROUNDED_US,
            "began too early: {both}"
        );
        // What was so is said to be possible. Times are those of receipt: what was done before may be heard of after.
        let possibly = self.slack_us[0].map(|slack| from - slack - RECEIPT_US);
        assert!(
            possibly.is_none_or(|low| low <= fact.from.end),
            "begins too late: {both}"
        );
        if fact.is_heard[0] {
            assert!(
                from <= fact.from.end + HEARD_WITHIN_US,
                "known too late: {both}"
            );
        }
        // What goes on was surely so when last heard of, and possibly for ever.
        let high = self.slack_us[1].and_then(|slack| Some(to? + slack));
        match (&fact.to, to, high) {
            (None, _, None) => {}
            (Some(ended), Some(to), Some(high)) => {
                assert!(high >= ended.start, "too short: {both}");
                if fact.is_heard[1] {
                    assert!(high <= ended.end + HEARD_WITHIN_US, "too long: {both}");
                } else {
                    assert!(to <= ended.end, "nobody heard of that: {both}");
                }
            }
            _ => panic!("one has ended: {both}"),
        }
    }
}

fn label(text: Option<&String>, key: &str) -> String {
    let labels: Value = serde_json::from_str(text.map_or("{}", String::as_str)).unwrap();
    labels[key].as_str().unwrap_or("-").to_owned()
}

/// Both tables as of one commit; one that a newer commit has replaced meanwhile is read again.
fn whole(lake: &Lake) -> (Vec<EndpointRow>, Vec<ObjectRow>) {
    loop {
        let snapshot = lake.snapshot().unwrap();
        let endpoints = read::rows(lake, &snapshot);
        match endpoints.and_then(|endpoints| Ok((endpoints, read::rows(lake, &snapshot)?))) {
            Ok(rows) => return rows,
            Err(LakeError::Stale { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// What the lake knows of the namespace of the story.
fn rows(lake: &Path) -> Vec<Row> {
    let Ok(lake) = Lake::open(lake) else {
        return Vec::new();
    };
    let (endpoints, objects) = whole(&lake);
    let slack = |ms: Option<i64>| ms.map(|ms| ms * 1000);
    let mut all = Vec::new();
    for row in endpoints {
        let is_ours = row.namespace.as_deref() == Some("shop");
        if is_ours || row.kind == "node" {
            let app = label(row.labels.as_ref(), "app");
            all.push(Row {
                what: format!("{} {} {} {app}", row.kind, row.name, row.addr),
                core: (row.valid_from_us, row.valid_to_us),
                slack_us: [slack(row.from_slack_ms), slack(row.to_slack_ms)],
            });
        }
    }
    for row in objects {
        let is_ours = row.namespace.as_deref() == Some("shop")
            || (row.kind == "Namespace" && row.name == "shop");
        if !is_ours {
            continue;
        }
        let object: Value = serde_json::from_str(&row.spec).unwrap();
        let state = match row.kind.as_str() {
            "Namespace" | "ServiceAccount" => object["metadata"]["labels"]["team"].to_string(),
            "NetworkPolicy" => object["spec"]["policyTypes"].to_string(),
            _ => "-".to_owned(),
        };
        all.push(Row {
            what: format!("{} {} {state}", row.kind, row.name),
            core: (row.valid_from_us, row.valid_to_us),
            slack_us: [slack(row.from_slack_ms), slack(row.to_slack_ms)],
        });
    }
    all
}

/// A watch that records.
struct Watching {
    stop: Stop,
    told: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<Result<WatchSummary, IngestError>>,
}

impl Watching {
    fn start(lake: &Path, settings: WatchSettings) -> Watching {
        let (stop, told) = (Stop::default(), Arc::new(Mutex::new(Vec::new())));
        let (stopping, telling, place) = (stop.clone(), told.clone(), lake.to_owned());
        let thread = std::thread::spawn(move || {
            let lake = Lake::create_or_open(place).unwrap();
            let recording = RecorderSettings {
                cluster: "prod".to_owned(),
                vpc: None,
            };
            let mut open =
                || Ok(Box::new(Recorder::open(&lake, &recording)?) as Box<dyn Record + '_>);
            let mut events = |event: Event<'_>| {
                if !matches!(event, Event::Committed(_)) {
                    telling.lock().unwrap().push(format!("{event:?}"));
                }
            };
            watch(&mut open, &settings, &mut events, &stopping)
        });
        Watching { stop, told, thread }
    }

    #[track_caller]
    fn until_told(&self, parts: &[&str]) {
        until(&format!("{parts:?}"), || {
            let told = self.told.lock().unwrap();
            told.iter()
                .any(|line| parts.iter().all(|part| line.contains(part)))
        });
    }

    fn end(self) -> WatchSummary {
        self.stop.stop();
        self.thread.join().unwrap().unwrap()
    }
}

/// Waits until the lake has so many rows that begin with this.
#[track_caller]
fn until_rows(lake: &Path, beginning: &str, number: usize) {
    let so = || {
        let rows = rows(lake);
        let found = rows.iter().filter(|row| row.what.starts_with(beginning));
        found.count() == number
    };
    until(&format!("{number} rows of {beginning}"), so);
}

/// Tells the story to an empty server.
pub(crate) fn tell(cluster: &mut dyn Cluster) {
    let dir = tempfile::tempdir().unwrap();
    let lake = dir.path().join("lake");
    let mut truth = Truth::default();
    prepare(cluster, &mut truth);
    let mut settings = settings(cluster);
    settings.every = Duration::from_millis(200);
    let watching = Watching::start(&lake, settings.clone());
    watching.until_told(&["Listed", "Pod"]);
    watching.until_told(&["Listed", "NetworkPolicy"]);
    watching.until_told(&["Listed", "Namespace"]);
    watching.until_told(&["Listed", r#"kind: "Service" "#]);
    watching.until_told(&["Listed", "ServiceAccount"]);
    until_rows(&lake, "pod ", 5);
    // What changes in the burst after a list was surely so at no instant before: the watch is silent for a second first.
    std::thread::sleep(Duration::from_secs(3));

    heard_changes(cluster, &mut truth);
    until_rows(&lake, "pod f ", 1);
    until_rows(&lake, "Service web", 1);
    until_rows(&lake, "ServiceAccount web", 2);
    // Of a kind that was not served when the watch began.
    cluster.serve(&serde_json::from_str(DEFINITION).unwrap());
    watching.until_told(&["Listed", "CiliumNetworkPolicy"]);
    truth.doing(&[], &["CiliumNetworkPolicy cnp -"], || {
        create_policy_of_cilium(cluster);
    });
    until_rows(&lake, "CiliumNetworkPolicy cnp", 1);

    // While the server is away, and forgets.
    let before = watching.told.lock().unwrap().len();
    truth.is_unheard = true;
    let truth = Mutex::new(truth);
    cluster.restart_compacted(&|cluster: &dyn Cluster| {
        let mut truth = truth.lock().unwrap();
        truth.doing(&["pod c 10.8.0.3 web"], &[], || end_pod(cluster, "c"));
        truth.doing(&[], &["pod g 10.8.0.7 web"], || {
            create_pod(cluster, "g", "10.8.0.7")
        });
        truth.doing(&["pod d 10.8.0.4 web"], &["pod d 10.8.0.4 db"], || {
            label_pod(cluster, "d", "db")
        });
    });
    let mut truth = truth.into_inner().unwrap();
    truth.is_unheard = false;
    until("pods are listed anew", || {
        let told = watching.told.lock().unwrap();
        let after = told[before..].iter();
        let lists = after.filter(|line| line.contains("Listed") && line.contains(r#"kind: "Pod""#));
        lists.count() == 1
    });
    until_rows(&lake, "pod g ", 1);
    // An address that goes on to somebody else.
    truth.doing(&["pod f 10.8.0.6 web"], &[], || end_pod(cluster, "f"));
    truth.doing(&[], &["pod h 10.8.0.6 web"], || {
        create_pod(cluster, "h", "10.8.0.6")
    });
    truth.doing(&["pod b 10.8.0.2 web"], &["pod i 10.8.0.2 web"], || {
        create_pod(cluster, "i", "10.8.0.2")
    });
    until_rows(&lake, "pod i ", 1);
    // What changes nothing that counts is no version.
    let note = json!({"metadata": {"annotations": {"note": "one"}}});
    cluster.call("PATCH", "/api/v1/namespaces/shop/pods/a", &note);
    cluster.call("PATCH", "/api/v1/namespaces/shop/pods/a", &note);
    let summary = watching.end();
    assert!(summary.relisted > 0, "{summary:?}");
    truth.check(&rows(&lake));

    // The watcher itself is away.
    truth.is_unheard = true;
    truth.doing(&["pod e 10.8.0.5 web"], &[], || end_pod(cluster, "e"));
    truth.doing(&[r#"NetworkPolicy deny ["Ingress","Egress"]"#], &[], || {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
        cluster.call("DELETE", &format!("{POLICIES}/deny"), &options);
    });
    truth.is_unheard = false;
    let watching = Watching::start(&lake, settings);
    watching.until_told(&["Listed", "NetworkPolicy"]);
    watching.until_told(&["Listed", r#"kind: "Pod""#]);
    truth.doing(&["pod a 10.8.0.1 db"], &[], || end_pod(cluster, "a"));
    until("the deletion is committed", || {
        let rows = rows(&lake);
        let of_a = rows.iter().filter(|row| row.what == "pod a 10.8.0.1 db");
        of_a.filter(|row| row.slack_us[1].is_some()).count() == 1
    });
    watching.end();
    truth.check(&rows(&lake));
}

/// What is there before anybody watches.
fn prepare(cluster: &dyn Cluster, truth: &mut Truth) {
    truth.doing(
        &[],
        &[
            r#"Namespace shop "one""#,
            "node n1 10.9.0.1 -",
            r#"NetworkPolicy deny ["Ingress"]"#,
            "pod a 10.8.0.1 web",
            "pod b 10.8.0.2 web",
            "pod c 10.8.0.3 web",
            "pod d 10.8.0.4 web",
            "pod e 10.8.0.5 web",
        ],
        || crate::scenario::prepare(cluster),
    );
    // Known from the first list on, and by their own word from before.
    for fact in &mut truth.facts {
        fact.is_heard[0] = false;
    }
}

/// What is heard as it happens.
fn heard_changes(cluster: &dyn Cluster, truth: &mut Truth) {
    truth.doing(&[], &["pod f 10.8.0.6 web"], || {
        create_pod(cluster, "f", "10.8.0.6")
    });
    truth.doing(&["pod a 10.8.0.1 web"], &["pod a 10.8.0.1 db"], || {
        label_pod(cluster, "a", "db")
    });
    // Deleted by force: whether it has stopped is known to nobody, until its address is another's.
    delete_pod(cluster, "b");
    let spec = json!({"spec": {"policyTypes": ["Ingress", "Egress"]}});
    truth.doing(
        &[r#"NetworkPolicy deny ["Ingress"]"#],
        &[r#"NetworkPolicy deny ["Ingress","Egress"]"#],
        || {
            cluster.call("PATCH", &format!("{POLICIES}/deny"), &spec);
        },
    );
    let labels = json!({"metadata": {"labels": {"team": "two"}}});
    truth.doing(
        &[r#"Namespace shop "one""#],
        &[r#"Namespace shop "two""#],
        || {
            cluster.call("PATCH", "/api/v1/namespaces/shop", &labels);
        },
    );
    let accounts = "/api/v1/namespaces/shop/serviceaccounts";
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "web", "labels": {"team": "one"}}});
    truth.doing(&[], &[r#"ServiceAccount web "one""#], || {
        cluster.call("POST", accounts, &account);
    });
    truth.doing(
        &[r#"ServiceAccount web "one""#],
        &[r#"ServiceAccount web "two""#],
        || {
            cluster.call("PATCH", &format!("{accounts}/web"), &labels);
        },
    );
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"clusterIP": "10.0.0.77", "selector": {"app": "web"}, "ports": [{"port": 80, "protocol": "TCP"}]}});
    truth.doing(&[], &["Service web -", "service web 10.0.0.77 -"], || {
        cluster.call("POST", "/api/v1/namespaces/shop/services", &service);
    });
}
