//! What groups that both ends share let their members do.

use super::worlds::Group;
use super::{basic, check, enterprise};

#[test]
fn members_of_one_group() {
    let accept = |id, rules| Group {
        inner: "Accept",
        ..basic(id, rules)
    };
    let groups = [
        accept("sg-a", &["ingress Drop 100 TCP 22/22 0.0.0.0/0"]),
        basic("sg-d", &["ingress Accept 1 TCP 80/80 0.0.0.0/0"]),
        enterprise("sg-e", &["egress Accept 1 ALL -1/-1 0.0.0.0/0"]),
    ];
    check(
        &groups,
        &[
            ("10.0.0.1@sg-a", "10.0.0.2@sg-a", "TCP 80", "allowed"),
            (
                "10.0.0.1@sg-a",
                "10.0.0.2@sg-a",
                "TCP 22",
                "unspecified inner-access",
            ),
            ("10.0.0.1@sg-d", "10.0.0.2@sg-a", "TCP 80", "denied"),
            ("10.0.0.1@sg-d", "10.0.0.2@sg-a", "TCP 22", "denied"),
            (
                "10.0.0.1@?",
                "10.0.0.2@sg-a",
                "TCP 80",
                "unspecified membership",
            ),
            ("203.0.113.7", "10.0.0.2@sg-a", "TCP 80", "denied"),
            // Drop isolates, unless a rule allows.
            ("10.0.0.1@sg-d", "10.0.0.2@sg-d", "TCP 80", "allowed"),
            ("10.0.0.1@sg-d", "10.0.0.2@sg-d", "TCP 81", "denied"),
            // Members of an enterprise group are isolated.
            ("10.0.0.1@sg-e", "10.0.0.2@sg-e", "TCP 80", "denied"),
            // One shared group lets them, the other does not.
            (
                "10.0.0.1@sg-a,sg-d",
                "10.0.0.2@sg-a,sg-d",
                "TCP 81",
                "unspecified inner-access-differs",
            ),
        ],
    );
}

/// Of several groups that both ends share, one of which it is not known whether its members reach each other.
#[test]
fn one_group_that_surely_lets_its_members_is_enough() {
    let unsure = |id| Group {
        inner: "",
        ..basic(id, &[])
    };
    let sure = |id| Group {
        inner: "Accept",
        ..basic(id, &[])
    };
    let first = [unsure("sg-a"), sure("sg-b")];
    let last = [sure("sg-a"), unsure("sg-b")];
    let probe = (
        "10.0.0.1@sg-a,sg-b",
        "10.0.0.2@sg-a,sg-b",
        "TCP 80",
        "allowed",
    );
    check(&first, &[probe]);
    check(&last, &[probe]);
    check(
        &first,
        &[(
            "10.0.0.1@sg-a",
            "10.0.0.2@sg-a",
            "TCP 80",
            "unspecified incomplete-group",
        )],
    );
}

#[test]
fn egress_between_members_may_be_dropped() {
    let groups = [Group {
        inner: "Accept",
        ..basic("sg-a", &["egress Drop 1 TCP 22/22 10.0.0.0/8"])
    }];
    let probe = (
        "10.0.0.1@sg-a",
        "10.0.0.2@sg-a",
        "TCP 22",
        "unspecified inner-access",
    );
    check(&groups, &[probe]);
}
