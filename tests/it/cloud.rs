//! `inventory cloud` through the binary: saved answers, and what is said of settings that cannot be meant.

use crate::Place;

const SAVED: &str = r#"{"NetworkInterfaceSets": {"NetworkInterfaceSet": [{"NetworkInterfaceId": "eni-1", "VpcId": "vpc-1",
  "VSwitchId": "vsw-1", "PrivateIpAddress": "172.31.16.10", "SecurityGroupIds": {"SecurityGroupId": ["sg-1"]}}]}, "NextToken": ""}
{"SecurityGroupId": "sg-1", "InnerAccessPolicy": "Accept", "Permissions": {"Permission": []}, "NextToken": ""}
{"FlowLogs": {"FlowLog": [{"FlowLogId": "fl-1", "ResourceType": "VPC", "ResourceId": "vpc-1", "Status": "Active",
  "TrafficType": "Allow"}]}, "TotalCount": "1"}
"#;

#[test]
fn saved_answers_come_into_the_lake_and_the_log_is_judged() {
    let place = Place::new();
    place.write("saved-20261124T080000Z.json", SAVED);
    let arguments = [
        "inventory",
        "cloud",
        "--region",
        "cn-hangzhou",
        "saved-20261124T080000Z.json",
    ];
    let said = place.run(&arguments);
    said.check(
        0,
        &[
            "flow log `fl-1` on VPC `vpc-1` keeps only traffic of type Allow",
            "VPC `vpc-1` has no flow log that sees all of it: 1 of its interfaces",
        ],
    );
    assert!(said.out.contains("1 NetworkInterface"), "{}", said.out);
    assert_eq!(place.rows("endpoints"), 1);
    let again = place.run(&arguments);
    again.check(0, &[]);
    assert!(again.out.contains("nothing of it is new"), "{}", again.out);
    let who = [
        "inventory",
        "who",
        "172.31.16.10",
        "--at",
        "2026-11-24T08:00:00Z",
    ];
    let said = place.run(&who);
    said.check(0, &[]);
    assert!(said.out.contains("eni-1"), "{}", said.out);
    let health = place.run(&["inventory", "health"]);
    health.check(0, &[]);
    for expected in ["the cloud: last seen", "not logged: flow log `fl-1`"] {
        assert!(health.out.contains(expected), "{}", health.out);
    }
}

#[test]
fn a_region_and_https_are_asked_for() {
    let place = Place::new();
    let said = place.run(&["inventory", "cloud"]);
    said.check(2, &["the region is not set", "--region"]);
    let said = place.run(&["inventory", "cloud", "--region", "cn-hangzhou.example.com/"]);
    said.check(2, &["is no region"]);
    let settings = "cloud: {region: cn-hangzhou, endpoints: {ecs: 'http://127.0.0.1:1'}}\n";
    place.write("flowaudit.yaml", settings);
    place
        .run(&["inventory", "cloud"])
        .check(2, &["is http", "--insecure"]);
    place.write("flowaudit.yaml", settings.replace("ecs", "oss"));
    place
        .run(&["inventory", "cloud"])
        .check(2, &["no product `oss`"]);
}

#[test]
fn saved_refusals_are_exit_code_3() {
    let place = Place::new();
    place.write(
        "no.json",
        "{\"Code\": \"Forbidden.RAM\", \"Message\": \"no\"}",
    );
    let said = place.run(&["inventory", "cloud", "--region", "cn-hangzhou", "no.json"]);
    said.check(3, &["holds a refusal, `Forbidden.RAM`"]);
}
