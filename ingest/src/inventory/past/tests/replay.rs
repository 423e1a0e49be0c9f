//! Writes of level Request on the last known version, against a small model of what the server does.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use super::*;

/// A policy as the server has it: the model knows nothing of patches but what each is meant to do.
#[derive(Debug, Clone, PartialEq)]
struct Truth {
    selects: BTreeMap<&'static str, &'static str>,
    /// A port per rule.
    ingress: Option<Vec<u16>>,
    egress: Option<Vec<u16>>,
    types: Vec<&'static str>,
    generation: i64,
    labels: BTreeMap<&'static str, &'static str>,
}

/// What somebody does.
#[derive(Debug, Clone)]
enum Act {
    /// All of it anew; types as they are defaulted, or as written.
    Update(Option<u16>, Option<u16>, bool),
    /// Labels of the selector: set or taken away.
    Select(&'static str, Option<&'static str>),
    Rules(bool, Option<Vec<u16>>),
    Label(&'static str, Option<&'static str>),
    /// By operations: a rule at the end, or the first one away.
    Append(u16),
    Drop,
    /// Server-side, naming all there is with other rules.
    Apply(u16),
    /// Server-side, naming nothing but the selector: who owns the rest decides.
    ApplyLess(bool),
    Delete,
}

fn default_types(egress: Option<&Vec<u16>>) -> Vec<&'static str> {
    match egress.is_some_and(|rules| !rules.is_empty()) {
        true => vec!["Ingress", "Egress"],
        false => vec!["Ingress"],
    }
}

fn rules(ports: &[u16]) -> Value {
    let rules = ports.iter().map(|port| json!({"ports": [{"port": port}]}));
    rules.collect()
}

impl Truth {
    fn new(ingress: Option<u16>, egress: Option<u16>) -> Truth {
        let egress = egress.map(|port| vec![port]);
        Truth {
            selects: [("app", "a")].into(),
            ingress: ingress.map(|port| vec![port]),
            types: default_types(egress.as_ref()),
            egress,
            generation: 1,
            labels: BTreeMap::new(),
        }
    }

    /// As somebody writes it who leaves the types to the server.
    fn spec(&self, has_types: bool) -> Value {
        let mut spec = Map::new();
        spec.insert("podSelector".into(), json!({"matchLabels": self.selects}));
        for (name, rules_of) in [("ingress", &self.ingress), ("egress", &self.egress)] {
            if let Some(ports) = rules_of {
                spec.insert(name.into(), rules(ports));
            }
        }
        if has_types {
            spec.insert("policyTypes".into(), json!(self.types));
        }
        spec.into()
    }

    fn object(&self, uid: &str, version: usize) -> Value {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": self.spec(true),
            "metadata": {"name": "web", "namespace": "shop", "uid": uid, "generation": self.generation,
                "labels": self.labels, "resourceVersion": (1000 + version).to_string()},
        })
    }

    /// What is declared by it, as what is read says it.
    fn declared(&self) -> Value {
        let text = self.object("x", 0).to_string();
        let manifest = flowaudit_rules::kubernetes::read("", &text);
        serde_json::from_str::<Value>(&manifest.objects[0].to_json()).unwrap()["spec"].clone()
    }

    /// Does it, and gives the verb, what was sent and the query; nothing where the server would refuse.
    fn act(&mut self, act: &Act) -> Option<(&'static str, Value, &'static str)> {
        let before = self.clone();
        let head = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"});
        let with = |spec: Value| {
            let mut whole = head.clone();
            whole["spec"] = spec;
            whole["metadata"] = json!({"name": "web", "namespace": "shop"});
            whole
        };
        let sent = match act {
            Act::Update(ingress, egress, has_types) => {
                let new = Truth::new(*ingress, *egress);
                let types = if *has_types {
                    self.types.clone()
                } else {
                    new.types.clone()
                };
                (self.ingress, self.egress, self.types) = (new.ingress, new.egress, types);
                let mut sent = with(self.spec(*has_types));
                sent["metadata"]["labels"] = json!(self.labels);
                ("update", sent, "")
            }
            Act::Select(key, value) => {
                match value {
                    Some(value) => drop(self.selects.insert(key, value)),
                    None => drop(self.selects.remove(key)),
                }
                (
                    "patch",
                    json!({"spec": {"podSelector": {"matchLabels": {*key: value}}}}),
                    "",
                )
            }
            Act::Rules(is_egress, ports) => {
                let (name, place) = match is_egress {
                    true => ("egress", &mut self.egress),
                    false => ("ingress", &mut self.ingress),
                };
                place.clone_from(ports);
                let ports = ports.as_ref().map(|ports| rules(ports));
                ("patch", json!({"spec": {name: ports}}), "")
            }
            Act::Label(key, value) => {
                match value {
                    Some(value) => drop(self.labels.insert(key, value)),
                    None => drop(self.labels.remove(key)),
                }
                (
                    "patch",
                    json!({"metadata": {"labels": {*key: value}, "annotations": {"by": "hand"}}}),
                    "",
                )
            }
            Act::Append(port) => {
                self.ingress.as_mut()?.push(*port);
                let rule = json!({"ports": [{"port": port, "protocol": "TCP"}]});
                (
                    "patch",
                    json!([{"op": "add", "path": "/spec/ingress/-", "value": rule}]),
                    "",
                )
            }
            Act::Drop => {
                let rules_of = self.ingress.as_mut().filter(|rules| !rules.is_empty())?;
                let first = rules_of.remove(0);
                let test =
                    json!({"op": "test", "path": "/spec/ingress/0/ports/0/port", "value": first});
                (
                    "patch",
                    json!([test, {"op": "remove", "path": "/spec/ingress/0"}]),
                    "",
                )
            }
            Act::Apply(port) => {
                self.ingress = Some(vec![*port]);
                let mut sent = with(self.spec(true));
                sent["metadata"]["labels"] = json!(self.labels);
                ("patch", sent, "fieldManager=argocd&force=true")
            }
            Act::ApplyLess(is_owner) => {
                if *is_owner {
                    self.ingress = None;
                }
                let spec = json!({"podSelector": {"matchLabels": self.selects}, "policyTypes": self.types});
                ("patch", with(spec), "fieldManager=argocd&force=true")
            }
            Act::Delete => return None,
        };
        let is_new = |truth: &Truth| {
            (
                truth.selects.clone(),
                truth.ingress.clone(),
                truth.egress.clone(),
                truth.types.clone(),
            )
        };
        self.generation += i64::from(is_new(self) != is_new(&before));
        Some(sent)
    }
}

fn acts() -> impl Strategy<Value = Act> {
    let key = || prop::sample::select(vec!["app", "tier"]);
    let value = || prop::option::of(prop::sample::select(vec!["a", "b"]));
    let port = || 1_u16..4;
    let ports = || prop::option::of(prop::collection::vec(1_u16..4, 0..3));
    prop_oneof![
        3 => (prop::option::of(port()), prop::option::of(port()), any::<bool>()).prop_map(|(a, b, c)| Act::Update(a, b, c)),
        3 => (key(), value()).prop_map(|(key, value)| Act::Select(key, value)),
        3 => (any::<bool>(), ports()).prop_map(|(is_egress, ports)| Act::Rules(is_egress, ports)),
        2 => (key(), value()).prop_map(|(key, value)| Act::Label(key, value)),
        2 => port().prop_map(Act::Append),
        2 => Just(Act::Drop),
        2 => port().prop_map(Act::Apply),
        1 => any::<bool>().prop_map(Act::ApplyLess),
        1 => Just(Act::Delete),
    ]
}

/// How much is written down of a write: mostly what was sent.
fn level() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        8 => Just("Request"),
        1 => Just("RequestResponse"),
        1 => Just("Metadata"),
    ]
}

fn story(
    level: impl Strategy<Value = &'static str>,
) -> impl Strategy<Value = Vec<(Act, i64, &'static str)>> {
    prop::collection::vec((acts(), 2_500_i64..60_000, level), 1..20)
}

/// What was in force when, in milliseconds, and the log of it.
type Story = (Vec<(RangeInclusive<i64>, Value)>, Vec<Value>);

fn told_of(acts: &[(Act, i64, &'static str)]) -> Story {
    let (mut spans, mut log) = (Vec::new(), Vec::new());
    let mut truth: Option<(Truth, String, i64)> = None;
    let mut at = 0;
    for (number, (act, wait, level)) in acts.iter().enumerate() {
        at += wait;
        let uid = format!("p{number}");
        let (verb, sent, query, code, answer) = match (&mut truth, act) {
            (none @ None, _) => {
                let new = Truth::new(Some(1), (number % 3 == 0).then_some(2));
                let mut sent = new.object("", 0);
                sent["spec"] = new.spec(false);
                sent["metadata"] = json!({"name": "web", "namespace": "shop"});
                let answer = new.object(&uid, number);
                *none = Some((new, uid, at));
                ("create", sent, "", 201, answer)
            }
            (some @ Some(_), Act::Delete) => {
                let (last, uid, since) = some.take().unwrap();
                spans.push((since..=at, last.declared()));
                let gone = json!({"kind": "Status", "details": {"name": "web", "uid": uid}});
                ("delete", json!({}), "", 200, gone)
            }
            (Some((now, uid, since)), act) => {
                let before = now.clone();
                let Some((verb, sent, query)) = now.act(act) else {
                    continue;
                };
                if *now != before {
                    spans.push((*since..=at, before.declared()));
                    *since = at;
                }
                (verb, sent, query, 200, now.object(uid, number))
            }
        };
        let event = write(at, "ci", verb, "networkpolicies", [sent, answer]);
        let event = with(event, "responseStatus", json!({"code": code}));
        let event = with(event, "requestURI", format!("/x?{query}").into());
        log.push(with(event, "level", (*level).into()));
    }
    if let Some((last, _, since)) = truth {
        spans.push((since..=at + 1, last.declared()));
    }
    (spans, log)
}

/// How long what was in force is known, of how long anything was, in milliseconds; and where it is told wrongly.
fn hold_against(
    log: &[Value],
    spans: &[(RangeInclusive<i64>, Value)],
) -> Result<(i64, i64), String> {
    let (_, rows, _) = told(log);
    let was = |at: i64| {
        spans
            .iter()
            .rev()
            .find(|(span, _)| span.contains(&at))
            .map(|(_, spec)| spec)
    };
    let mut known = 0;
    for (from, to, _, _, spec) in rows.iter().filter(|row| row.4 != "null") {
        let spec: Value = serde_json::from_str(spec).unwrap();
        // Versions that were changed within are as wrong as one that never was.
        let borders = spans
            .iter()
            .map(|(span, _)| *span.start())
            .chain([*from, *to]);
        if let Some(at) = borders
            .filter(|at| (from..=to).contains(&at))
            .find(|at| was(*at) != Some(&spec["spec"]))
        {
            return Err(format!(
                "at {at} ms in force: {:#?}, told: {:#?}",
                was(at),
                spec["spec"]
            ));
        }
        known += to - from;
    }
    Ok((
        known,
        spans
            .iter()
            .map(|(span, _)| span.end() - span.start())
            .sum(),
    ))
}

proptest! {
    #[test]
    fn what_is_replayed_is_what_was_in_force(acts in story(level())) {
        let (spans, log) = told_of(&acts);
        let told = hold_against(&log, &spans);
        prop_assert!(told.is_ok(), "{} in {log:#?}", told.unwrap_err());
    }
}

#[test]
fn of_what_was_only_sent_most_is_known() {
    let mut runner = TestRunner::deterministic();
    let (mut known, mut all) = (0, 0);
    for _ in 0..200 {
        let acts = story(Just("Request"))
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let (spans, log) = told_of(&acts);
        let told = hold_against(&log, &spans).unwrap();
        (known, all) = (known + told.0, all + told.1);
    }
    println!(
        "known of {all} ms of policies: {:.1} %",
        100.0 * known as f64 / all as f64
    );
    assert!(known * 100 > all * 60, "{known} of {all}");
}
