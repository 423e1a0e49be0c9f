//! Probe lines of bulk explain: each line gets exactly one answer line, and that is JSON.
#![no_main]

use std::sync::OnceLock;

use flowaudit_rules::bulk::Bulk;
use flowaudit_rules::cluster::Cluster;
use flowaudit_rules::kubernetes;
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::reading::Engine;
use libfuzzer_sys::fuzz_target;

/// A small world: a Deployment's pods, a database that admits one of them, addresses of both families.
const WORLD: &str = include_str!("../../seeds/manifest/shop.yaml");

fn world() -> &'static (PolicySet, Cluster) {
    static WORLD_READ: OnceLock<(PolicySet, Cluster)> = OnceLock::new();
    WORLD_READ.get_or_init(|| {
        let manifest = kubernetes::read("shop.yaml", WORLD);
        assert_eq!(manifest.issues, []);
        (
            PolicySet::from_objects(&manifest.objects).0,
            Cluster::from_objects(&manifest.objects).0,
        )
    })
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (policies, cluster) = world();
    let bulk = Bulk::new(policies, cluster, Engine::Unknown);
    for line in text.lines() {
        let mut answer = String::new();
        let answered = bulk.answer(line, &mut answer);
        assert!(!answer.contains('\n'), "one line per probe");
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("an answer is JSON");
        assert_eq!(answered.is_err(), answer.get("error").is_some());
    }
});
