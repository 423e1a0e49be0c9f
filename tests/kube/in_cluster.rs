//! In a pod: the service account is found where a kubelet mounts it, and its token is replaced while the watch goes on.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::common::until;
use crate::pods;
use crate::running::{self, Running, until_within};
use crate::scenario::{Cluster, DEFINITION, create_pod, prepare};
use crate::server::{RIGHTS, Server};

const NAMESPACE: &str = "/api/v1/namespaces/flowaudit";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/flowaudit/leases/flowaudit-inventory";
const FILES: [&str; 3] = ["ca.crt", "namespace", "token"];

/// Runs a command where the folder `$1` is mounted as a kubelet does. Nobody else sees the mounts.
const AS_IN_A_POD: &str = "place=/var/run/secrets/kubernetes.io/serviceaccount && mount -t tmpfs none /var/run && \
                           mkdir -p $place && mount --bind \"$1\" $place && shift && exec \"$@\"";

/// What a kubelet mounts: files that are links into a folder, which is replaced as a whole.
struct Account {
    dir: PathBuf,
    folders: u32,
}

impl Account {
    fn put(&mut self, authority: &Path, token: &str) {
        self.folders += 1;
        let name = format!("..{}", self.folders);
        let folder = self.dir.join(&name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(authority, folder.join("ca.crt")).unwrap();
        std::fs::write(folder.join("namespace"), "flowaudit").unwrap();
        std::fs::write(folder.join("token"), token).unwrap();
        let (new, data) = (self.dir.join("..data_tmp"), self.dir.join("..data"));
        symlink(&name, &new).unwrap();
        std::fs::rename(new, data).unwrap();
        for file in FILES.iter().filter(|_| self.folders == 1) {
            symlink(format!("..data/{file}"), self.dir.join(file)).unwrap();
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let own = Command::new("id").arg("-u").output().unwrap();
        let mut command = Command::new("unshare");
        if own.stdout.trim_ascii() != b"0" {
            command.arg("--map-root-user");
        }
        command.args(["--mount", "sh", "-c", AS_IN_A_POD, "sh"]);
        command.arg(&self.dir).args(arguments);
        command
    }
}

/// A token for the service account of the documentation, for the shortest time that there is; it is good as long as a Secret of this
/// name exists, as one of a kubelet is as long as the pod does.
fn token(server: &Server, secret: &str) -> String {
    let name = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret}});
    server.call("POST", &format!("{NAMESPACE}/secrets"), &name);
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"audiences": ["https://issuer"], "expirationSeconds": 600,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": secret}}});
    let path = format!("{NAMESPACE}/serviceaccounts/flowaudit-inventory/token");
    let answer = server.call("POST", &path, &request);
    answer["status"]["token"].as_str().unwrap().to_owned()
}

/// Waits until the lake knows the pod; the waits of a watch whose server was away may have grown.
#[track_caller]
fn until_recorded(lake: &Path, running: &Running, name: &str) {
    let so = || pods(lake).iter().any(|row| row.name == name);
    let what = format!("{name} is recorded");
    until_within(Duration::from_secs(150), &what, so, || running.said());
}

/// Whether the Lease was renewed after this.
fn is_renewed(server: &Server, after: DateTime<Utc>) -> bool {
    let lease = server.call("GET", LEASE, &Value::Null);
    let renewed = lease["spec"]["renewTime"].as_str().unwrap();
    renewed.parse::<DateTime<Utc>>().unwrap() > after
}

#[test]
fn a_pod_logs_in_by_its_account_and_its_token_is_replaced() {
    let mut server = Server::start();
    prepare(&server);
    server.serve(&serde_json::from_str(DEFINITION).unwrap());
    server.apply(RIGHTS);
    let dir = tempfile::tempdir().unwrap();
    let lake = dir.path().join("lake");
    let mut account = Account {
        dir: dir.path().join("account"),
        folders: 0,
    };
    let first = token(&server, "first");
    account.put(&server.path("ca.crt"), &first);

    let tried = account.command(&["true"]).output().unwrap();
    assert!(
        tried.status.success(),
        "this test mounts what a kubelet mounts, as root or in a user namespace of its own: {}",
        String::from_utf8_lossy(&tried.stderr)
    );
    let mut command = account.command(&[env!("CARGO_BIN_EXE_flowaudit"), "inventory", "watch"]);
    command
        .args(["--cluster", "prod", "--every", "1s", "--lake"])
        .arg(&lake)
        .current_dir(dir.path())
        .env("HOME", dir.path())
        .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        .env("KUBERNETES_SERVICE_PORT", server.port().to_string())
        .env_remove("KUBECONFIG");
    let running = Running::start(command);
    running.until_said("the lease is ours");
    for kind in [
        "Namespace",
        "Node",
        "Pod",
        "Service",
        "ServiceAccount",
        "ConfigMap",
        "apps/ReplicaSet",
        "batch/Job",
        "discovery.k8s.io/EndpointSlice",
        "networking.k8s.io/NetworkPolicy",
        "cilium.io/CiliumNetworkPolicy",
    ] {
        running.until_said(&format!("listed {kind}: "));
    }
    until_recorded(&lake, &running, "a");
    let lease = server.call("GET", LEASE, &Value::Null);
    assert_ne!(lease["spec"]["holderIdentity"], "");

    // A kubelet puts a newer one there, and the old one is good no more.
    let second = token(&server, "second");
    account.put(&server.path("ca.crt"), &second);
    server.call(
        "DELETE",
        &format!("{NAMESPACE}/secrets/first"),
        &json!({"apiVersion": "v1", "kind": "DeleteOptions"}),
    );
    let list = "/api/v1/pods?limit=1";
    until("the old token is refused", || {
        let answer = server.ask_as(&json!({"token": first}), list);
        answer.is_err_and(|error| format!("{error:?}").contains("401"))
    });
    server.ask_as(&json!({"token": second}), list).unwrap();
    let refused = Utc::now();
    let is_renewed = || is_renewed(&server, refused);
    running::until("the lease is renewed", is_renewed, || running.said());
    create_pod(&server, "f", "10.8.0.6");
    until_recorded(&lake, &running, "f");

    assert!(!running.said().contains("forbidden"), "{}", running.said());

    // Every kind has to ask anew. A server that has just begun knows neither rights nor accounts for a moment.
    server.restart_compacted(&|server| create_pod(server, "g", "10.8.0.7"));
    until_recorded(&lake, &running, "g");
    create_pod(&server, "h", "10.8.0.8");
    until_recorded(&lake, &running, "h");
    let said = running.terminate();
    said.check(0, &["Pod is missed from now on"]);
    for text in ["does not accept the token", &first, &second] {
        assert!(!said.err.contains(text), "{text} in {}", said.err);
    }
    assert!(said.out.starts_with("`prod`: 11 kinds"), "{}", said.out);
    let lease = server.call("GET", LEASE, &Value::Null);
    assert_eq!(lease["spec"]["holderIdentity"], "");
}
