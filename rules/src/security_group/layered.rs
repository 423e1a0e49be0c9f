//! Both layers of one connection beside each other: what policies say, and what security groups say.

use std::fmt;

use super::SecurityVerdict;
use super::verdict::both;
use crate::evaluate::Connection;
use crate::verdict::{self, Outcome, Verdict};

/// What both layers declare about one connection. Each stands on its own: policies are enforced inside the node,
/// security groups at the interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayeredVerdict {
    /// What policies declare.
    pub policy: Verdict,
    /// What security groups say; `None` where nothing is known of interfaces, or where the connection passes none.
    pub security_groups: Option<SecurityVerdict>,
}

impl LayeredVerdict {
    /// Whether the connection gets through all layers that are known: denied where one of them surely denies.
    pub fn outcome(&self) -> Outcome {
        match &self.security_groups {
            None => self.policy.outcome,
            Some(groups) => both(self.policy.outcome, groups.outcome),
        }
    }

    /// The policy verdict in its own lines, and below it the security groups, if anything is known of them.
    ///
    /// ```text
    /// allowed  shop/cart-7d9f → shop/redis-0  TCP 6379
    ///   egress   allowed  no policy isolates shop/cart-7d9f for egress
    ///   ingress  allowed  no policy isolates shop/redis-0 for ingress
    /// denied   by security groups
    ///   egress   allowed  no egress rule of security group sg-a matches, and a basic group lets out what no rule drops
    ///   ingress  denied   no ingress rule of security group sg-b matches, and what no rule accepts does not come in
    /// ```
    pub fn explain(&self, connection: &Connection<'_>) -> String {
        let mut text = verdict::explain(&self.policy, connection);
        if let Some(groups) = &self.security_groups {
            text.push_str(&groups.to_string());
        }
        text
    }
}

impl fmt::Display for SecurityVerdict {
    /// Several lines: the outcome, and each side with its reasons.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<8} by security groups", self.outcome)?;
        let sides = [("egress", &self.egress), ("ingress", &self.ingress)];
        let is_wide = sides
            .iter()
            .any(|(_, side)| side.outcome == Outcome::Unspecified);
        let width = if is_wide { 11 } else { 8 };
        for (name, side) in sides {
            for (index, reason) in side.reasons.iter().enumerate() {
                if index == 0 {
                    write!(f, "  {name:<8} {:<width$}", side.outcome)?;
                } else {
                    write!(f, "  {:8} {:width$}", "", "")?;
                }
                writeln!(f, " {reason}")?;
            }
        }
        Ok(())
    }
}
