//! `inventory watch` through the binary, against the fake API server.

use std::process::{Command, Stdio};
use std::time::Duration;

use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::{Lake, LakeError, read};
use serde_json::{Value, json};

use crate::fake_kube::{FakeKube, TOKEN};
use crate::running::{Running, until};
use crate::{Place, Said};

/// A cluster, and a folder with a kubeconfig for it.
struct Cluster {
    place: Place,
    fake: FakeKube,
}

impl Cluster {
    fn new() -> Cluster {
        let cluster = Cluster {
            place: Place::new(),
            fake: FakeKube::start(),
        };
        cluster.log_in_with(TOKEN);
        cluster
    }

    fn log_in_with(&self, token: &str) {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "c", "user": "u", "namespace": "audit"}}],
            "clusters": [{"name": "c", "cluster": {"server": self.fake.url()}}],
            "users": [{"name": "u", "user": {"token": token}}],
        });
        self.place.write("kubeconfig", kubeconfig.to_string());
    }

    fn with_pods(names: &[&str]) -> Cluster {
        let cluster = Cluster::new();
        for (n, name) in names.iter().enumerate() {
            cluster.create_pod(name, n + 1);
        }
        cluster
    }

    fn create_pod(&self, name: &str, n: usize) {
        let addr = format!("10.8.0.{n}");
        let pod = json!({
            "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
            "status": {"phase": "Running", "podIP": addr, "podIPs": [{"ip": addr}]}
        });
        let mut world = self.fake.world();
        let pods = world.resource("pods");
        world.create(pods, pod);
    }

    /// As a kubelet ends it: stopped, then gone.
    fn end_pod(&self, name: &str) {
        let mut world = self.fake.world();
        let pods = world.resource("pods");
        let now = chrono::Utc::now() + chrono::TimeDelta::seconds(1);
        let now = now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let terminated = json!({"exitCode": 0, "finishedAt": now});
        let stopped = json!({"status": {"phase": "Succeeded",
            "containerStatuses": [{"name": "c", "state": {"terminated": terminated}}]}});
        world.patch(pods, "shop", name, &stopped).unwrap();
        world.delete(pods, "shop", name).unwrap();
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut arguments = vec!["inventory", "watch", "--lake", "lake", "--cluster", "prod"];
        arguments.extend(more);
        let mut command = self.place.command(&arguments);
        command
            .env("KUBECONFIG", self.place.path("kubeconfig"))
            .env("HOME", self.place.path("home"))
            .env_remove("KUBERNETES_SERVICE_HOST")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, more: &[&str]) -> Said {
        Said::from(self.command(more).output().unwrap())
    }

    fn start(&self, more: &[&str]) -> Running {
        Running::start(self.command(more))
    }

    /// Who held what, by name, and whether it is known to have ended.
    fn holders(&self) -> Vec<EndpointRow> {
        let Ok(lake) = Lake::open(self.place.path("lake")) else {
            return Vec::new();
        };
        let mut rows = loop {
            let snapshot = lake.snapshot().unwrap();
            match read::rows::<EndpointRow>(&lake, &snapshot) {
                Ok(rows) => break rows,
                // A newer commit has replaced it meanwhile.
                Err(LakeError::Stale { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        };
        rows.retain(|row| row.kind == "pod");
        rows.sort_by(|one, other| {
            (&one.name, one.valid_from_us).cmp(&(&other.name, other.valid_from_us))
        });
        rows
    }

    /// The same in short: `web-0`, `web-1 ended`.
    fn in_short(&self) -> Vec<String> {
        let rows = self.holders();
        // What goes on was surely so when last heard of, and possibly for ever.
        let short = rows.iter().map(|row| match row.to_slack_ms {
            None => row.name.clone(),
            Some(_) => format!("{} ended", row.name),
        });
        short.collect()
    }

    #[track_caller]
    fn until_holders(&self, expected: &[&str]) {
        until(
            &format!("{expected:?}"),
            || self.in_short() == expected,
            || format!("{:?}", self.in_short()),
        );
    }

    fn holder_of_the_lease(&self) -> Option<String> {
        let world = self.fake.world();
        let lease = world.get(world.resource("leases"), "audit", "flowaudit-inventory")?;
        lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
    }
}

#[test]
fn a_list_alone_comes_into_the_lake_and_again() {
    let cluster = Cluster::with_pods(&["web-0", "web-1"]);
    let said = cluster.run(&["--once", "--no-lease"]);
    said.check(0, &["connected to http://127.0.0.1:", "listed Pod: 2"]);
    assert!(
        said.out
            .starts_with("`prod`: 10 kinds, 2 objects listed, 0 events, 1 commit"),
        "{}",
        said.out
    );
    assert_eq!(cluster.in_short(), ["web-0", "web-1"]);
    assert!(cluster.holders().iter().all(|row| row.cluster == "prod"));
    cluster.end_pod("web-1");
    let again = cluster.run(&["--once", "--no-lease", "-o", "json", "--quiet"]);
    again.check(0, &[]);
    assert_eq!(again.err, "");
    let done: Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!(
        (done["listed"].as_u64(), &done["missing"]),
        (Some(1), &json!([]))
    );
    // What disappeared while nobody watched is closed, and nobody is there twice.
    assert_eq!(cluster.in_short(), ["web-0", "web-1 ended"]);
    let who = cluster.place.run(&[
        "inventory",
        "who",
        "10.8.0.1",
        "--at",
        "0s",
        "--lake",
        "lake",
    ]);
    who.check(0, &[]);
    assert!(who.out.contains("web-0"), "{}", who.out);
    assert_eq!(cluster.holder_of_the_lease(), None);
}

#[test]
fn a_watch_commits_what_happens_and_ends_in_order() {
    let cluster = Cluster::with_pods(&["web-0", "web-1"]);
    let running = cluster.start(&["--every", "1s"]);
    running.until_said("listed Pod: 2");
    assert!(running.said().contains("the lease is ours"));
    cluster.until_holders(&["web-0", "web-1"]);
    let begun = chrono::Utc::now().timestamp_micros();
    cluster.create_pod("web-2", 3);
    cluster.end_pod("web-0");
    cluster.until_holders(&["web-0 ended", "web-1", "web-2"]);
    let ended = cluster.holders()[0].valid_to_us.unwrap();
    let now = chrono::Utc::now().timestamp_micros();
    assert!(
        (begun - 5_000_000..=now).contains(&ended),
        "{begun} {ended} {now}"
    );
    // Heard and not committed yet: the end commits it.
    cluster.create_pod("web-3", 4);
    std::thread::sleep(Duration::from_millis(300));
    let said = running.terminate();
    said.check(0, &["10 of 10 kinds watched"]);
    assert!(said.out.contains("events"), "{}", said.out);
    assert_eq!(
        cluster.in_short(),
        ["web-0 ended", "web-1", "web-2", "web-3"]
    );
    assert_eq!(cluster.holder_of_the_lease(), Some(String::new()));
}

#[test]
fn a_missing_right_is_named_with_its_cost_and_its_remedy() {
    let cluster = Cluster::with_pods(&["web-0"]);
    cluster
        .fake
        .world()
        .faults
        .forbidden
        .insert("nodes".to_owned());
    let said = cluster.run(&["--once", "--no-lease"]);
    said.check(
        3,
        &[
            "warning: nodes: nodes is forbidden",
            "without it, addresses of nodes, and of pods that share them, stay unidentified",
            "docs/kubernetes/rbac.yaml",
        ],
    );
    assert!(
        said.out.contains("missing: nodes: addresses of nodes"),
        "{}",
        said.out
    );
    assert_eq!(cluster.in_short(), ["web-0"]);
    let health = cluster
        .place
        .run(&["inventory", "health", "--lake", "lake"]);
    health.check(0, &[]);
    for expected in [
        "watched     9 kinds, all heard up to 20",
        "lost        Node, last heard never: forbidden: nodes is forbidden",
        "gaps        none known",
    ] {
        assert!(health.out.contains(expected), "{}", health.out);
    }
    // For ever it is no reason to end, and no reason to fail.
    let running = cluster.start(&["--no-lease", "--every", "1s"]);
    running.until_said("listed Pod: 1");
    running.until_said("without it, addresses of nodes");
    let said = running.terminate();
    said.check(0, &[]);
    assert!(said.out.contains("missing: nodes"), "{}", said.out);
}

#[test]
fn a_token_that_expires_ends_the_run_with_all_that_was_heard() {
    let cluster = Cluster::with_pods(&["web-0"]);
    let running = cluster.start(&["--no-lease", "--every", "1h", "--patience", "1s"]);
    running.until_said("listed Pod: 1");
    cluster.create_pod("web-1", 2);
    std::thread::sleep(Duration::from_millis(300));
    {
        let mut world = cluster.fake.world();
        world.tokens.clear();
        world.cut();
    }
    let said = running.end();
    said.check(
        3,
        &[
            "does not accept the token",
            "help: nothing was lost",
            "log in anew",
        ],
    );
    assert!(!said.err.contains(TOKEN), "{}", said.err);
    assert_eq!(cluster.in_short(), ["web-0", "web-1"]);
}

#[test]
fn whoever_cannot_get_in_is_told_at_once() {
    let cluster = Cluster::with_pods(&["web-0"]);
    cluster.log_in_with("wr0ng-t0ken");
    let said = cluster.run(&["--once", "--no-lease", "--patience", "1s"]);
    said.check(3, &["does not accept the token"]);
    assert!(!said.err.contains("wr0ng-t0ken"), "{}", said.err);
    let cluster = Cluster::new();
    for (arguments, in_err) in [
        (
            vec!["--kubeconfig", "none"],
            [
                "kubeconfig `none` cannot be used",
                "`--kubeconfig FILE` names another",
            ],
        ),
        (
            vec!["--context", "two"],
            ["it has no context `two`", "get-contexts"],
        ),
        (
            vec!["--every", "0s"],
            ["`watch.every` cannot be 0s", "from `1s` to `1h`"],
        ),
        (
            vec!["--lease", "No_Name"],
            ["`No_Name` is no name", "lower-case"],
        ),
        (
            vec!["--lease", "one", "--no-lease"],
            ["cannot be used with", "--no-lease"],
        ),
    ] {
        cluster.run(&arguments).check(2, &in_err);
    }
    let mut nobody = cluster.command(&[]);
    let said = Said::from(nobody.env_remove("KUBECONFIG").output().unwrap());
    said.check(2, &["there is no kubeconfig", "--kubeconfig FILE"]);
    assert!(!cluster.place.path("lake").exists(), "nothing is written");
}

#[test]
fn a_second_replica_takes_over_when_the_first_is_killed() {
    let cluster = Cluster::with_pods(&["web-0", "web-1", "web-2"]);
    let one = cluster.start(&["--every", "1s"]);
    one.until_said("listed Pod: 3");
    cluster.until_holders(&["web-0", "web-1", "web-2"]);
    let two = cluster.start(&["--every", "1s"]);
    two.until_said("holds the lease: standing by");
    cluster.end_pod("web-0");
    cluster.until_holders(&["web-0 ended", "web-1", "web-2"]);
    one.kill();
    // Nobody hears of this one.
    cluster.end_pod("web-1");
    let killed = chrono::Utc::now().timestamp_micros();
    two.until_said("the lease is ours");
    cluster.until_holders(&["web-0 ended", "web-1 ended", "web-2"]);
    // It held the address until it was last heard of, and perhaps until the new list.
    let row = cluster.holders().remove(1);
    let known = row.valid_to_us.unwrap();
    let perhaps = known + row.to_slack_ms.unwrap() * 1000;
    assert!(
        known <= killed && killed <= perhaps + 1000,
        "{row:?} {killed}"
    );
    two.terminate().check(0, &[]);
    assert_eq!(cluster.in_short(), ["web-0 ended", "web-1 ended", "web-2"]);
}

#[test]
fn what_came_while_the_process_was_stopped_is_no_news() {
    let cluster = Cluster::with_pods(&["web-0", "web-1"]);
    let running = cluster.start(&["--no-lease", "--every", "1s"]);
    running.until_said("listed Pod: 2");
    cluster.until_holders(&["web-0", "web-1"]);
    running.stop();
    let stopped = chrono::Utc::now().timestamp_micros();
    {
        let mut world = cluster.fake.world();
        let pods = world.resource("pods");
        let labels = json!({"metadata": {"labels": {"app": "db"}}});
        world.patch(pods, "shop", "web-0", &labels).unwrap();
        world.delete(pods, "shop", "web-1").unwrap();
    }
    std::thread::sleep(Duration::from_secs(6));
    running.signal("-CONT");
    running.until_said("Pod is missed from now on (not listened for ");
    cluster.until_holders(&["web-0 ended", "web-0", "web-1 ended"]);
    running.terminate().check(0, &[]);
    // Nothing that was so before is said to have surely been so up to the moment at which it went on.
    for row in cluster
        .holders()
        .iter()
        .filter(|row| row.to_slack_ms.is_some())
    {
        assert!(row.valid_to_us.unwrap() <= stopped, "{row:?} {stopped}");
    }
}

#[test]
fn what_the_server_has_forgotten_is_listed_again() {
    let cluster = Cluster::with_pods(&["web-0", "web-1"]);
    let running = cluster.start(&["--no-lease", "--every", "1s"]);
    running.until_said("listed Pod: 2");
    cluster.until_holders(&["web-0", "web-1"]);
    {
        let mut world = cluster.fake.world();
        let pods = world.resource("pods");
        world.delete(pods, "shop", "web-0").unwrap();
        world.compact();
        world.cut();
    }
    running.until_said("Pod is missed from now on (410");
    running.until_said("listed Pod: 1");
    cluster.until_holders(&["web-0 ended", "web-1"]);
    let said = running.terminate();
    said.check(0, &[]);
    assert!(
        said.out
            .contains("because a watch could not be taken up again"),
        "{}",
        said.out
    );
}

#[test]
fn a_server_that_is_away_for_a_while_is_waited_for() {
    let cluster = Cluster::with_pods(&["web-0", "web-1"]);
    let running = cluster.start(&["--no-lease", "--every", "1s"]);
    running.until_said("listed Pod: 2");
    cluster.until_holders(&["web-0", "web-1"]);
    {
        let mut world = cluster.fake.world();
        world.faults.away = true;
        world.cut();
    }
    cluster.end_pod("web-0");
    cluster.create_pod("web-2", 3);
    running.until_said("Pod is missed from now on");
    running.until_said("trying on");
    assert_eq!(cluster.in_short(), ["web-0", "web-1"]);
    cluster.fake.world().faults.away = false;
    cluster.until_holders(&["web-0 ended", "web-1", "web-2"]);
    running.terminate().check(0, &[]);
    assert_eq!(cluster.in_short(), ["web-0 ended", "web-1", "web-2"]);
}

#[test]
fn the_deployment_of_the_documentation_is_understood() {
    let text = include_str!("../../docs/kubernetes/deployment.yaml");
    let deployment: Value = serde_saphyr::from_str(text).unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "flowaudit-inventory");
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    let arguments = container["args"].as_array().unwrap();
    let arguments: Vec<&str> = arguments
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    let cluster = Cluster::with_pods(&["web-0"]);
    let mut command = cluster.place.command(&arguments);
    command
        .args(["--once", "--kubeconfig", "kubeconfig"])
        .env("FLOWAUDIT_LAKE", "lake");
    Said::from(command.output().unwrap()).check(0, &["listed Pod: 1"]);
    assert_eq!(cluster.in_short(), ["web-0"]);
}
