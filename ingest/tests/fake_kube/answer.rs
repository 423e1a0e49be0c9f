//! What the fake answers.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::{Request, Response};
use super::world::{Paging, World, key_of};

/// An answer.
pub(super) enum Answer {
    Whole(Response),
    Watch(Watch),
}

/// A watch as it was asked for.
pub(super) struct Watch {
    pub(super) resource: usize,
    /// Only the object of this name.
    pub(super) name: Option<String>,
    pub(super) version: u64,
    pub(super) bookmarks: bool,
    pub(super) length: Duration,
    api_version: String,
    kind: String,
}

fn status(code: u16, reason: &str, message: &str) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code
    });
    Response::new(code, body.to_string())
}

pub(super) fn gone_event() -> String {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version: 1 (2)", "reason": "Expired", "code": 410
    });
    json!({"type": "ERROR", "object": status}).to_string()
}

pub(super) fn bookmark(watch: &Watch, version: u64) -> String {
    let object = json!({
        "kind": watch.kind, "apiVersion": watch.api_version,
        "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null},
        "spec": {"containers": null}, "status": {}
    });
    json!({"type": "BOOKMARK", "object": object}).to_string()
}

impl World {
    /// What a test does to it: as a request, whatever is broken.
    pub(crate) fn direct(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: Vec::new(),
            headers: [(
                "authorization".to_owned(),
                format!("Bearer {}", super::TOKEN),
            )]
            .into(),
            body: body.to_string().into_bytes(),
        };
        let Answer::Whole(response) = self.answer(&request) else {
            panic!("{path} is no watch");
        };
        let text = String::from_utf8(response.body).unwrap();
        assert!(response.status < 300, "{method} {path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    pub(super) fn answer(&mut self, request: &Request) -> Answer {
        let query: Vec<String> = request
            .query
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let line = format!("{} {}?{}", request.method, request.path, query.join("&"));
        self.requests.push(line);
        if self.requests.len() > 100_000 {
            self.requests.clear();
        }
        let token = request.header("authorization");
        let token = token.strip_prefix("Bearer ").unwrap_or("");
        if !self.tokens.contains(token) {
            return Answer::Whole(status(401, "Unauthorized", "Unauthorized"));
        }
        if self.faults.busy > 0 {
            self.faults.busy -= 1;
            let seconds = self.faults.busy_seconds;
            let body = json!({"kind": "Status", "code": 429, "reason": "TooManyRequests", "message": "slow down",
                "details": {"retryAfterSeconds": seconds}});
            let response = Response::new(429, body.to_string()).with("retry-after", seconds);
            return Answer::Whole(response);
        }
        let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        match parts.as_slice() {
            ["apis"] => Answer::Whole(self.groups()),
            ["api", version] => Answer::Whole(self.resources_of(version)),
            ["apis", group, version] => {
                Answer::Whole(self.resources_of(&format!("{group}/{version}")))
            }
            ["api", version, rest @ ..] => self.of(version, rest, request),
            ["apis", group, version, rest @ ..] => {
                self.of(&format!("{group}/{version}"), rest, request)
            }
            _ => Answer::Whole(status(404, "NotFound", "the server could not find it")),
        }
    }

    fn groups(&self) -> Response {
        let mut groups: Vec<Value> = Vec::new();
        for resource in &self.resources {
            let Some((group, version)) = resource.api_version.split_once('/') else {
                continue;
            };
            let version = json!({"groupVersion": resource.api_version, "version": version});
            match groups.iter_mut().find(|found| found["name"] == group) {
                Some(found) => {
                    let versions = found["versions"].as_array_mut().unwrap();
                    if !versions.contains(&version) {
                        versions.push(version);
                    }
                }
                None => groups.push(json!({"name": group, "versions": [version]})),
            }
        }
        let body = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups});
        Response::new(200, body.to_string())
    }

    fn resources_of(&self, api_version: &str) -> Response {
        let of_version = self
            .resources
            .iter()
            .filter(|resource| resource.api_version == api_version);
        let resources: Vec<Value> = of_version
            .flat_map(|resource| {
                let verbs = ["create", "delete", "get", "list", "patch", "update", "watch"];
                let one = json!({"name": resource.plural, "singularName": "", "namespaced": resource.namespaced,
                    "kind": resource.kind, "verbs": verbs});
                let status = json!({"name": format!("{}/status", resource.plural), "singularName": "",
                    "namespaced": resource.namespaced, "kind": resource.kind, "verbs": ["get", "patch", "update"]});
                [one, status]
            })
            .collect();
        if resources.is_empty() {
            return status(404, "NotFound", "the server could not find it");
        }
        let body =
            json!({"kind": "APIResourceList", "groupVersion": api_version, "resources": resources});
        Response::new(200, body.to_string())
    }

    /// Objects: `[namespaces, NS,] PLURAL [, NAME [, status]]`.
    fn of(&mut self, api_version: &str, rest: &[&str], request: &Request) -> Answer {
        let (namespace, rest) = match rest {
            ["namespaces", namespace, plural, more @ ..] if *plural != "status" => {
                let mut rest = vec![*plural];
                rest.extend_from_slice(more);
                (Some((*namespace).to_owned()), rest)
            }
            rest => (None, rest.to_vec()),
        };
        let (plural, name, is_status) = match rest.as_slice() {
            [plural] => (*plural, None, false),
            [plural, name] => (*plural, Some((*name).to_owned()), false),
            [plural, name, "status"] => (*plural, Some((*name).to_owned()), true),
            _ => return Answer::Whole(status(404, "NotFound", "no such path")),
        };
        let found = self
            .resources
            .iter()
            .position(|resource| resource.api_version == api_version && resource.plural == plural);
        let Some(resource) = found else {
            return Answer::Whole(status(404, "NotFound", "the server could not find it"));
        };
        let right = match api_version.split_once('/') {
            Some((group, _)) => format!("{plural}.{group}"),
            None => plural.to_owned(),
        };
        if self.faults.forbidden.contains(&right) {
            let message = format!(
                r#"{right} is forbidden: User "system:serviceaccount:audit:flowaudit" cannot list resource "{plural}" in API group"#
            );
            return Answer::Whole(status(403, "Forbidden", &message));
        }
        let namespace_of = namespace.clone().unwrap_or_default();
        match (request.method.as_str(), name) {
            ("GET", None) if request.parameter("watch").is_some() => self.watch(resource, request),
            ("GET", None) => Answer::Whole(self.list(resource, namespace.as_deref(), request)),
            ("GET", Some(name)) => Answer::Whole(match self.get(resource, &namespace_of, &name) {
                Some(object) => Response::new(200, object.to_string()),
                None => status(404, "NotFound", "not found"),
            }),
            ("POST", None) => Answer::Whole(self.post(resource, namespace.as_deref(), request)),
            ("PUT", Some(_)) => Answer::Whole(self.replace(resource, request)),
            ("PATCH", Some(name)) => {
                let mut patch: Value = serde_json::from_slice(&request.body).unwrap();
                if is_status {
                    patch = json!({"status": patch["status"]});
                }
                Answer::Whole(match self.patch(resource, &namespace_of, &name, &patch) {
                    Some(object) => Response::new(200, object.to_string()),
                    None => status(404, "NotFound", "not found"),
                })
            }
            ("DELETE", Some(name)) => {
                let options: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                let grace = options["gracePeriodSeconds"].as_i64().unwrap_or(0);
                let is_pod = self.resources[resource].kind == "Pod";
                let done = match grace > 0 && is_pod {
                    true => self.terminate(resource, &namespace_of, &name, grace),
                    false => self.delete(resource, &namespace_of, &name),
                };
                Answer::Whole(match done {
                    Some(object) => Response::new(200, object.to_string()),
                    None => status(404, "NotFound", "not found"),
                })
            }
            _ => Answer::Whole(status(405, "MethodNotAllowed", "not here")),
        }
    }

    fn post(&mut self, resource: usize, namespace: Option<&str>, request: &Request) -> Response {
        let mut object: Value = serde_json::from_slice(&request.body).unwrap();
        if let Some(namespace) = namespace {
            object["metadata"]["namespace"] = namespace.into();
        }
        let (namespace, name) = key_of(&object);
        if self.get(resource, &namespace, &name).is_some() {
            return status(409, "AlreadyExists", "already exists");
        }
        Response::new(201, self.create(resource, object).to_string())
    }

    fn replace(&mut self, resource: usize, request: &Request) -> Response {
        let object: Value = serde_json::from_slice(&request.body).unwrap();
        let (namespace, name) = key_of(&object);
        let Some(before) = self.get(resource, &namespace, &name) else {
            return status(404, "NotFound", "not found");
        };
        let guard = object["metadata"]["resourceVersion"].as_str();
        if guard.is_some() && guard != before["metadata"]["resourceVersion"].as_str() {
            return status(
                409,
                "Conflict",
                "the object has been modified; please apply your changes to the latest version",
            );
        }
        Response::new(200, self.update(resource, object).to_string())
    }

    fn list(&mut self, resource: usize, namespace: Option<&str>, request: &Request) -> Response {
        let limit = request
            .parameter("limit")
            .and_then(|text| text.parse().ok());
        let limit: usize = limit.unwrap_or(usize::MAX);
        let paging = match request.parameter("continue") {
            Some(token) => match self.pages.remove(token) {
                Some(paging) => paging,
                None => {
                    let message = "The provided continue parameter is too old to display a consistent list result.";
                    return status(410, "Expired", message);
                }
            },
            None => {
                let wanted = field_name(request);
                let objects = self.resources[resource].objects.iter();
                let rest = objects
                    .filter(|((of, _), _)| namespace.is_none_or(|namespace| namespace == of))
                    .filter(|((_, name), _)| wanted.as_ref().is_none_or(|wanted| wanted == name))
                    .map(|(_, text)| text.clone())
                    .collect();
                Paging {
                    version: self.version(),
                    rest,
                }
            }
        };
        let Paging { version, mut rest } = paging;
        let more = rest.split_off(limit.min(rest.len()));
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if !more.is_empty() {
            let token = format!("page/{}+{}=", self.pages.len(), self.requests.len());
            metadata["continue"] = token.clone().into();
            metadata["remainingItemCount"] = more.len().into();
            self.pages.insert(
                token,
                Paging {
                    version,
                    rest: more,
                },
            );
        }
        let of = &self.resources[resource];
        // Items of a typed list carry neither apiVersion nor kind; those of a CRD do.
        let head = format!(
            r#"{{"kind":"{}List","apiVersion":"{}","metadata":{metadata},"items":"#,
            of.kind, of.api_version
        );
        let body = format!("{head}{}}}", items(&rest, !of.api_version.contains('.')));
        let mut response = Response::new(200, body);
        response.pause = self.faults.slow;
        if self.faults.cut_lists > 0 && response.body.len() > 200 {
            self.faults.cut_lists -= 1;
            response.reset_after = Some(response.body.len() / 2);
        }
        response
    }

    fn watch(&mut self, resource: usize, request: &Request) -> Answer {
        let version = request.parameter("resourceVersion").unwrap_or("");
        let version: u64 = version.parse().unwrap_or(0);
        if version < self.compacted && self.faults.gone_as_status {
            return Answer::Whole(status(410, "Expired", "too old resource version"));
        }
        let seconds = request.parameter("timeoutSeconds");
        let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(1800);
        let of = &self.resources[resource];
        Answer::Watch(Watch {
            resource,
            name: field_name(request),
            version,
            bookmarks: request.parameter("allowWatchBookmarks") == Some("true"),
            length: Duration::from_secs(seconds),
            api_version: of.api_version.clone(),
            kind: of.kind.clone(),
        })
    }
}

fn field_name(request: &Request) -> Option<String> {
    let selector = request.parameter("fieldSelector")?;
    Some(selector.strip_prefix("metadata.name=")?.to_owned())
}

fn items(texts: &[Arc<str>], bare: bool) -> String {
    if texts.is_empty() {
        // As Go writes an empty list.
        return "null".to_owned();
    }
    let items: Vec<String> = texts
        .iter()
        .map(|text| match bare {
            false => text.to_string(),
            true => {
                let mut object: Value = serde_json::from_str(text).unwrap();
                let fields = object.as_object_mut().unwrap();
                fields.remove("apiVersion");
                fields.remove("kind");
                object.to_string()
            }
        })
        .collect();
    format!("[{}]", items.join(","))
}
