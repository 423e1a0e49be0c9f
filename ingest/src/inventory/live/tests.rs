//! Each rule by hand: what was heard, and the rows of the lake.

use std::sync::Arc;

use flowaudit_lake::store::Memory;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::gaps::GapRow;
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_lake::{Lake, Partition, Table, read};
use flowaudit_rules::kubernetes::{self, Object};
use serde_json::{Value, json};

use super::*;
use crate::inventory::rows::is_ledger;
use crate::inventory::sighting::us;
use crate::kubernetes::Record;

pub(super) const S: i64 = 1_000_000;

/// Second `n` of the test, in microseconds since the epoch.
pub(super) fn at(second: i64) -> i64 {
    us("2026-11-24T08:00:00Z".parse().unwrap()) + second * S
}

pub(super) fn text(second: i64) -> String {
    chrono::DateTime::from_timestamp_micros(at(second))
        .unwrap()
        .to_rfc3339()
}

pub(super) fn object(value: &Value) -> Object {
    let manifest = kubernetes::read("test", &value.to_string());
    assert_eq!(manifest.issues, [], "{value}");
    manifest.objects.into_iter().next().unwrap()
}

/// A running pod that has its address from `start` on.
pub(super) fn pod(name: &str, addr: &str, start: i64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"),
            "creationTimestamp": text(start - 2), "labels": {"app": name}},
        "spec": {"nodeName": "n1"},
        "status": {"phase": "Running", "podIP": addr, "podIPs": [{"ip": addr}],
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": text(start - 1)},
                {"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": text(start)}],
            "containerStatuses": [{"state": {"running": {"startedAt": text(start)}}}]}
    })
}

pub(super) fn finished(mut pod: Value, start: i64, finish: i64) -> Value {
    pod["status"]["phase"] = "Succeeded".into();
    pod["status"]["containerStatuses"] =
        json!([{"state": {"terminated": {"startedAt": text(start), "finishedAt": text(finish)}}}]);
    pod
}

fn policy(generation: i64, types: &Value) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "deny", "namespace": "shop", "uid": "p1", "generation": generation, "creationTimestamp": text(-100)},
        "spec": {"podSelector": {}, "policyTypes": types}})
}

/// Name, address, low, start, end and high, in seconds of the test.
pub(super) type Expected = (
    &'static str,
    &'static str,
    Option<i64>,
    i64,
    i64,
    Option<i64>,
);

/// A lake and whoever records into it.
pub(super) struct Place {
    pub(super) lake: &'static Lake,
    pub(super) recorder: Recorder<'static>,
}

pub(super) fn settings() -> RecorderSettings {
    RecorderSettings {
        cluster: "c".into(),
        vpc: Some("vpc-1".into()),
    }
}

impl Place {
    pub(super) fn new() -> Place {
        Place::on(Lake::create_or_open_on(Arc::new(Memory::default())).unwrap())
    }

    pub(super) fn on(lake: Lake) -> Place {
        // Tests end, and their lakes with them.
        let lake: &'static Lake = Box::leak(Box::new(lake));
        Place {
            lake,
            recorder: Recorder::open(lake, &settings()).unwrap(),
        }
    }

    /// The process ends without a commit, and another one begins.
    pub(super) fn restart(&mut self) {
        self.recorder = Recorder::open(self.lake, &settings()).unwrap();
    }

    pub(super) fn hear(&mut self, heard: Heard) {
        self.recorder.hear(heard).unwrap();
    }

    pub(super) fn list(&mut self, kind: &KindId, begun: i64, ended: i64, objects: &[Value]) {
        self.list_shown(kind, (begun, begun, ended), objects);
    }

    /// A list by when it was asked for, when its first page came, and its last.
    pub(super) fn list_shown(
        &mut self,
        kind: &KindId,
        (begun, shown, ended): (i64, i64, i64),
        objects: &[Value],
    ) {
        let kind = kind.clone();
        self.hear(Heard::ListBegun {
            kind: kind.clone(),
            at: at(begun),
            shown: at(shown),
        });
        for value in objects {
            let object = Box::new(object(value));
            self.hear(Heard::Listed { object });
        }
        self.hear(Heard::ListEnded {
            kind,
            at: at(ended),
        });
    }

    pub(super) fn put(&mut self, value: &Value, second: i64) {
        let object = Box::new(object(value));
        self.hear(Heard::Applied {
            object,
            at: at(second),
        });
    }

    pub(super) fn delete(&mut self, value: &Value, second: i64) {
        let object = Box::new(object(value));
        self.hear(Heard::Deleted {
            object,
            at: at(second),
        });
    }

    pub(super) fn progress(&mut self, kind: &KindId, second: i64) {
        self.hear(Heard::Progress {
            kind: kind.clone(),
            at: at(second),
        });
    }

    fn lose(&mut self, kind: &KindId, second: i64) {
        self.hear(Heard::Lost {
            kind: kind.clone(),
            at: at(second),
            why: "410".into(),
        });
    }

    pub(super) fn commit(&mut self, second: i64) -> Option<u64> {
        self.recorder.commit(at(second)).unwrap()
    }

    pub(super) fn endpoints(&self) -> Vec<EndpointRow> {
        let mut rows: Vec<EndpointRow> =
            read::rows(self.lake, &self.lake.snapshot().unwrap()).unwrap();
        rows.sort_by_key(|row| (row.name.clone(), row.addr.clone(), row.valid_from_us));
        rows
    }

    pub(super) fn objects(&self) -> Vec<ObjectRow> {
        let mut rows: Vec<ObjectRow> =
            read::rows(self.lake, &self.lake.snapshot().unwrap()).unwrap();
        rows.sort_by_key(|row| (row.kind.clone(), row.name.clone(), row.valid_from_us));
        rows
    }

    pub(super) fn gaps(&self) -> Vec<GapRow> {
        read::rows(self.lake, &self.lake.snapshot().unwrap()).unwrap()
    }

    fn files(&self, table: Table) -> usize {
        let snapshot = self.lake.snapshot().unwrap();
        snapshot.files_in(table, Partition::None).len()
    }

    #[track_caller]
    pub(super) fn check(&self, expected: &[Expected]) {
        let rows = self.endpoints();
        let found: Vec<_> = rows
            .iter()
            .map(|row| {
                let second = |us: i64| (us - at(0)) / S;
                let (from, to) = (row.valid_from_us, row.valid_to_us.unwrap());
                (
                    row.name.as_str(),
                    row.addr.as_str(),
                    row.from_slack_ms.map(|ms| second(from - ms * 1000)),
                    second(from),
                    second(to),
                    row.to_slack_ms.map(|ms| second(to + ms * 1000)),
                )
            })
            .collect();
        assert_eq!(found, expected);
    }
}

pub(super) fn pods() -> KindId {
    KindId::new("", "Pod")
}

#[test]
fn a_pod_comes_is_relabelled_finishes_and_goes() {
    let mut place = Place::new();
    place.list(&pods(), 0, 1, &[pod("old", "10.0.0.1", -50)]);
    place.progress(&pods(), 10);
    let web = pod("web", "10.0.0.2", 12);
    place.put(&web, 13);
    place.progress(&pods(), 20);
    place.commit(20).unwrap();
    place.check(&[
        ("old", "10.0.0.1", Some(-51), -50, 20, None),
        ("web", "10.0.0.2", Some(11), 12, 20, None),
    ]);
    let mut relabelled = web.clone();
    relabelled["metadata"]["labels"]["app"] = "db".into();
    place.put(&relabelled, 30);
    place.progress(&pods(), 40);
    place.put(&finished(relabelled.clone(), 12, 44), 46);
    place.commit(46).unwrap();
    place.check(&[
        ("old", "10.0.0.1", Some(-51), -50, 46, None),
        ("web", "10.0.0.2", Some(11), 12, 20, Some(30)),
        ("web", "10.0.0.2", Some(20), 30, 44, Some(46)),
    ]);
    // The object stays for a while; the address is not its any more.
    place.put(&finished(relabelled.clone(), 12, 44), 50);
    place.delete(&finished(relabelled, 12, 44), 60);
    place.commit(60).unwrap();
    let rows = place.endpoints();
    assert_eq!(rows.len(), 3);
    assert!(
        rows.iter()
            .all(|row| row.vpc_id.as_deref() == Some("vpc-1"))
    );
    assert_eq!(rows[2].labels.as_deref(), Some(r#"{"app":"db"}"#));
    assert_eq!(place.commit(61), None, "nothing is new");
}

#[test]
fn a_pod_that_is_deleted_without_having_finished_may_run_on() {
    let mut place = Place::new();
    place.list(&pods(), 0, 1, &[pod("a", "10.0.0.1", -50)]);
    place.progress(&pods(), 10);
    place.delete(&pod("a", "10.0.0.1", -50), 20);
    place.commit(20).unwrap();
    place.check(&[("a", "10.0.0.1", Some(-51), -50, 10, None)]);
    // Until the address has another holder; also when that is found by the next process.
    place.restart();
    place.list(&pods(), 30, 31, &[pod("b", "10.0.0.1", 25)]);
    place.commit(31).unwrap();
    place.check(&[
        ("a", "10.0.0.1", Some(-51), -50, 10, Some(25)),
        ("b", "10.0.0.1", Some(24), 25, 30, None),
    ]);
}

#[test]
fn an_address_goes_from_pod_to_pod() {
    let mut place = Place::new();
    let first = pod("a", "10.0.0.1", -50);
    place.list(&pods(), 0, 1, std::slice::from_ref(&first));
    place.progress(&pods(), 10);
    // The next one's status comes before the last word of the one before.
    place.put(&pod("b", "10.0.0.1", 19), 20);
    place.put(&finished(first, -50, 17), 22);
    place.commit(22).unwrap();
    place.check(&[
        ("a", "10.0.0.1", Some(-51), -50, 17, Some(19)),
        ("b", "10.0.0.1", Some(18), 19, 22, None),
    ]);
}

#[test]
fn what_is_missed_is_not_guessed() {
    let mut place = Place::new();
    let [stays, goes, moves, anew] = [
        pod("a", "10.0.0.1", -50),
        pod("b", "10.0.0.2", -50),
        pod("c", "10.0.0.3", -50),
        pod("d", "10.0.0.4", -50),
    ];
    let before = [stays.clone(), goes, moves, anew];
    place.list(&pods(), 0, 1, &before);
    place.progress(&pods(), 100);
    place.commit(100).unwrap();
    place.lose(&pods(), 130);
    place.commit(131).unwrap();
    let mut anew = pod("d", "10.0.0.4", 150);
    anew["metadata"]["creationTimestamp"] = text(-52).into();
    anew["status"]["conditions"][0]["lastTransitionTime"] = text(-51).into();
    let mut moved = anew.clone();
    moved["metadata"]["name"] = "c".into();
    moved["metadata"]["uid"] = "uid-c".into();
    moved["metadata"]["labels"]["app"] = "c".into();
    moved["status"]["podIP"] = "10.0.0.9".into();
    moved["status"]["podIPs"] = json!([{"ip": "10.0.0.9"}]);
    let newborn = pod("e", "10.0.0.5", 160);
    place.list(&pods(), 200, 202, &[stays, moved, anew, newborn]);
    place.progress(&pods(), 230);
    place.commit(230).unwrap();
    place.check(&[
        ("a", "10.0.0.1", Some(-51), -50, 230, None),
        ("b", "10.0.0.2", Some(-51), -50, 100, Some(202)),
        ("c", "10.0.0.3", Some(-51), -50, 89, Some(150)),
        ("c", "10.0.0.9", Some(-51), 150, 230, None),
        ("d", "10.0.0.4", Some(-51), -50, 100, Some(150)),
        ("d", "10.0.0.4", Some(100), 150, 230, None),
        ("e", "10.0.0.5", Some(159), 160, 230, None),
    ]);
    let gaps = place.gaps();
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].from_us, gaps[0].to_us), (at(100), at(202)));
    assert_eq!(
        (gaps[0].reason.as_str(), gaps[0].source.as_str()),
        ("inventory", "inventory/c//Pod")
    );
    let spans: Vec<_> = place.objects().into_iter().filter(is_ledger).collect();
    let spans: Vec<_> = spans
        .iter()
        .map(|row| (row.valid_from_us, row.valid_to_us))
        .collect();
    assert_eq!(spans, [(at(0), Some(at(100))), (at(200), Some(at(230)))]);
}

#[test]
fn a_restart_is_a_gap_and_goes_on() {
    let mut place = Place::new();
    let (stays, goes) = (pod("a", "10.0.0.1", -50), pod("b", "10.0.0.2", -50));
    place.list(&pods(), 0, 1, &[stays.clone(), goes.clone()]);
    place.progress(&pods(), 100);
    place.put(&finished(goes.clone(), -50, 105), 107);
    place.commit(110).unwrap();
    // Heard, and not committed.
    place.progress(&pods(), 120);
    place.restart();
    // The finished one is still there, and is written down already.
    let lived = finished(pod("c", "10.0.0.3", 130), 130, 140);
    place.list(&pods(), 200, 201, &[stays, finished(goes, -50, 105), lived]);
    place.commit(201).unwrap();
    place.check(&[
        ("a", "10.0.0.1", Some(-51), -50, 200, None),
        ("b", "10.0.0.2", Some(-51), -50, 105, Some(107)),
        ("c", "10.0.0.3", Some(129), 130, 140, Some(201)),
    ]);
    let gaps = place.gaps();
    assert_eq!((gaps[0].from_us, gaps[0].to_us), (at(107), at(201)));
    // One tail per table, one for spans, and nothing left of those before.
    assert_eq!(
        (place.files(Table::Endpoints), place.files(Table::Objects)),
        (1, 2)
    );
}

#[test]
fn who_is_found_evicted_held_until_it_was_last_heard_of() {
    let mut place = Place::new();
    let mut evicted = pod("a", "10.0.0.1", -50);
    place.list(&pods(), 0, 1, std::slice::from_ref(&evicted));
    place.progress(&pods(), 10);
    place.lose(&pods(), 12);
    evicted["status"]["phase"] = "Failed".into();
    evicted["status"]["containerStatuses"] = json!([]);
    place.list(&pods(), 40, 41, &[evicted]);
    place.commit(41).unwrap();
    place.check(&[("a", "10.0.0.1", Some(-51), -50, 10, None)]);
    // Of one that is found so at first sight only its beginning is known.
    let mut unseen = pod("b", "10.0.0.2", 20);
    unseen["status"]["phase"] = "Failed".into();
    unseen["status"]["containerStatuses"] = json!([]);
    place.put(&unseen, 60);
    place.list(&pods(), 70, 71, &[unseen]);
    place.commit(71).unwrap();
    place.check(&[
        ("a", "10.0.0.1", Some(-51), -50, 10, None),
        ("b", "10.0.0.2", Some(19), 20, 20, None),
    ]);
}

#[test]
fn policies_change_by_event_and_by_generation() {
    let mut place = Place::new();
    let kind = KindId::new("networking.k8s.io", "NetworkPolicy");
    let (ingress, both) = (json!(["Ingress"]), json!(["Ingress", "Egress"]));
    place.list(&kind, 0, 1, &[policy(1, &ingress)]);
    place.progress(&kind, 50);
    place.put(&policy(2, &both), 60);
    place.progress(&kind, 70);
    place.commit(70).unwrap();
    place.restart();
    place.list(&kind, 100, 101, &[policy(2, &both)]);
    place.progress(&kind, 110);
    place.delete(&policy(2, &both), 120);
    place.commit(120).unwrap();
    let rows = place.objects();
    let rows = rows.iter().filter(|row| !is_ledger(row));
    let times: Vec<_> = rows
        .map(|row| {
            let second = |us: i64| (us - at(0)) / S;
            (
                second(row.valid_from_us),
                second(row.valid_to_us.unwrap()),
                row.to_slack_ms,
                row.from_slack_ms,
            )
        })
        .collect();
    assert_eq!(
        times,
        [
            (-100, 50, Some(10_000), Some(0)),
            (60, 110, Some(10_000), Some(10_000))
        ]
    );
}

#[test]
fn what_comes_in_the_burst_after_a_list_is_late() {
    let mut place = Place::new();
    let web = pod("web", "10.0.0.2", -50);
    place.list(&pods(), 0, 30, std::slice::from_ref(&web));
    let mut relabelled = web;
    relabelled["metadata"]["labels"]["app"] = "db".into();
    // Somebody else's event, then ours; both happened while pages were sent.
    place.put(&pod("other", "10.0.0.3", 5), 31);
    place.put(&relabelled, 32);
    place.progress(&pods(), 60);
    place.commit(60).unwrap();
    place.check(&[
        ("other", "10.0.0.3", Some(4), 5, 60, None),
        ("web", "10.0.0.2", Some(-51), -50, 0, Some(32)),
        ("web", "10.0.0.2", Some(0), 32, 60, None),
    ]);
}

/// A pod that does not say since when it has its address.
pub(super) fn undated(name: &str, addr: &str) -> Value {
    let mut pod = pod(name, addr, 3);
    pod["status"]["conditions"] = json!([]);
    pod["status"]["containerStatuses"] = json!([]);
    pod
}

#[test]
fn who_came_and_went_in_the_burst_after_a_list_is_in_a_gap() {
    let mut place = Place::new();
    place.list(&pods(), 0, 1, &[pod("old", "10.0.0.1", -50)]);
    // Their addresses were another's when the list began; whether these events are late is not known.
    let [forced, evicted] = [undated("a", "10.0.0.2"), undated("b", "10.0.0.3")];
    place.put(&forced, 5);
    place.put(&evicted, 5);
    place.delete(&forced, 6);
    let mut failed = evicted;
    failed["status"]["phase"] = "Failed".into();
    place.put(&failed, 7);
    // One that stays is known from when its last look was heard of.
    let mut stays = undated("c", "10.0.0.4");
    place.put(&stays, 5);
    stays["metadata"]["labels"]["app"] = "db".into();
    place.put(&stays, 8);
    place.progress(&pods(), 20);
    place.commit(20).unwrap();
    place.check(&[
        ("c", "10.0.0.4", Some(1), 8, 20, None),
        ("old", "10.0.0.1", Some(-51), -50, 20, None),
    ]);
    let gaps: Vec<_> = place
        .gaps()
        .iter()
        .map(|gap| (gap.from_us, gap.to_us))
        .collect();
    assert_eq!(gaps, [(at(0), at(6)), (at(0), at(7))]);
}

#[test]
fn who_was_on_its_way_out_at_first_sight_held_since_it_began() {
    let mut place = Place::new();
    place.list(&pods(), 0, 1, &[]);
    let mut leaving = pod("a", "10.0.0.1", 4);
    leaving["metadata"]["deletionTimestamp"] = text(36).into();
    place.put(&leaving, 5);
    place.delete(&leaving, 6);
    place.progress(&pods(), 20);
    place.commit(20).unwrap();
    place.check(&[("a", "10.0.0.1", Some(3), 4, 4, None)]);
}

#[test]
fn a_list_shows_what_was_so_at_some_instant_while_it_was_made() {
    let mut place = Place::new();
    // Asked for at 0, seen at 4: the pod may have come at 3.
    place.list_shown(&pods(), (0, 4, 5), &[undated("a", "10.0.0.1")]);
    place.progress(&pods(), 20);
    place.commit(20).unwrap();
    place.check(&[("a", "10.0.0.1", Some(1), 4, 20, None)]);
}

#[test]
fn hours_are_opened_again_from_where_something_is_known_differently() {
    let mut place = Place::new();
    let reopened = |place: &Place, since: u64| {
        let reopened = place.lake.snapshot().unwrap().reopened_since(since);
        reopened
            .iter()
            .map(|(from, _)| (from - at(0)) / S + 600)
            .collect::<Vec<_>>()
    };
    place.list(&pods(), 0, 1, &[pod("a", "10.0.0.1", -50)]);
    let first = place.commit(1).unwrap();
    assert_eq!(reopened(&place, 0), [-51]);
    // It surely held on: what was analysed before the end that was known stays.
    place.progress(&pods(), 30);
    let second = place.commit(30).unwrap();
    assert_eq!(reopened(&place, first), [0]);
    place.progress(&pods(), 60);
    let third = place.commit(60).unwrap();
    assert_eq!(reopened(&place, second), [30]);
    // It had ended before the end that was known.
    place.put(&finished(pod("a", "10.0.0.1", -50), -50, 55), 62);
    let fourth = place.commit(62).unwrap();
    assert_eq!(reopened(&place, third), [55]);
    // That policies are still in force is no news.
    let kind = KindId::new("networking.k8s.io", "NetworkPolicy");
    place.list(&kind, 70, 71, &[policy(1, &json!(["Ingress"]))]);
    let fifth = place.commit(71).unwrap();
    assert_eq!(reopened(&place, fourth), [-100]);
    place.progress(&kind, 80);
    place.commit(80).unwrap();
    assert_eq!(reopened(&place, fifth), [0; 0]);
}
