//! kube-apiserver and etcd of a test's own: free ports on loopback, certificates and data in a temporary folder, ended with the test.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http::Request;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::common::until;
use crate::scenario::Cluster;

/// May do everything.
pub(crate) const ADMIN: &str = "t0ken-of-the-admin";
/// That of the service account of docs/kubernetes/rbac.yaml.
pub(crate) const WATCHER: &str = "t0ken-of-the-watcher";
/// What the documentation asks for.
pub(crate) const RIGHTS: &str = include_str!("../../../docs/kubernetes/rbac.yaml");
/// A busy machine takes its time.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// A process that does not outlive its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A cluster without nodes: an API server over etcd.
pub(crate) struct Server {
    api: Option<Process>,
    _etcd: Process,
    etcd_port: u16,
    port: u16,
    runtime: Runtime,
    client: Client,
    kubeconfig: PathBuf,
    dir: tempfile::TempDir,
}

fn program(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} must name a program; `make test-kube` builds it and says so")
    })
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All are held until all are known, so that no two are the same.
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// A certificate authority, and by it the certificates of the server and of an admin.
fn certificates(dir: &Path) {
    std::fs::write(dir.join("server.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    std::fs::write(dir.join("admin.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    let authority = "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=ca-of-a-test -days 2";
    let mut all = vec![authority.to_owned()];
    for (name, subject) in [
        ("server", "/CN=server"),
        ("admin", "/O=system:masters/CN=admin"),
    ] {
        all.push(format!(
            "req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj {subject}"
        ));
        all.push(format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.crt"
        ));
    }
    all.push("genrsa -out accounts.key 2048".to_owned());
    for arguments in all {
        let made = Command::new("openssl")
            .current_dir(dir)
            .args(arguments.split(' '))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "openssl {arguments}: {said}");
    }
}

fn spawn(dir: &Path, log: &str, command: &mut Command) -> Process {
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join(log))
        .unwrap();
    let child = command
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    Process(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

impl Server {
    /// Starts an empty one, and waits until it is ready.
    pub(crate) fn start() -> Server {
        let dir = tempfile::tempdir().unwrap();
        certificates(dir.path());
        let tokens = format!(
            "{ADMIN},admin,1,\"system:masters\"\n\
             {WATCHER},system:serviceaccount:flowaudit:flowaudit-inventory,2,\"system:serviceaccounts\"\n"
        );
        std::fs::write(dir.path().join("tokens.csv"), tokens).unwrap();
        let [etcd_port, peer, port] = free_ports();
        let (url, peer) = (
            format!("http://127.0.0.1:{etcd_port}"),
            format!("http://127.0.0.1:{peer}"),
        );
        let etcd = spawn(
            dir.path(),
            "etcd.log",
            Command::new(program("FLOWAUDIT_ETCD")).args([
                "--data-dir=etcd",
                &format!("--listen-client-urls={url}"),
                &format!("--advertise-client-urls={url}"),
                &format!("--listen-peer-urls={peer}"),
                &format!("--initial-advertise-peer-urls={peer}"),
                &format!("--initial-cluster=default={peer}"),
            ]),
        );
        let runtime = Runtime::new().unwrap();
        let kubeconfig = dir.path().join("kubeconfig");
        let user = json!({"token": ADMIN});
        write_kubeconfig(&kubeconfig, port, &user, dir.path());
        let mut server = Server {
            api: None,
            _etcd: etcd,
            etcd_port,
            port,
            client: client(&runtime, &kubeconfig),
            runtime,
            kubeconfig,
            dir,
        };
        server.start_api(port);
        server
    }

    /// A kubeconfig whose user logs in like this.
    pub(crate) fn kubeconfig_of(&self, name: &str, user: &Value) -> PathBuf {
        let path = self.path(name);
        write_kubeconfig(&path, self.port, user, self.dir.path());
        path
    }

    /// Where it listens on loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Applies these documents as `kubectl create -f` would.
    pub(crate) fn apply(&self, text: &str) {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
        for document in documents {
            let group = document["apiVersion"].as_str().unwrap();
            let root = match group {
                "v1" => "/api/v1".to_owned(),
                group => format!("/apis/{group}"),
            };
            let kind = document["kind"].as_str().unwrap().to_lowercase();
            let path = match document["metadata"]["namespace"].as_str() {
                Some(namespace) => format!("{root}/namespaces/{namespace}/{kind}s"),
                None => format!("{root}/{kind}s"),
            };
            self.call("POST", &path, &document);
        }
    }

    /// What the server answers to a GET of somebody who logs in like this.
    pub(crate) fn ask_as(&self, user: &Value, path: &str) -> Result<String, kube::Error> {
        let client = client(&self.runtime, &self.kubeconfig_of("somebody", user));
        let request = Request::get(path).body(Vec::new()).unwrap();
        self.runtime.block_on(client.request_text(request))
    }

    /// A file of this server.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Ends the API server at once; etcd stays.
    fn end_api(&mut self) {
        self.api = None;
    }

    fn start_api(&mut self, port: u16) {
        let mut command = Command::new(program("FLOWAUDIT_KUBE_APISERVER"));
        command.args([
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            format!("--secure-port={port}"),
        ]);
        command.args([
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--tls-cert-file=server.crt",
            "--tls-private-key-file=server.key",
            "--client-ca-file=ca.crt",
            "--service-account-issuer=https://issuer",
            "--service-account-key-file=accounts.key",
            "--service-account-signing-key-file=accounts.key",
            "--token-auth-file=tokens.csv",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--service-cluster-ip-range=10.0.0.0/24",
            // 1.20 serves this kind only if told to.
            "--runtime-config=discovery.k8s.io/v1beta1=true",
        ]);
        self.api = Some(spawn(self.dir.path(), "apiserver.log", &mut command));
        let kubeconfig = self.path("kubeconfig-of-the-test");
        write_kubeconfig(&kubeconfig, port, &json!({"token": ADMIN}), self.dir.path());
        self.client = client(&self.runtime, &kubeconfig);
        let begun = Instant::now();
        while let Err(error) = self.try_call("GET", "/readyz", &Value::Null) {
            if begun.elapsed() > READY_WITHIN {
                let log = std::fs::read_to_string(self.path("apiserver.log")).unwrap();
                let tail: Vec<&str> = log.lines().rev().take(30).collect();
                panic!("never ready: {error}\n{}", tail.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Sends JSON; the text of the answer.
    pub(crate) fn try_call(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<String, kube::Error> {
        let kind = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(body)
            .unwrap();
        self.runtime.block_on(self.client.request_text(request))
    }

    /// Forgets every change up to now.
    fn compact(&self) {
        let endpoint = format!("--endpoints=http://127.0.0.1:{}", self.etcd_port);
        let etcdctl = |arguments: &[&str]| {
            let done = Command::new(program("FLOWAUDIT_ETCDCTL"))
                .env("ETCDCTL_API", "3")
                .arg(&endpoint)
                .args(arguments)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "etcdctl {arguments:?}: {said}");
            String::from_utf8(done.stdout).unwrap()
        };
        let status = etcdctl(&["endpoint", "status", "--write-out=json"]);
        let status: Value = serde_json::from_str(&status).unwrap();
        let revision = status[0]["Status"]["header"]["revision"].to_string();
        etcdctl(&["compact", &revision]);
    }
}

impl Cluster for Server {
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let text = self
            .try_call(method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        serde_json::from_str(&text).unwrap()
    }

    fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    fn restart_compacted(&mut self, meanwhile: &dyn Fn(&dyn Cluster)) {
        self.end_api();
        // Elsewhere, where nobody hears of it: only an API server can change what is in etcd.
        let [elsewhere] = free_ports();
        self.start_api(elsewhere);
        meanwhile(self);
        self.end_api();
        self.compact();
        self.start_api(self.port);
    }

    fn serve(&mut self, definition: &Value) {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        self.call("POST", path, definition);
        let spec = &definition["spec"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (group, version) = (text(&spec["group"]), text(&spec["versions"][0]["name"]));
        let plural = text(&spec["names"]["plural"]);
        let path = format!("/apis/{group}/{version}/{plural}");
        until("the new kind is served", || {
            self.try_call("GET", &path, &Value::Null).is_ok()
        });
    }

    fn bookmark_within(&self) -> Duration {
        Duration::from_secs(180)
    }
}

fn write_kubeconfig(path: &Path, port: u16, user: &Value, dir: &Path) {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "real",
        "contexts": [{"name": "real", "context": {"cluster": "c", "user": "u", "namespace": "flowaudit"}}],
        "clusters": [{"name": "c", "cluster": {
            "server": format!("https://127.0.0.1:{port}"), "certificate-authority": dir.join("ca.crt")}}],
        "users": [{"name": "u", "user": user}],
    });
    std::fs::write(path, kubeconfig.to_string()).unwrap();
}

fn client(runtime: &Runtime, kubeconfig: &Path) -> Client {
    let _inside = runtime.enter();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
    Client::try_from(runtime.block_on(config).unwrap()).unwrap()
}
