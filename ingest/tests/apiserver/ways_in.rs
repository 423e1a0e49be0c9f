//! How a real server lets us in, and what it lets us do: by token, by certificate, with exactly the rights of the documentation.

use std::path::Path;
use std::time::Duration;

use flowaudit_ingest::inventory::live::Heard;
use flowaudit_ingest::kubernetes::{LeaseSettings, WatchSettings};
use serde_json::{Value, json};

use crate::common::{Listening, Taken, short};
use crate::scenario::{Cluster, prepare, settings};
use crate::server::{RIGHTS, Server, WATCHER};

fn settings_of(server: &Server, kubeconfig: &Path) -> WatchSettings {
    let mut settings = settings(server);
    settings.login.kubeconfig = Some(kubeconfig.to_owned());
    settings
}

fn once(mut settings: WatchSettings) -> (Taken, Result<(), String>) {
    settings.once = true;
    settings.tuning.login_max = Duration::from_secs(1);
    settings.tuning.outage_max = Duration::from_secs(1);
    let (taken, ended) = Listening::start(settings).join();
    let ended = ended.map(drop).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    });
    (taken, ended)
}

#[test]
fn the_rights_of_the_documentation_are_enough_and_no_more() {
    let server = Server::start();
    prepare(&server);
    server.apply(RIGHTS);
    let kubeconfig = server.kubeconfig_of("watcher", &json!({"token": WATCHER}));
    let mut settings = settings_of(&server, &kubeconfig);
    settings.lease = Some(LeaseSettings {
        identity: "one".to_owned(),
        ..LeaseSettings::default()
    });
    let listening = Listening::start(settings);
    listening.until("everything is listed", |taken| {
        ["Pod", "EndpointSlice", "ConfigMap", "Job", "ReplicaSet"]
            .iter()
            .all(|kind| short(taken, kind).contains(&"end".to_owned()))
    });
    let path = "/apis/coordination.k8s.io/v1/namespaces/flowaudit/leases/flowaudit-inventory";
    let lease = server.call("GET", path, &Value::Null);
    assert_eq!(lease["spec"]["holderIdentity"], "one");
    let (taken, ended) = listening.end();
    let summary = ended.unwrap();
    assert_eq!(summary.missing, [], "{:?}", taken.told);
    let lease = server.call("GET", path, &Value::Null);
    assert_eq!(lease["spec"]["holderIdentity"], "");

    // Without one of the rights the others still give the rest.
    let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/flowaudit-inventory";
    let mut less = server.call("GET", role, &Value::Null);
    less["rules"][0]["resources"] = json!(["namespaces", "pods", "services", "serviceaccounts"]);
    server.call("PUT", role, &less);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    // The server learns of a role with its own watch.
    let (taken, ended) = loop {
        let (taken, ended) = once(settings_of(&server, &kubeconfig));
        let is_known = taken.told.iter().any(|line| line.contains("Missing"));
        if is_known || std::time::Instant::now() > deadline {
            break (taken, ended);
        }
    };
    ended.unwrap();
    assert_eq!(short(&taken, "Node"), ["lost"], "{:?}", taken.told);
    assert!(short(&taken, "Pod").contains(&"is e".to_owned()));
    let why = taken.heard.iter().find_map(|heard| match heard {
        Heard::Lost { why, .. } => Some(why.clone()),
        _ => None,
    });
    assert!(why.unwrap().contains("forbidden: nodes is forbidden"));
}

#[test]
fn certificates_let_in_and_wrong_tokens_do_not() {
    let server = Server::start();
    prepare(&server);
    let (certificate, key) = (server.path("admin.crt"), server.path("admin.key"));
    let user = json!({"client-certificate": certificate, "client-key": key});
    let (taken, ended) = once(settings_of(
        &server,
        &server.kubeconfig_of("by-certificate", &user),
    ));
    ended.unwrap();
    assert!(short(&taken, "Pod").contains(&"is e".to_owned()));

    let wrong = server.kubeconfig_of("wrong", &json!({"token": "wr0ng-t0ken"}));
    let (taken, ended) = once(settings_of(&server, &wrong));
    let said = ended.unwrap_err();
    assert!(said.contains("does not accept the token"), "{said}");
    assert!(!format!("{said} {taken:?}").contains("wr0ng-t0ken"));

    // A server that another authority vouches for is not trusted with the token.
    let text = std::fs::read_to_string(server.kubeconfig()).unwrap();
    let own = server.path("ca.crt").display().to_string();
    let other = server.path("admin.crt").display().to_string();
    let path = server.path("other-authority");
    std::fs::write(&path, text.replace(&own, &other)).unwrap();
    let (_, ended) = once(settings_of(&server, &path));
    let said = ended.unwrap_err();
    assert!(said.contains("certificate"), "{said}");
}
