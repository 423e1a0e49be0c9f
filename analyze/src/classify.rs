//! Declared × observed → what it means, as one `match`.

use crate::observe::Observed;

/// What is declared, as far as classification needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Declared {
    /// Denied by the egress side: a record should not even exist.
    DeniedEgress,
    /// Denied by the ingress side only.
    DeniedIngress,
    /// Allowed, and every pod that takes part is isolated: a rule says so.
    ByRule,
    /// Allowed by a rule on one side, on the other only because nothing isolates the pod.
    ByRuleAndGap,
    /// Allowed only because nothing isolates the pods.
    ByGap,
    /// Allowed, and no policy could apply (no pods, a pod's own node, the pod itself).
    Exempt,
    /// Engines differ, or who, when or which way is not known.
    Unspecified,
}

impl Declared {
    /// Whether either side denies.
    pub fn is_denied(self) -> bool {
        matches!(self, Declared::DeniedEgress | Declared::DeniedIngress)
    }
}

/// The class of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Denied, and yet it was there.
    PolicyNotEnforced,
    /// Denied, and it went nowhere.
    BlockedAttempt,
    /// A rule allows it, and it worked.
    InOrder,
    /// A rule allows it, and nobody answered.
    DeadService,
    /// A rule allows it, and a security group or network ACL does not.
    SecurityGroupContradictsPolicy,
    /// It worked only because nothing isolates a pod: the least-privilege gap.
    Unprotected,
    /// Nothing isolates a pod, and nobody answered.
    UnprotectedTried,
    /// Nothing isolates a pod, a security group or network ACL refused.
    RejectedOutsidePolicy,
    /// No policy could apply.
    OutsidePolicy,
    /// Reported apart, never as a violation.
    Unjudged,
}

impl Class {
    /// All classes.
    pub const ALL: [Class; 10] = [
        Class::PolicyNotEnforced,
        Class::BlockedAttempt,
        Class::InOrder,
        Class::DeadService,
        Class::SecurityGroupContradictsPolicy,
        Class::Unprotected,
        Class::UnprotectedTried,
        Class::RejectedOutsidePolicy,
        Class::OutsidePolicy,
        Class::Unjudged,
    ];

    /// The word in the column `class`.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::PolicyNotEnforced => "policy-not-enforced",
            Class::BlockedAttempt => "blocked-attempt",
            Class::InOrder => "in-order",
            Class::DeadService => "dead-service",
            Class::SecurityGroupContradictsPolicy => "security-group-contradicts-policy",
            Class::Unprotected => "unprotected",
            Class::UnprotectedTried => "unprotected-tried",
            Class::RejectedOutsidePolicy => "rejected-outside-policy",
            Class::OutsidePolicy => "outside-policy",
            Class::Unjudged => "unjudged",
        }
    }

    /// The class with that word.
    pub fn from_word(word: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.as_str() == word)
    }
}

/// The table of the design, row by row.
pub fn classify(declared: Declared, observed: Observed) -> Class {
    use Declared as D;
    use Observed as O;
    match (declared, observed) {
        // A packet that its own side denies never reaches the interface: the record itself is the proof.
        (D::DeniedEgress, _) => Class::PolicyNotEnforced,
        (D::DeniedIngress, O::Established | O::Refused) => Class::PolicyNotEnforced,
        (D::DeniedIngress, O::Unanswered | O::Rejected) => Class::BlockedAttempt,
        (D::ByRule, O::Established | O::Refused) => Class::InOrder,
        (D::ByRule, O::Unanswered) => Class::DeadService,
        (D::ByRule | D::ByRuleAndGap, O::Rejected) => Class::SecurityGroupContradictsPolicy,
        (D::ByGap | D::ByRuleAndGap, O::Established | O::Refused) => Class::Unprotected,
        (D::ByGap | D::ByRuleAndGap, O::Unanswered) => Class::UnprotectedTried,
        (D::ByGap, O::Rejected) => Class::RejectedOutsidePolicy,
        (D::DeniedIngress | D::ByRule | D::ByRuleAndGap | D::ByGap, O::Unknown) => Class::Unjudged,
        (D::Exempt, O::Rejected) => Class::RejectedOutsidePolicy,
        (D::Exempt, _) => Class::OutsidePolicy,
        (D::Unspecified, _) => Class::Unjudged,
    }
}
