//! One story, told to any API server: create, relabel, delete, bookmarks, compaction, restarts. What the watch heard must be what was
//! done. The fake and a real server play it alike.

use std::path::Path;
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta, Utc};
use flowaudit_ingest::inventory::live::Heard;
use flowaudit_ingest::kubernetes::{Login, Tuning, WatchSettings};
use serde_json::{Value, json};

use crate::common::{Listening, Taken, short};

/// An API server that the story can be told to.
pub(crate) trait Cluster {
    /// Sends JSON; the answer, if it was a success.
    fn call(&self, method: &str, path: &str, body: &Value) -> Value;
    /// A kubeconfig for it.
    fn kubeconfig(&self) -> &Path;
    /// Goes away, calls `meanwhile` as soon as nobody can hear of it, forgets every change, and comes back.
    fn restart_compacted(&mut self, meanwhile: &dyn Fn(&dyn Cluster));
    /// Serves one more kind: a CustomResourceDefinition.
    fn serve(&mut self, definition: &Value);
    /// How long until a bookmark must have come.
    fn bookmark_within(&self) -> Duration;
}

/// Cilium's policies, as far as a server must know them to keep them.
pub(crate) const DEFINITION: &str = r#"{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
  "metadata": {"name": "ciliumnetworkpolicies.cilium.io"},
  "spec": {"group": "cilium.io", "scope": "Namespaced",
    "names": {"plural": "ciliumnetworkpolicies", "singular": "ciliumnetworkpolicy", "kind": "CiliumNetworkPolicy"},
    "versions": [{"name": "v2", "served": true, "storage": true,
      "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}}"#;
const OF_CILIUM: &str = "/apis/cilium.io/v2/namespaces/shop/ciliumnetworkpolicies";
pub(crate) const PODS: &str = "/api/v1/namespaces/shop/pods";
pub(crate) const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies";

pub(crate) fn create_pod(cluster: &dyn Cluster, name: &str, addr: &str) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}
    });
    cluster.call("POST", PODS, &pod);
    let status = json!({"status": {"phase": "Running", "podIP": addr, "podIPs": [{"ip": addr}]}});
    cluster.call("PATCH", &format!("{PODS}/{name}/status"), &status);
}

pub(crate) fn label_pod(cluster: &dyn Cluster, name: &str, app: &str) {
    let labels = json!({"metadata": {"labels": {"app": app}}});
    cluster.call("PATCH", &format!("{PODS}/{name}"), &labels);
}

pub(crate) fn delete_pod(cluster: &dyn Cluster, name: &str) {
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0});
    cluster.call("DELETE", &format!("{PODS}/{name}"), &options);
}

/// What a kubelet writes of a pod whose containers have just stopped.
fn stopped() -> Value {
    let now = (Utc::now() + TimeDelta::seconds(1)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let terminated = json!({"exitCode": 0, "finishedAt": now});
    json!({"status": {"phase": "Succeeded", "containerStatuses": [{
        "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": terminated}}]}})
}

/// The end of a pod as a kubelet makes it: it is asked for, the pod stops, the object goes.
pub(crate) fn end_pod(cluster: &dyn Cluster, name: &str) {
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 30});
    cluster.call("DELETE", &format!("{PODS}/{name}"), &options);
    cluster.call("PATCH", &format!("{PODS}/{name}/status"), &stopped());
    delete_pod(cluster, name);
}

pub(crate) fn create_policy_of_cilium(cluster: &dyn Cluster) {
    let policy = json!({"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "cnp", "namespace": "shop"}, "spec": {"endpointSelector": {}, "ingress": [{}]}});
    cluster.call("POST", OF_CILIUM, &policy);
}

/// What the story begins with.
pub(crate) fn prepare(cluster: &dyn Cluster) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "shop", "labels": {"team": "one"}}});
    cluster.call("POST", "/api/v1/namespaces", &namespace);
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"},
        "spec": {"providerID": "cn-hangzhou.i-0001"}});
    cluster.call("POST", "/api/v1/nodes", &node);
    let addresses =
        json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.9.0.1"}]}});
    cluster.call("PATCH", "/api/v1/nodes/n1/status", &addresses);
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "deny", "namespace": "shop"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}});
    cluster.call("POST", POLICIES, &policy);
    for (n, name) in ["a", "b", "c", "d", "e"].iter().enumerate() {
        create_pod(cluster, name, &format!("10.8.0.{}", n + 1));
    }
}

pub(crate) fn settings(cluster: &dyn Cluster) -> WatchSettings {
    WatchSettings {
        login: Login {
            kubeconfig: Some(cluster.kubeconfig().to_owned()),
            context: None,
        },
        every: Duration::from_millis(500),
        lease: None,
        tuning: Tuning {
            // So that even this story needs several pages.
            page_objects: 2,
            // So that it tries to go on where it was, and is told that this is too old.
            resume_within: Duration::from_secs(600),
            wait_max: Duration::from_secs(1),
            discovery_pause: Duration::from_secs(1),
            ..Tuning::default()
        },
        ..WatchSettings::default()
    }
}

fn has(taken: &Taken, kind: &str, text: &str) -> bool {
    short(taken, kind).iter().any(|found| found == text)
}

fn count(taken: &Taken, kind: &str, text: &str) -> usize {
    let all = short(taken, kind);
    all.iter().filter(|found| *found == text).count()
}

/// Tells the story; the server is empty but for what a real one makes for itself.
pub(crate) fn tell(cluster: &mut dyn Cluster) {
    prepare(cluster);
    let listening = Listening::start(settings(cluster));
    listening.until("everything is listed", |taken| {
        ["Namespace", "Node", "Pod", "NetworkPolicy", "Service"]
            .iter()
            .all(|kind| has(taken, kind, "end"))
    });

    // Create, relabel, delete: each as an event, in order.
    create_pod(cluster, "f", "10.8.0.6");
    label_pod(cluster, "a", "db");
    delete_pod(cluster, "b");
    let spec = json!({"spec": {"policyTypes": ["Ingress", "Egress"]}});
    cluster.call("PATCH", &format!("{POLICIES}/deny"), &spec);
    listening.until("the changes are heard", |taken| {
        has(taken, "Pod", "del b") && has(taken, "NetworkPolicy", "put deny")
    });
    {
        let taken = listening.taken();
        let of_pods = short(&taken, "Pod");
        let expected = [
            "list", "is a", "is b", "is c", "is d", "is e", "end", "put f", "put f", "put a",
            "put b", "del b",
        ];
        assert_eq!(of_pods, expected);
        check_states(&taken);
    }

    // A kind that was not served when the watch began.
    cluster.serve(&serde_json::from_str(DEFINITION).unwrap());
    listening.until("the new kind is listed", |taken| {
        has(taken, "CiliumNetworkPolicy", "end")
    });
    create_policy_of_cilium(cluster);
    listening.until("and watched", |taken| {
        has(taken, "CiliumNetworkPolicy", "put cnp")
    });

    // A kind of which nothing happens is known up to its last bookmark.
    let heard = listening.taken().heard.len();
    listening.until_within(cluster.bookmark_within(), "a bookmark comes", |taken| {
        taken.heard[heard..]
            .iter()
            .any(|heard| matches!(heard, Heard::Progress { kind, .. } if kind.kind == "Node"))
    });

    // Gone, changed and come while the server is away, and it forgets: 410, a list, and no guess.
    cluster.restart_compacted(&|cluster: &dyn Cluster| {
        delete_pod(cluster, "c");
        create_pod(cluster, "g", "10.8.0.7");
    });
    listening.until("pods are listed anew", |taken| {
        count(taken, "Pod", "end") == 2
    });
    {
        let taken = listening.taken();
        let of_pods = short(&taken, "Pod");
        let lost = of_pods.iter().position(|text| text == "lost").unwrap();
        let expected = [
            "lost", "list", "is a", "is d", "is e", "is f", "is g", "end",
        ];
        assert_eq!(of_pods[lost..], expected);
        let why = taken.heard.iter().find_map(|heard| match heard {
            Heard::Lost { kind, why, .. } if kind.kind == "Pod" => Some(why.clone()),
            _ => None,
        });
        assert!(why.unwrap().contains("410"), "{:?}", taken.told);
    }
    label_pod(cluster, "d", "db");
    listening.until("the watch goes on", |taken| has(taken, "Pod", "put d"));
    let (taken, ended) = listening.end();
    ended.unwrap();
    assert_eq!(taken.committed, taken.heard.len());

    // The watcher itself begins anew.
    end_pod(cluster, "e");
    let listening = Listening::start(settings(cluster));
    listening.until("pods are listed", |taken| has(taken, "Pod", "end"));
    let (taken, ended) = listening.end();
    ended.unwrap();
    let of_pods = short(&taken, "Pod");
    assert_eq!(of_pods, ["list", "is a", "is d", "is f", "is g", "end"]);
}

/// The states, not only the names.
#[track_caller]
fn check_states(taken: &Taken) {
    let mut states = Vec::new();
    for heard in &taken.heard {
        let (object, at) = match heard {
            Heard::Applied { object, at } => (object, *at),
            Heard::Deleted { object, at } => (object, *at),
            _ => continue,
        };
        if let flowaudit_rules::kubernetes::Body::Pod(pod) = &object.body {
            let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
            let app = pod.labels.get("app").cloned().unwrap_or_default();
            states.push((object.name.clone(), addresses.join(","), app));
            assert!(object.created.unwrap().timestamp_micros() < at + 2_000_000);
        }
    }
    let state =
        |name: &str, addr: &str, app: &str| (name.to_owned(), addr.to_owned(), app.to_owned());
    assert_eq!(
        states,
        [
            state("f", "", "web"),
            state("f", "10.8.0.6", "web"),
            state("a", "10.8.0.1", "db"),
            state("b", "10.8.0.2", "web"),
            state("b", "10.8.0.2", "web"),
        ]
    );
}
