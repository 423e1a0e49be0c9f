//! What the log of a run holds, held against the truth beside it.
#![cfg(test)]

mod common;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use common::TINY;
use flowaudit_sample_logs::record::{Action, Direction, Seen};
use flowaudit_sample_logs::scenario::{Egress, Ingress, Intended};
use flowaudit_sample_logs::truth::{End, Identity, Observation, RecordStatus};
use flowaudit_sample_logs::{Scenario, simulate};

fn tiny() -> Scenario {
    Scenario::parse("tiny.yaml", TINY).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_log_and_another_does_not() {
    let scenario = Scenario::builtin("small").unwrap();
    let text = |seed| {
        let run = simulate(&scenario, seed);
        run.records()
            .map(|record| record.to_json())
            .collect::<Vec<_>>()
            .join("\n")
    };
    let first = text(scenario.seed);
    assert!(first == text(scenario.seed));
    assert!(first != text(scenario.seed + 1));
}

#[test]
fn records_have_the_official_shape() {
    // The keys of the service's own sample entries, with `region`, which some accounts have too.
    let keys: Vec<&str> = "version account-id eni-id vm-id vswitch-id vpc-id type protocol srcaddr srcport dstaddr dstport \
                           direction action packets bytes start end tcp-flags log-status traffic_path region"
        .split_whitespace()
        .collect();
    let traffic = "type protocol srcaddr srcport dstaddr dstport direction action packets bytes tcp-flags traffic_path";
    let (mixed, tiny) = (Scenario::builtin("mixed").unwrap(), tiny());
    let runs = [
        simulate(&mixed, mixed.seed),
        // Its nodes' own interfaces carry nothing.
        simulate(&tiny, tiny.seed),
    ];
    let mut statuses: BTreeMap<String, u64> = BTreeMap::new();
    for record in runs.iter().flat_map(|run| run.records()) {
        let line = record.to_json();
        // Every value is a string: reading as such fails otherwise.
        let entry: HashMap<String, String> = serde_json::from_str(&line).unwrap();
        let mut known: Vec<&str> = entry.keys().map(String::as_str).collect();
        let mut wanted = keys.clone();
        known.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(known, wanted);
        assert_eq!(entry["version"], "1");
        for (key, begin) in [
            ("eni-id", "eni-"),
            ("vm-id", "i-"),
            ("vswitch-id", "vsw-"),
            ("vpc-id", "vpc-"),
        ] {
            assert!(entry[key].starts_with(begin), "{line}");
        }
        let (start, end): (i64, i64) = (
            entry["start"].parse().unwrap(),
            entry["end"].parse().unwrap(),
        );
        assert!(start <= end && end - start <= 600, "{line}");
        let status = &entry["log-status"];
        *statuses.entry(status.clone()).or_default() += 1;
        if status != "OK" {
            assert!(
                traffic.split_whitespace().all(|key| entry[key] == "-"),
                "{line}"
            );
            continue;
        }
        let source: IpAddr = entry["srcaddr"].parse().unwrap();
        let destination: IpAddr = entry["dstaddr"].parse().unwrap();
        assert_eq!(source.is_ipv6(), destination.is_ipv6(), "{line}");
        assert_eq!(
            entry["type"],
            if source.is_ipv6() { "IPv6" } else { "IPv4" }
        );
        assert!(
            ["in", "out"].contains(&entry["direction"].as_str()),
            "{line}"
        );
        assert!(
            ["ACCEPT", "REJECT"].contains(&entry["action"].as_str()),
            "{line}"
        );
        let (packets, bytes): (u64, u64) = (
            entry["packets"].parse().unwrap(),
            entry["bytes"].parse().unwrap(),
        );
        assert!(packets > 0 && bytes >= packets * 20, "{line}");
        assert_eq!(
            entry["protocol"] == "6",
            entry["tcp-flags"] != "-",
            "{line}"
        );
        assert_eq!(
            entry["direction"] == "out",
            entry["traffic_path"] != "-",
            "{line}"
        );
        if entry["action"] == "REJECT" {
            assert_eq!(
                (entry["direction"].as_str(), entry["tcp-flags"].as_str()),
                ("in", "2"),
                "{line}"
            );
        }
    }
    let statuses: Vec<&str> = statuses.keys().map(String::as_str).collect();
    assert_eq!(statuses, ["NODATA", "OK", "SKIPDATA"]);
}

/// Packets and bytes per interface and direction, of lines that are no repetition.
type Sums = HashMap<u64, BTreeMap<(String, End), (u64, u64)>>;

fn sums(run: &flowaudit_sample_logs::Run<'_>) -> Sums {
    let mut sums = Sums::new();
    for line in run.lines().filter(|line| !line.truth.repeated) {
        let (Some(connection), Some(from), Seen::Traffic(traffic)) =
            (line.truth.connection, line.truth.src_is, line.record.seen)
        else {
            continue;
        };
        let of_connection = sums.entry(connection).or_default();
        let (packets, bytes) = of_connection
            .entry((line.record.eni_id.into(), from))
            .or_default();
        *packets += traffic.packets;
        *bytes += traffic.bytes;
    }
    sums
}

#[test]
fn both_interfaces_count_the_same_where_nothing_was_lost() {
    let scenario = tiny();
    let run = simulate(&scenario, 1);
    let mut at_both = 0;
    for (connection, of_connection) in sums(&run) {
        for from in [End::Client, End::Server] {
            let counts: Vec<_> = of_connection
                .iter()
                .filter(|((_, end), _)| *end == from)
                .map(|(_, count)| count)
                .collect();
            assert!(
                counts.windows(2).all(|pair| pair[0] == pair[1]),
                "connection {connection}: {counts:?}"
            );
            at_both += usize::from(counts.len() == 2);
        }
    }
    assert!(at_both > 100, "{at_both}");
}

#[test]
fn truth_totals_are_the_records_counted_once() {
    for name in ["small", "mixed"] {
        let scenario = Scenario::builtin(name).unwrap();
        let run = simulate(&scenario, scenario.seed);
        let sums = sums(&run);
        for truth in run.connection_truths() {
            assert_eq!(
                truth.visible,
                sums.contains_key(&truth.id),
                "connection {}",
                truth.id
            );
            let once = |from| {
                let counts = sums.get(&truth.id).into_iter().flatten();
                counts
                    .filter(|((_, end), _)| *end == from)
                    .map(|(_, count)| *count)
                    .max()
                    .unwrap_or_default()
            };
            assert_eq!(
                (truth.forward_packets, truth.forward_bytes),
                once(End::Client),
                "{name} {truth:?}"
            );
            assert_eq!(
                (truth.reverse_packets, truth.reverse_bytes),
                once(End::Server),
                "{name} {truth:?}"
            );
        }
    }
}

#[test]
fn what_a_node_keeps_to_itself_leaves_no_record() {
    let scenario = Scenario::builtin("mixed").unwrap();
    let run = simulate(&scenario, scenario.seed);
    let node_of = |identity: &Identity| match identity {
        Identity::Pod { node, .. } => Some(node.clone()),
        Identity::Node { name, .. } => Some(name.clone()),
        Identity::External { .. } => None,
    };
    let (mut local, mut stopped, mut leaked) = (0, 0, 0);
    for truth in run.connection_truths() {
        let (client, server) = (node_of(&truth.client), node_of(&truth.server));
        if client.is_some() && client == server {
            local += 1;
            assert!(!truth.visible, "{truth:?}");
            continue;
        }
        if truth.egress == Egress::Denied {
            let enforces = scenario
                .nodes
                .iter()
                .any(|node| Some(&node.name.value) == client.as_ref() && node.enforces_policies);
            if enforces {
                stopped += 1;
                assert!(
                    !truth.visible && truth.observation == Observation::Unanswered,
                    "{truth:?}"
                );
            } else {
                leaked += 1;
            }
        }
    }
    assert!(
        local > 0 && stopped > 0 && leaked > 0,
        "{local} {stopped} {leaked}"
    );
}

#[test]
fn a_denied_ingress_shows_syn_alone_where_the_node_enforces() {
    let scenario = Scenario::builtin("mixed").unwrap();
    let run = simulate(&scenario, scenario.seed);
    let truths: Vec<_> = run.connection_truths().collect();
    let mut seen = 0;
    for line in run.lines() {
        let (Some(connection), Seen::Traffic(traffic)) = (line.truth.connection, line.record.seen)
        else {
            continue;
        };
        let truth = &truths[connection as usize];
        let forward = line.truth.src_is == Some(End::Client);
        assert_eq!(
            traffic.action == Action::Reject,
            truth.observation == Observation::Rejected && traffic.direction == Direction::In
        );
        match truth.observation {
            Observation::Unanswered | Observation::Rejected => {
                assert!(forward, "{truth:?}");
                assert!(
                    traffic.tcp_flags.is_none_or(|flags| flags == 2),
                    "{truth:?}"
                );
                seen += usize::from(truth.ingress == Ingress::Denied);
            }
            Observation::Refused if !forward => assert_eq!(traffic.tcp_flags, Some(20)),
            Observation::Refused | Observation::Established => {}
        }
    }
    assert!(seen > 0);
}

#[test]
fn mixed_shows_everything_it_is_for() {
    let scenario = Scenario::builtin("mixed").unwrap();
    let run = simulate(&scenario, scenario.seed);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut count = |what, holds| *counts.entry(what).or_default() += u64::from(holds);
    let truths: Vec<_> = run.connection_truths().collect();
    for truth in &truths {
        count(
            "node-local",
            matches!((&truth.client, &truth.server), (Identity::Pod { node: a, .. }, Identity::Pod { node: b, .. }) if a == b),
        );
        count(
            "host network",
            matches!(&truth.server, Identity::Node { pod: Some(_), .. }),
        );
        count(
            "external client",
            matches!(truth.client, Identity::External { .. }),
        );
        count(
            "external server",
            matches!(truth.server, Identity::External { .. }),
        );
        count("DNS", truth.server_port == 53);
        count(
            "refused",
            truth.visible && truth.observation == Observation::Refused,
        );
        count(
            "unanswered, allowed",
            truth.visible
                && truth.observation == Observation::Unanswered
                && truth.intended == Intended::Allowed,
        );
        count(
            "blocked",
            truth.visible
                && truth.observation == Observation::Unanswered
                && truth.intended == Intended::Denied,
        );
        count(
            "rejected",
            truth.visible && truth.observation == Observation::Rejected,
        );
        count(
            "not enforced",
            truth.visible
                && truth.observation == Observation::Established
                && truth.intended == Intended::Denied,
        );
        count(
            "spans a policy change",
            truth.visible && truth.spans_policy_change,
        );
        count("outlasts the run", truth.closed_at_ms.is_none());
    }
    let mut windows = Vec::new();
    for line in run.lines() {
        count("late", line.truth.late);
        count("repeated", line.truth.repeated);
        count("skipdata", line.truth.status == RecordStatus::Skipdata);
        count("nodata", line.truth.status == RecordStatus::Nodata);
        let holders = [&line.truth.src, &line.truth.dst];
        count(
            "unidentifiable",
            holders
                .into_iter()
                .flatten()
                .any(|holder| !holder.identifiable),
        );
        if let Seen::Traffic(traffic) = line.record.seen {
            count(
                "SYN and FIN in one entry",
                traffic.tcp_flags.is_some_and(|flags| flags & 3 == 3),
            );
        }
    }
    for eni in &run.world.enis {
        windows.push(eni.window_ms / 60_000);
    }
    for window in [1, 5, 10] {
        count("window", windows.contains(&window));
    }
    assert_eq!(counts["window"], 3, "1, 5 and 10 minutes");
    let missing: Vec<_> = counts.iter().filter(|(_, number)| **number == 0).collect();
    assert!(missing.is_empty(), "never happens: {missing:?}");
    assert!(!scenario.policy_changes_ms().is_empty());
}

#[test]
fn addresses_come_back_within_ten_seconds() {
    let scenario = Scenario::builtin("mixed").unwrap();
    let run = simulate(&scenario, scenario.seed);
    let mut lives: HashMap<IpAddr, Vec<(i64, i64, usize)>> = HashMap::new();
    for (index, pod) in run
        .world
        .pods
        .iter()
        .enumerate()
        .filter(|(_, pod)| !pod.host_network)
    {
        for address in &pod.addresses {
            let released_ms = pod.life.end.map_or(i64::MAX, |end| end.released_ms);
            lives
                .entry(*address)
                .or_default()
                .push((pod.life.allocated_ms, released_ms, index));
        }
    }
    let mut quick = 0;
    for lives in lives.values_mut() {
        lives.sort_unstable();
        for pair in lives.windows(2) {
            let gap_ms = pair[1].0 - pair[0].1;
            assert!(gap_ms >= 0, "held twice at a time: {pair:?}");
            let workload = |life: (i64, i64, usize)| run.world.pods[life.2].workload;
            quick += usize::from(gap_ms < 10_000 && workload(pair[0]) != workload(pair[1]));
        }
    }
    assert!(quick >= 5, "{quick} quick changes of hands");
}

#[test]
fn repeated_lines_repeat_an_earlier_one() {
    let scenario = Scenario::builtin("small").unwrap();
    let run = simulate(&scenario, scenario.seed);
    let mut seen = std::collections::HashSet::new();
    for line in run
        .lines()
        .filter(|line| line.truth.status == RecordStatus::Flow)
    {
        assert_eq!(
            seen.insert(line.record.to_json()),
            !line.truth.repeated,
            "{:?}",
            line.record
        );
    }
}
