//! The compiled evaluator: the plain one, with everything worked out beforehand that does not depend on the question.
//!
//! Which policies select a pod, and which pods the peers of a rule match, is the same for all pods of a class. It is
//! worked out once for all classes by set algebra over labels and address blocks. What is left for a question is to
//! walk a few rules and look classes up in sets. Whatever depends on the engine or on more than the class is left to
//! the plain evaluator's own code, so both answer alike; properties in `rules/tests/` hold them against each other.

mod classes;
mod index;
mod peers;

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::FixedState;

use self::classes::Classes;
use self::peers::Matched;
use super::case::{self, Case, End, Target, Who};
use super::rule::{Known, Nothing};
use super::{Connection, Party, Question, Selecting, weigh};
use crate::cluster::{Cluster, Node, Pod, Protocol};
use crate::policy::{Direction, Policy, Rule, Subject};
use crate::policy_set::PolicySet;
use crate::reading::{Engine, Reader};
use crate::verdict::Judgement;

/// A world compiled for many questions. Answers equal those of [`evaluate`](super::evaluate), without their reasons.
pub struct Compiled<'a> {
    policies: &'a PolicySet,
    cluster: &'a Cluster,
    engine: Engine,
    classes: Classes<'a>,
    /// By class, the policies that select it, in the order in which they are walked.
    selecting: Vec<Selected<'a>>,
    rules: HashMap<usize, CompiledRule, FixedState>,
}

/// The policies that select one class.
#[derive(Clone, Debug, Default)]
struct Selected<'a> {
    ingress: Vec<&'a Policy>,
    egress: Vec<&'a Policy>,
}

/// What a rule matches at its two ends; `None` where it restricts nothing.
struct CompiledRule {
    peers: Option<Matched>,
    own: Option<Matched>,
}

/// One end of a question, looked up once.
#[derive(Clone, Copy)]
pub struct Endpoint<'a> {
    party: Party<'a>,
    end: End<'a>,
    /// Whether the end is all there is to it: no Service, no node behind which others may stand.
    is_plain: bool,
}

impl<'a> Compiled<'a> {
    /// Compiles `policies` over `cluster`.
    pub fn new(policies: &'a PolicySet, cluster: &'a Cluster, engine: Engine) -> Self {
        let classes = Classes::new(cluster, policies.cidrs());
        let mut selecting = vec![Selected::default(); classes.len()];
        let mut rules = HashMap::default();
        for policy in policies.iter() {
            if let Subject::Pods(pods) = &policy.subject {
                for class in classes.select(pods) {
                    let Some(selected) = selecting.get_mut(class as usize) else {
                        continue;
                    };
                    if policy.ingress.is_some() {
                        selected.ingress.push(policy);
                    }
                    if policy.egress.is_some() {
                        selected.egress.push(policy);
                    }
                }
            }
            for rule in policy.all_rules() {
                let matched = |peers: &[_]| {
                    (!peers.is_empty()).then(|| Matched::any(peers, &classes, cluster))
                };
                let compiled = CompiledRule {
                    peers: matched(&rule.peers),
                    own: matched(&rule.own),
                };
                rules.insert(key(rule), compiled);
            }
        }
        Self {
            policies,
            cluster,
            engine,
            classes,
            selecting,
            rules,
        }
    }

    /// Looks an end up, to ask about it more than once.
    pub fn endpoint(&self, party: &Party<'a>) -> Endpoint<'a> {
        let mut end = End::new(party);
        if let Who::Pod(pod) = end.who {
            end.class = self.classes.of(pod, end.address);
        }
        Endpoint {
            party: *party,
            end,
            is_plain: end.class.is_some() || matches!(end.who, Who::External),
        }
    }

    /// What is declared about `connection`.
    pub fn evaluate(&self, connection: &Connection<'a>) -> Judgement {
        self.judge(
            &self.endpoint(&connection.client),
            &self.endpoint(&connection.server),
            connection.port,
            connection.protocol,
        )
    }

    /// What is declared about a connection between two ends that were looked up.
    pub fn judge(
        &self,
        client: &Endpoint<'a>,
        server: &Endpoint<'a>,
        port: u16,
        protocol: Protocol,
    ) -> Judgement {
        let reader = Reader::Engine(self.engine);
        if client.is_plain && server.is_plain {
            let target = Target {
                server: server.end,
                port,
                service: None,
                because: None,
            };
            let case = Case::new(client.end, &target, protocol, None, |end, direction| {
                Cow::Borrowed(self.selecting(end, direction))
            });
            return weigh(std::slice::from_ref(&case), self.cluster, self, reader).judgement;
        }
        let question = Question {
            clients: &[client.party],
            servers: &[server.party],
            port,
            protocol,
        };
        let cases = case::cases(self, self.cluster, reader, &question);
        weigh(&cases, self.cluster, &Nothing, reader).judgement
    }

    /// The number of classes into which the pods fall.
    pub fn class_count(&self) -> usize {
        self.classes.len()
    }

    /// The class of `pod` at `address`: two pods of one class are the same to every policy, as long as neither is the
    /// other end. `None` for pods that share their node's network or are not of this world.
    pub fn class_of(&self, pod: &Pod, address: Option<IpAddr>) -> Option<u32> {
        self.classes.of(pod, address)
    }

    fn selecting(&self, end: &End<'_>, direction: Direction) -> &[&'a Policy] {
        let selected = end
            .class
            .and_then(|class| self.selecting.get(class as usize));
        match (selected, direction) {
            (None, _) => &[],
            (Some(selected), Direction::Ingress) => &selected.ingress,
            (Some(selected), Direction::Egress) => &selected.egress,
        }
    }

    fn rule(&self, rule: &Rule) -> Option<&CompiledRule> {
        self.rules.get(&key(rule))
    }
}

/// A rule is known by its place: the policies are borrowed as long as this lives, so none moves.
fn key(rule: &Rule) -> usize {
    std::ptr::from_ref(rule).addr()
}

impl Known for Compiled<'_> {
    fn peers_match(&self, rule: &Rule, class: u32) -> Option<bool> {
        match &self.rule(rule)?.peers {
            Some(matched) => matched.matches(class),
            None => Some(true),
        }
    }

    fn own_matches(&self, rule: &Rule, class: u32) -> Option<bool> {
        match &self.rule(rule)?.own {
            Some(matched) => matched.matches(class),
            None => Some(true),
        }
    }
}

impl<'a> Selecting for Compiled<'a> {
    fn selecting<'s>(
        &'s self,
        pod: &Pod,
        cluster: &Cluster,
        direction: Direction,
    ) -> Cow<'s, [&'s Policy]> {
        let policies: &'a PolicySet = self.policies;
        Selecting::selecting(policies, pod, cluster, direction)
    }

    fn selecting_node<'s>(&'s self, node: &Node, direction: Direction) -> Cow<'s, [&'s Policy]> {
        Selecting::selecting_node(self.policies, node, direction)
    }
}
