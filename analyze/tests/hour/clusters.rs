//! Several clusters in one lake: what each declares is its own, though namespaces, names and labels are the same.

use flowaudit_analyze::AnalyzeError;
use flowaudit_analyze::explain::{Question, explain_at};
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_rules::cluster::Protocol;

use crate::world::{CART, HOUR, REDIS, SECOND, WEB, World, pod, policy, settings, window};

fn of(cluster: &str, row: EndpointRow) -> EndpointRow {
    EndpointRow {
        cluster: cluster.into(),
        ..row
    }
}

fn declared_by(cluster: &str, row: ObjectRow) -> ObjectRow {
    ObjectRow {
        cluster: cluster.into(),
        ..row
    }
}

/// Cart and redis in these clusters, and what policies say of the connection between them.
fn judged(cart: &str, redis: &str, policies: &[ObjectRow]) -> (World, String, String) {
    let holders = [
        of(cart, pod("cart", CART, -90_000, None)),
        of(redis, pod("redis", REDIS, -90_000, None)),
    ];
    let world = World::new(&holders, policies);
    world.ingest(&window(10, (CART, 40_000), 27));
    world.analyse(&settings());
    let edges = world.edges();
    assert_eq!(edges.len(), 1, "{edges:?}");
    let (verdict, class) = (edges[0].verdict.clone(), edges[0].class.clone());
    (world, verdict, class)
}

#[test]
fn a_policy_says_nothing_of_the_pods_of_another_cluster() {
    let elsewhere = declared_by("d", policy("checkout", -90_000, None));
    let (world, verdict, class) = judged("c", "c", &[elsewhere]);
    assert_eq!((&*verdict, &*class), ("allowed", "unprotected"));
    let findings = world.findings();
    assert!(
        findings.iter().all(|one| one.severity != "critical"),
        "{findings:?}"
    );
    let here = declared_by("c", policy("checkout", -90_000, None));
    let (_, _, class) = judged("c", "c", &[here]);
    assert_eq!(class, "policy-not-enforced");
}

/// Two policies of one name are not two versions of one: both are in force, each in its cluster.
#[test]
fn policies_of_one_name_in_two_clusters_are_two() {
    let named = |cluster: &str, admits: &str| {
        let row = policy(admits, -90_000, None);
        let one = ObjectRow {
            name: "access".into(),
            spec: row.spec.replace(&row.name, "access"),
            ..row
        };
        declared_by(cluster, one)
    };
    for other in ["a", "d"] {
        let both = [named("c", "cart"), named(other, "checkout")];
        let (_, verdict, class) = judged("c", "c", &both);
        assert_eq!((&*verdict, &*class), ("allowed", "unprotected"), "{other}");
        let (_, verdict, class) = judged(other, other, &both);
        assert_eq!(
            (&*verdict, &*class),
            ("denied", "policy-not-enforced"),
            "{other}"
        );
    }
}

/// What selects pods selects those of its cluster: a pod elsewhere with the same labels is an address.
#[test]
fn between_clusters_each_judges_its_own_end() {
    let admits_cart = || policy("cart", -90_000, None);
    let (_, verdict, class) = judged("c", "d", &[declared_by("d", admits_cart())]);
    assert_eq!((&*verdict, &*class), ("denied", "policy-not-enforced"));
    let (_, verdict, _) = judged("c", "d", &[declared_by("c", admits_cart())]);
    assert_eq!(verdict, "allowed");
    let isolates = || {
        let row = admits_cart();
        ObjectRow {
            spec: row
                .spec
                .replace(r#""app":"redis""#, r#""app":"cart""#)
                .replace("Ingress", "Egress")
                .replace("ingress", "egress")
                .replace("from", "to"),
            ..row
        }
    };
    let (_, verdict, _) = judged("c", "d", &[declared_by("c", isolates())]);
    assert_eq!(verdict, "denied", "egress of the client's cluster");
    let (_, verdict, _) = judged("c", "d", &[declared_by("d", isolates())]);
    assert_eq!(verdict, "allowed");
}

#[test]
fn findings_of_two_clusters_are_two() {
    let holders = [
        of("c", pod("cart", CART, -90_000, None)),
        of("c", pod("redis", REDIS, -90_000, None)),
        of("d", pod("redis", WEB, -90_000, None)),
    ];
    let world = World::new(
        &holders,
        &[
            declared_by("c", policy("checkout", -90_000, None)),
            declared_by("d", policy("checkout", -90_000, None)),
        ],
    );
    let to_web = window(20, (CART, 40_001), 27).into_iter().map(|mut one| {
        for end in [&mut one.from, &mut one.to] {
            if end.0 == REDIS {
                end.0 = WEB;
            }
        }
        one
    });
    world.ingest(&window(10, (CART, 40_000), 27));
    world.ingest(&to_web.collect::<Vec<_>>());
    world.analyse(&settings());
    let findings = world.findings();
    let of_kind = |kind: &str| {
        let of_kind = findings.iter().filter(|one| one.detection == kind);
        let mut said: Vec<_> = of_kind
            .map(|one| {
                let evidence: serde_json::Value = serde_json::from_str(&one.evidence).unwrap();
                (evidence["clusters"].to_string(), one.connections)
            })
            .collect();
        said.sort();
        said
    };
    let told = |clusters: &str, connections| (clusters.to_owned(), connections);
    assert_eq!(
        of_kind("policy-not-enforced"),
        [told(r#"["c","d"]"#, 1), told(r#"["c"]"#, 1)]
    );
    let open: Vec<_> = of_kind("default-deny-missing");
    let c = told(r#"["c"]"#, 0);
    assert_eq!(open, [c.clone(), c, told(r#"["d"]"#, 0)]);
}

#[test]
fn a_pod_of_several_clusters_is_not_chosen_by_its_name() {
    let in_d = of("d", pod("cart", CART, -90_000, None));
    let holders = [
        of("c", pod("cart", CART, -90_000, None)),
        of("c", pod("redis", REDIS, -90_000, None)),
        EndpointRow {
            addr: WEB.into(),
            ..in_d
        },
    ];
    let world = World::new(
        &holders,
        &[declared_by("d", policy("checkout", -90_000, None))],
    );
    let ask = |from: &str| {
        let question = Question {
            from,
            to: REDIS,
            port: 6379,
            protocol: Protocol::Tcp,
            at_us: HOUR + 100 * SECOND,
        };
        explain_at(&world.lake, &settings(), &question, None)
    };
    let by_name = ask(&format!("shop/cart-{CART}"));
    assert!(
        matches!(&by_name, Err(AnalyzeError::UncertainParty { reason, .. }) if reason.contains("several clusters")),
        "{by_name:?}"
    );
    for address in [CART, WEB] {
        let answer = ask(address).unwrap();
        assert_eq!(
            answer.verdict.policy.outcome.as_str(),
            "allowed",
            "{answer:?}"
        );
    }
}
