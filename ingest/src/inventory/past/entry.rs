//! One event of the API server's audit log, whatever it is wrapped in. Pure.
//!
//! `audit.log` has nested JSON, one event per line. In the log service each top-level member is a key whose value is text, that of
//! `user`, `objectRef` and their kin is JSON text; an index may have flattened these to keys such as `objectRef.resource`.
//! Absent, empty and `null` mean the same.

use std::fmt;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

/// How much of a request an event holds; in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Who, when, which object.
    Metadata,
    /// And what was sent.
    Request,
    /// And what came of it.
    RequestResponse,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Metadata => "Metadata",
            Level::Request => "Request",
            Level::RequestResponse => "RequestResponse",
        })
    }
}

/// One write that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// How much of it is there: bodies that were cut off count as not written.
    pub level: Level,
    /// Names the request.
    pub audit_id: String,
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// Who asked.
    pub user: String,
    /// API group, empty for the core group.
    pub group: String,
    /// `pods`, `networkpolicies` …
    pub resource: String,
    /// `status`, `binding` …, or empty.
    pub subresource: String,
    /// Namespace, or empty.
    pub namespace: String,
    /// Name; empty where the server made it up.
    pub name: String,
    /// Uid, where the request had it.
    pub uid: String,
    /// The path and query.
    pub uri: String,
    /// It made the object, by the answer's code.
    pub is_new: bool,
    /// What was sent, from level Request on.
    pub request: Option<Value>,
    /// What was answered, at level `RequestResponse`.
    pub response: Option<Value>,
    /// The server had the request, microseconds since the epoch.
    pub received: i64,
    /// The server had answered: it happened in between.
    pub answered: i64,
}

/// Why an event says nothing about the past of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoWrite {
    /// Another stage than `ResponseComplete`.
    Stage,
    /// Nothing was to change.
    Read,
    /// It was refused.
    Refused,
    /// It was only tried.
    DryRun,
    /// A kind that is not used.
    Other,
    /// It lacks what every event has.
    Damaged,
}

impl NoWrite {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            NoWrite::Stage => "other stages",
            NoWrite::Read => "reads",
            NoWrite::Refused => "refused requests",
            NoWrite::DryRun => "dry runs",
            NoWrite::Other => "other resources",
            NoWrite::Damaged => "damaged entries",
        }
    }
}

/// The members of an event, flat or nested.
struct Members<'m>(&'m Map<String, Value>);

impl Members<'_> {
    /// A member, read from its text where it is JSON in text.
    fn value(&self, key: &str) -> Option<Value> {
        let value = match self.0.get(key)? {
            Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
                serde_json::from_str(text).ok()?
            }
            Value::String(text) if text.is_empty() || text == "null" => return None,
            other => other.clone(),
        };
        (!value.is_null()).then_some(value)
    }

    fn text(&self, key: &str) -> String {
        match self.0.get(key) {
            Some(Value::String(text)) if text != "null" => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    /// `outer.inner`, wherever it is.
    fn inner(&self, outer: Option<&Value>, key: &str, inner: &str) -> String {
        let nested = outer.and_then(|outer| outer.get(inner));
        match nested {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => self.text(&format!("{key}.{inner}")),
        }
    }

    fn time(&self, key: &str) -> Option<i64> {
        time(&self.text(key))
    }
}

/// No write takes longer: the server gives a request up after a minute, unless it is set otherwise.
const WRITE_US_MAX: i64 = 3_600_000_000;
/// The clock of a server may be set back by this much between receipt and answer.
const CLOCK_STEP_US: i64 = 5_000_000;

/// The year 2200: a later time is no time of a log.
const TIME_MAX: i64 = 7_258_118_400_000_000;

/// Microseconds since the epoch of a time as Kubernetes writes it.
pub(super) fn time(text: &str) -> Option<i64> {
    let time: DateTime<Utc> = text.parse().ok()?;
    Some(time.timestamp_micros()).filter(|time| (0..TIME_MAX).contains(time))
}

/// Whether these are the members of an audit event.
#[must_use]
pub fn is_audit(members: &Map<String, Value>) -> bool {
    ["auditID", "stage", "verb"]
        .iter()
        .all(|key| members.contains_key(*key))
}

/// When the server wrote the event, and who asked: known of events that are not used, too. Not when it had the request: a watch may
/// have begun long before the log did.
pub(super) fn heartbeat(members: &Map<String, Value>) -> (Option<i64>, String) {
    let members = Members(members);
    let user = match members.0.get("user") {
        // Cheaper than reading the JSON of every lease.
        Some(Value::String(text)) => match text.split_once("\"username\"") {
            Some((_, rest)) => rest.split('"').nth(1).unwrap_or_default().to_owned(),
            None => String::new(),
        },
        nested => members.inner(nested, "user", "username"),
    };
    (members.time("stageTimestamp"), user)
}

/// Whether it is about a lease, of which every kubelet renews one all the time.
pub(super) fn is_lease(members: &Map<String, Value>) -> bool {
    match members.get("objectRef") {
        Some(Value::String(text)) => text.contains("\"leases\""),
        nested => Members(members).inner(nested, "objectRef", "resource") == "leases",
    }
}

/// Reads an event; `is_used` tells which resources (group, resource, namespace and name) are.
pub fn read(
    members: &Map<String, Value>,
    is_used: impl Fn(&str, &str, (&str, &str)) -> bool,
) -> Result<Entry, NoWrite> {
    let members = Members(members);
    if members.text("stage") != "ResponseComplete" {
        return Err(NoWrite::Stage);
    }
    let verb = members.text("verb");
    if !["create", "update", "patch", "delete", "deletecollection"].contains(&verb.as_str()) {
        return Err(NoWrite::Read);
    }
    let object = members.value("objectRef");
    let of_object = |key: &str| members.inner(object.as_ref(), "objectRef", key);
    let (group, resource) = (of_object("apiGroup"), of_object("resource"));
    let (namespace, name) = (of_object("namespace"), of_object("name"));
    if resource.is_empty() || !is_used(&group, &resource, (&namespace, &name)) {
        return Err(NoWrite::Other);
    }
    let status = members.value("responseStatus");
    let code = members.inner(status.as_ref(), "responseStatus", "code");
    let code: u16 = code.parse().map_err(|_| NoWrite::Damaged)?;
    if code >= 400 {
        return Err(NoWrite::Refused);
    }
    let uri = members.text("requestURI");
    let request = members.value("requestObject");
    if is_dry_run(&uri, request.as_ref()) {
        return Err(NoWrite::DryRun);
    }
    let received = members
        .time("requestReceivedTimestamp")
        .ok_or(NoWrite::Damaged)?;
    let answered = members.time("stageTimestamp").ok_or(NoWrite::Damaged)?;
    if !(-CLOCK_STEP_US..=WRITE_US_MAX).contains(&(answered - received)) {
        return Err(NoWrite::Damaged);
    }
    let response = members.value("responseObject");
    // What is there counts, not what the level promises: both bodies go where an event is too long.
    let level = match (members.text("level").as_str(), &request, &response) {
        ("RequestResponse", _, Some(_)) => Level::RequestResponse,
        ("RequestResponse" | "Request", Some(_), _) => Level::Request,
        ("RequestResponse" | "Request" | "Metadata", _, _) => Level::Metadata,
        _ => return Err(NoWrite::Damaged),
    };
    Ok(Entry {
        level,
        audit_id: members.text("auditID"),
        user: heartbeat(members.0).1,
        subresource: of_object("subresource"),
        namespace,
        name,
        uid: of_object("uid"),
        request: request.filter(|_| level >= Level::Request).map(slim),
        response: response
            .filter(|_| level == Level::RequestResponse)
            .map(slim),
        received: received.min(answered),
        answered,
        is_new: code == 201,
        verb,
        group,
        resource,
        uri,
    })
}

/// A body without what is long and says nothing here: writes wait until those before them are there.
fn slim(mut body: Value) -> Value {
    const OF_PODS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];
    const OF_CONTAINERS: [&str; 3] = ["name", "ports", "restartPolicy"];
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut)
        && let Some(managed) = metadata.remove("managedFields")
    {
        let wrote_labels = managed.as_array().into_iter().flatten().filter(|entry| {
            let has = |fields: &str| entry.pointer(fields).is_some();
            has("/fieldsV1/f:metadata/f:labels") && !has("/fieldsV1/f:spec")
        });
        let wrote_labels: Vec<Value> = wrote_labels.cloned().collect();
        if !wrote_labels.is_empty() {
            metadata.insert("managedFields".to_owned(), wrote_labels.into());
        }
    }
    // Of nodes that is most of what they have: the images on them, and what each container could mount.
    let of_node = body.get("kind").is_some_and(|kind| kind == "Node");
    let status = body.get_mut("status").and_then(Value::as_object_mut);
    if let Some(status) = status.filter(|_| of_node) {
        status.retain(|key, _| key == "addresses");
    }
    let mut spec = body.get_mut("spec").and_then(Value::as_object_mut);
    if let Some(spec) = &mut spec {
        spec.remove("template");
    }
    if let Some(spec) = spec.filter(|spec| spec.contains_key("containers")) {
        for key in ["volumes", "tolerations", "affinity", "securityContext"] {
            spec.remove(key);
        }
        for list in OF_PODS {
            let containers = spec
                .get_mut(list)
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten();
            for container in containers.filter_map(Value::as_object_mut) {
                container.retain(|key, _| OF_CONTAINERS.contains(&key.as_str()));
            }
        }
    }
    body
}

fn is_dry_run(uri: &str, request: Option<&Value>) -> bool {
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    let asked = query.split('&').any(|part| part.starts_with("dryRun="));
    let options = request.and_then(|request| request.get("dryRun"));
    asked || options.is_some_and(|options| options.as_array().is_some_and(|all| !all.is_empty()))
}

impl Entry {
    /// The node whose kubelet asked.
    #[must_use]
    pub fn kubelet(&self) -> Option<&str> {
        self.user.strip_prefix("system:node:")
    }

    /// Grace in seconds that a deletion was asked for with, or that the object was given.
    #[must_use]
    pub fn grace(&self) -> Option<i64> {
        let asked = self
            .request
            .as_ref()
            .and_then(|body| body.get("gracePeriodSeconds"));
        let query = self.uri.split_once('?').map_or("", |(_, query)| query);
        let in_query = query
            .split('&')
            .find_map(|part| part.strip_prefix("gracePeriodSeconds="));
        let given = self.response.as_ref().and_then(|object| {
            object
                .get("metadata")?
                .get("deletionGracePeriodSeconds")?
                .as_i64()
        });
        // What the object was given decides: pods that ended are given none whatever was asked for.
        given
            .or(asked.and_then(Value::as_i64))
            .or(in_query.and_then(|text| text.parse().ok()))
    }

    /// Whether the object was made by it.
    #[must_use]
    pub fn is_creation(&self) -> bool {
        self.subresource.is_empty() && (self.verb == "create" || self.is_new)
    }

    /// Whether a collection was meant only as far as selectors tell.
    #[must_use]
    pub fn is_selective(&self) -> bool {
        self.uri.is_empty() || self.uri.contains("Selector=")
    }

    /// Whether it is the answer to an apply: fields that it drops are not in it.
    #[must_use]
    pub fn is_apply(&self) -> bool {
        let body = self.request.as_ref();
        let is_whole =
            body.is_some_and(|body| body.get("apiVersion").is_some() && body.get("kind").is_some());
        self.verb == "patch"
            && is_whole
            && !self.uri.contains("fieldManager=kubectl-client-side-apply")
    }

    /// Where it is known from, as origins name it.
    #[must_use]
    pub fn origin(&self) -> String {
        match self.level {
            Level::RequestResponse => format!("audit/{}", self.audit_id),
            Level::Request | Level::Metadata => format!("audit-request/{}", self.audit_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({
            "level": "RequestResponse", "auditID": "a1", "stage": "ResponseComplete", "verb": "patch",
            "requestURI": "/api/v1/namespaces/shop/pods/web/status",
            "user": {"username": "system:node:n1"},
            "objectRef": {"resource": "pods", "namespace": "shop", "name": "web", "apiVersion": "v1", "subresource": "status"},
            "responseStatus": {"metadata": {}, "code": 200},
            "requestObject": {"status": {"phase": "Running"}},
            "responseObject": {"kind": "Pod"},
            "requestReceivedTimestamp": "2026-11-24T08:30:02.114503Z", "stageTimestamp": "2026-11-24T08:30:02.121877Z",
        })
    }

    fn read(value: &Value) -> Result<Entry, NoWrite> {
        super::read(value.as_object().unwrap(), |group, resource, _| {
            group.is_empty() && resource == "pods"
        })
    }

    /// As the log service keeps it: every value is text.
    fn as_text(value: &Value) -> Value {
        let members = value.as_object().unwrap().iter();
        let text = members.map(|(key, value)| match value {
            Value::String(_) => (key.clone(), value.clone()),
            other => (key.clone(), Value::String(other.to_string())),
        });
        Value::Object(text.collect())
    }

    /// As an index flattens it.
    fn flattened(value: &Value) -> Value {
        let mut flat = as_text(value);
        for key in ["user", "objectRef", "responseStatus"] {
            let inner = value[key].as_object().unwrap();
            flat.as_object_mut().unwrap().remove(key);
            for (name, value) in inner {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                flat[format!("{key}.{name}")] = text.into();
            }
        }
        flat
    }

    #[test]
    fn an_event_reads_the_same_in_every_wrapping() {
        let entry = read(&event()).unwrap();
        assert_eq!(entry.kubelet(), Some("n1"));
        assert_eq!(entry.answered - entry.received, 7_374);
        assert_eq!(
            (entry.level, entry.subresource.as_str()),
            (Level::RequestResponse, "status")
        );
        assert_eq!(read(&as_text(&event())).unwrap(), entry);
        assert_eq!(read(&flattened(&event())).unwrap(), entry);
    }

    #[test]
    fn what_changed_nothing_is_left_out() {
        let with = |key: &str, value: Value| {
            let mut event = event();
            event[key] = value;
            read(&event).map(|entry| entry.level)
        };
        assert_eq!(with("stage", "RequestReceived".into()), Err(NoWrite::Stage));
        assert_eq!(with("verb", "list".into()), Err(NoWrite::Read));
        assert_eq!(
            with("responseStatus", json!({"code": 409})),
            Err(NoWrite::Refused)
        );
        assert_eq!(
            with(
                "requestURI",
                "/api/v1/x?fieldManager=argo&dryRun=All".into()
            ),
            Err(NoWrite::DryRun)
        );
        assert_eq!(
            with("requestObject", json!({"dryRun": ["All"]})),
            Err(NoWrite::DryRun)
        );
        assert_eq!(
            with("objectRef", json!({"resource": "leases"})),
            Err(NoWrite::Other)
        );
        assert_eq!(with("stageTimestamp", "soon".into()), Err(NoWrite::Damaged));
        assert_eq!(with("level", "Metadata".into()), Ok(Level::Metadata));
        assert_eq!(with("responseObject", Value::Null), Ok(Level::Request));
    }
}
