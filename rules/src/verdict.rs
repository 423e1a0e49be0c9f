//! What is declared about one connection, and the sentences that explain it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::cluster::Holder;
use crate::evaluate::{Connection, Party};
pub use crate::policy::{Action, Direction, Kind};
pub use crate::reading::Unspecified;

/// What is declared about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Allowed when both sides allow, denied when one denies, unspecified when engines may differ.
    pub outcome: Outcome,
    /// On which points it depends; empty unless [`Outcome::Unspecified`].
    pub unspecified: Vec<Unspecified>,
    /// The answer under the default readings of policy-semantics, whatever the engine.
    pub default_reading: Decision,
    /// The egress side of the client.
    pub egress: Side,
    /// The ingress side of the server.
    pub ingress: Side,
}

impl Verdict {
    /// What two clusters declare of one connection between them: of this verdict the egress side counts, of the server's
    /// the ingress side. Neither depends on the other.
    #[must_use]
    pub fn joined(self, of_server: Verdict) -> Verdict {
        let (egress, ingress) = (self.egress, of_server.ingress);
        let outcome = match (egress.outcome, ingress.outcome) {
            (Outcome::Denied, _) | (_, Outcome::Denied) => Outcome::Denied,
            (Outcome::Allowed, Outcome::Allowed) => Outcome::Allowed,
            _ => Outcome::Unspecified,
        };
        let mut unspecified = Vec::new();
        if outcome == Outcome::Unspecified {
            let points = self.unspecified.into_iter().chain(of_server.unspecified);
            unspecified.extend(points);
            unspecified.sort_unstable();
            unspecified.dedup();
        }
        Verdict {
            outcome,
            unspecified,
            default_reading: egress.default_reading.and(ingress.default_reading),
            egress,
            ingress,
        }
    }
}

/// A verdict without its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// As [`Verdict::outcome`].
    pub outcome: Outcome,
    /// As [`Verdict::unspecified`].
    pub unspecified: Vec<Unspecified>,
    /// As [`Verdict::default_reading`].
    pub default_reading: Decision,
    /// The egress side of the client.
    pub egress: JudgedSide,
    /// The ingress side of the server.
    pub ingress: JudgedSide,
}

/// What one side says, without its reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgedSide {
    /// As [`Side::outcome`].
    pub outcome: Outcome,
    /// As [`Side::default_reading`].
    pub default_reading: Decision,
}

impl Judgement {
    /// What two sides say that both say the same under every reading.
    pub(crate) fn settled(egress: Decision, ingress: Decision) -> Self {
        let side = |decision: Decision| JudgedSide {
            outcome: decision.into(),
            default_reading: decision,
        };
        let both = egress.and(ingress);
        Self {
            outcome: both.into(),
            unspecified: Vec::new(),
            default_reading: both,
            egress: side(egress),
            ingress: side(ingress),
        }
    }
}

impl From<Decision> for Outcome {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Allowed => Self::Allowed,
            Decision::Denied => Self::Denied,
        }
    }
}

impl From<&Verdict> for Judgement {
    fn from(verdict: &Verdict) -> Self {
        let side = |side: &Side| JudgedSide {
            outcome: side.outcome,
            default_reading: side.default_reading,
        };
        Self {
            outcome: verdict.outcome,
            unspecified: verdict.unspecified.clone(),
            default_reading: verdict.default_reading,
            egress: side(&verdict.egress),
            ingress: side(&verdict.ingress),
        }
    }
}

/// Allowed, denied, or depending on the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Allowed under every reading the engine may take.
    Allowed,
    /// Denied under every reading the engine may take.
    Denied,
    /// It depends.
    Unspecified,
}

impl Outcome {
    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Unspecified => "unspecified",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Allowed or denied, under one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The connection may be opened.
    Allowed,
    /// It may not.
    Denied,
}

impl Decision {
    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }

    /// Allowed when both are.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Allowed, Self::Allowed) => Self::Allowed,
            _ => Self::Denied,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What one side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// What it says under every reading the engine may take.
    pub outcome: Outcome,
    /// What it says under the default readings.
    pub default_reading: Decision,
    /// Whether a policy isolates the pod in this direction, or denies.
    pub isolated: bool,
    /// Which tier decided.
    pub tier: Tier,
    /// Why: every policy that took part, and every rule that admits. Where engines differ, as the engine's first
    /// reading has it.
    pub reasons: Vec<Reason>,
}

/// What decided a side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Rules that come before everything else: Cilium's deny rules, and what is not evaluated.
    First,
    /// AdminNetworkPolicies, and ClusterNetworkPolicies of the tier `Admin`.
    Admin,
    /// NetworkPolicies that isolate the pod, and what shares their tier.
    Policy,
    /// The BaselineAdminNetworkPolicy, and ClusterNetworkPolicies of the tier `Baseline`.
    Baseline,
    /// A tier of the cluster's own: Calico's `Tier`.
    Custom,
    /// No policy isolates the pod, so everything is allowed.
    Default,
    /// Policies isolate the pod but do not apply to this connection: the pod's own node, the pod itself.
    Exempt,
    /// There is no pod on this side for a policy to select.
    #[default]
    NoPod,
}

impl Tier {
    /// Whether a policy decided, and not its absence.
    pub fn is_by_rule(self) -> bool {
        match self {
            Self::First | Self::Admin | Self::Policy | Self::Baseline | Self::Custom => true,
            Self::Default | Self::Exempt | Self::NoPod => false,
        }
    }

    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Admin => "admin",
            Self::Policy => "policy",
            Self::Baseline => "baseline",
            Self::Custom => "custom",
            Self::Default => "default",
            Self::Exempt => "exempt",
            Self::NoPod => "no-pod",
        }
    }
}

/// One reason of a side. Displays as one sentence that a person can check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum Reason {
    /// Nothing here that a policy could select.
    NotAPod {
        /// What is here.
        party: String,
    },
    /// A pod that shares its node's network, which policies do not select.
    HostNetwork {
        /// `namespace/name`.
        pod: String,
    },
    /// No policy selects the pod for this direction.
    NotIsolated {
        /// `namespace/name`.
        pod: String,
        /// Which direction.
        direction: Direction,
    },
    /// Ingress from the node that the pod runs on.
    OwnNode {
        /// `namespace/name`.
        pod: String,
        /// The node's name.
        node: String,
    },
    /// A pod's connection to itself.
    Loopback {
        /// `namespace/name`.
        pod: String,
    },
    /// A rule that matches the connection and thereby decides.
    Rule {
        /// The policy's kind.
        kind: Kind,
        /// `namespace/name`, or the name of a policy without namespace.
        policy: String,
        /// The policy's tier, where it is one of the cluster's own.
        #[serde(skip_serializing_if = "Option::is_none")]
        tier: Option<String>,
        /// Which direction.
        direction: Direction,
        /// Counted from 0.
        rule: usize,
        /// What it does with what it matches.
        action: Action,
        /// What it matches, in words.
        admits: String,
    },
    /// A policy that isolates the pod, none of whose rules admits the connection.
    NoRule {
        /// The policy's kind.
        kind: Kind,
        /// `namespace/name` of the policy, or its name alone.
        policy: String,
        /// The policy's tier, where it is one of the cluster's own.
        #[serde(skip_serializing_if = "Option::is_none")]
        tier: Option<String>,
        /// `namespace/name` of the pod.
        pod: String,
        /// Which direction.
        direction: Direction,
        /// How many rules it has.
        rules: usize,
        /// The rule that comes nearest; only where the side is denied.
        #[serde(skip_serializing_if = "Option::is_none")]
        nearest: Option<NearMiss>,
    },
    /// What is declared here is not enforced: each pod of the node has an ENI of its own.
    NotEnforced {
        /// `namespace/name`.
        pod: String,
        /// The node's name.
        node: String,
    },
    /// The pod behind a Service that this verdict speaks of.
    Backend {
        /// `namespace/name` of the Service.
        service: String,
        /// `namespace/name` of the pod.
        pod: String,
        /// The pod's port.
        port: u16,
        /// How many pods are behind the Service.
        backends: usize,
    },
}

/// A rule that nearly admits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NearMiss {
    /// Counted from 0.
    pub rule: usize,
    /// What it admits, as far as the connection fails it.
    pub admits: String,
    /// What the connection has instead; empty when `admits` says it all.
    pub instead: String,
}

impl Reason {
    /// The kind of the policy it names.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Rule { kind, .. } | Self::NoRule { kind, .. } => Some(*kind),
            _ => None,
        }
    }

    /// The policy it names, as `namespace/name`.
    pub fn policy(&self) -> Option<&str> {
        match self {
            Self::Rule { policy, .. } | Self::NoRule { policy, .. } => Some(policy),
            _ => None,
        }
    }

    /// The rule it names as matching, counted from 0.
    pub fn rule(&self) -> Option<usize> {
        match self {
            Self::Rule { rule, .. } => Some(*rule),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPod { party } => write!(f, "{party} is no pod, so no policy selects it"),
            Self::HostNetwork { pod } => {
                write!(f, "{pod} uses its node's network, so no policy selects it")
            }
            Self::NotIsolated { pod, direction } => {
                write!(f, "no policy isolates {pod} for {direction}")
            }
            Self::OwnNode { pod, node } => {
                write!(
                    f,
                    "{pod} runs on node {node}, and a pod's own node always reaches it"
                )
            }
            Self::Loopback { pod } => write!(f, "{pod} cannot be kept from itself"),
            Self::Rule {
                kind,
                policy,
                tier,
                direction,
                rule,
                action,
                admits,
            } => {
                write!(f, "{kind} {policy} ")?;
                if let Some(tier) = tier {
                    write!(f, "of tier {tier} ")?;
                }
                write!(f, "{direction} rule {rule} ")?;
                match action {
                    Action::Allow => write!(f, "admits {admits}"),
                    Action::Deny => write!(f, "denies {admits}"),
                    Action::Pass => write!(f, "leaves {admits} to the next tier"),
                    Action::Log => write!(f, "logs {admits}"),
                }
            }
            Self::NoRule {
                kind,
                policy,
                tier,
                pod,
                direction,
                rules,
                nearest,
            } => {
                write!(f, "{kind} {policy} ")?;
                if let Some(tier) = tier {
                    write!(f, "of tier {tier} ")?;
                }
                write!(f, "selects {pod}")?;
                match (rules, nearest) {
                    (0, _) => write!(f, " and admits no {direction} at all"),
                    (_, None) => write!(f, "; none of its {direction} rules matches"),
                    (_, Some(near)) => {
                        write!(
                            f,
                            "; its {direction} rule {} admits only {}",
                            near.rule, near.admits
                        )?;
                        if near.instead.is_empty() {
                            Ok(())
                        } else {
                            write!(f, ", {}", near.instead)
                        }
                    }
                }
            }
            Self::NotEnforced { pod, node } => write!(
                f,
                "{pod} runs on node {node}, whose pods have ENIs of their own, so nothing enforces this"
            ),
            Self::Backend {
                service,
                pod,
                port,
                backends,
            } => {
                write!(f, "Service {service} leads to {pod} on port {port}")?;
                if *backends > 1 {
                    write!(f, ", one of its {backends} pods")
                } else {
                    Ok(())
                }
            }
        }
    }
}

impl Serialize for Direction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The verdict in several lines: the connection, each side with its reasons, and what it depends on.
///
/// ```text
/// denied   shop/cart-7d9f → shop/redis-0  TCP 6379
///   egress   allowed  no policy isolates shop/cart-7d9f for egress
///   ingress  denied   NetworkPolicy shop/redis selects shop/redis-0; its ingress rule 0 admits only pods app=checkout …
/// ```
pub fn explain(verdict: &Verdict, connection: &Connection<'_>) -> String {
    let (client, server) = (name_of(&connection.client), name_of(&connection.server));
    let port = match connection.protocol.has_ports() {
        true => format!("{} {}", connection.protocol, connection.port),
        false => format!("protocol {}", connection.protocol),
    };
    let sides = [("egress", &verdict.egress), ("ingress", &verdict.ingress)];
    let is_wide = sides
        .iter()
        .any(|(_, side)| side.outcome == Outcome::Unspecified);
    let width = if is_wide { 11 } else { 8 };
    let mut text = format!("{:<8} {client} → {server}  {port}\n", verdict.outcome);
    for (name, side) in sides {
        let mut head = format!("  {name:<8} {:<width$}", side.outcome);
        for reason in &side.reasons {
            text.push_str(&format!("{head} {reason}\n"));
            head = " ".repeat(head.chars().count());
        }
    }
    if verdict.outcome == Outcome::Unspecified {
        for point in &verdict.unspecified {
            text.push_str(&format!("  depends  {}\n", point.sentence()));
        }
        text.push_str(&format!("  by default {}\n", verdict.default_reading));
    }
    text
}

/// What messages call a party.
fn name_of(party: &Party<'_>) -> String {
    match (party.holder, party.address) {
        (Holder::Pod(pod), _) => pod.key(),
        (Holder::Node(node), _) => format!("node {}", node.name),
        (Holder::Service(service), _) => format!("Service {}", service.key()),
        (Holder::External, Some(address)) => address.to_string(),
        (Holder::External, None) => "an unknown address".to_owned(),
    }
}
