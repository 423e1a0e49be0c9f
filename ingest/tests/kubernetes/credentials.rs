//! Tokens that rotate, expire, or lack a right.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Listening, Place, pod, short, until};
use crate::fake_kube::TOKEN;
use crate::listening::KINDS;

const NEWER: &str = "fake-newer-t0ken";

#[test]
fn a_token_file_that_rotates_is_read_again() {
    let place = Place::new();
    let file = place.dir.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    place.write_kubeconfig(&json!({"tokenFile": file}));
    place.pods(0..2);
    let listening = place.watch();
    listening.until_listed(KINDS);
    until("pods are watched", || place.watches("pods") > 0);
    // The old one ends at once; the watches are cut, as when it runs out.
    std::fs::write(&file, NEWER).unwrap();
    {
        let mut world = place.fake.world();
        world.tokens = [NEWER.to_owned()].into();
        world.cut();
    }
    place.create("pods", pod("after", 9));
    listening.until("the watch goes on", |taken| {
        short(taken, "Pod").contains(&"put after".to_owned())
    });
    let (taken, ended) = listening.end();
    ended.unwrap();
    // Soon enough to go on where it was.
    assert!(!short(&taken, "Pod").contains(&"lost".to_owned()));
}

#[test]
fn an_exec_plugin_is_asked_again() {
    let place = Place::new();
    let file = place.dir.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let script = format!(
        r#"printf '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"%s","expirationTimestamp":"2099-01-01T00:00:00Z"}}}}' "$(cat {})""#,
        file.display()
    );
    place.write_kubeconfig(&json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
        "interactiveMode": "Never"
    }}));
    let listening = place.watch();
    listening.until_listed(KINDS);
    std::fs::write(&file, NEWER).unwrap();
    {
        let mut world = place.fake.world();
        world.tokens = [NEWER.to_owned()].into();
        world.cut();
    }
    place.create("pods", pod("after", 9));
    listening.until("the pod is heard of", |taken| {
        let of_pods = short(taken, "Pod");
        of_pods.contains(&"put after".to_owned()) || of_pods.contains(&"is after".to_owned())
    });
    listening.end().1.unwrap();
}

#[test]
fn an_expired_token_ends_the_run_with_what_was_heard() {
    let place = Place::new();
    place.pods(0..2);
    let mut settings = place.quick();
    settings.tuning.unauthorized_max = Duration::from_secs(1);
    // Only the end commits.
    settings.every = Duration::from_secs(600);
    let listening = Listening::start(settings);
    listening.until_listed(KINDS);
    {
        let mut world = place.fake.world();
        world.tokens.clear();
        world.cut();
    }
    let (taken, ended) = listening.join();
    let error = ended.unwrap_err();
    assert!(!error.is_usage());
    let cause = std::error::Error::source(&error).unwrap();
    let text = format!("{error}: {cause}; {error:?}; {}", error.help().unwrap());
    assert!(text.contains("does not accept the token"), "{text}");
    assert!(
        text.contains("log in anew") && !text.contains(TOKEN),
        "{text}"
    );
    assert_eq!(taken.committed, taken.heard.len());
    assert!(short(&taken, "Pod").contains(&"is web-1".to_owned()));
}

#[test]
fn a_token_that_never_was_good_ends_the_run() {
    let place = Place::new();
    place.write_kubeconfig(&json!({"token": "wr0ng"}));
    let mut settings = place.quick();
    settings.tuning.login_max = Duration::from_millis(200);
    let (taken, ended) = Listening::start(settings).join();
    let text = format!("{:?}", ended.unwrap_err());
    assert!(
        text.contains("Unauthorized") && !text.contains("wr0ng"),
        "{text}"
    );
    assert!(taken.heard.is_empty());
}

#[test]
fn a_forbidden_kind_is_named_and_the_rest_is_watched() {
    let place = Place::new();
    place.pods(0..2);
    {
        let mut world = place.fake.world();
        world.faults.forbidden.insert("nodes".to_owned());
        world.faults.forbidden.insert("jobs.batch".to_owned());
    }
    let listening = place.watch();
    listening.until_listed(KINDS - 2);
    listening.until("the rights are named", |taken| {
        let missing = taken.told.iter().filter(|line| line.contains("Missing"));
        missing.count() == 2
    });
    {
        let taken = listening.taken();
        let of_nodes = taken
            .told
            .iter()
            .find(|line| line.contains(r#"right: "nodes""#));
        let of_nodes = of_nodes.unwrap_or_else(|| panic!("{:?}", taken.told));
        assert!(of_nodes.contains("addresses of nodes"), "{of_nodes}");
        assert_eq!(short(&taken, "Node"), ["lost"]);
    }
    // Once it is allowed, it is found.
    place.fake.world().faults.forbidden.clear();
    listening.until_listed(KINDS);
    let (taken, ended) = listening.end();
    assert_eq!(short(&taken, "Node"), ["lost", "list", "end"]);
    assert_eq!(ended.unwrap().missing, []);
}

#[test]
fn a_right_that_is_taken_away_stops_one_kind() {
    let place = Place::new();
    place.pods(0..2);
    let listening = place.watch();
    listening.until_listed(KINDS);
    until("pods are watched", || place.watches("pods") > 0);
    {
        let mut world = place.fake.world();
        world.faults.forbidden.insert("pods".to_owned());
        world.cut();
    }
    listening.until("pods are lost", |taken| {
        short(taken, "Pod").contains(&"lost".to_owned())
    });
    let (_, ended) = listening.end();
    let summary = ended.unwrap();
    assert!(summary.missing.len() <= 1, "{:?}", summary.missing);
}

#[test]
fn a_plugin_that_fails_is_named_and_not_quoted() {
    let place = Place::new();
    place.write_kubeconfig(&json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "sh",
        "args": ["-c", "echo s3cr3t; echo s3cr3t >&2; exit 7"], "interactiveMode": "Never"
    }}));
    let (taken, ended) = place.watch().join();
    let error = ended.unwrap_err();
    let text = format!("{} {error:?}", std::error::Error::source(&error).unwrap());
    let said = "its plugin `sh` failed with exit status: 7";
    assert!(text.contains(said) && !text.contains("s3cr3t"), "{text}");
    assert!(taken.heard.is_empty());
}

#[test]
fn a_plugin_that_says_nothing_keeps_nobody_from_ending() {
    let place = Place::new();
    let asked = place.dir.path().join("asked");
    let script = format!("echo > {}; sleep 15", asked.display());
    place.write_kubeconfig(&json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
        "interactiveMode": "Never"
    }}));
    let begun = Instant::now();
    let listening = place.watch();
    until("the plugin runs", || asked.exists());
    let (taken, ended) = listening.end();
    ended.unwrap();
    assert!(taken.heard.is_empty());
    assert!(begun.elapsed() < Duration::from_secs(15), "{begun:?}");
}
