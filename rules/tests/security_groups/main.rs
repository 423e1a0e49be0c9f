//! What security groups mean, against tables made by hand from section 6.3 of the notes on the cloud's API.
//!
//! A rule is written `direction action priority protocol ports peer`, an end `address@group,group`: without `@` it is
//! outside the VPC, `@?` has groups that are not known.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod interfaces;
mod layered;
mod members;
mod properties;
mod reading;
mod worlds;

use worlds::{Group, answer, judge, world};

/// Every probe of a world: client, server, protocol and port, and what must come out.
#[track_caller]
fn check(groups: &[Group<'_>], probes: &[(&str, &str, &str, &str)]) {
    let world = world(groups);
    for (client, server, what, expected) in probes {
        assert_eq!(
            answer(&world, client, server, what),
            *expected,
            "{client} → {server} {what}"
        );
    }
}

/// A client that may do anything, so that only the server's groups decide.
const OPEN: Group<'_> = Group {
    id: "sg-open",
    kind: "normal",
    inner: "Drop",
    rules: &[],
};

fn basic<'a>(id: &'a str, rules: &'a [&'a str]) -> Group<'a> {
    Group {
        id,
        kind: "normal",
        inner: "Drop",
        rules,
    }
}

fn enterprise<'a>(id: &'a str, rules: &'a [&'a str]) -> Group<'a> {
    Group {
        kind: "enterprise",
        ..basic(id, rules)
    }
}

const CLIENT: &str = "10.0.0.1@sg-open";

#[test]
fn without_rules_nothing_comes_in_and_a_basic_group_lets_everything_out() {
    let groups = [OPEN, basic("sg-b", &[]), enterprise("sg-e", &[])];
    check(
        &groups,
        &[
            (CLIENT, "10.0.0.2@sg-b", "TCP 80", "denied"),
            (CLIENT, "10.0.0.2@sg-e", "TCP 80", "denied"),
            (CLIENT, "203.0.113.7", "TCP 80", "allowed"),
            ("10.0.0.3@sg-e", "203.0.113.7", "TCP 80", "denied"),
            ("203.0.113.7", "203.0.113.8", "TCP 80", "allowed"),
        ],
    );
}

#[test]
fn an_enterprise_group_with_egress_rules_lets_out_what_they_accept() {
    let groups = [enterprise(
        "sg-e",
        &["egress Accept 1 TCP 443/443 0.0.0.0/0"],
    )];
    check(
        &groups,
        &[
            ("10.0.0.3@sg-e", "203.0.113.7", "TCP 443", "allowed"),
            ("10.0.0.3@sg-e", "203.0.113.7", "TCP 80", "denied"),
            ("10.0.0.3@sg-e", "2001:db8::7", "TCP 443", "denied"),
        ],
    );
}

#[test]
fn protocols_and_ports() {
    let rules = [
        "ingress Accept 1 TCP 443/443 0.0.0.0/0",
        "ingress Accept 1 tcp 8000/8100 0.0.0.0/0",
        "ingress Accept 1 UDP 1/65535 0.0.0.0/0",
        "ingress Accept 1 ICMP -1/-1 0.0.0.0/0",
        "ingress Accept 1 gre -1/-1 0.0.0.0/0",
        "ingress Accept 1 132 -1/-1 0.0.0.0/0",
    ];
    let groups = [OPEN, basic("sg-b", &rules)];
    let to = "10.0.0.2@sg-b";
    check(
        &groups,
        &[
            (CLIENT, to, "TCP 443", "allowed"),
            (CLIENT, to, "TCP 442", "denied"),
            (CLIENT, to, "TCP 444", "denied"),
            (CLIENT, to, "UDP 443", "allowed"),
            (CLIENT, to, "TCP 7999", "denied"),
            (CLIENT, to, "TCP 8000", "allowed"),
            (CLIENT, to, "TCP 8050", "allowed"),
            (CLIENT, to, "TCP 8100", "allowed"),
            (CLIENT, to, "TCP 8101", "denied"),
            (CLIENT, to, "UDP 1", "allowed"),
            (CLIENT, to, "UDP 65535", "allowed"),
            (CLIENT, to, "ICMP 0", "allowed"),
            (CLIENT, to, "ICMPv6 0", "denied"),
            (CLIENT, to, "47 0", "allowed"),
            (CLIENT, to, "SCTP 80", "allowed"),
            (CLIENT, to, "50 0", "denied"),
        ],
    );
}

#[test]
fn all_protocols_means_all() {
    let groups = [
        OPEN,
        basic("sg-b", &["ingress Accept 1 ALL -1/-1 10.0.0.0/8"]),
    ];
    let to = "10.0.0.2@sg-b";
    check(
        &groups,
        &[
            (CLIENT, to, "TCP 1", "allowed"),
            (CLIENT, to, "UDP 65535", "allowed"),
            (CLIENT, to, "ICMP 0", "allowed"),
            (CLIENT, to, "47 0", "allowed"),
        ],
    );
}

#[test]
fn ports_where_there_should_be_none_leave_it_open() {
    let rules = ["ingress Accept 1 ALL 80/80 0.0.0.0/0"];
    let groups = [OPEN, basic("sg-b", &rules)];
    let to = "10.0.0.2@sg-b";
    check(
        &groups,
        &[(CLIENT, to, "TCP 80", "unspecified unclear-ports")],
    );
}

#[test]
fn addresses_of_both_families() {
    let rules = [
        "ingress Accept 1 TCP 80/80 10.0.0.0/24",
        "ingress Accept 1 TCP 80/80 10.1.0.7",
        "ingress Accept 1 TCP 80/80 2001:db8::/64",
        "ingress Accept 1 TCP 81/81 0.0.0.0/0",
        "ingress Accept 1 TCP 82/82 ::/0",
    ];
    let groups = [OPEN, basic("sg-b", &rules)];
    let to = "10.0.0.2@sg-b";
    check(
        &groups,
        &[
            ("10.0.0.255@sg-open", to, "TCP 80", "allowed"),
            ("10.0.1.0@sg-open", to, "TCP 80", "denied"),
            ("10.1.0.7@sg-open", to, "TCP 80", "allowed"),
            ("10.1.0.8@sg-open", to, "TCP 80", "denied"),
            ("2001:db8::1@sg-open", to, "TCP 80", "allowed"),
            ("2001:db8:0:1::1@sg-open", to, "TCP 80", "denied"),
            ("203.0.113.7", to, "TCP 81", "allowed"),
            ("2001:db8::1", to, "TCP 81", "denied"),
            ("203.0.113.7", to, "TCP 82", "denied"),
            ("2001:db8::1", to, "TCP 82", "allowed"),
            ("?@sg-open", to, "TCP 80", "unspecified address"),
        ],
    );
}

#[test]
fn the_smallest_priority_decides_and_drop_wins_a_tie() {
    let rules = [
        "ingress Accept 2 TCP 80/80 0.0.0.0/0",
        "ingress Drop 1 TCP 80/80 10.0.0.0/8",
        "ingress Accept 1 TCP 81/81 0.0.0.0/0",
        "ingress Drop 2 TCP 81/81 0.0.0.0/0",
        "ingress Accept 5 TCP 82/82 0.0.0.0/0",
        "ingress Drop 5 TCP 82/82 10.0.0.0/8",
        "ingress Accept 100 TCP 83/83 0.0.0.0/0",
        "ingress Drop 99 TCP 83/83 0.0.0.0/0",
    ];
    let groups = [OPEN, basic("sg-b", &rules)];
    let to = "10.0.0.2@sg-b";
    check(
        &groups,
        &[
            (CLIENT, to, "TCP 80", "denied"),
            ("203.0.113.7", to, "TCP 80", "allowed"),
            (CLIENT, to, "TCP 81", "allowed"),
            (CLIENT, to, "TCP 82", "denied"),
            ("203.0.113.7", to, "TCP 82", "allowed"),
            (CLIENT, to, "TCP 83", "denied"),
        ],
    );
}

#[test]
fn a_basic_group_drops_on_the_way_out_too() {
    let rules = [
        "egress Drop 1 TCP 22/22 0.0.0.0/0",
        "egress Drop 2 ALL -1/-1 198.51.100.0/24",
        "egress Accept 1 TCP 443/443 198.51.100.7/32",
    ];
    let groups = [basic("sg-b", &rules)];
    let from = "10.0.0.1@sg-b";
    check(
        &groups,
        &[
            (from, "203.0.113.7", "TCP 22", "denied"),
            (from, "203.0.113.7", "TCP 80", "allowed"),
            (from, "198.51.100.7", "TCP 443", "allowed"),
            (from, "198.51.100.8", "TCP 443", "denied"),
            (from, "198.51.100.7", "UDP 443", "denied"),
        ],
    );
}

/// Only the opening direction is judged: egress of the server and ingress of the client say nothing about it.
#[test]
fn replies_pass() {
    let groups = [
        enterprise("sg-c", &["egress Accept 1 TCP 80/80 0.0.0.0/0"]),
        basic(
            "sg-s",
            &[
                "ingress Accept 1 TCP 80/80 0.0.0.0/0",
                "egress Drop 1 ALL -1/-1 0.0.0.0/0",
            ],
        ),
    ];
    let (client, server) = ("10.0.0.1@sg-c", "10.0.0.2@sg-s");
    check(
        &groups,
        &[
            (client, server, "TCP 80", "allowed"),
            (server, client, "TCP 80", "denied"),
        ],
    );
}

#[test]
fn groups_as_peers() {
    let groups = [
        OPEN,
        basic("sg-web", &[]),
        basic("sg-db", &["ingress Accept 1 TCP 5432/5432 sg-web"]),
        basic("sg-out", &["egress Drop 1 TCP 5432/5432 sg-db"]),
    ];
    let db = "10.0.0.2@sg-db";
    check(
        &groups,
        &[
            ("10.0.0.1@sg-web", db, "TCP 5432", "allowed"),
            ("10.0.0.1@sg-open,sg-web", db, "TCP 5432", "allowed"),
            (CLIENT, db, "TCP 5432", "denied"),
            ("203.0.113.7", db, "TCP 5432", "denied"),
            // Both ends are open: the client's own groups, and whether it is a member.
            ("10.0.0.1@?", db, "TCP 5432", "unspecified membership"),
            ("10.0.0.1@?", db, "TCP 5433", "denied"),
            ("10.0.0.1@sg-out", "10.0.0.2@sg-db", "TCP 5432", "denied"),
        ],
    );
}

#[test]
fn several_groups_are_one_list() {
    let groups = [
        OPEN,
        basic("sg-a", &["ingress Accept 10 TCP 80/80 0.0.0.0/0"]),
        basic(
            "sg-b",
            &[
                "ingress Accept 10 TCP 81/81 0.0.0.0/0",
                "ingress Drop 20 TCP 80/80 10.0.0.0/8",
            ],
        ),
        basic("sg-c", &["ingress Drop 1 TCP 83/83 0.0.0.0/0"]),
        basic(
            "sg-d",
            &[
                "ingress Drop 1 TCP 83/83 0.0.0.0/0",
                "ingress Accept 2 TCP 83/83 0.0.0.0/0",
            ],
        ),
    ];
    check(
        &groups,
        &[
            // A group without a matching rule takes nothing away.
            ("203.0.113.7", "10.0.0.2@sg-a,sg-b", "TCP 80", "allowed"),
            ("203.0.113.7", "10.0.0.2@sg-b,sg-a", "TCP 81", "allowed"),
            (CLIENT, "10.0.0.2@sg-a,sg-b", "TCP 82", "denied"),
            // What is not confirmed is how rules that contradict each other are sorted across groups.
            (
                CLIENT,
                "10.0.0.2@sg-a,sg-b",
                "TCP 80",
                "unspecified several-groups",
            ),
            // Within one group it is confirmed, and the others agree.
            ("203.0.113.7", "10.0.0.2@sg-c,sg-d", "TCP 83", "denied"),
        ],
    );
}

#[test]
fn a_group_that_was_not_read_leaves_it_open() {
    let groups = [
        OPEN,
        basic(
            "sg-b",
            &[
                "ingress Drop 1 TCP 22/22 0.0.0.0/0",
                "ingress Drop 2 TCP 23/23 0.0.0.0/0",
            ],
        ),
    ];
    check(
        &groups,
        &[
            (
                CLIENT,
                "10.0.0.2@sg-x",
                "TCP 80",
                "unspecified unknown-group",
            ),
            (
                CLIENT,
                "10.0.0.2@sg-b,sg-x",
                "TCP 80",
                "unspecified unknown-group",
            ),
            // In one list nothing is stronger than a drop of the first priority.
            (
                CLIENT,
                "10.0.0.2@sg-b,sg-x",
                "TCP 22",
                "unspecified unknown-group several-groups",
            ),
            (
                CLIENT,
                "10.0.0.2@sg-b,sg-x",
                "TCP 23",
                "unspecified unknown-group",
            ),
            (
                "10.0.0.1@?",
                "203.0.113.7",
                "TCP 80",
                "unspecified membership",
            ),
            (
                "10.0.0.1@",
                "203.0.113.7",
                "TCP 80",
                "unspecified membership",
            ),
        ],
    );
}

#[test]
fn a_type_that_is_not_known_matters_on_the_way_out_only() {
    let unknown = |id, inner, rules| Group {
        kind: "",
        inner,
        ..basic(id, rules)
    };
    let groups = [
        OPEN,
        unknown("sg-u", "Drop", &["egress Accept 1 TCP 443/443 0.0.0.0/0"]),
        unknown("sg-inner", "Accept", &[]),
        unknown("sg-names", "Drop", &["ingress Accept 1 TCP 80/80 sg-open"]),
    ];
    let out = "203.0.113.7";
    check(
        &groups,
        &[
            ("10.0.0.1@sg-u", out, "TCP 443", "allowed"),
            ("10.0.0.1@sg-u", out, "TCP 80", "unspecified group-type"),
            (CLIENT, "10.0.0.1@sg-u", "TCP 80", "denied"),
            // Only basic groups have these.
            ("10.0.0.1@sg-inner", out, "TCP 80", "allowed"),
            ("10.0.0.1@sg-names", out, "TCP 80", "allowed"),
            // All groups of an interface are of one type.
            ("10.0.0.1@sg-u,sg-open", out, "TCP 80", "allowed"),
        ],
    );
}

#[test]
fn prefix_lists_that_were_read_and_not() {
    let rules = [
        "ingress Accept 1 TCP 80/80 pl-read",
        "ingress Accept 1 TCP 81/81 pl-missing",
        "ingress Drop 1 TCP 82/82 pl-missing",
        "ingress Accept 2 TCP 82/82 0.0.0.0/0",
        "ingress Drop 1 TCP 83/83 pl-missing",
    ];
    let groups = [OPEN, basic("sg-b", &rules)];
    let to = "10.0.0.2@sg-b";
    check(
        &groups,
        &[
            ("198.51.100.9", to, "TCP 80", "allowed"),
            ("192.0.2.1", to, "TCP 80", "allowed"),
            (CLIENT, to, "TCP 80", "denied"),
            (CLIENT, to, "TCP 81", "unspecified prefix-list"),
            (CLIENT, to, "TCP 82", "unspecified prefix-list"),
            // Dropped either way.
            (CLIENT, to, "TCP 83", "denied"),
        ],
    );
}

#[test]
fn mail_on_its_way_out() {
    let groups = [
        enterprise("sg-e", &[]),
        basic("sg-b", &["ingress Accept 1 TCP 25/25 0.0.0.0/0"]),
    ];
    check(
        &groups,
        &[
            (
                "10.0.0.1@sg-b",
                "203.0.113.7",
                "TCP 25",
                "unspecified outbound-mail",
            ),
            ("10.0.0.1@sg-e", "203.0.113.7", "TCP 25", "denied"),
            ("10.0.0.1@sg-b", "203.0.113.7", "UDP 25", "allowed"),
            ("203.0.113.7", "10.0.0.1@sg-b", "TCP 25", "allowed"),
        ],
    );
}

#[test]
fn sentences() {
    let groups = [
        basic("sg-open", &[]),
        Group {
            inner: "Accept",
            ..basic(
                "sg-b",
                &[
                    "ingress Drop 2 TCP 22/22 10.0.0.0/8",
                    "ingress Accept 1 ALL -1/-1 sg-open",
                    "ingress Accept 1 TCP 80/90 pl-missing",
                ],
            )
        },
        enterprise("sg-e", &[]),
    ];
    let world = world(&groups);
    let shown =
        |client: &str, server: &str, what: &str| judge(&world, client, server, what).to_string();
    assert_eq!(
        shown("10.0.0.1@sg-open", "10.0.0.2@sg-b", "TCP 22"),
        "\
allowed  by security groups
  egress   allowed  no egress rule of security group sg-open matches, and a basic group lets out what no rule drops
  ingress  allowed  security group sg-b ingress rule sgr-1 (priority 1) accepts every protocol from members of sg-open
"
    );
    assert_eq!(
        shown("10.0.0.1@sg-e", "10.0.0.2@sg-b", "TCP 22"),
        "\
denied   by security groups
  egress   denied   no egress rule of security group sg-e matches, and an enterprise group lets out only what a rule accepts
  ingress  denied   security group sg-b ingress rule sgr-0 (priority 2) drops TCP port 22 from 10.0.0.0/8
"
    );
    assert_eq!(
        shown("203.0.113.7", "10.0.0.2@sg-b", "TCP 80"),
        "\
unspecified by security groups
  egress   allowed     203.0.113.7 has no interface here, so no security group guards it
  ingress  unspecified security group sg-b ingress rule sgr-2 (priority 1) would accept TCP ports 80-90 from the \
addresses of list pl-missing, but a rule names a prefix list that was not read
                       no ingress rule of security group sg-b matches, and what no rule accepts does not come in
"
    );
    assert_eq!(
        shown("10.0.0.1@sg-b", "10.0.0.2@sg-b", "TCP 443"),
        "\
allowed  by security groups
  egress   allowed  no egress rule of security group sg-b matches, and a basic group lets out what no rule drops
  ingress  allowed  both ends are in security group sg-b, whose members reach each other
"
    );
    assert_eq!(
        shown("10.0.0.1@?", "203.0.113.7", "TCP 443"),
        "\
unspecified by security groups
  egress   unspecified the security groups of the interface of 10.0.0.1 are not known
  ingress  allowed     203.0.113.7 has no interface here, so no security group guards it
"
    );
}
