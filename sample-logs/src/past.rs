//! What the cluster's own logs say of the run: the audit log as the policy of ACK writes it, and Terway's events.
//!
//! True times are those of the API server; events carry the node's clock. Both logs have what real ones have: reads, refusals, dry
//! runs, other stages, lines that came twice and out of order, events that were lost or name the next pod of their name.

use serde_json::{Value, json};

use crate::kubernetes::{self, put, to_line};
use crate::random::{Dice, uid_of};
use crate::scenario::Kind;
use crate::time::{MINUTE_MS, SECOND_MS, rfc3339, rfc3339_us};
use crate::world::{Pod, World};

const PAST_STREAM: u64 = 7;
const LEASE_EVERY_MS: i64 = 10 * SECOND_MS;
/// Lines are late by up to this much.
const DISORDER_MS: i64 = 5 * SECOND_MS;

/// One line of a log.
struct Line {
    /// Where it stands among the others.
    place_ms: i64,
    text: String,
}

struct Log<'w, 'a> {
    world: &'w World<'a>,
    dice: Dice,
    lines: Vec<Line>,
    number: u64,
}

/// One request as the audit log tells of it.
struct Request<'r> {
    verb: &'r str,
    user: &'r str,
    group: &'r str,
    resource: &'r str,
    subresource: &'r str,
    namespace: &'r str,
    name: &'r str,
    query: &'r str,
}

impl Default for Request<'_> {
    fn default() -> Self {
        Request {
            verb: "patch",
            user: "kubernetes-admin",
            group: "",
            resource: "pods",
            subresource: "",
            namespace: "",
            name: "",
            query: "",
        }
    }
}

/// The audit log without what was answered within `missing`, milliseconds since the epoch: one JSON event per line.
pub(crate) fn audit(world: &World<'_>, missing: &[[i64; 2]]) -> String {
    let mut log = Log {
        world,
        dice: Dice::new(world.seed, PAST_STREAM),
        lines: Vec::new(),
        number: 0,
    };
    for pod in 0..world.pods.len() {
        log.pod(pod);
    }
    log.declared();
    log.nodes();
    let is_missing = |line: &Line| {
        missing
            .iter()
            .any(|[from, to]| (*from..*to).contains(&line.place_ms))
    };
    log.lines.retain(|line| !is_missing(line));
    for line in &mut log.lines {
        line.place_ms += log.dice.between(0, DISORDER_MS);
    }
    joined(log.lines)
}

fn joined(mut lines: Vec<Line>) -> String {
    lines.sort_by_key(|line| line.place_ms);
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.text);
        text.push('\n');
    }
    text
}

impl Log<'_, '_> {
    /// A request whose change is made at `at_ms`, with what the default policy of ACK keeps of it.
    fn tell(&mut self, at_ms: i64, request: &Request<'_>, bodies: [Option<Value>; 2], code: u16) {
        let scenario = self.world.scenario;
        if !(scenario.start_ms()..=scenario.end_ms() + MINUTE_MS).contains(&at_ms) {
            return;
        }
        self.number += 1;
        let received_us = at_ms * 1000 - self.dice.between(500, 4_000);
        let answered_us = at_ms * 1000 + self.dice.between(200, 3_000);
        let root = match request.group {
            "" => "/api/v1".to_owned(),
            group => format!("/apis/{group}/v1"),
        };
        let uri = format!(
            "{root}/namespaces/{}/{}/{}{}",
            request.namespace, request.resource, request.name, request.query
        );
        let level = match (request.group, &bodies) {
            ("coordination.k8s.io" | "discovery.k8s.io", _) => "Metadata",
            _ => "RequestResponse",
        };
        let mut reference = json!({ "resource": request.resource, "apiVersion": "v1" });
        for (key, value) in [
            ("namespace", request.namespace),
            ("name", request.name),
            ("apiGroup", request.group),
            ("subresource", request.subresource),
        ] {
            put(&mut reference, key, (!value.is_empty()).then_some(value));
        }
        let mut event = json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": level,
            "auditID": uid_of(self.world.seed, &format!("audit {}", self.number)),
            "stage": "ResponseComplete",
            "requestURI": uri,
            "verb": request.verb,
            "user": { "username": request.user, "groups": ["system:authenticated"] },
            "sourceIPs": ["10.0.0.1"],
            "objectRef": reference,
            "responseStatus": { "metadata": {}, "code": code },
            "requestReceivedTimestamp": rfc3339_us(received_us),
            "stageTimestamp": rfc3339_us(answered_us),
            "annotations": { "authorization.k8s.io/decision": "allow" },
        });
        let [sent, answered] = bodies;
        put(&mut event, "requestObject", sent);
        put(&mut event, "responseObject", answered);
        let text = to_line(event.clone());
        // As it is written when nothing omits that stage.
        if self.dice.hits(5) {
            let mut begun = event;
            put(&mut begun, "stage", Some("RequestReceived"));
            self.lines.push(Line {
                place_ms: at_ms,
                text: to_line(begun),
            });
        }
        for _ in 0..1 + u8::from(self.dice.hits(5)) {
            self.lines.push(Line {
                place_ms: at_ms,
                text: text.clone(),
            });
        }
    }

    fn pod(&mut self, index: usize) {
        let world = self.world;
        let pod = &world.pods[index];
        let life = pod.life;
        let spec = world.workload_spec(pod);
        let kubelet = format!("system:node:{}", world.node_spec(pod.node).name.value);
        let on_pod = Request {
            namespace: spec.namespace(),
            name: &pod.name,
            ..Request::default()
        };
        let state = |at_ms: i64| {
            kubernetes::pod(world, index, at_ms).map(|object| annotated(pod, object, at_ms))
        };
        let is_named = matches!(spec.kind, Kind::StatefulSet | Kind::Pod);
        let create = Request {
            verb: "create",
            user: "system:serviceaccount:kube-system:replicaset-controller",
            // The server makes the name up.
            name: if is_named { &pod.name } else { "" },
            ..on_pod
        };
        self.tell(
            life.created_ms,
            &create,
            [state(life.created_ms), state(life.created_ms)],
            201,
        );
        let binding = Request {
            verb: "create",
            user: "system:kube-scheduler",
            subresource: "binding",
            ..on_pod
        };
        let target = json!({
            "kind": "Binding", "apiVersion": "v1",
            "metadata": { "namespace": spec.namespace(), "name": pod.name, "uid": pod.uid },
            "target": { "kind": "Node", "name": world.node_spec(pod.node).name.value },
        });
        let done = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
        self.tell(life.scheduled_ms, &binding, [Some(target), Some(done)], 201);
        if !pod.host_network {
            let terway = Request {
                user: "system:serviceaccount:kube-system:terway",
                ..on_pod
            };
            let patch = json!({ "metadata": { "annotations": { "k8s.aliyun.com/pod-ips": addresses(pod) } } });
            let at_ms = life.allocated_ms + 20;
            self.tell(at_ms, &terway, [Some(patch), state(at_ms)], 200);
        }
        let status = Request {
            user: &kubelet,
            subresource: "status",
            ..on_pod
        };
        let terminal_ms = life.end.map(|end| end.terminal_ms);
        for at_ms in [life.ready_to_start_ms, life.started_ms]
            .into_iter()
            .chain(terminal_ms)
        {
            let shown = state(at_ms);
            let sent = shown.as_ref().map(
                |object| json!({ "metadata": { "uid": pod.uid }, "status": object["status"] }),
            );
            self.tell(at_ms, &status, [sent, shown], 200);
        }
        for at_ms in world.relabelled_ms(pod.workload).collect::<Vec<_>>() {
            if let Some(shown) = state(at_ms) {
                let sent = json!({ "metadata": { "labels": shown["metadata"]["labels"] } });
                self.tell(at_ms, &Request { ..on_pod }, [Some(sent), Some(shown)], 200);
            }
        }
        self.pod_ends(index, &kubelet, &on_pod);
    }

    fn pod_ends(&mut self, index: usize, kubelet: &str, on_pod: &Request<'_>) {
        let world = self.world;
        let pod = &world.pods[index];
        let Some(end) = pod.life.end else { return };
        let controller = "system:serviceaccount:kube-system:replicaset-controller";
        let options = |grace_s: i64| json!({ "kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": grace_s, "preconditions": { "uid": pod.uid } });
        let is_over = end.finished_ms < end.requested_ms;
        if !is_over {
            let asked = Request {
                verb: "delete",
                user: controller,
                ..*on_pod
            };
            let shown = kubernetes::pod(world, index, end.requested_ms)
                .map(|object| annotated(pod, object, end.requested_ms));
            self.tell(end.requested_ms, &asked, [Some(options(30)), shown], 200);
        }
        let last = kubernetes::last_state(world, index).map(|object| {
            let mut object = annotated(pod, object, end.gone_ms);
            put(
                &mut object["metadata"],
                "deletionGracePeriodSeconds",
                Some(0),
            );
            object
        });
        // Whoever removes a pod that has ended gives it no time; otherwise its kubelet ends it.
        let (user, sent) = match is_over {
            true => (
                "system:serviceaccount:kube-system:generic-garbage-collector",
                json!({ "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background" }),
            ),
            false => (kubelet, options(0)),
        };
        self.tell(
            end.gone_ms,
            &Request {
                verb: "delete",
                user,
                ..*on_pod
            },
            [Some(sent), last],
            200,
        );
    }

    /// Policies, ReplicaSets and Jobs as they come and go.
    fn declared(&mut self) {
        let world = self.world;
        let scenario = world.scenario;
        let mut changes_ms = scenario.policy_changes_ms();
        changes_ms.extend(world.pods.iter().map(|pod| pod.life.created_ms - 500));
        changes_ms.extend(
            world
                .pods
                .iter()
                .filter_map(|pod| pod.life.end.map(|end| end.gone_ms)),
        );
        changes_ms.sort_unstable();
        changes_ms.dedup();
        for at_ms in changes_ms {
            if !(scenario.start_ms() + 1..=scenario.end_ms()).contains(&at_ms) {
                continue;
            }
            let (before, after) = (
                kubernetes::changing(world, at_ms - 1),
                kubernetes::changing(world, at_ms),
            );
            let is_in = |list: &[Value], object: &Value| {
                list.iter()
                    .any(|other| other["metadata"]["uid"] == object["metadata"]["uid"])
            };
            for object in after.iter().filter(|object| !is_in(&before, object)) {
                self.change(at_ms, "create", object);
            }
            for object in before.iter().filter(|object| !is_in(&after, object)) {
                self.change(at_ms, "delete", object);
            }
        }
    }

    fn change(&mut self, at_ms: i64, verb: &str, object: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (
            text(&object["metadata"]["namespace"]),
            text(&object["metadata"]["name"]),
        );
        let (group, resource) = match object["kind"].as_str() {
            Some("NetworkPolicy") => ("networking.k8s.io", "networkpolicies"),
            Some("ReplicaSet") => ("apps", "replicasets"),
            _ => ("batch", "jobs"),
        };
        let request = Request {
            verb,
            group,
            resource,
            namespace: &namespace,
            name: &name,
            ..Request::default()
        };
        if verb == "create" {
            // GitOps tries everything first, and somebody else is refused.
            let mut other = object.clone();
            put(&mut other["metadata"], "uid", Some("never"));
            put(&mut other, "spec", Some(json!({ "podSelector": {} })));
            let tried = Request {
                query: "?dryRun=All&fieldManager=argocd",
                ..request
            };
            self.tell(
                at_ms - 800,
                &tried,
                [Some(other.clone()), Some(other.clone())],
                201,
            );
            self.tell(
                at_ms + 900,
                &request,
                [Some(other), Some(json!({ "kind": "Status", "code": 409 }))],
                409,
            );
            return self.tell(
                at_ms,
                &request,
                [Some(object.clone()), Some(object.clone())],
                201,
            );
        }
        let answer = match resource {
            "networkpolicies" => json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "details": { "name": name, "group": group, "kind": resource, "uid": object["metadata"]["uid"] },
            }),
            _ => object.clone(),
        };
        self.tell(at_ms, &request, [None, Some(answer)], 200);
    }

    /// Leases and the status of nodes, and somebody who looks.
    fn nodes(&mut self) {
        let scenario = self.world.scenario;
        for (index, node) in scenario.nodes.iter().enumerate() {
            let name = &node.name.value;
            let user = format!("system:node:{name}");
            let lease = Request {
                verb: "update",
                user: &user,
                group: "coordination.k8s.io",
                resource: "leases",
                namespace: "kube-node-lease",
                name,
                ..Request::default()
            };
            let mut at_ms = scenario.start_ms() + self.dice.between(0, LEASE_EVERY_MS);
            while at_ms < scenario.end_ms() + MINUTE_MS {
                self.tell(at_ms, &lease, [None, None], 200);
                at_ms += LEASE_EVERY_MS + self.dice.between(-500, 500);
            }
            let slices = Request {
                verb: "update",
                group: "discovery.k8s.io",
                resource: "endpointslices",
                namespace: "shop",
                name: "web-x",
                ..Request::default()
            };
            self.tell(
                scenario.start_ms() + 1_000 * index as i64,
                &slices,
                [None, None],
                200,
            );
            let list = Request {
                verb: "list",
                ..Request::default()
            };
            self.tell(
                scenario.start_ms() + 2_000 * index as i64,
                &list,
                [None, None],
                200,
            );
        }
    }
}

/// With what Terway wrote on it, once it did.
fn annotated(pod: &Pod, mut object: Value, at_ms: i64) -> Value {
    if !pod.host_network && at_ms >= pod.life.allocated_ms + 20 {
        put(
            &mut object["metadata"],
            "annotations",
            Some(json!({ "k8s.aliyun.com/pod-ips": addresses(pod) })),
        );
    }
    object
}

fn addresses(pod: &Pod) -> String {
    let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
    addresses.join(",")
}

/// The event centre: one entry per line.
pub(crate) fn events(world: &World<'_>) -> String {
    let mut dice = Dice::new(world.seed, PAST_STREAM + 1);
    let mut lines = Vec::new();
    for (index, pod) in world.pods.iter().enumerate() {
        let at_ms = pod.life.allocated_ms;
        let scenario = world.scenario;
        if pod.host_network
            || !(scenario.start_ms()..=scenario.end_ms()).contains(&at_ms)
            || dice.hits(50)
        {
            continue;
        }
        // Who looks a pod up by its name may find the next one of that name.
        let next = world
            .pods
            .iter()
            .skip(index + 1)
            .find(|next| next.name == pod.name && next.workload == pod.workload);
        let uid = match next.filter(|_| dice.hits(100)) {
            Some(next) => &next.uid,
            None => &pod.uid,
        };
        let nets: Vec<String> = pod
            .addresses
            .iter()
            .map(|address| format!("{address}/{}", if address.is_ipv4() { 24 } else { 64 }))
            .collect();
        let nets = nets.join("-");
        let message = match pod.node % 3 {
            0 => format!(
                "Alloc IP {nets} took {}.{:02}ms",
                dice.between(20, 90),
                dice.between(0, 99)
            ),
            1 => format!("Alloc IP {nets}"),
            _ => format!("Alloc IP {nets} for Pod"),
        };
        let by_node_ms = at_ms + 5 + world.node_spec(pod.node).clock_ahead.ms;
        let namespace = world.workload_spec(pod).namespace();
        let event = json!({
            "metadata": { "name": format!("{}.{:x}", pod.name, by_node_ms * 1_000_000 + 123_456), "namespace": namespace },
            "involvedObject": { "kind": "Pod", "namespace": namespace, "name": pod.name, "uid": uid },
            "reason": "AllocIPSucceed",
            "message": message,
            "source": { "component": "terway-daemon" },
            "firstTimestamp": rfc3339(by_node_ms),
            "lastTimestamp": rfc3339(by_node_ms),
            "count": 1,
            "type": "Normal",
        });
        let key = if dice.hits(500) {
            "eventId"
        } else {
            "event_id"
        };
        let mut entry =
            json!({ "hostname": "", "level": "Normal", "pod_id": uid, "pod_name": pod.name });
        put(&mut entry, key, Some(format!("{event:#}")));
        lines.push(Line {
            place_ms: by_node_ms + dice.between(0, 30 * SECOND_MS),
            text: to_line(entry),
        });
    }
    joined(lines)
}
