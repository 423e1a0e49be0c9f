//! What security groups say about one connection, and the sentences that explain it.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{Action, GroupType, Rule};
use crate::policy::Direction;
use crate::verdict::Outcome;

/// What the security groups of both ends say about a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecurityVerdict {
    /// Allowed when both sides allow, denied when one surely denies, unspecified otherwise.
    pub outcome: Outcome,
    /// Why it cannot be said; empty unless [`Outcome::Unspecified`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unspecified: Vec<Unspecified>,
    /// Egress at the client's interface.
    pub egress: SecuritySide,
    /// Ingress at the server's interface.
    pub ingress: SecuritySide,
}

impl SecurityVerdict {
    pub(super) fn of(egress: SecuritySide, ingress: SecuritySide) -> Self {
        let outcome = both(egress.outcome, ingress.outcome);
        let mut unspecified = Vec::new();
        if outcome == Outcome::Unspecified {
            unspecified.extend(egress.unspecified.iter().chain(&ingress.unspecified));
            unspecified.sort_unstable();
            unspecified.dedup();
        }
        Self {
            outcome,
            unspecified,
            egress,
            ingress,
        }
    }
}

/// What must pass both is denied by either, and else as uncertain as either.
pub(super) fn both(one: Outcome, other: Outcome) -> Outcome {
    match (one, other) {
        (Outcome::Denied, _) | (_, Outcome::Denied) => Outcome::Denied,
        (Outcome::Allowed, Outcome::Allowed) => Outcome::Allowed,
        _ => Outcome::Unspecified,
    }
}

/// What the groups of one interface say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecuritySide {
    /// What they say.
    pub outcome: Outcome,
    /// Why it cannot be said; empty unless [`Outcome::Unspecified`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unspecified: Vec<Unspecified>,
    /// Why, what decides first. At least one.
    pub reasons: Vec<SecurityReason>,
}

/// Why it cannot be said what security groups mean for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unspecified {
    /// The groups of an interface are not known.
    Membership,
    /// An interface has a group whose rules were not read.
    UnknownGroup,
    /// A page of a group's rules is missing.
    IncompleteGroup,
    /// A rule could not be understood.
    UnreadableRule,
    /// Whether the group is basic or enterprise, where that matters.
    GroupType,
    /// A prefix list was not read.
    PrefixList,
    /// A port list was not read.
    PortList,
    /// A rule depends on the client's port, which is not known.
    ClientPort,
    /// A rule depends on an address that is not known.
    Address,
    /// A rule names no peer, or one in each family.
    UnclearPeer,
    /// A rule has a port range where its protocol should have none.
    UnclearPorts,
    /// A rule refuses what the group lets its members do.
    InnerAccess,
    /// Two groups that both ends share disagree on whether members reach each other.
    InnerAccessDiffers,
    /// The rules of several groups contradict each other.
    SeveralGroups,
    /// TCP 25 outbound, which the cloud blocks unless an account has been exempted.
    OutboundMail,
}

impl Unspecified {
    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Membership => "membership",
            Self::UnknownGroup => "unknown-group",
            Self::IncompleteGroup => "incomplete-group",
            Self::UnreadableRule => "unreadable-rule",
            Self::GroupType => "group-type",
            Self::PrefixList => "prefix-list",
            Self::PortList => "port-list",
            Self::ClientPort => "client-port",
            Self::Address => "address",
            Self::UnclearPeer => "unclear-peer",
            Self::UnclearPorts => "unclear-ports",
            Self::InnerAccess => "inner-access",
            Self::InnerAccessDiffers => "inner-access-differs",
            Self::SeveralGroups => "several-groups",
            Self::OutboundMail => "outbound-mail",
        }
    }

    /// One sentence that says what it depends on.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Membership => "the security groups of an interface are not known",
            Self::UnknownGroup => "the interface has a security group whose rules were not read",
            Self::IncompleteGroup => "a page of the group's rules is missing",
            Self::UnreadableRule => "a rule of the group could not be understood",
            Self::GroupType => {
                "no rule matches, and what then holds depends on whether the group is basic or enterprise"
            }
            Self::PrefixList => "a rule names a prefix list that was not read",
            Self::PortList => "a rule names a port list that was not read",
            Self::ClientPort => "a rule depends on the client's port, which is not known",
            Self::Address => "a rule depends on an address that is not known",
            Self::UnclearPeer => "a rule names no peer, or one of each address family",
            Self::UnclearPorts => "a rule has a port range for a protocol that should have none",
            Self::InnerAccess => {
                "a rule drops what members of one group may do; which of the two is stronger is not confirmed"
            }
            Self::InnerAccessDiffers => {
                "both ends share a group that lets its members reach each other, and one that does not"
            }
            Self::SeveralGroups => {
                "groups of one interface contradict each other; that their rules are sorted as one list is not confirmed"
            }
            Self::OutboundMail => {
                "TCP 25 outbound is blocked whatever the rules, unless the account has been exempted"
            }
        }
    }
}

impl fmt::Display for Unspecified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Unspecified {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One reason of a side. Displays as one sentence that a person can check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum SecurityReason {
    /// An address outside: it has no interface that groups could guard.
    NoInterface {
        /// The address, or what is known of it.
        party: String,
    },
    /// An interface about whose groups nothing is known.
    UnknownInterface {
        /// The address, or what is known of it.
        party: String,
    },
    /// A rule that matches and decides.
    Rule(RuleReason),
    /// A rule that may match, and would then decide.
    Perhaps {
        /// The rule.
        #[serde(flatten)]
        rule: RuleReason,
        /// What that depends on.
        because: Unspecified,
    },
    /// Something in a group, or all of it, that is not known.
    Group {
        /// The group's id.
        group: String,
        /// What is not known.
        because: Unspecified,
    },
    /// Both ends are members of a group that lets its members reach each other.
    InnerAccess {
        /// The group's id.
        group: String,
    },
    /// No rule matches, so the default of the direction holds.
    NoRule {
        /// The interface's groups.
        groups: Vec<String>,
        /// Which direction.
        direction: Direction,
        /// Their type, where known.
        #[serde(skip_serializing_if = "Option::is_none")]
        group_type: Option<String>,
        /// What holds then.
        outcome: Outcome,
    },
    /// What the rules allow the cloud may refuse all the same.
    OutboundMail,
}

/// A rule as reasons name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleReason {
    /// The group's id.
    pub group: String,
    /// The rule's id; empty when it has none.
    pub rule: String,
    /// Where it stands in the group's list, counted from 0.
    pub index: usize,
    /// Which direction.
    pub direction: Direction,
    /// Smaller is stronger.
    pub priority: u8,
    /// `Accept` or `Drop`.
    pub action: &'static str,
    /// What it matches, in words.
    pub matches: String,
}

impl RuleReason {
    pub(super) fn new(group: &str, index: usize, rule: &Rule) -> Self {
        Self {
            group: group.to_owned(),
            rule: rule.id.clone(),
            index,
            direction: rule.direction,
            priority: rule.priority,
            action: rule.action.as_str(),
            matches: rule.to_string(),
        }
    }
}

impl fmt::Display for RuleReason {
    /// `security group sg-a ingress rule sgr-1 (priority 1)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            group,
            direction,
            priority,
            ..
        } = self;
        write!(f, "security group {group} {direction} rule ")?;
        if self.rule.is_empty() {
            write!(f, "{}", self.index)?;
        } else {
            f.write_str(&self.rule)?;
        }
        write!(f, " (priority {priority})")
    }
}

impl fmt::Display for SecurityReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInterface { party } => write!(
                f,
                "{party} has no interface here, so no security group guards it"
            ),
            Self::UnknownInterface { party } => {
                write!(
                    f,
                    "the security groups of the interface of {party} are not known"
                )
            }
            Self::Rule(rule) => {
                let does = if rule.action == Action::Drop.as_str() {
                    "drops"
                } else {
                    "accepts"
                };
                write!(f, "{rule} {does} {}", rule.matches)
            }
            Self::Perhaps { rule, because } => {
                let does = if rule.action == Action::Drop.as_str() {
                    "drop"
                } else {
                    "accept"
                };
                let matches = &rule.matches;
                write!(
                    f,
                    "{rule} would {does} {matches}, but {}",
                    because.sentence()
                )
            }
            Self::Group { group, because } => {
                write!(f, "security group {group}: {}", because.sentence())
            }
            Self::InnerAccess { group } => {
                write!(
                    f,
                    "both ends are in security group {group}, whose members reach each other"
                )
            }
            Self::NoRule {
                groups,
                direction,
                group_type,
                outcome,
            } => {
                write!(
                    f,
                    "no {direction} rule of security group {} matches",
                    groups.join(" or ")
                )?;
                let kind = group_type.as_deref().unwrap_or_default();
                match (direction, outcome) {
                    (Direction::Ingress, _) => {
                        f.write_str(", and what no rule accepts does not come in")
                    }
                    (Direction::Egress, Outcome::Allowed) => {
                        write!(f, ", and a {kind} group lets out what no rule drops")
                    }
                    (Direction::Egress, Outcome::Denied) => {
                        write!(f, ", and an {kind} group lets out only what a rule accepts")
                    }
                    (Direction::Egress, Outcome::Unspecified) => f.write_str(
                        "; a basic group would let it out, an enterprise group would not",
                    ),
                }
            }
            Self::OutboundMail => f.write_str(Unspecified::OutboundMail.sentence()),
        }
    }
}

impl Serialize for GroupType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
