//! One side of a connection between plain ends: the walk of the plain evaluator, without readings.
//!
//! It says what holds under every reading of every point, and nothing where that differs or would have to be asked;
//! then the plain evaluator is.

use super::Compiled;
use super::fit::{Fit, Points};
use super::peers::{Against, Peers, Seen};
use super::prepared::{Clause, Ports, Prepared, PreparedRule};
use crate::cluster::Protocol;
use crate::evaluate::rule::{Declared, declares};
use crate::policy::{Action, Direction, Family, Tier};
use crate::verdict::{Decision, Unspecified};

/// A connection as one of its sides sees it.
pub(super) struct View<'v, 'a> {
    pub(super) compiled: &'v Compiled<'a>,
    pub(super) direction: Direction,
    /// The end that policies of this direction select.
    pub(super) own: Seen<'v>,
    /// The end that peers speak of.
    pub(super) other: Seen<'v>,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
    /// How points are read.
    pub(super) points: Points,
}

/// What the policies of a tier say, or a part of them.
enum Found {
    /// A rule that matches does this.
    Rule(Action),
    /// None matches.
    Nothing,
}

impl View<'_, '_> {
    /// What this side says under every reading; `None` where it depends.
    pub(super) fn decide(&self) -> Option<Decision> {
        let Some((_, class)) = self.own.pod else {
            return Some(Decision::Allowed);
        };
        let selected = self.compiled.selected(class, self.direction);
        let tier_of = |number: &u32| self.compiled.prepared(*number).map(|p| p.tier);
        for tier in selected.chunk_by(|a, b| tier_of(a) == tier_of(b)) {
            let policies = tier.iter().filter_map(|n| self.compiled.prepared(*n));
            match self.first_match(policies.clone())? {
                Found::Rule(Action::Allow) => return Some(Decision::Allowed),
                Found::Rule(Action::Deny) => {
                    let first = policies.clone().next()?;
                    // Where a policy selects the pod for the other direction only, it is open that this tier counts.
                    let may_be_skipped =
                        first.policy.tier == Tier::BASELINE && self.is_selected_elsewhere(class);
                    return (!may_be_skipped).then_some(Decision::Denied);
                }
                Found::Rule(Action::Pass | Action::Log) => {}
                Found::Nothing => {
                    let denying = policies.filter(|policy| policy.section(self.direction).denies);
                    match Fit::any(denying.map(|policy| self.in_force(policy))) {
                        Fit::Yes => return Some(Decision::Denied),
                        Fit::No => {}
                        Fit::Open | Fit::Ask => return None,
                    }
                }
            }
        }
        Some(Decision::Allowed)
    }

    fn is_selected_elsewhere(&self, class: u32) -> bool {
        let selected = self.compiled.selected(class, self.direction.other());
        let mut policies = selected.iter().filter_map(|n| self.compiled.prepared(*n));
        policies.any(|policy| policy.kind.is_like_network_policy())
    }

    /// What the first rule of a tier that matches does; `None` where that depends.
    fn first_match<'p>(&self, tier: impl Iterator<Item = &'p Prepared>) -> Option<Found> {
        // What every rule does that matches or may match, and a policy of which one surely does.
        let mut does = None;
        let mut surely: Option<&Prepared> = None;
        for policy in tier {
            if surely.is_some_and(|earlier| !is_tie(earlier, policy)) {
                break;
            }
            for rule in &policy.section(self.direction).rules {
                match self.rule_fit(policy, rule) {
                    Fit::No => continue,
                    Fit::Ask => return None,
                    // Another may act instead: one that perhaps matches, or one of a policy that may go first.
                    _ if does.is_some_and(|other| other != rule.action) => return None,
                    Fit::Open => does = Some(rule.action),
                    Fit::Yes => {
                        does = Some(rule.action);
                        surely = Some(policy);
                        break;
                    }
                }
            }
        }
        match (does, surely) {
            (Some(action), Some(_)) => Some(Found::Rule(action)),
            (Some(_), None) => None,
            (None, _) => Some(Found::Nothing),
        }
    }

    fn rule_fit(&self, policy: &Prepared, rule: &PreparedRule) -> Fit {
        self.ports_fit(policy, rule)
            .and(|| self.family_fit(rule))
            .and(|| self.peers_fit(&rule.peers, &self.other))
            .and(|| self.rest_fit(policy, rule))
    }

    fn peers_fit(&self, peers: &Option<Peers>, end: &Seen<'_>) -> Fit {
        let against = || Against {
            selections: &self.compiled.selections,
            cluster: &self.compiled.cluster,
            points: self.points,
        };
        match peers {
            Some(peers) => peers.fit(end, &against()),
            None => Fit::Yes,
        }
    }

    /// What matters of a rule beside ports, family and peers.
    fn rest_fit(&self, policy: &Prepared, rule: &PreparedRule) -> Fit {
        self.peers_fit(&rule.own, &self.own)
            .and(|| match rule.open {
                true => Fit::Ask,
                false => self.in_force(policy),
            })
    }

    /// What every rule of the policies that select `class` matches: three bits for each. `None` where the plain
    /// evaluator has to say, and where there are more than there is room for.
    pub(super) fn matching(&self, class: u32) -> Option<u128> {
        let selected = self.compiled.selected(class, self.direction).iter();
        let policies = selected.filter_map(|n| self.compiled.prepared(*n));
        let mut matching = 0;
        let mut room = u128::BITS / 3;
        for policy in policies {
            for rule in &policy.section(self.direction).rules {
                room = room.checked_sub(1)?;
                let ports = self.ports_fit(policy, rule);
                let peers = self.peers_fit(&rule.peers, &self.other);
                let both = ports.and(|| peers).and(|| self.family_fit(rule));
                let all = both.and(|| self.rest_fit(policy, rule));
                for fit in [ports, peers, all] {
                    let matches = match fit {
                        Fit::Yes => 1,
                        Fit::No => 0,
                        Fit::Open | Fit::Ask => return None,
                    };
                    matching = matching << 1 | matches;
                }
            }
            // Of one that is perhaps not in force a reader wants to know more than its rules.
            if self.in_force(policy) == Fit::Ask {
                return None;
            }
        }
        Some(matching)
    }

    /// Whether a policy applies at all.
    fn in_force(&self, policy: &Prepared) -> Fit {
        match policy.open {
            None => Fit::Yes,
            Some(Unspecified::CiliumOnly) => self.points.cilium_only,
            Some(_) => Fit::Ask,
        }
    }

    fn family_fit(&self, rule: &PreparedRule) -> Fit {
        match (rule.family, self.other.address.or(self.own.address)) {
            (None, _) => Fit::Yes,
            (Some(family), Some(address)) => (address.is_ipv4() == (family == Family::V4)).into(),
            (Some(_), None) => Fit::Ask,
        }
    }

    fn ports_fit(&self, policy: &Prepared, rule: &PreparedRule) -> Fit {
        let any = |list: &[Ports]| Fit::any(list.iter().map(|one| self.one_fit(policy, one)));
        let wanted = rule.ports.as_deref().map_or(Fit::Yes, any);
        match rule.not_ports.is_empty() {
            true => wanted,
            false => wanted.and(|| any(&rule.not_ports).not()),
        }
    }

    fn one_fit(&self, policy: &Prepared, ports: &Ports) -> Fit {
        if ports.protocol.is_some_and(|p| p != self.protocol) {
            return Fit::No;
        }
        let points = self.points;
        let fit = match &ports.clause {
            Clause::Any => Fit::Yes,
            Clause::Range(first, last) if !(*first..=*last).contains(&self.port) => Fit::No,
            Clause::Range(first, _) => {
                match *first == self.port || !policy.kind.ports_depend_on_engine() {
                    true => Fit::Yes,
                    false => points.end_port,
                }
            }
            Clause::Named(name) => self.name_fit(policy, name),
        };
        fit.and(
            || match self.protocol == Protocol::Sctp && !policy.kind.is_calico() {
                true => points.sctp,
                false => Fit::Yes,
            },
        )
    }

    /// A named port belongs to the pod that receives the connection, in both directions (§1.5).
    fn name_fit(&self, policy: &Prepared, name: &str) -> Fit {
        let kind = policy.kind;
        let has_table = self.direction == Direction::Egress && kind.ports_depend_on_engine();
        let numbers = || self.compiled.cluster.numbers_named(name, self.protocol);
        let in_cluster = || numbers().any(|number| number == self.port);
        let server = match self.direction {
            Direction::Ingress => &self.own,
            Direction::Egress => &self.other,
        };
        let Some((receiver, _)) = server.pod else {
            return match has_table && in_cluster() {
                true => Fit::Ask,
                false => Fit::No,
            };
        };
        let declared = declares(receiver, name, self.port, self.protocol);
        if has_table && numbers().nth(1).is_some() && (declared.is_some() || in_cluster()) {
            return Fit::Ask;
        }
        match declared {
            Some(Declared::Surely) => Fit::Yes,
            Some(Declared::ByInit) if kind.is_calico() => Fit::Yes,
            Some(Declared::ByInit) => Fit::Ask,
            None => Fit::No,
        }
    }
}

/// Whether nothing says which of two policies of a tier goes first (§2).
fn is_tie(a: &Prepared, b: &Prepared) -> bool {
    a.order == b.order && a.kind.leaves_ties_open() && b.kind.leaves_ties_open()
}
