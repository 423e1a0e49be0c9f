//! What flow logs cannot contain, from how they are set. Pure.
//!
//! A VPC is seen as a whole only by a flow log on the VPC itself that is active, delivers, and keeps all traffic on all paths;
//! or by such ones on all of its vSwitches.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::reply::Kind;

/// One thing that is not logged, as a sentence.
#[must_use]
pub fn limits(objects: &BTreeMap<(Kind, String), String>) -> Vec<String> {
    let of = |wanted: Kind| {
        let all = objects.iter().filter(move |((kind, _), _)| *kind == wanted);
        all.filter_map(|((_, id), spec)| {
            Some((id.as_str(), serde_json::from_str::<Value>(spec).ok()?))
        })
    };
    let text = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut said = Vec::new();
    // What is seen as a whole: VPCs, vSwitches, interfaces.
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (id, log) in of(Kind::FlowLog) {
        let on = format!(
            "{} `{}`",
            text(&log, "ResourceType"),
            text(&log, "ResourceId")
        );
        let before = said.len();
        let status = text(&log, "Status");
        if status != "Active" {
            said.push(format!(
                "flow log `{id}` on {on} is {status}: nothing of it is logged"
            ));
        }
        let delivery = text(&log, "FlowLogDeliverStatus");
        let error = text(&log, "FlowLogDeliverErrorMessage");
        if !error.is_empty() {
            said.push(format!(
                "flow log `{id}` on {on} does not deliver ({delivery}): {error}"
            ));
        }
        let kept = text(&log, "TrafficType");
        if !kept.is_empty() && kept != "All" {
            said.push(format!(
                "flow log `{id}` on {on} keeps only traffic of type {kept}"
            ));
        }
        let paths = log
            .pointer("/TrafficPath/TrafficPathList")
            .and_then(Value::as_array);
        let paths: Vec<&str> = paths
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !paths.is_empty() && !paths.contains(&"all") {
            said.push(format!(
                "flow log `{id}` on {on} keeps only traffic on the paths {}",
                paths.join(", ")
            ));
        }
        if said.len() == before {
            seen.insert(text(&log, "ResourceId"));
        }
    }
    let mut of_vpc: BTreeMap<String, (usize, BTreeSet<String>)> = BTreeMap::new();
    for (id, vswitch) in of(Kind::VSwitch) {
        let vpc = of_vpc.entry(text(&vswitch, "VpcId")).or_default();
        if !seen.contains(id) {
            vpc.1.insert(id.to_owned());
        }
    }
    for (id, interface) in of(Kind::NetworkInterface) {
        let vpc = of_vpc.entry(text(&interface, "VpcId")).or_default();
        if !seen.contains(id) && !seen.contains(&text(&interface, "VSwitchId")) {
            vpc.0 += 1;
        }
    }
    for (vpc, (interfaces, vswitches)) in of_vpc {
        if vpc.is_empty() || seen.contains(&vpc) || (interfaces == 0 && vswitches.is_empty()) {
            continue;
        }
        said.push(format!(
            "VPC `{vpc}` has no flow log that sees all of it: {interfaces} of its interfaces are not logged as a whole"
        ));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: Kind, id: &str, spec: &str) -> ((Kind, String), String) {
        ((kind, id.to_owned()), spec.to_owned())
    }

    const ENI: &str = r#"{"VpcId":"vpc-1","VSwitchId":"vsw-1"}"#;
    const WHOLE: &str = r#"{"ResourceType":"VPC","ResourceId":"vpc-1","Status":"Active","TrafficType":"All","TrafficPath":{"TrafficPathList":["all"]}}"#;

    #[track_caller]
    fn check(log: &str, expected: &[&str]) {
        let objects = [
            object(Kind::NetworkInterface, "eni-1", ENI),
            object(Kind::VSwitch, "vsw-1", r#"{"VpcId":"vpc-1"}"#),
            object(Kind::FlowLog, "fl-1", log),
        ];
        let said = limits(&objects.into());
        assert_eq!(said.len(), expected.len(), "{said:#?}");
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_flow_log_of_everything_leaves_nothing_out() {
        check(WHOLE, &[]);
        check(
            &WHOLE.replace("VPC", "VSwitch").replace("vpc-1", "vsw-1"),
            &[],
        );
    }

    #[test]
    fn what_is_left_out_is_a_sentence() {
        let not_whole = "no flow log that sees all of it: 1 of its interfaces";
        check(
            &WHOLE.replace("Active", "Inactive"),
            &["is Inactive", not_whole],
        );
        check(
            &WHOLE.replace("All", "Drop"),
            &["only traffic of type Drop", not_whole],
        );
        check(
            &WHOLE.replace("[\"all\"]", "[\"internetGateway\"]"),
            &["on the paths internetGateway", not_whole],
        );
        check(&WHOLE.replace("vpc-1", "vpc-2"), &[not_whole]);
    }
}
