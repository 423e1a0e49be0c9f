//! Writes of level Request, put on the last version that is known: what the object became, where that is certain. Pure.
//!
//! What was sent is there, what came of it is not, and a patch is logged without its content type. Of what is read here a strategic
//! merge and a JSON merge make the same, but for the few lists that a strategic merge merges by a key, and for keys that begin with `$`,
//! which only it has. A list is RFC 6902. An apply takes away what its manager owned and left out now, and nothing tells what that was:
//! it is certain only where it names all there is. Everything else becomes unknown, which a verdict says; nothing is guessed.

use serde_json::{Map, Value, json};

use super::entry::Entry;

/// Members of an object that say nothing here, or that no patch can change.
const IDLE: [&str; 8] = [
    "annotations",
    "managedFields",
    "resourceVersion",
    "uid",
    "name",
    "namespace",
    "generation",
    "creationTimestamp",
];

/// Kinds of which it is known what the server adds, and that it takes every list as one.
const DEFAULTS_KNOWN: [&str; 2] = ["NetworkPolicy", "Namespace"];

/// What an object became by a write whose answer is not in the log; `base` is what it was. Nothing where that is not certain.
pub(super) fn after(base: Option<&Value>, entry: &Entry, kind: &str) -> Option<Value> {
    let sent = entry.request.as_ref()?;
    if entry.is_creation() {
        return created(sent, kind);
    }
    let Some(base) = base else {
        return wanted(sent, entry, kind);
    };
    // Its defaults hang together, and are not those of its readers.
    let lacks_types = || base.pointer("/spec/types").is_none();
    if entry.group == "projectcalico.org" && entry.verb == "patch" && lacks_types() {
        return None;
    }
    let mut value = match (entry.verb.as_str(), sent) {
        ("update", Value::Object(_)) => updated(base, sent, &entry.subresource),
        ("patch", Value::Array(operations)) => operated(base, operations, &entry.subresource)?,
        ("patch", Value::Object(_)) if entry.is_apply() => applied(base, sent, kind)?,
        ("patch", Value::Object(patch)) => merged(base, patch, entry, kind)?,
        _ => return None,
    };
    defaulted(&mut value, kind);
    count(base, &mut value);
    Some(value)
}

/// The same where the answer is there, but cut down to its metadata: some clients ask for no more.
pub(super) fn after_metadata(base: Option<&Value>, metadata: &Value) -> Option<Value> {
    let mut value = base?.clone();
    let generation = |of: &Value| of.get("generation").and_then(Value::as_i64);
    let before = generation(value.get("metadata")?)?;
    // With the generation the spec is the one that is known.
    if generation(metadata) != Some(before) {
        return None;
    }
    value["metadata"] = metadata.clone();
    Some(value)
}

fn created(sent: &Value, kind: &str) -> Option<Value> {
    let mut value = sent.clone();
    let metadata = value.get_mut("metadata")?.as_object_mut()?;
    for key in ["resourceVersion", "uid", "creationTimestamp", "generation"] {
        metadata.remove(key);
    }
    if !matches!(kind, "Namespace" | "Node" | "Service") {
        metadata.insert("generation".to_owned(), 1.into());
    }
    defaulted(&mut value, kind);
    Some(value)
}

/// The whole object as somebody wanted it, where nobody knows what it was: nor whether its spec is new by that.
fn wanted(sent: &Value, entry: &Entry, kind: &str) -> Option<Value> {
    if entry.verb != "update" || entry.subresource == "status" {
        return None;
    }
    let mut value = sent.clone();
    let metadata = value.get_mut("metadata")?.as_object_mut()?;
    metadata.remove("resourceVersion");
    metadata.remove("generation");
    defaulted(&mut value, kind);
    Some(value)
}

/// What is sent is the whole object as it shall be. What the server keeps to itself stays as it was.
fn updated(base: &Value, sent: &Value, subresource: &str) -> Value {
    let mut value = sent.clone();
    if subresource == "status" {
        // Of the rest nothing changes.
        value = base.clone();
        if let Some(status) = sent.get("status") {
            value["status"] = status.clone();
        }
        return value;
    }
    let kept = base.get("metadata").and_then(Value::as_object);
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
        for key in [
            "uid",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
        ] {
            match kept.and_then(|kept| kept.get(key)) {
                Some(own) => drop(metadata.insert(key.to_owned(), own.clone())),
                None => drop(metadata.remove(key)),
            }
        }
    }
    value
}

/// A merge, strategic or not.
fn merged(base: &Value, patch: &Map<String, Value>, entry: &Entry, kind: &str) -> Option<Value> {
    let mut value = base.clone();
    for (key, part) in patch {
        let of_status = entry.subresource == "status";
        match key.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => merge_metadata(value.get_mut("metadata")?, part)?,
            // The one is not written with the other.
            "status" if !of_status => {}
            _ if of_status && key != "status" => {}
            _ => {
                let is_certain = is_plain(part) && !has_keyed_list(part, kind);
                // What is taken away may come back with its default.
                let is_default = has_null(part) && !DEFAULTS_KNOWN.contains(&kind);
                if key.starts_with('$') || !is_certain || is_default {
                    return None;
                }
                merge(&mut value[key.as_str()], part);
                if part.is_null() {
                    value.as_object_mut()?.remove(key);
                }
            }
        }
    }
    Some(value)
}

fn merge_metadata(metadata: &mut Value, patch: &Value) -> Option<()> {
    let metadata = metadata.as_object_mut()?;
    for (key, part) in patch.as_object()? {
        match key.as_str() {
            key if IDLE.contains(&key) || key.starts_with("$setElementOrder/") => {}
            "labels" if is_plain(part) => {
                merge(metadata.entry("labels").or_insert_with(|| json!({})), part);
            }
            "$deleteFromPrimitiveList/finalizers" => {
                let gone = part.as_array()?;
                if let Some(Value::Array(kept)) = metadata.get_mut("finalizers") {
                    kept.retain(|one| !gone.contains(one));
                }
            }
            "finalizers" => {
                let own = metadata.get("finalizers").and_then(Value::as_array);
                let own = own.map_or(&[][..], Vec::as_slice);
                let sent = part.as_array().map_or(&[][..], Vec::as_slice);
                // A strategic merge adds these, a JSON merge keeps none but these.
                if !part.is_null() && own.iter().any(|one| !sent.contains(one)) {
                    return None;
                }
                metadata.insert(key.clone(), sent.to_vec().into());
            }
            _ => return None,
        }
    }
    Some(())
}

/// Whether nothing in a patch tells the server how to merge.
pub(super) fn is_plain(patch: &Value) -> bool {
    match patch {
        Value::Object(members) => members
            .iter()
            .all(|(key, value)| !key.starts_with('$') && is_plain(value)),
        // A list is put in whole; its items are content.
        Value::Array(items) => items.iter().all(|item| item.get("$patch").is_none()),
        _ => true,
    }
}

fn has_null(part: &Value) -> bool {
    match part {
        Value::Null => true,
        Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

/// Whether it has a list that a strategic merge merges by a key.
fn has_keyed_list(part: &Value, kind: &str) -> bool {
    let keyed: &[&str] = match kind {
        "Service" => &["ports", "conditions"],
        "Node" => &["addresses", "podCIDRs", "conditions"],
        _ => &[],
    };
    keyed.iter().any(|key| part.get(key).is_some())
}

/// RFC 7386.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(members) = target.as_object_mut() else {
        return;
    };
    for (key, part) in patch {
        if part.is_null() {
            members.remove(key);
        } else {
            merge(members.entry(key.as_str()).or_insert(Value::Null), part);
        }
    }
}

/// An apply that names all there is: then nothing is taken away, and the rest is as it says.
fn applied(base: &Value, sent: &Value, kind: &str) -> Option<Value> {
    let names_all = |own: &Value, named: &Value| names_all(own, named, kind);
    let mut value = base.clone();
    for (key, part) in base.as_object()? {
        let is_whole = match key.as_str() {
            "apiVersion" | "kind" | "status" => true,
            "metadata" => ["labels", "finalizers"].iter().all(|key| {
                let mut own = part.get(key).cloned().unwrap_or_default();
                // Added to by an apply.
                if *key == "finalizers" && !own.is_null() {
                    return sent.pointer("/metadata/finalizers") == Some(&own);
                }
                if let Some(labels) = own.as_object_mut() {
                    // The server sees to this one itself.
                    labels.remove("kubernetes.io/metadata.name");
                }
                let named = sent.get("metadata").and_then(|metadata| metadata.get(key));
                names_all(&own, named.unwrap_or(&Value::Null))
            }),
            key => names_all(part, sent.get(key).unwrap_or(&Value::Null)),
        };
        if !is_whole {
            return None;
        }
    }
    for (key, part) in sent.as_object()? {
        match key.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" => {
                for key in ["labels", "finalizers"] {
                    if let Some(own) = part.get(key) {
                        merge(&mut value["metadata"][key], own);
                    }
                }
            }
            key => merge(&mut value[key], part),
        }
    }
    Some(value)
}

/// Whether `named` has every field of `own`. A list counts as one, where it is not merged by a key.
fn names_all(own: &Value, named: &Value, kind: &str) -> bool {
    match own {
        Value::Null => true,
        Value::Object(members) => members
            .iter()
            .all(|(key, own)| names_all(own, named.get(key).unwrap_or(&Value::Null), kind)),
        Value::Array(_) if !DEFAULTS_KNOWN.contains(&kind) => own == named,
        _ => !named.is_null(),
    }
}

/// RFC 6902. An operation that cannot have succeeded on what is known says that this is not what was there.
pub(super) fn operated(base: &Value, operations: &[Value], subresource: &str) -> Option<Value> {
    let mut value = base.clone();
    for operation in operations {
        let text = |key: &str| operation.get(key).and_then(Value::as_str);
        let (path, from) = (text("path")?, text("from"));
        match (
            is_idle(path, subresource),
            from.map(|from| is_idle(from, subresource)),
        ) {
            (true, None | Some(true)) => continue,
            (false, None | Some(false)) => {}
            // What is moved from where nobody looked.
            _ => return None,
        }
        let sent = || operation.get("value").cloned();
        match text("op")? {
            "add" => add(&mut value, path, sent()?)?,
            "remove" => drop(remove(&mut value, path)?),
            "replace" => *value.pointer_mut(path)? = sent()?,
            "test" => (value.pointer(path) == Some(&sent()?)).then_some(())?,
            "move" => {
                let moved = remove(&mut value, from?)?;
                add(&mut value, path, moved)?;
            }
            "copy" => {
                let copied = value.pointer(from?)?.clone();
                add(&mut value, path, copied)?;
            }
            _ => return None,
        }
    }
    Some(value)
}

fn is_idle(path: &str, subresource: &str) -> bool {
    let mut steps = path.split('/').skip(1);
    match (steps.next(), steps.next()) {
        (Some("metadata"), Some(key)) => IDLE.contains(&key) || key == "ownerReferences",
        (Some("status"), _) => subresource != "status",
        (Some("spec"), _) => subresource == "status",
        _ => false,
    }
}

/// A path taken apart: where, and the last step.
fn parent<'v>(value: &'v mut Value, path: &str) -> Option<(&'v mut Value, String)> {
    let (parent, step) = path.rsplit_once('/')?;
    Some((
        value.pointer_mut(parent)?,
        step.replace("~1", "/").replace("~0", "~"),
    ))
}

fn add(value: &mut Value, path: &str, new: Value) -> Option<()> {
    match parent(value, path)? {
        (Value::Object(members), step) => drop(members.insert(step, new)),
        (Value::Array(items), step) if step == "-" => items.push(new),
        (Value::Array(items), step) => {
            let place = step.parse().ok().filter(|place| *place <= items.len())?;
            items.insert(place, new);
        }
        _ => return None,
    }
    Some(())
}

fn remove(value: &mut Value, path: &str) -> Option<Value> {
    match parent(value, path)? {
        (Value::Object(members), step) => members.remove(&step),
        (Value::Array(items), step) => {
            let place = step.parse().ok().filter(|place| *place < items.len())?;
            Some(items.remove(place))
        }
        _ => None,
    }
}

/// What the server adds to a NetworkPolicy, once: a direction that came with its rules later is not in force by itself.
fn defaulted(value: &mut Value, kind: &str) {
    let Some(spec) = value.get_mut("spec").filter(|_| kind == "NetworkPolicy") else {
        return;
    };
    let is_empty = |list: Option<&Value>| list.and_then(Value::as_array).is_none_or(Vec::is_empty);
    if is_empty(spec.get("policyTypes")) && spec.is_object() {
        let types: &[&str] = match is_empty(spec.get("egress")) {
            true => &["Ingress"],
            false => &["Ingress", "Egress"],
        };
        spec["policyTypes"] = json!(types);
    }
    for direction in ["ingress", "egress"] {
        let rules = spec.get_mut(direction).and_then(Value::as_array_mut);
        let ports = rules
            .into_iter()
            .flatten()
            .filter_map(|rule| rule.get_mut("ports")?.as_array_mut());
        for port in ports.flatten().filter_map(Value::as_object_mut) {
            port.entry("protocol").or_insert_with(|| "TCP".into());
        }
    }
}

/// Another spec is another generation.
fn count(base: &Value, value: &mut Value) {
    let content = |of: &Value| {
        let members = of.as_object().into_iter().flatten();
        let content = members.filter(|(key, _)| {
            !["metadata", "status", "apiVersion", "kind"].contains(&key.as_str())
        });
        content
            .map(|(key, part)| (key.clone(), part.clone()))
            .collect::<Map<_, _>>()
    };
    let is_new = content(base) != content(value);
    let generation = value
        .pointer("/metadata/generation")
        .and_then(Value::as_i64);
    if let (true, Some(generation)) = (is_new, generation) {
        value["metadata"]["generation"] = (generation + 1).into();
    }
}
