//! Everything there is comes into the lake; what is refused or broken is named, and never taken for gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use flowaudit_ingest::Input;
use flowaudit_ingest::cloud::{
    Client, ClientSettings, CloudError, CloudSummary, Kind, SavedSettings, ask, import,
};
use flowaudit_lake::cloud::credentials::{Chain, Clock, Credentials, Surroundings};
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_lake::{Lake, read};
use flowaudit_rules::security_group;
use serde_json::{Value, json};

use crate::fake::{FakeCloud, Fault, KEY_ID, REGION, SECRET};

/// More than two pages of interfaces.
const INTERFACES: usize = 1203;
/// More than a page of vSwitches.
const VSWITCHES: usize = 60;

struct Place {
    dir: tempfile::TempDir,
    lake: Lake,
    fake: FakeCloud,
}

fn client_with(fake: &FakeCloud, keys: Credentials) -> Client {
    let bare = Surroundings {
        variables: Default::default(),
        home: None,
        metadata_endpoint: "http://127.0.0.1:1".to_owned(),
        sts_endpoint: None,
        clock: Clock::system(),
    };
    let endpoints = ["ecs", "vpc", "slb", "nlb", "alb"]
        .map(|product| (product.to_owned(), fake.endpoint.clone()));
    let settings = ClientSettings {
        endpoints: endpoints.into(),
        first_wait: Duration::from_millis(1),
        ..ClientSettings::new(REGION)
    };
    Client::new(settings, Chain::given(keys, bare), Clock::system()).unwrap()
}

fn client(fake: &FakeCloud) -> Client {
    client_with(fake, Credentials::lasting(KEY_ID, SECRET))
}

fn eni(n: usize) -> Value {
    let addr = format!("172.31.{}.{}", n / 250, n % 250 + 1);
    json!({
        "NetworkInterfaceId": format!("eni-{n:04}"), "InstanceId": "", "Type": "Secondary", "Status": "InUse",
        "VpcId": if n.is_multiple_of(2) { "vpc-a" } else { "vpc-b" }, "VSwitchId": format!("vsw-{:02}", n % VSWITCHES),
        "ZoneId": "cn-hangzhou-h", "PrivateIpAddress": addr,
        "PrivateIpSets": {"PrivateIpSet": [{"PrivateIpAddress": addr, "Primary": true}, {"PrivateIpAddress": "172.31.99.9", "Primary": false}]},
        "SecurityGroupIds": {"SecurityGroupId": [format!("sg-{}", n % 3)]},
        "CreationTime": "2025-08-01T08:30:00Z", "Unused": "changes every time",
    })
}

fn rule(n: usize, more: &Value) -> Value {
    let mut rule = json!({
        "SecurityGroupRuleId": format!("sgr-{n}"), "Direction": "ingress", "Policy": "Accept", "Priority": "1",
        "IpProtocol": "TCP", "PortRange": format!("{n}/{n}"), "SourceCidrIp": "10.0.0.0/8", "SourceGroupId": "",
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        rule[key] = value.clone();
    }
    rule
}

fn filled() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::create_or_open(dir.path().join("lake")).unwrap();
    let fake = FakeCloud::start();
    fake.put(
        "DescribeNetworkInterfaces",
        (0..INTERFACES).map(eni).collect(),
    );
    let group = |n| json!({"SecurityGroupId": format!("sg-{n}"), "SecurityGroupName": format!("group {n}"), "SecurityGroupType": "normal", "VpcId": "vpc-a"});
    fake.put("DescribeSecurityGroups", (0..3).map(group).collect());
    // Two pages, and a group without a rule.
    let many = (1..=1500).map(|n| rule(n, &Value::Null)).collect();
    fake.put("DescribeSecurityGroupAttribute/sg-0", many);
    let listed = json!({"SourceCidrIp": "", "SourcePrefixListId": "pl-1", "PortRange": "", "PortRangeListId": "prl-1"});
    fake.put(
        "DescribeSecurityGroupAttribute/sg-1",
        vec![rule(1, &listed)],
    );
    fake.put(
        "DescribePrefixListAttributes/pl-1",
        vec![json!({"Cidr": "192.0.2.0/24", "Description": ""})],
    );
    fake.put(
        "DescribePortRangeListEntries/prl-1",
        vec![json!({"PortRange": "80/90"})],
    );
    let vswitch = |n: usize| json!({"VSwitchId": format!("vsw-{n:02}"), "VpcId": if n.is_multiple_of(2) { "vpc-a" } else { "vpc-b" }, "CidrBlock": format!("172.31.{n}.0/24")});
    fake.put("DescribeVSwitches", (0..VSWITCHES).map(vswitch).collect());
    fake.put("DescribeFlowLogs", vec![
        json!({"FlowLogId": "fl-a", "ResourceType": "VPC", "ResourceId": "vpc-a", "Status": "Active", "TrafficType": "All", "TrafficPath": {"TrafficPathList": ["all"]}, "AggregationInterval": 1}),
        json!({"FlowLogId": "fl-b", "ResourceType": "VPC", "ResourceId": "vpc-b", "Status": "Inactive", "TrafficType": "Drop"}),
    ]);
    fake.put("DescribeNatGateways", vec![json!({
        "NatGatewayId": "ngw-1", "VpcId": "vpc-a", "Status": "Available",
        "IpLists": {"IpList": [{"IpAddress": "203.0.113.7", "PrivateIpAddress": "172.31.0.200"}]},
        "SnatTableIds": {"SnatTableId": ["stb-1"]},
    })]);
    fake.put("DescribeSnatTableEntries/stb-1", vec![json!({"SnatEntryId": "snat-1", "SnatTableId": "stb-1", "SnatIp": "203.0.113.7", "SourceCIDR": "172.31.0.0/16"})]);
    fake.put("DescribeLoadBalancers", vec![
        json!({"LoadBalancerId": "lb-1", "Address": "172.31.0.250", "AddressType": "intranet", "VpcId": "vpc-a"}),
        json!({"LoadBalancerId": "lb-2", "Address": "198.51.100.9", "AddressType": "internet", "VpcId": ""}),
    ]);
    fake.put("ListLoadBalancers/2022-04-30", vec![json!({
        "LoadBalancerId": "nlb-1", "LoadBalancerType": "Network", "AddressType": "Internet", "VpcId": "vpc-b",
        "ZoneMappings": [
            zone(json!({"PrivateIPv4Address": "172.31.9.1", "PublicIPv4Address": "198.51.100.10", "PrivateIPv4HcStatus": "Healthy", "EniId": "eni-nlb"})),
            zone(json!({"PrivateIPv4Address": "172.31.9.2", "Ipv6Address": "2001:db8::9"})),
        ],
    })]);
    let listed = |n: usize| json!({"LoadBalancerId": format!("alb-{n:03}"), "AddressType": "Intranet", "VpcId": "vpc-a"});
    fake.put(
        "ListLoadBalancers/2020-06-16",
        (0..ALBS).map(listed).collect(),
    );
    for n in 0..ALBS {
        let mut whole = listed(n);
        let asks = format!("172.31.8.{}", n + 1);
        whole["ZoneMappings"] = json!([zone(
            json!({"Address": format!("172.31.7.{}", n + 1), "IntranetAddress": "", "Ipv4LocalAddresses": [asks]})
        )]);
        fake.put(&format!("GetLoadBalancerAttribute/alb-{n:03}"), vec![whole]);
    }
    Place { dir, lake, fake }
}

/// More than fit on a page.
const ALBS: usize = 120;

fn zone(addresses: Value) -> Value {
    json!({"ZoneId": "cn-hangzhou-h", "VSwitchId": "vsw-1", "LoadBalancerAddresses": [addresses]})
}

fn at(text: &str) -> DateTime<Utc> {
    format!("2026-11-24T{text}Z").parse().unwrap()
}

impl Place {
    fn ask(&self, now: &str) -> CloudSummary {
        ask(&self.lake, &client(&self.fake), &[], at(now)).unwrap()
    }

    fn endpoints(&self) -> Vec<EndpointRow> {
        read::rows(&self.lake, &self.lake.snapshot().unwrap()).unwrap()
    }

    /// The latest versions: whether each surely holds on, by name.
    fn objects(&self, kind: Kind) -> BTreeMap<String, ObjectRow> {
        let rows: Vec<ObjectRow> = read::rows(&self.lake, &self.lake.snapshot().unwrap()).unwrap();
        let rows = rows.into_iter().filter(|row| row.kind == kind.as_str());
        rows.map(|row| (row.name.clone(), row)).collect()
    }
}

#[test]
fn everything_there_is_comes_into_the_lake() {
    let place = filled();
    let summary = place.ask("08:00:00");
    assert!(!summary.has_failures(), "{summary:#?}");
    let expected = [
        (Kind::NetworkInterface, INTERFACES as u64),
        (Kind::SecurityGroup, 3),
        (Kind::PrefixList, 1),
        (Kind::PortRangeList, 1),
        (Kind::VSwitch, VSWITCHES as u64),
        (Kind::FlowLog, 2),
        (Kind::NatGateway, 1),
        (Kind::SnatEntry, 1),
        (Kind::LoadBalancer, 2),
        (Kind::NetworkLoadBalancer, 1),
        (Kind::ApplicationLoadBalancer, ALBS as u64),
    ];
    assert_eq!(summary.counts, expected.into());
    let limits = summary.limits.join("\n");
    for said in [
        "`fl-b` on VPC `vpc-b` is Inactive",
        "keeps only traffic of type Drop",
        "VPC `vpc-b` has no flow log that sees all of it: 601 of its interfaces",
    ] {
        assert!(limits.contains(said), "{limits}");
    }
    assert!(!limits.contains("vpc-a"), "{limits}");

    let endpoints = place.endpoints();
    let held: BTreeSet<(&str, &str, Option<&str>)> = endpoints
        .iter()
        .map(|row| (row.kind.as_str(), row.addr.as_str(), row.vpc_id.as_deref()))
        .collect();
    // One for each interface, two of the NAT gateway, two load balancers, four of the network load balancer, two of each application load balancer.
    assert_eq!(held.len(), INTERFACES + 4 + 4 + 2 * ALBS);
    for one in [
        ("eni", "172.31.0.1", Some("vpc-a")),
        ("eni", "172.31.0.2", Some("vpc-b")),
        ("nat-gateway", "203.0.113.7", None),
        ("nat-gateway", "172.31.0.200", Some("vpc-a")),
        ("load-balancer", "172.31.0.250", Some("vpc-a")),
        ("load-balancer", "198.51.100.9", None),
        ("load-balancer", "172.31.9.1", Some("vpc-b")),
        ("load-balancer", "198.51.100.10", None),
        ("load-balancer", "2001:db8::9", None),
        ("load-balancer", "172.31.7.120", Some("vpc-a")),
        ("load-balancer", "172.31.8.120", Some("vpc-a")),
    ] {
        assert!(held.contains(&one), "{one:?}");
    }

    // What is kept of groups is read back by those who judge.
    let groups = place.objects(Kind::SecurityGroup);
    let lists = [
        place.objects(Kind::PrefixList),
        place.objects(Kind::PortRangeList),
    ];
    let texts = groups
        .iter()
        .chain(lists.iter().flatten())
        .map(|(name, row)| (name.as_str(), row.spec.as_str()));
    let manifest = security_group::read(texts);
    assert_eq!(manifest.issues, []);
    assert_eq!(manifest.groups.groups["sg-0"].rules.len(), 1500);
    assert_eq!(
        manifest.groups.groups["sg-1"].group_type,
        Some(security_group::GroupType::Basic)
    );
    assert_eq!(manifest.groups.prefix_lists["pl-1"].len(), 1);
    assert_eq!(manifest.groups.port_lists["prl-1"].len(), 1);
    assert_eq!(groups["sg-0"].group, "ecs.aliyuncs.com");
    assert_eq!(groups["sg-0"].namespace.as_deref(), Some(REGION));
    assert!(
        !place.objects(Kind::NetworkInterface)["eni-0000"]
            .spec
            .contains("Unused")
    );
}

#[test]
fn what_is_not_there_any_more_is_gone_between_two_looks() {
    let place = filled();
    place.ask("08:00:00");
    assert_eq!(place.ask("08:00:00").commit, None, "the same look again");
    place.fake.put(
        "DescribeNetworkInterfaces",
        (1..INTERFACES).map(eni).collect(),
    );
    place.ask("08:10:00");
    let rows = place.endpoints();
    let of = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
    let (gone, still) = (of("eni-0000"), of("eni-0001"));
    assert_eq!(gone.valid_to_us, Some(at("08:00:00").timestamp_micros()));
    assert_eq!(gone.to_slack_ms, Some(600_000));
    assert_eq!(still.valid_to_us, Some(at("08:10:00").timestamp_micros()));
    assert_eq!(still.to_slack_ms, None);
}

#[test]
fn a_call_that_is_denied_names_the_right_and_leaves_the_rest() {
    let place = filled();
    place.ask("08:00:00");
    for (call, action) in [
        (
            "DescribeSecurityGroupAttribute",
            "ecs:DescribeSecurityGroupAttribute",
        ),
        ("DescribeFlowLogs", "vpc:DescribeFlowLogs"),
        ("DescribeLoadBalancers", "slb:DescribeLoadBalancers"),
        ("GetLoadBalancerAttribute", "alb:GetLoadBalancerAttribute"),
    ] {
        place.fake.state().denied = [call].into();
        let summary = place.ask("08:10:00");
        assert!(summary.has_failures());
        let [error] = summary.failed.as_slice() else {
            panic!("{:?}", summary.failed);
        };
        assert!(error.is_denied());
        assert!(error.to_string().contains(&format!("{call} at")), "{error}");
        let help = error.help().unwrap();
        assert!(help.contains(&format!("`{action}`")), "{help}");
        assert_eq!(summary.counts[&Kind::NetworkInterface], INTERFACES as u64);
    }
    // The same name in two products.
    place.fake.state().denied = ["ListLoadBalancers"].into();
    let help: Vec<String> = place
        .ask("08:20:00")
        .failed
        .iter()
        .filter_map(CloudError::help)
        .collect();
    assert!(help[0].contains("`nlb:ListLoadBalancers`"), "{help:?}");
    assert!(help[1].contains("`alb:ListLoadBalancers`"), "{help:?}");
    // What was not shown is not gone.
    for kind in [Kind::NetworkLoadBalancer, Kind::ApplicationLoadBalancer] {
        let balancers = place.objects(kind);
        assert!(balancers.values().all(|row| row.to_slack_ms.is_none()));
    }
    assert_eq!(place.objects(Kind::FlowLog)["fl-a"].to_slack_ms, None);
    assert_eq!(place.objects(Kind::SecurityGroup)["sg-0"].to_slack_ms, None);
}

#[test]
fn what_passes_is_got_over() {
    let place = filled();
    place.fake.state().faults = [
        (
            "DescribeNetworkInterfaces",
            Fault::Refuse(400, "Throttling.User"),
        ),
        (
            "DescribeNetworkInterfaces",
            Fault::Refuse(503, "ServiceUnavailable"),
        ),
        ("DescribeNetworkInterfaces", Fault::Drop),
        (
            "DescribeVSwitches",
            Fault::Refuse(400, "SignatureNonceUsed"),
        ),
        ("DescribeFlowLogs", Fault::Refuse(429, "")),
        (
            "DescribeSecurityGroupAttribute",
            Fault::Refuse(500, "InternalError"),
        ),
    ]
    .into();
    place.fake.state().ahead = TimeDelta::hours(2);
    let summary = place.ask("08:00:00");
    assert!(!summary.has_failures(), "{:?}", summary.failed);
    assert_eq!(summary.counts[&Kind::NetworkInterface], INTERFACES as u64);
    assert!(place.fake.state().faults.is_empty());
}

#[test]
fn what_does_not_pass_is_named() {
    let place = filled();
    let failed = |keys| {
        let client = client_with(&place.fake, keys);
        let summary = ask(&place.lake, &client, &[], at("08:00:00")).unwrap();
        assert_eq!((summary.answers, summary.commit), (0, None));
        let error = &summary.failed[0];
        (error.to_string(), error.help().unwrap())
    };
    let (error, help) = failed(Credentials::lasting(KEY_ID, "wrong"));
    assert!(
        error.contains("SignatureDoesNotMatch") && !error.contains("wrong"),
        "{error}"
    );
    assert!(help.contains("access key"), "{help}");
    let (error, _) = failed(Credentials::lasting(KEY_ID, SECRET).with_token("old"));
    assert!(error.contains("InvalidSecurityToken.Expired"), "{error}");
    place.fake.state().token = Some("tok/en+==".to_owned());
    let client = client_with(
        &place.fake,
        Credentials::lasting(KEY_ID, SECRET).with_token("tok/en+=="),
    );
    assert!(
        !ask(&place.lake, &client, &[], at("08:00:00"))
            .unwrap()
            .has_failures()
    );

    place.fake.state().token = None;
    place.fake.state().faults = [("DescribeNetworkInterfaces", Fault::Html)].into();
    let summary = place.ask("08:10:00");
    assert!(
        summary.failed[0].to_string().contains("no JSON"),
        "{:?}",
        summary.failed
    );
    assert!(summary.counts.contains_key(&Kind::VSwitch));
}

#[test]
fn one_vpc_says_nothing_about_the_others() {
    let place = filled();
    place.ask("08:00:00");
    let summary = ask(
        &place.lake,
        &client(&place.fake),
        &["vpc-b".to_owned()],
        at("08:10:00"),
    )
    .unwrap();
    assert_eq!(summary.counts[&Kind::NetworkInterface], 601);
    let rows = place.endpoints();
    let of = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
    assert_eq!(of("eni-0000").to_slack_ms, None, "possibly there still");
    assert_eq!(
        of("eni-0001").valid_to_us,
        Some(at("08:10:00").timestamp_micros())
    );
}

#[test]
fn saved_answers_are_the_same() {
    let place = filled();
    place.ask("08:00:00");
    let (endpoints, groups) = (place.endpoints(), place.objects(Kind::SecurityGroup));
    let interfaces: Vec<Value> = (0..INTERFACES).map(eni).collect();
    let saved = [
        json!({"NetworkInterfaceSets": {"NetworkInterfaceSet": interfaces}, "NextToken": ""}),
        json!({"SecurityGroupId": "sg-2", "InnerAccessPolicy": "Accept", "Permissions": {"Permission": []}}),
        json!({"SecurityGroups": {"SecurityGroup": [{"SecurityGroupId": "sg-2", "SecurityGroupName": "group 2", "SecurityGroupType": "normal", "VpcId": "vpc-a"}]}}),
    ];
    let text: String = saved.iter().map(Value::to_string).collect();
    let file = place.dir.path().join("saved.json");
    std::fs::write(
        &file,
        text + "\n{\"Code\":\"Forbidden.RAM\",\"Message\":\"no\"}\n{\"Vpcs\":{}}",
    )
    .unwrap();
    let lake = Lake::create_or_open(place.dir.path().join("other")).unwrap();
    let settings = SavedSettings {
        region: REGION.to_owned(),
        at: Some(at("08:00:00")),
        complete: false,
    };
    let summary = import(
        &lake,
        &[Input::from(file.as_path())],
        &settings,
        at("09:00:00"),
    )
    .unwrap();
    assert_eq!(
        (summary.answers, summary.counts[&Kind::NetworkInterface]),
        (3, INTERFACES as u64)
    );
    let problems: Vec<String> = summary.problems.iter().map(ToString::to_string).collect();
    assert!(
        problems[0].contains("a refusal, `Forbidden.RAM`")
            && problems[1].contains("nothing is used"),
        "{problems:?}"
    );
    let of_enis = |rows: &[EndpointRow]| {
        rows.iter()
            .filter(|row| row.kind == "eni")
            .cloned()
            .collect::<Vec<_>>()
    };
    let other: Vec<EndpointRow> = read::rows(&lake, &lake.snapshot().unwrap()).unwrap();
    assert_eq!(of_enis(&other), of_enis(&endpoints));
    let objects: Vec<ObjectRow> = read::rows(&lake, &lake.snapshot().unwrap()).unwrap();
    let group = objects.iter().find(|row| row.name == "sg-2").unwrap();
    assert_eq!(group.spec, groups["sg-2"].spec);
}
