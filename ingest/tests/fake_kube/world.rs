//! What the fake holds: kinds, objects, every change since the last compaction, and its faults.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use super::answer::Watch;

/// A kind that is served.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    /// `v1` or `group/version`.
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) namespaced: bool,
    /// By namespace and name, as JSON.
    pub(crate) objects: BTreeMap<(String, String), Arc<str>>,
}

/// One change, ready to be sent.
#[derive(Debug, Clone)]
struct Logged {
    version: u64,
    resource: usize,
    name: String,
    line: Arc<str>,
}

/// A list of which pages are to come.
pub(crate) struct Paging {
    pub(crate) version: u64,
    pub(crate) rest: Vec<Arc<str>>,
}

/// What is broken.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Connections are closed without an answer.
    pub(crate) away: bool,
    /// A proxy answers everything with a page of its own.
    pub(crate) html: bool,
    /// Watches stay open and say nothing.
    pub(crate) silent: bool,
    /// These (`podenis.network.alibabacloud.com`) are forbidden.
    pub(crate) forbidden: BTreeSet<String>,
    /// 410 is the status of the answer, not an event in it.
    pub(crate) gone_as_status: bool,
    /// So many answers are cut in the middle.
    pub(crate) cut_lists: u32,
    /// So many requests are answered with 429 and a wait of this many seconds.
    pub(crate) busy: u32,
    pub(crate) busy_seconds: u32,
    /// Pages are sent piece by piece with this pause.
    pub(crate) slow: Option<Duration>,
    /// The clock of the server is so many seconds ahead.
    pub(crate) seconds_ahead: i64,
}

impl Faults {
    /// What time it is by the clock of the server.
    pub(super) fn date(&self) -> String {
        let now = chrono::Utc::now() + chrono::TimeDelta::seconds(self.seconds_ahead);
        now.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }
}

/// All of it.
pub(crate) struct World {
    pub(crate) resources: Vec<Resource>,
    log: Vec<Logged>,
    version: u64,
    pub(crate) compacted: u64,
    pub(crate) pages: HashMap<String, Paging>,
    /// Accepted tokens.
    pub(crate) tokens: BTreeSet<String>,
    pub(crate) faults: Faults,
    /// Watches that began under another number are cut.
    pub(crate) cuts: u64,
    pub(crate) bookmark_pause: Duration,
    /// Requests as they came: method, path and query.
    pub(crate) requests: Vec<String>,
    /// Connections that were accepted.
    pub(crate) connections: u64,
    uids: u64,
}

const NAMESPACED: bool = true;
const CLUSTER: bool = false;

impl World {
    pub(crate) fn new(token: &str) -> World {
        let mut world = World {
            resources: Vec::new(),
            log: Vec::new(),
            version: 100,
            compacted: 0,
            pages: HashMap::new(),
            tokens: [token.to_owned()].into(),
            faults: Faults::default(),
            cuts: 0,
            bookmark_pause: Duration::from_millis(100),
            requests: Vec::new(),
            connections: 0,
            uids: 0,
        };
        for (api_version, kind, plural, namespaced) in [
            ("v1", "Namespace", "namespaces", CLUSTER),
            ("v1", "Node", "nodes", CLUSTER),
            ("v1", "Pod", "pods", NAMESPACED),
            ("v1", "Service", "services", NAMESPACED),
            ("v1", "ServiceAccount", "serviceaccounts", NAMESPACED),
            ("v1", "ConfigMap", "configmaps", NAMESPACED),
            ("v1", "Secret", "secrets", NAMESPACED),
            ("apps/v1", "ReplicaSet", "replicasets", NAMESPACED),
            ("batch/v1", "Job", "jobs", NAMESPACED),
            (
                "discovery.k8s.io/v1",
                "EndpointSlice",
                "endpointslices",
                NAMESPACED,
            ),
            (
                "networking.k8s.io/v1",
                "NetworkPolicy",
                "networkpolicies",
                NAMESPACED,
            ),
            ("coordination.k8s.io/v1", "Lease", "leases", NAMESPACED),
        ] {
            world.serve(api_version, kind, plural, namespaced);
        }
        world
    }

    /// Serves one more kind from now on.
    pub(crate) fn serve(&mut self, api_version: &str, kind: &str, plural: &str, namespaced: bool) {
        self.resources.push(Resource {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced,
            objects: BTreeMap::new(),
        });
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Forgets every change up to now: watches and pages from before are too old.
    pub(crate) fn compact(&mut self) {
        // What is watched from the newest version on is fine, as with the real one.
        self.version += 1;
        self.compacted = self.version;
        self.log.clear();
        self.pages.clear();
    }

    /// Cuts every watch and every page.
    pub(crate) fn cut(&mut self) {
        self.cuts += 1;
    }

    pub(crate) fn resource(&self, plural: &str) -> usize {
        let found = self
            .resources
            .iter()
            .position(|resource| resource.plural == plural);
        found.unwrap_or_else(|| panic!("{plural} is not served"))
    }

    /// The object of that name.
    pub(crate) fn get(&self, resource: usize, namespace: &str, name: &str) -> Option<Value> {
        let key = (namespace.to_owned(), name.to_owned());
        let text = self.resources[resource].objects.get(&key)?;
        Some(serde_json::from_str(text).unwrap())
    }

    /// Creates an object; its uid, version and time are given here.
    pub(crate) fn create(&mut self, resource: usize, mut object: Value) -> Value {
        self.uids += 1;
        let kind = &self.resources[resource];
        object["apiVersion"] = kind.api_version.clone().into();
        object["kind"] = kind.kind.clone().into();
        let metadata = &mut object["metadata"];
        metadata["uid"] = format!("00000000-0000-4000-8000-{:012}", self.uids).into();
        metadata["generation"] = 1.into();
        metadata["creationTimestamp"] =
            Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true).into();
        // As long as those of a real cluster, and of no use to anyone.
        metadata["managedFields"] = json!([{
            "manager": "kubelet", "operation": "Update", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:status": {"f:phase": {}, "f:podIP": {}, "f:podIPs": {".": {}, "k:{\"ip\":\"10.0.0.1\"}": {".": {}, "f:ip": {}}}}}
        }]);
        self.put(resource, "ADDED", object)
    }

    /// Writes a new state of an object that is there.
    pub(crate) fn update(&mut self, resource: usize, mut object: Value) -> Value {
        let (namespace, name) = key_of(&object);
        let before = self.get(resource, &namespace, &name).unwrap();
        if before.get("spec") != object.get("spec") {
            let generation = before["metadata"]["generation"].as_u64().unwrap_or(0);
            object["metadata"]["generation"] = (generation + 1).into();
        }
        self.put(resource, "MODIFIED", object)
    }

    /// Merges into an object that is there (RFC 7396).
    pub(crate) fn patch(
        &mut self,
        resource: usize,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Option<Value> {
        let mut object = self.get(resource, namespace, name)?;
        merge(&mut object, patch);
        Some(self.update(resource, object))
    }

    pub(crate) fn delete(&mut self, resource: usize, namespace: &str, name: &str) -> Option<Value> {
        let mut object = self.get(resource, namespace, name)?;
        let key = (namespace.to_owned(), name.to_owned());
        if self.resources[resource].kind == "Pod" {
            // As the real one does, even when told to wait for nothing.
            object = self.terminate(resource, namespace, name, 0)?;
        }
        self.resources[resource].objects.remove(&key);
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.log(resource, "DELETED", name, &object.to_string());
        Some(object)
    }

    /// Begins the end of a pod; its kubelet deletes it when it has stopped it.
    pub(crate) fn terminate(
        &mut self,
        resource: usize,
        namespace: &str,
        name: &str,
        grace: i64,
    ) -> Option<Value> {
        let mut object = self.get(resource, namespace, name)?;
        let at = Utc::now() + TimeDelta::seconds(grace);
        object["metadata"]["deletionTimestamp"] =
            at.to_rfc3339_opts(SecondsFormat::Secs, true).into();
        object["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        Some(self.put(resource, "MODIFIED", object))
    }

    fn put(&mut self, resource: usize, change: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let text = object.to_string();
        let (namespace, name) = key_of(&object);
        self.log(resource, change, &name, &text);
        self.resources[resource]
            .objects
            .insert((namespace, name), text.into());
        object
    }

    fn log(&mut self, resource: usize, change: &str, name: &str, text: &str) {
        self.log.push(Logged {
            version: self.version,
            resource,
            name: name.to_owned(),
            line: format!(r#"{{"type":"{change}","object":{text}}}"#).into(),
        });
    }

    /// What a watch has not been told yet.
    pub(super) fn events(&self, watch: &Watch, after: u64) -> Vec<(u64, Arc<str>)> {
        let from = self.log.partition_point(|logged| logged.version <= after);
        self.log[from..]
            .iter()
            .filter(|logged| logged.resource == watch.resource)
            .filter(|logged| watch.name.as_ref().is_none_or(|name| *name == logged.name))
            .map(|logged| (logged.version, logged.line.clone()))
            .collect()
    }
}

pub(super) fn key_of(object: &Value) -> (String, String) {
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or("").to_owned();
    (text("namespace"), text("name"))
}

fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let fields = into.as_object_mut().unwrap();
    for (key, value) in patch {
        match value {
            Value::Null => drop(fields.remove(key)),
            value => merge(fields.entry(key).or_insert(Value::Null), value),
        }
    }
}
