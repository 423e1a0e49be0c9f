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
        let of = |cluster: &Option<String>| cluster.clone().unwrap_or_default();
        let mut said: Vec<_> = of_kind
            .map(|one| {
                let clusters = [of(&one.client_cluster), of(&one.server_cluster)];
                (clusters, one.connections)
            })
            .collect();
        said.sort();
        said
    };
    let told = |clusters: [&str; 2], connections| (clusters.map(str::to_owned), connections);
    assert_eq!(
        of_kind("policy-not-enforced"),
        [told(["c", "c"], 1), told(["c", "d"], 1)]
    );
    let open: Vec<_> = of_kind("default-deny-missing");
    let c = told(["", "c"], 0);
    assert_eq!(open, [c.clone(), c, told(["", "d"], 0)]);
    let title = |cluster: &str| {
        format!(
            "shop/cart of cluster c → shop/redis of cluster {cluster} TCP 6379: denied by policy, not stopped"
        )
    };
    assert!(
        ["c", "d"]
            .iter()
            .all(|cluster| findings.iter().any(|one| one.title == title(cluster))),
        "{findings:?}"
    );
    // What would admit the pods of another cluster cannot be said with labels.
    let across = findings.iter().find(|one| one.title == title("d")).unwrap();
    assert!(
        across.remedy.contains("cannot name shop/cart of cluster c"),
        "{}",
        across.remedy
    );
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
    let ask = |from: &str, cluster| {
        let question = Question {
            from,
            to: REDIS,
            cluster,
            port: 6379,
            protocol: Protocol::Tcp,
            at_us: HOUR + 100 * SECOND,
        };
        explain_at(&world.lake, &settings(), &question, None)
    };
    let by_name = |cluster| ask(&format!("shop/cart-{CART}"), cluster);
    let unsaid = by_name(None);
    assert!(
        matches!(&unsaid, Err(AnalyzeError::PartyOfSeveralClusters { clusters, .. }) if *clusters == ["c", "d"]),
        "{unsaid:?}"
    );
    for said in [by_name(Some("c")), ask(CART, None), ask(WEB, None)] {
        let answer = said.unwrap();
        assert_eq!(
            answer.verdict.policy.outcome.as_str(),
            "allowed",
            "{answer:?}"
        );
    }
    let elsewhere = by_name(Some("e"));
    assert!(
        matches!(&elsewhere, Err(AnalyzeError::UnknownCluster { clusters, .. }) if *clusters == ["c", "d"]),
        "{elsewhere:?}"
    );
}

/// Equal addresses of two VPCs are two parties, named or not, and each is said to be of its VPC.
#[test]
fn equal_addresses_of_two_vpcs_are_told_apart() {
    let in_vpc = |vpc: &str, row: EndpointRow| EndpointRow {
        vpc_id: Some(vpc.into()),
        ..row
    };
    let theirs = |app| EndpointRow {
        uid: Some("theirs".into()),
        ..of("d", pod(app, REDIS, -90_000, None))
    };
    let pods = [
        in_vpc("vpc-1", pod("redis", REDIS, -90_000, None)),
        in_vpc("vpc-2", theirs("memcached")),
        // Of two one may have been it, and neither is of the other VPC.
        in_vpc("vpc-2", pod("cart", WEB, -90_000, Some(5))),
        in_vpc("vpc-2", pod("web", WEB, 5, None)),
    ];
    let world = World::new(&pods, &[]);
    for vpc in ["vpc-1", "vpc-2"] {
        world.ingest_in(vpc, &window(1, (WEB, 40_000), 27));
    }
    world.analyse(&settings());
    let edges = world.edges();
    let told: Vec<_> = edges
        .iter()
        .map(|edge| {
            let candidates = edge.client_candidates.as_deref();
            let server = (
                edge.server_cluster.as_deref(),
                edge.server_workload.as_deref(),
            );
            (edge.vpc_id.as_deref(), server, candidates, edge.records)
        })
        .collect();
    let two = Some(r#"["shop/cart-10.0.0.3","shop/web-10.0.0.3"]"#);
    assert_eq!(
        told,
        [
            (Some("vpc-2"), (Some("d"), Some("memcached")), two, 4),
            (Some("vpc-1"), (Some("c"), Some("redis")), None, 4),
        ]
    );
    let who: Vec<&str> = edges.iter().map(|edge| edge.client_kind.as_str()).collect();
    assert_eq!(who, ["ambiguous", "unidentified"]);
}

/// Neither end is known in any of the two, and all but the VPC is equal.
#[test]
fn equal_addresses_that_nobody_holds_are_of_their_vpcs() {
    let pods = ["vpc-1", "vpc-2"].map(|vpc| EndpointRow {
        vpc_id: Some(vpc.into()),
        ..of(vpc, pod("other", CART, -90_000, None))
    });
    let world = World::new(&pods, &[]);
    for vpc in ["vpc-1", "vpc-2"] {
        world.ingest_in(vpc, &window(1, (WEB, 40_000), 27));
    }
    world.analyse(&settings());
    let edges = world.edges();
    let mut told: Vec<_> = edges
        .iter()
        .map(|edge| {
            let kinds = (edge.client_kind.as_str(), edge.server_kind.as_str());
            (edge.vpc_id.as_deref(), kinds, edge.records)
        })
        .collect();
    told.sort_unstable();
    let unknown = ("unidentified", "unidentified");
    let expected = [(Some("vpc-1"), unknown, 4), (Some("vpc-2"), unknown, 4)];
    assert_eq!(told, expected);
}
