//! Who held an address, in small.

use flowaudit_lake::table::gaps::GapRow;

use super::*;

const SECOND: i64 = 1_000_000;

fn pod(name: &str, from: i64, to: Option<i64>, slack_ms: Option<i64>) -> EndpointRow {
    EndpointRow {
        addr: "10.0.3.7".into(),
        vpc_id: None,
        valid_from_us: from * SECOND,
        valid_to_us: to.map(|to| to * SECOND),
        from_slack_ms: Some(0),
        to_slack_ms: slack_ms,
        kind: "pod".into(),
        cluster: "c".into(),
        namespace: Some("shop".into()),
        name: name.into(),
        uid: Some(format!("uid-{name}")),
        workload_kind: None,
        workload: None,
        labels: None,
        host_network: false,
        node: Some("n1".into()),
        container_ports: None,
        service_account: None,
        eni_id: None,
        evidence: "snapshot".into(),
    }
}

fn ask(book: &Book, from: i64, to: i64) -> Result<String, Held> {
    let address = "10.0.3.7".parse().unwrap();
    match book.held(
        address,
        None,
        Stretch {
            from: from * SECOND,
            to: to * SECOND,
        },
    ) {
        Held::By { identity, .. } => Ok(book.identity(identity).name.clone()),
        other => Err(other),
    }
}

fn book(rows: Vec<EndpointRow>) -> Book {
    Book::new(rows, 3 * SECOND, &[])
}

#[test]
fn a_reused_address_belongs_to_each_in_its_time() {
    let book = book(vec![
        pod("cart", 0, Some(100), Some(2000)),
        pod("redis", 104, None, None),
    ]);
    assert_eq!(ask(&book, 10, 70), Ok("cart".into()));
    assert_eq!(ask(&book, 120, 180), Ok("redis".into()));
    assert_eq!(ask(&book, 60, 120), Err(Held::Unclear(Doubt::TwoHolders)));
    assert_eq!(
        ask(&book, 102, 103),
        Err(Held::Unclear(Doubt::TwoHolders)),
        "within the skew of both"
    );
}

#[test]
fn a_window_that_outlasts_its_only_holder_is_still_its_holders() {
    let book = book(vec![pod("cart", 0, Some(100), Some(0))]);
    assert_eq!(ask(&book, 90, 600), Ok("cart".into()));
    assert_eq!(
        ask(&book, 102, 600),
        Err(Held::Unclear(Doubt::OutsideCore)),
        "only within the skew"
    );
    assert_eq!(
        ask(&book, 300, 600),
        Err(Held::Unclear(Doubt::Terminated)),
        "never taken for external"
    );
}

#[test]
fn after_the_last_look_nothing_is_sure() {
    let book = book(vec![pod("cart", 0, Some(100), None)]);
    assert_eq!(
        ask(&book, 200, 260),
        Err(Held::Unclear(Doubt::LastSeenBefore))
    );
}

#[test]
fn what_the_cloud_calls_the_balancer_of_a_service_is_no_second_holder() {
    let balancer = |name: &str, cluster: &str| EndpointRow {
        kind: "load-balancer".into(),
        cluster: cluster.into(),
        ..pod(name, 0, Some(100), None)
    };
    let both = book(vec![balancer("lb-1", ""), balancer("web", "c")]);
    assert_eq!(ask(&both, 10, 70), Ok("web".into()));
    let cloud = book(vec![balancer("lb-1", "")]);
    assert_eq!(ask(&cloud, 10, 70), Ok("lb-1".into()));
    let interface = EndpointRow {
        kind: "eni".into(),
        ..balancer("eni-1", "")
    };
    let gateway = EndpointRow {
        kind: "nat-gateway".into(),
        ..balancer("ngw-1", "")
    };
    let named = book(vec![interface.clone(), gateway]);
    assert_eq!(ask(&named, 10, 70), Ok("ngw-1".into()));
    assert_eq!(ask(&book(vec![interface]), 10, 70), Ok("eni-1".into()));
    let pod = book(vec![balancer("eni-1", ""), pod("cart", 0, Some(100), None)]);
    assert_eq!(ask(&pod, 10, 70), Ok("cart".into()));
}

#[test]
fn changed_labels_do_not_make_two_holders() {
    let book = book(vec![
        pod("cart", 0, Some(100), Some(50_000)),
        pod("cart", 150, Some(300), Some(0)),
    ]);
    let address = "10.0.3.7".parse().unwrap();
    let held = book.held(
        address,
        None,
        Stretch {
            from: 120 * SECOND,
            to: 160 * SECOND,
        },
    );
    assert_eq!(
        held,
        Held::By {
            identity: 0,
            versions: vec![0, 1],
            by_eni: false,
        }
    );
}

#[test]
fn cuts_are_where_answers_change_and_nowhere_else() {
    let book = book(vec![
        pod("cart", 10, Some(100), Some(2000)),
        pod("redis", 104, Some(200), Some(30_000)),
    ])
    .with_grace(10 * SECOND)
    .with_unseen(gap("c", 190, 220));
    let address: IpAddr = "10.0.3.7".parse().unwrap();
    let within = Stretch {
        from: 0,
        to: 300 * SECOND,
    };
    let cuts = book.cuts(address, within);
    let stretch_of = |at: i64| cuts.partition_point(|cut| *cut <= at);
    let mut answers: HashMap<(usize, usize), Held> = HashMap::new();
    for from in 0..300 {
        for to in (from..300).step_by(7) {
            let window = Stretch {
                from: from * SECOND,
                to: to * SECOND,
            };
            let held = book.held(address, None, window);
            let known = answers
                .entry((stretch_of(window.from), stretch_of(window.to)))
                .or_insert(held.clone());
            assert_eq!(*known, held, "{from}..{to}");
        }
    }
    assert!(book.cuts("10.9.9.9".parse().unwrap(), within).is_empty());
}

#[test]
fn unknown_addresses_near_pods_are_not_called_external() {
    let book = book(vec![pod("cart", 0, None, None)]);
    let at = Stretch { from: 0, to: 1 };
    let held = |text: &str| book.held(text.parse().unwrap(), None, at);
    assert_eq!(held("10.0.3.99"), Held::Unclear(Doubt::NoHolder));
    assert_eq!(held("10.0.4.99"), Held::External);
    assert_eq!(held("198.51.100.7"), Held::External);
}

/// Whoever came after the one last seen may have held the address as soon as that was, and whoever came before up to when it came.
#[test]
fn near_an_end_that_nobody_watched_a_core_does_not_count() {
    let unwatched = || EndpointRow {
        evidence: r#"{"by":["snapshot"]}"#.into(),
        ..pod("cart", 40, Some(100), Some(1_000))
    };
    let of = |row| book(vec![row]);
    let outside = Err(Held::Unclear(Doubt::OutsideCore));
    assert_eq!(ask(&of(unwatched()), 44, 96), Ok("cart".into()));
    assert_eq!(ask(&of(unwatched()), 98, 110), outside);
    assert_eq!(
        ask(&of(unwatched()), 43, 60),
        outside,
        "it begins too early"
    );
    let watched = |said: &str| EndpointRow {
        evidence: format!(r#"{{"by":["watch"],{said}}}"#),
        ..unwatched()
    };
    let gone = watched(r#""gone":"1970-01-01T00:02:40Z","watched_on":true"#);
    assert_eq!(ask(&of(gone.clone()), 98, 110), Ok("cart".into()));
    assert_eq!(ask(&of(gone), 43, 60), outside);
    // By its own clock it went on for a little after it was seen gone: that much nobody watched.
    let before = watched(r#""gone":"1970-01-01T00:01:37Z","watched_on":true"#);
    assert_eq!(ask(&of(before.clone()), 96, 110), Ok("cart".into()));
    assert_eq!(ask(&of(before), 98, 110), outside);
    // Who came next may not be in a watch that broke off, and not be the next where it was made anew.
    for said in [
        r#""#,
        r#","watched_on":true,"started":["1970-01-01T00:03:00Z"]"#,
    ] {
        let said = format!(r#""gone":"1970-01-01T00:02:40Z"{said}"#);
        assert_eq!(ask(&of(watched(&said)), 98, 110), outside);
    }
    let came = watched(r#""came":true"#);
    assert_eq!(ask(&of(came.clone()), 38, 60), Ok("cart".into()));
    assert_eq!(
        ask(&of(came), 36, 60),
        outside,
        "whoever sent its first packet was another one"
    );
}

/// Its sandbox was rebuilt, with another address meanwhile.
#[test]
fn a_holder_that_was_missed_in_between_did_not_hold_the_address_then() {
    let tenure = |from, to| EndpointRow {
        from_slack_ms: Some(100_000),
        ..pod("cart", from, Some(to), Some(100_000))
    };
    let away = book(vec![tenure(0, 100), tenure(500, 600)]);
    for (from, to) in [(150, 160), (450, 460)] {
        assert_eq!(ask(&away, from, to), Err(Held::Unclear(Doubt::OutsideCore)));
    }
    let relabelled = book(vec![tenure(0, 100), tenure(180, 600)]);
    assert_eq!(ask(&relabelled, 150, 160), Ok("cart".into()));
}

fn gap(cluster: &str, from: i64, to: i64) -> Unseen {
    let row = GapRow {
        eni_id: None,
        from_us: from * SECOND,
        to_us: to * SECOND,
        reason: "inventory".into(),
        source: format!("inventory/{cluster}//Pod"),
        source_position: 0,
    };
    Unseen::new(&[row], 3 * SECOND)
}

#[test]
fn where_nobody_watched_only_a_core_that_goes_on_names_anyone() {
    let lived_through = || pod("cart", 0, Some(1000), Some(0));
    let died = || pod("cart", 0, Some(200), Some(100_000));
    let unwatched = |row, cluster: &str| book(vec![row]).with_unseen(gap(cluster, 250, 400));
    let in_gap = Err(Held::Unclear(Doubt::InGap));
    assert_eq!(
        ask(&unwatched(lived_through(), "c"), 300, 310),
        Ok("cart".into())
    );
    assert_eq!(ask(&unwatched(died(), "c"), 100, 150), Ok("cart".into()));
    assert_eq!(ask(&unwatched(died(), "c"), 150, 260), in_gap);
    assert_eq!(
        ask(&unwatched(died(), "other"), 150, 260),
        Ok("cart".into())
    );
    assert_eq!(
        ask(&unwatched(died(), "c"), 380, 390),
        Err(Held::Unclear(Doubt::NoHolderInGap)),
        "its outer part ends at 300"
    );
    assert_eq!(
        ask(&unwatched(died(), "c"), 500, 510),
        Err(Held::Unclear(Doubt::Terminated))
    );
}

#[test]
fn a_range_with_a_name_is_never_taken_for_a_pod_that_is_not_known() {
    let range = |name: &str, net: &str| NamedRange {
        name: name.into(),
        kind: CIDR_SET,
        net: net.parse().unwrap(),
        vpc: None,
    };
    let ranges = [
        range("everything", "10.0.0.0/8"),
        range("database", "10.0.3.200/32"),
        range("office", "192.0.2.0/24"),
    ];
    let book = book(vec![pod("cart", 0, None, None)])
        .with_ranges(ranges.into_iter().chain(ranges::built_in()));
    let at = Stretch { from: 0, to: 1 };
    let named = |text: &str| match book.held(text.parse().unwrap(), None, at) {
        Held::Range { identity } => book.identity(identity).name.clone(),
        other => format!("{other:?}"),
    };
    assert_eq!(named("10.0.3.200"), "database");
    assert_eq!(named("10.0.3.99"), "Unclear(NoHolder)", "beside a pod");
    assert_eq!(named("10.0.4.99"), "everything");
    assert_eq!(named("192.0.2.7"), "office");
    assert_eq!(named("100.100.2.138"), "dns");
    assert_eq!(named("100.100.100.200"), "metadata");
    assert_eq!(named("100.64.17.3"), "alibaba-cloud");
    assert_eq!(named("198.51.100.7"), "External");
}

/// Who held 10.0.3.7 in the middle of the first hundred seconds, of a record that was made there.
fn named_at(book: &Book, on: Site) -> Result<(String, bool), Held> {
    let window = Stretch {
        from: 50 * SECOND,
        to: 60 * SECOND,
    };
    match book.held_on("10.0.3.7".parse().unwrap(), None, window, on) {
        Held::By {
            identity, by_eni, ..
        } => Ok((book.identity(identity).name.clone(), by_eni)),
        other => Err(other),
    }
}

#[test]
fn the_interface_of_a_pods_own_chooses_and_vetoes() {
    let with = |name: &str, eni: Option<&str>| EndpointRow {
        node: Some("n1".into()),
        eni_id: eni.map(str::to_owned),
        ..pod(name, 0, Some(100), Some(0))
    };
    let other = EndpointRow {
        addr: "10.0.3.8".into(),
        ..with("db", Some("eni-db"))
    };
    let rows = vec![
        with("cart", Some("eni-cart")),
        with("redis", Some("eni-redis")),
        other,
    ];
    let two = book(rows.clone()).with_instances([("i-n1".into(), "c".into(), "n1".into())]);
    assert!(two.has_enis());
    let at = |book: &Book, eni: &str| {
        let site = Site {
            node: book.node_of_instance("i-n1"),
            eni: book.number_of_eni(eni),
        };
        named_at(book, site)
    };
    assert_eq!(at(&two, "eni-cart"), Ok(("cart".into(), true)));
    assert_eq!(at(&two, "eni-redis"), Ok(("redis".into(), true)));
    assert_eq!(at(&two, "eni-db"), Err(Held::Unclear(Doubt::OtherNode)));
    // The trunk under it, or the node's: nobody's own, and it tells nothing.
    assert_eq!(at(&two, "eni-trunk"), Err(Held::Unclear(Doubt::TwoHolders)));
    assert_eq!(
        two.site_of(&Held::Unclear(Doubt::TwoHolders)),
        Site::ELSEWHERE
    );
    // Of whom no interface is known, it may be that one: a fixed address and its interface go from pod to pod.
    let rows = vec![with("cart", Some("eni-cart")), with("redis", None)];
    let before = book(rows);
    assert_eq!(
        at(&before, "eni-cart"),
        Err(Held::Unclear(Doubt::TwoHolders))
    );
    // One alone is vetoed by what is another pod's own, on another node or not.
    let rows = vec![
        with("cart", Some("eni-cart")),
        EndpointRow {
            addr: "10.0.3.8".into(),
            ..with("db", Some("eni-db"))
        },
    ];
    let alone = book(rows);
    assert_eq!(at(&alone, "eni-cart"), Ok(("cart".into(), false)));
    assert_eq!(at(&alone, "eni-unknown"), Ok(("cart".into(), false)));
    assert_eq!(at(&alone, "eni-db"), Err(Held::Unclear(Doubt::OtherNode)));
}

#[test]
fn the_node_a_record_was_made_on_chooses_and_vetoes() {
    let on = |name: &str, node: &str| EndpointRow {
        node: Some(node.into()),
        ..pod(name, 0, Some(100), Some(0))
    };
    let instances = ["n1", "n2", "n3"].map(|node| (format!("i-{node}"), "c".into(), node.into()));
    let book = book(vec![on("cart", "n1"), on("redis", "n2")]).with_instances(instances);
    let address = "10.0.3.7".parse().unwrap();
    let window = Stretch {
        from: 50 * SECOND,
        to: 60 * SECOND,
    };
    let held = |instance: &str| {
        let node = book.node_of_instance(instance);
        named_at(&book, Site { node, eni: 0 })
    };
    assert_eq!(held("i-n1"), Ok(("cart".into(), true)));
    assert_eq!(held("i-n2"), Ok(("redis".into(), true)));
    assert_eq!(held("i-n3"), Err(Held::Unclear(Doubt::OtherNode)));
    assert_eq!(held("i-unknown"), Err(Held::Unclear(Doubt::TwoHolders)));
    assert_eq!(
        book.candidates(address, None, window, None),
        ["shop/cart", "shop/redis"]
    );
}

/// A record that names no VPC may be of either; the node where it was made tells.
#[test]
fn without_a_vpc_nobody_of_several_is_named() {
    let of = |cluster: &str, addr: &str| EndpointRow {
        vpc_id: Some(format!("vpc-{cluster}")),
        cluster: cluster.into(),
        addr: addr.into(),
        ..pod(cluster, 0, Some(100), Some(0))
    };
    let at = Stretch {
        from: 50 * SECOND,
        to: 50 * SECOND,
    };
    let instances = ["c", "d"].map(|cluster| (format!("i-{cluster}"), cluster.into(), "n1".into()));
    let book = book(vec![of("c", "10.0.3.7"), of("d", "10.0.3.8")]).with_instances(instances);
    let held = |vpc, instance| {
        let on = Site {
            node: book.node_of_instance(instance),
            eni: 0,
        };
        match book.held_on("10.0.3.7".parse().unwrap(), vpc, at, on) {
            Held::By { identity, .. } => Ok(book.identity(identity).name.clone()),
            other => Err(other),
        }
    };
    let doubt = Held::Unclear(Doubt::SeveralVpcs);
    assert_eq!(held(None, ""), Err(doubt.clone()));
    assert_eq!(held(Some("vpc-c"), ""), Ok("c".into()));
    assert_eq!(held(None, "i-c"), Ok("c".into()));
    assert_eq!(
        held(None, "i-d"),
        Err(Held::Unclear(Doubt::OtherNode)),
        "made where another one may hold it"
    );
    assert_eq!(book.site_of(&doubt), Site::ELSEWHERE);
}

#[test]
fn on_a_nodes_network_are_pods_of_its_cluster() {
    let host = |cluster: &str| EndpointRow {
        host_network: true,
        cluster: cluster.into(),
        ..pod(cluster, 0, Some(100), Some(0))
    };
    let book = book(vec![host("c"), host("d")]);
    let at = Stretch { from: 0, to: 0 };
    let candidates = book.candidates("10.0.3.7".parse().unwrap(), None, at, Some("c"));
    assert_eq!(candidates, ["shop/c"]);
}

#[test]
fn addresses_of_another_vpc_are_not_ours() {
    let rows = ["vpc-1", "vpc-2"].map(|vpc| EndpointRow {
        vpc_id: Some(vpc.into()),
        ..pod(vpc, 0, Some(100), Some(0))
    });
    let book = book(rows.to_vec());
    let at = Stretch {
        from: 50 * SECOND,
        to: 50 * SECOND,
    };
    let held = |address: &str, vpc| match book.held(address.parse().unwrap(), vpc, at) {
        Held::By { identity, .. } => book.identity(identity).name.clone(),
        other => format!("{other:?}"),
    };
    assert_eq!(held("10.0.3.7", Some("vpc-1")), "vpc-1");
    assert_eq!(held("10.0.3.7", Some("vpc-2")), "vpc-2");
    assert_eq!(held("10.0.3.7", Some("vpc-3")), "External");
    assert_eq!(held("10.0.3.7", None), "Unclear(TwoHolders)");
    assert_eq!(held("10.0.3.8", Some("vpc-1")), "Unclear(NoHolder)");
    assert_eq!(held("10.0.3.8", Some("vpc-3")), "External");
}

/// Nodes go by the old labels for a while.
#[test]
fn labels_are_in_force_somewhat_longer_than_they_are_set() {
    let book = book(vec![
        pod("cart", 0, Some(100), Some(0)),
        pod("cart", 101, Some(300), Some(0)),
    ])
    .with_grace(10 * SECOND);
    let versions = |from: i64| {
        let window = Stretch {
            from: from * SECOND,
            to: (from + 5) * SECOND,
        };
        match book.held("10.0.3.7".parse().unwrap(), None, window) {
            Held::By { versions, .. } => versions,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(versions(50), [0]);
    assert_eq!(versions(98), [0, 1]);
    assert_eq!(
        versions(110),
        [0, 1],
        "3 s of clocks, 1 s of rounding, 10 s of grace"
    );
    assert_eq!(versions(115), [1]);
}
