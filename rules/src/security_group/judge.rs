//! How security groups decide.
//!
//! The rules of all groups of an interface are one list, the strongest that matches decides, `Drop` before `Accept`
//! where they are equally strong. A rule that cannot be decided only may match, so the walk down the list collects
//! every outcome that is possible; two of them make the side unspecified.

use std::net::IpAddr;

use ipnet::IpNet;

use super::verdict::{RuleReason, SecurityReason, SecuritySide, SecurityVerdict, Unspecified};
use super::{
    Action, GroupType, PRIORITY_DEFAULT, Peer, PortRange, Ports, Rule, SecurityGroup,
    SecurityGroups,
};
use crate::cluster::Protocol;
use crate::policy::Direction;
use crate::verdict::Outcome;

/// One end of a connection, as security groups see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface<'a> {
    /// Its address; `None` when not known.
    pub address: Option<IpAddr>,
    /// The groups of the interface that has this address.
    pub membership: Membership<'a>,
}

/// Which groups an interface has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership<'a> {
    /// These, by id; the address is one of the interface's private ones. No interface has none, so an empty list
    /// counts as [`Membership::Unknown`].
    Groups(&'a [String]),
    /// There is no interface: the address is outside the VPC.
    Outside,
    /// Not known.
    Unknown,
}

impl Membership<'_> {
    fn has(self, group: &str) -> Match {
        match self {
            Self::Groups([]) | Self::Unknown => Match::Perhaps(Unspecified::Membership),
            Self::Groups(ids) => Match::of(ids.iter().any(|id| id == group)),
            Self::Outside => Match::No,
        }
    }
}

/// The question: would security groups let `client` open this connection to `server`?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceConnection<'a> {
    /// The end that opens it.
    pub client: Interface<'a>,
    /// The end that receives it.
    pub server: Interface<'a>,
    /// The server's port; 0 for protocols without.
    pub port: u16,
    /// The client's port, on which few rules depend; `None` when not known.
    pub client_port: Option<u16>,
    /// The protocol.
    pub protocol: Protocol,
}

impl SecurityGroups {
    /// What the groups of both ends say about `connection`. Replies pass, so only the opening direction is looked at.
    /// Cannot fail. Not to be asked about what never leaves a node, for it passes no interface.
    pub fn judge(&self, connection: &InterfaceConnection<'_>) -> SecurityVerdict {
        let side = |direction| {
            let asked = Asked {
                groups: self,
                connection,
                direction,
            };
            asked.side()
        };
        SecurityVerdict::of(side(Direction::Egress), side(Direction::Ingress))
    }
}

/// Whether something matches, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    Yes,
    No,
    Perhaps(Unspecified),
}

impl Match {
    fn of(matches: bool) -> Self {
        if matches { Self::Yes } else { Self::No }
    }

    /// Both must match.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Perhaps(because), _) | (_, Self::Perhaps(because)) => Self::Perhaps(because),
            (Self::Yes, Self::Yes) => Self::Yes,
        }
    }
}

/// One side of the question.
struct Asked<'q> {
    groups: &'q SecurityGroups,
    connection: &'q InterfaceConnection<'q>,
    direction: Direction,
}

/// One rule that matches or may match, or stands for what is not known of a group.
struct Candidate<'g> {
    group: &'g str,
    priority: u8,
    action: Action,
    /// `None`: surely.
    because: Option<Unspecified>,
    /// `None`: something of the group that is not known.
    rule: Option<(usize, &'g Rule)>,
}

impl Candidate<'_> {
    /// In which order the rules of an interface are looked at.
    fn rank(&self) -> (u8, bool, &str, Option<(&str, usize)>) {
        let is_accept = self.action == Action::Accept;
        let rule = self.rule.map(|(index, rule)| (rule.id.as_str(), index));
        (self.priority, is_accept, self.group, rule)
    }

    fn reason(&self) -> SecurityReason {
        let rule = self
            .rule
            .map(|(index, rule)| RuleReason::new(self.group, index, rule));
        match (rule, self.because) {
            (Some(rule), None) => SecurityReason::Rule(rule),
            (Some(rule), Some(because)) => SecurityReason::Perhaps { rule, because },
            (None, because) => SecurityReason::Group {
                group: self.group.to_owned(),
                because: because.unwrap_or(Unspecified::UnreadableRule),
            },
        }
    }
}

/// One outcome that is possible, and on what it depends; nothing for what surely holds.
struct Possible {
    allowed: bool,
    because: Vec<Unspecified>,
    reason: SecurityReason,
}

impl<'q> Asked<'q> {
    fn ends(&self) -> (&'q Interface<'q>, &'q Interface<'q>) {
        let (client, server) = (&self.connection.client, &self.connection.server);
        match self.direction {
            Direction::Egress => (client, server),
            Direction::Ingress => (server, client),
        }
    }

    fn side(&self) -> SecuritySide {
        let (own, _) = self.ends();
        let party = || {
            own.address
                .map_or_else(|| "an unknown address".to_owned(), |a| a.to_string())
        };
        let ids = match own.membership {
            Membership::Outside => {
                return SecuritySide {
                    outcome: Outcome::Allowed,
                    unspecified: Vec::new(),
                    reasons: vec![SecurityReason::NoInterface { party: party() }],
                };
            }
            Membership::Groups([]) | Membership::Unknown => {
                return SecuritySide {
                    outcome: Outcome::Unspecified,
                    unspecified: vec![Unspecified::Membership],
                    reasons: vec![SecurityReason::UnknownInterface { party: party() }],
                };
            }
            Membership::Groups(ids) => ids,
        };
        let mut ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut candidates: Vec<Candidate<'_>> =
            ids.iter().flat_map(|id| self.candidates(id)).collect();
        candidates.sort_by(|a, b| a.rank().cmp(&b.rank()));

        let mut possible = self.walk(&ids, &candidates);
        possible.extend(self.contradiction(&candidates, &possible));
        possible.extend(self.outbound_mail(&possible));
        settle(possible)
    }

    /// What a group says about this connection.
    fn candidates(&self, id: &'q str) -> Vec<Candidate<'q>> {
        let unknown = |group: &'q str, because| {
            [Action::Drop, Action::Accept].map(|action| Candidate {
                group,
                priority: PRIORITY_DEFAULT,
                action,
                because: Some(because),
                rule: None,
            })
        };
        let Some(group) = self.groups.groups.get(id) else {
            return unknown(id, Unspecified::UnknownGroup).into();
        };
        let mut candidates = Vec::new();
        for (index, rule) in group.rules.iter().enumerate() {
            let because = match self.matches(rule) {
                Match::No => continue,
                Match::Yes => None,
                Match::Perhaps(because) => Some(because),
            };
            candidates.push(Candidate {
                group: &group.id,
                priority: rule.priority,
                action: rule.action,
                because,
                rule: Some((index, rule)),
            });
        }
        let may_concern = |direction: &Option<Direction>| {
            direction.is_none_or(|direction| direction == self.direction)
        };
        if group.unreadable.iter().any(may_concern) {
            candidates.extend(unknown(&group.id, Unspecified::UnreadableRule));
        }
        if group.incomplete {
            candidates.extend(unknown(&group.id, Unspecified::IncompleteGroup));
        }
        candidates
    }

    /// Every outcome that is possible, from the strongest candidate down to the first that surely matches, or to the
    /// default. What surely holds comes last.
    fn walk(&self, ids: &[&str], candidates: &[Candidate<'_>]) -> Vec<Possible> {
        let inner = self.inner_access(ids);
        let mut possible = Vec::new();
        for candidate in candidates {
            let allowed = candidate.action == Action::Accept;
            if !allowed && let Some((group, because)) = &inner.accepts {
                possible.push(Possible {
                    allowed: true,
                    because: [Some(Unspecified::InnerAccess), *because]
                        .into_iter()
                        .flatten()
                        .collect(),
                    reason: SecurityReason::Group {
                        group: group.clone(),
                        because: Unspecified::InnerAccess,
                    },
                });
            }
            possible.push(Possible {
                allowed,
                because: candidate.because.into_iter().collect(),
                reason: candidate.reason(),
            });
            if candidate.because.is_none() {
                return possible;
            }
        }
        possible.extend(self.default_outcome(ids, inner));
        possible
    }

    /// What holds where no rule matches.
    fn default_outcome(&self, ids: &[&str], inner: InnerAccess) -> Vec<Possible> {
        let no_rule = |group_type: Option<GroupType>, outcome| SecurityReason::NoRule {
            groups: ids.iter().map(|id| (*id).to_owned()).collect(),
            direction: self.direction,
            group_type: group_type.map(|group_type| group_type.to_string()),
            outcome,
        };
        let surely = |allowed, reason| Possible {
            allowed,
            because: Vec::new(),
            reason,
        };
        match self.direction {
            Direction::Ingress => {
                let denied = surely(false, no_rule(None, Outcome::Denied));
                match (inner.accepts, inner.differs) {
                    (Some((group, None)), false) => {
                        vec![surely(true, SecurityReason::InnerAccess { group })]
                    }
                    (Some((group, because)), _) => {
                        let because = because.unwrap_or(Unspecified::InnerAccessDiffers);
                        let perhaps = Possible {
                            allowed: true,
                            because: vec![because],
                            reason: SecurityReason::Group { group, because },
                        };
                        vec![perhaps, denied]
                    }
                    (None, _) => vec![denied],
                }
            }
            Direction::Egress => match self.group_type(ids) {
                Some(basic @ GroupType::Basic) => {
                    vec![surely(true, no_rule(Some(basic), Outcome::Allowed))]
                }
                Some(other @ GroupType::Enterprise) => {
                    vec![surely(false, no_rule(Some(other), Outcome::Denied))]
                }
                None => [true, false]
                    .map(|allowed| Possible {
                        allowed,
                        because: vec![Unspecified::GroupType],
                        reason: no_rule(None, Outcome::Unspecified),
                    })
                    .into(),
            },
        }
    }

    /// The type of the interface's groups, which is one for all of them.
    fn group_type(&self, ids: &[&str]) -> Option<GroupType> {
        let known = ids.iter().filter_map(|id| self.groups.groups.get(*id));
        let mut types: Vec<GroupType> = known.filter_map(SecurityGroup::known_type).collect();
        types.sort_unstable();
        types.dedup();
        match types.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    /// What groups that both ends share let their members do.
    fn inner_access(&self, ids: &[&str]) -> InnerAccess {
        let (_, other) = self.ends();
        let mut inner = InnerAccess::default();
        for id in ids {
            let Some(group) = self.groups.groups.get(*id) else {
                continue;
            };
            if group.known_type() == Some(GroupType::Enterprise) {
                continue;
            }
            let because = match other.membership.has(id) {
                Match::No => continue,
                Match::Yes => None,
                Match::Perhaps(because) => Some(because),
            };
            let (accepts, because) = match group.inner_access {
                Some(action) => (action == Action::Accept, because),
                None => (true, because.or(Some(Unspecified::IncompleteGroup))),
            };
            if !accepts {
                inner.differs = true;
                continue;
            }
            let is_surer = !matches!(inner.accepts, Some((_, None)));
            if inner.accepts.is_none() || (is_surer && because.is_none()) {
                inner.accepts = Some((group.id.clone(), because));
            }
        }
        inner
    }

    /// That the rules of several groups are one list is not confirmed, so a rule of another group that says the
    /// opposite may count instead.
    fn contradiction(
        &self,
        candidates: &[Candidate<'_>],
        possible: &[Possible],
    ) -> Option<Possible> {
        let last = possible.last()?;
        if possible.iter().any(|one| one.allowed != last.allowed) {
            // It is open already, for reasons that can be put right.
            return None;
        }
        let decider = candidates.iter().find(|candidate| {
            candidate.because.is_none() && matches!(last.reason, SecurityReason::Rule(_))
        })?;
        let mut decided: Vec<&str> = vec![decider.group];
        for candidate in candidates {
            if decided.contains(&candidate.group) {
                continue;
            }
            if candidate.action != decider.action {
                let because = Unspecified::SeveralGroups;
                let reason = match candidate.rule {
                    Some((index, rule)) => SecurityReason::Perhaps {
                        rule: RuleReason::new(candidate.group, index, rule),
                        because,
                    },
                    None => candidate.reason(),
                };
                return Some(Possible {
                    allowed: candidate.action == Action::Accept,
                    because: [Some(because), candidate.because]
                        .into_iter()
                        .flatten()
                        .collect(),
                    reason,
                });
            }
            if candidate.because.is_none() {
                decided.push(candidate.group);
            }
        }
        None
    }

    /// The cloud blocks mail on its way out, whatever the rules.
    fn outbound_mail(&self, possible: &[Possible]) -> Option<Possible> {
        let is_mail = self.direction == Direction::Egress
            && self.connection.protocol == Protocol::Tcp
            && self.connection.port == 25;
        (is_mail && possible.iter().any(|possible| possible.allowed)).then(|| Possible {
            allowed: false,
            because: vec![Unspecified::OutboundMail],
            reason: SecurityReason::OutboundMail,
        })
    }

    /// Whether a rule matches: every field must.
    fn matches(&self, rule: &Rule) -> Match {
        let connection = self.connection;
        if rule.direction != self.direction
            || rule
                .protocol
                .is_some_and(|protocol| protocol != connection.protocol)
        {
            return Match::No;
        }
        let own_peer = |direction| rule.direction == direction;
        self.ports_match(rule, &rule.ports, Some(connection.port))
            .and(self.ports_match(rule, &rule.source_ports, connection.client_port))
            .and(self.peers_match(
                &rule.source,
                &connection.client,
                own_peer(Direction::Ingress),
            ))
            .and(self.peers_match(
                &rule.destination,
                &connection.server,
                own_peer(Direction::Egress),
            ))
    }

    fn ports_match(&self, rule: &Rule, ports: &Ports, port: Option<u16>) -> Match {
        let ranges = match ports {
            Ports::All => return Match::Yes,
            Ports::Range(range) => std::slice::from_ref(range),
            Ports::List(id) => match self.groups.port_lists.get(id) {
                Some(ranges) => ranges.as_slice(),
                None => return Match::Perhaps(Unspecified::PortList),
            },
        };
        if !matches!(rule.protocol, Some(Protocol::Tcp | Protocol::Udp)) {
            return Match::Perhaps(Unspecified::UnclearPorts);
        }
        let is_all = |range: &PortRange| range.first <= 1 && range.last == u16::MAX;
        match port {
            _ if ranges.iter().any(is_all) => Match::Yes,
            Some(port) => Match::of(ranges.iter().any(|range| range.contains(port))),
            None => Match::Perhaps(Unspecified::ClientPort),
        }
    }

    fn peers_match(&self, peers: &[Peer], end: &Interface<'_>, must_be_named: bool) -> Match {
        if peers.is_empty() && must_be_named {
            return Match::Perhaps(Unspecified::UnclearPeer);
        }
        let blocks = peers.iter().filter_map(|peer| match peer {
            Peer::Block(block) => Some(block),
            _ => None,
        });
        let families: Vec<bool> = blocks
            .clone()
            .map(|block| matches!(block, IpNet::V4(_)))
            .collect();
        let mixed = families.contains(&true) && families.contains(&false);
        let mut matched = Match::Yes;
        if mixed {
            let matches: Vec<Match> = blocks
                .map(|block| in_blocks(end.address, std::slice::from_ref(block)))
                .collect();
            let none = matches.iter().all(|m| *m == Match::No);
            matched = if none {
                Match::No
            } else {
                Match::Perhaps(Unspecified::UnclearPeer)
            };
        }
        for peer in peers {
            matched = matched.and(match peer {
                Peer::Block(_) if mixed => Match::Yes,
                Peer::Block(block) => in_blocks(end.address, std::slice::from_ref(block)),
                Peer::Group { id, .. } => end.membership.has(id),
                Peer::PrefixList(id) => match self.groups.prefix_lists.get(id) {
                    Some(blocks) => in_blocks(end.address, blocks),
                    None => Match::Perhaps(Unspecified::PrefixList),
                },
            });
        }
        matched
    }
}

/// What shared groups let their members do.
#[derive(Default)]
struct InnerAccess {
    /// A group that lets its members reach each other, and why both ends may not be in it after all.
    accepts: Option<(String, Option<Unspecified>)>,
    /// Another shared group isolates its members.
    differs: bool,
}

fn in_blocks(address: Option<IpAddr>, blocks: &[IpNet]) -> Match {
    match address.map(|address| address.to_canonical()) {
        Some(address) => Match::of(blocks.iter().any(|block| block.contains(&address))),
        None if blocks.is_empty() => Match::No,
        None => Match::Perhaps(Unspecified::Address),
    }
}

/// One outcome, or both and what makes the difference.
fn settle(possible: Vec<Possible>) -> SecuritySide {
    let sure = possible.iter().find(|p| p.because.is_empty());
    let sure_outcome = sure.map(|p| p.allowed);
    let differs = |p: &&Possible| sure_outcome != Some(p.allowed);
    let allowed = possible.iter().any(|p| p.allowed);
    let denied = possible.iter().any(|p| !p.allowed);
    if !(allowed && denied) {
        // Without anything sure, several maybes that say the same.
        let reasons = match sure {
            Some(sure) => vec![sure.reason.clone()],
            None => possible.iter().map(|p| p.reason.clone()).collect(),
        };
        return SecuritySide {
            outcome: if denied {
                Outcome::Denied
            } else {
                Outcome::Allowed
            },
            unspecified: Vec::new(),
            reasons,
        };
    }
    let mut unspecified: Vec<Unspecified> = possible
        .iter()
        .filter(differs)
        .flat_map(|p| p.because.iter().copied())
        .collect();
    unspecified.sort_unstable();
    unspecified.dedup();
    let mut reasons: Vec<SecurityReason> = Vec::new();
    for reason in possible
        .iter()
        .filter(differs)
        .chain(sure)
        .map(|p| &p.reason)
    {
        if !reasons.contains(reason) {
            reasons.push(reason.clone());
        }
    }
    SecuritySide {
        outcome: Outcome::Unspecified,
        unspecified,
        reasons,
    }
}
