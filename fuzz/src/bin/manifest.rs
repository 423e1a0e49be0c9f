//! Kubernetes YAML and JSON; the world it describes can be built and asked.
#![no_main]

use flowaudit_fuzz::check_prints_and_reads_back;
use flowaudit_rules::cluster::{Cluster, Protocol};
use flowaudit_rules::evaluate::{Connection, Party, evaluate};
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::reading::Engine;
use flowaudit_rules::{kubernetes, verdict};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let manifest = kubernetes::read("fuzz.yaml", text);
    for issue in &manifest.issues {
        _ = issue.to_string();
    }
    for object in &manifest.objects {
        check_prints_and_reads_back(object);
    }
    let (cluster, _) = Cluster::from_objects(&manifest.objects);
    let (policies, _) = PolicySet::from_objects(&manifest.objects);
    let (Some(client), Some(server)) = (cluster.pods().first(), cluster.pods().last()) else {
        return;
    };
    let connection = Connection {
        client: Party::pod(client),
        server: Party::pod(server),
        port: 80,
        protocol: Protocol::Tcp,
    };
    for engine in [Engine::Felix, Engine::Cilium, Engine::None, Engine::Unknown] {
        let answer = evaluate(&policies, &cluster, engine, &connection);
        _ = verdict::explain(&answer, &connection);
    }
});
