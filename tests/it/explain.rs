//! One question about the past, through the binary: by policies, by the engine the cluster was configured with, and by
//! security groups beside them.

use serde_json::{Value, json};

use crate::Place;

const AT: &str = "2026-11-23T09:00:00Z";

fn pod(name: &str, node: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": {"app": name}},
        "spec": {"nodeName": node, "containers": [{"name": "main"}]},
        "status": {"phase": "Running", "startTime": "2026-11-23T08:00:00Z", "podIPs": [{"ip": address}]},
    })
}

/// Client and server on two nodes, another server beside the client, and a policy whose block holds the client's address.
fn world() -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
        pod("client", "n1", "10.0.1.1"),
        pod("server", "n2", "10.0.1.2"),
        pod("beside", "n1", "10.0.1.3"),
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
         "metadata": {"name": "server", "namespace": "shop", "creationTimestamp": "2026-11-23T08:00:00Z"},
         "spec": {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"],
                  "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.1.0/24"}}]}]}},
    ]})
}

fn terway(data_path: &str) -> Value {
    let configuration = json!({"type": "terway", "eniip_virtual_type": data_path});
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "eni-config", "namespace": "kube-system", "creationTimestamp": "2026-11-01T00:00:00Z"},
        "data": {"10-terway.conf": configuration.to_string()},
    })
}

fn ask(place: &Place, to: &str, more: &[&str]) -> Value {
    let asked = [
        "explain",
        "--from",
        "shop/client",
        "--to",
        to,
        "--port",
        "80",
        "--at",
        AT,
    ];
    let said = place.run(&[&asked, more, &["-o", "json"]].concat());
    said.check(0, &[]);
    serde_json::from_str(&said.out).unwrap()
}

#[test]
fn the_engine_is_the_one_the_cluster_was_configured_with() {
    let place = Place::new();
    place.write("world.json", world().to_string());
    place
        .run(&["inventory", "import", "world.json", "--at", AT])
        .check(0, &[]);
    assert_eq!(ask(&place, "shop/server", &[])["verdict"], "unspecified");
    for (data_path, verdict) in [("Veth", "allowed"), ("DataPathV2", "denied")] {
        place.write("terway.json", terway(data_path).to_string());
        place
            .run(&["inventory", "import", "terway.json", "--at", AT])
            .check(0, &[]);
        let answer = ask(&place, "shop/server", &[]);
        assert_eq!(answer["verdict"], verdict, "{data_path}: {answer}");
        // What is set counts more than what is found.
        let answer = ask(&place, "shop/server", &["--engine", "felix"]);
        assert_eq!(answer["verdict"], "allowed");
        std::fs::remove_dir_all(place.path("flowaudit-lake")).unwrap();
        place
            .run(&["inventory", "import", "world.json", "--at", AT])
            .check(0, &[]);
    }
}

/// From a change on that nobody saw, the engine is as unknown as where nobody says.
#[test]
fn an_engine_that_changed_unseen_decides_nothing() {
    let place = Place::new();
    place.write("world.json", world().to_string());
    place
        .run(&["inventory", "import", "world.json", "--at", AT])
        .check(0, &[]);
    place.write("terway.json", terway("Veth").to_string());
    let before = [
        "inventory",
        "import",
        "terway.json",
        "--at",
        "2026-11-23T08:30:00Z",
    ];
    place.run(&before).check(0, &[]);
    assert_eq!(ask(&place, "shop/server", &[])["verdict"], "allowed");
    let changed = json!({
        "level": "Metadata", "auditID": "a1", "stage": "ResponseComplete", "verb": "patch", "requestURI": "/", "user": {"username": "admin"},
        "objectRef": {"resource": "configmaps", "namespace": "kube-system", "name": "eni-config"}, "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-11-23T08:40:00.1Z", "stageTimestamp": "2026-11-23T08:40:00.2Z",
    });
    place.write("audit.log", changed.to_string());
    place
        .run(&["inventory", "import", "audit.log"])
        .check(0, &["which engine enforces policies is not known"]);
    assert_eq!(ask(&place, "shop/server", &[])["verdict"], "unspecified");
    assert_eq!(
        ask(&place, "shop/server", &["--engine", "felix"])["verdict"],
        "allowed"
    );
}

#[test]
fn security_groups_stand_beside_the_policies() {
    let place = Place::new();
    place.write("world.json", world().to_string());
    place
        .run(&["inventory", "import", "world.json", "--at", AT])
        .check(0, &[]);
    let rule = json!({
        "SecurityGroupRuleId": "sgr-1", "Direction": "ingress", "Policy": "Accept", "Priority": "1",
        "IpProtocol": "TCP", "PortRange": "443/443", "SourceCidrIp": "10.0.0.0/8",
    });
    let group = json!({
        "SecurityGroupId": "sg-a", "InnerAccessPolicy": "Drop", "NextToken": "",
        "Permissions": {"Permission": [rule]},
    });
    let types = json!({"SecurityGroups": {"SecurityGroup": [{"SecurityGroupId": "sg-a", "SecurityGroupType": "normal"}]}});
    let interface = |addresses: &[&str]| {
        let sets: Vec<_> = addresses
            .iter()
            .map(|address| json!({"PrivateIpAddress": address}))
            .collect();
        json!({"PrivateIpSets": {"PrivateIpSet": sets}, "SecurityGroupIds": {"SecurityGroupId": ["sg-a"]}})
    };
    let interfaces = json!({"NetworkInterfaceSets": {"NetworkInterfaceSet": [
        interface(&["10.0.1.1", "10.0.1.3"]),
        interface(&["10.0.1.2"]),
    ]}});
    place.write("sg.json", group.to_string());
    place.write("types.json", types.to_string());
    place.write("interfaces.json", interfaces.to_string());
    let by_groups = [
        "--security-groups",
        "sg.json",
        "types.json",
        "interfaces.json",
        "--engine",
        "felix",
    ];

    let answer = ask(&place, "shop/server", &by_groups);
    assert_eq!(answer["verdict"], "allowed");
    let groups = &answer["security_groups"];
    assert_eq!(groups["verdict"], "denied", "{groups:#}");
    assert_eq!(groups["both_layers"], "denied");
    assert_eq!(groups["egress"]["verdict"], "allowed");
    let reason = groups["ingress"]["reasons"][0].as_str().unwrap();
    assert!(reason.contains("sg-a"), "{reason}");

    // Beside the client, nothing leaves the node.
    let answer = ask(&place, "shop/beside", &by_groups);
    assert_eq!(answer["verdict"], "allowed");
    assert!(answer.get("security_groups").is_none(), "{answer:#}");
    let asked = [
        "explain",
        "--from",
        "shop/client",
        "--to",
        "shop/beside",
        "--port",
        "80",
        "--at",
        AT,
    ];
    let said = place.run(&[&asked[..], &by_groups].concat());
    said.check(0, &[]);
    let unseen = "security groups do not see what stays on node n1";
    assert!(said.out.contains(unseen), "{}", said.out);

    // Groups without interfaces say nothing.
    let asked = [
        "explain",
        "--from",
        "shop/client",
        "--to",
        "shop/server",
        "--port",
        "80",
        "--at",
        AT,
    ];
    place
        .run(&[&asked[..], &["--security-groups", "sg.json"]].concat())
        .check(
            0,
            &[
                "no interface was read",
                " help: add what `aliyun ecs DescribeNetworkInterfaces` answers",
            ],
        );
    place.write("broken.json", "{\"SecurityGroupId\": ");
    place
        .run(
            &[
                &asked[..],
                &["--security-groups", "broken.json", "interfaces.json"],
            ]
            .concat(),
        )
        .check(3, &["broken.json:1"]);
}

/// Two clusters with the same names: which one is meant must be said, and only its policies count.
#[test]
fn a_pod_is_one_of_the_cluster_that_is_named() {
    let place = Place::new();
    place.write("a.json", world().to_string());
    let mut other = world();
    let items = other["items"].as_array_mut().unwrap();
    items.retain(|item| item["kind"] != "NetworkPolicy");
    for item in items.iter_mut().filter(|item| item["kind"] == "Pod") {
        let address = item["status"]["podIPs"][0]["ip"].as_str().unwrap();
        item["status"]["podIPs"][0]["ip"] = address.replace("10.0.", "10.7.").into();
    }
    place.write("b.json", other.to_string());
    for (name, file) in [("a", "a.json"), ("b", "b.json")] {
        let import = ["inventory", "import", file, "--cluster", name, "--at", AT];
        place.run(&import).check(0, &[]);
    }
    let asked = ["explain", "--from", "shop/client", "--to", "shop/server"];
    let rest = ["--port", "80", "--at", AT];
    place.run(&[&asked[..], &rest].concat()).check(
        2,
        &[
            "`shop/client` was in several clusters",
            "a, b",
            "--cluster NAME",
        ],
    );
    let elsewhere = [&asked[..], &rest, &["--cluster", "c"]].concat();
    place
        .run(&elsewhere)
        .check(2, &["no cluster called `c` is known at", "known are: a, b"]);
    let tier =
        |cluster| ask(&place, "shop/server", &["--cluster", cluster])["ingress"]["tier"].clone();
    assert_eq!((tier("a"), tier("b")), (json!("policy"), json!("default")));
}
