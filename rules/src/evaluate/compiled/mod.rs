//! The compiled evaluator: the plain one, with everything worked out beforehand that does not depend on the question.
//!
//! Which policies select a pod, and which pods the selectors in a rule select, is the same for all pods of a class. It
//! is worked out once for all classes by set algebra over labels. What is left for a question is to walk a few rules
//! and look classes up in sets. Whatever the readings make a difference to is left to the plain evaluator, so both
//! answer alike; properties in `rules/tests/` hold them against each other.
//!
//! A change of a policy, a pod or a namespace costs what hangs on it, not the world: `change` tells what that is.

mod change;
mod classes;
mod fit;
pub(crate) mod form;
mod index;
mod peers;
mod prepared;
mod selections;
mod side;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use self::classes::Classes;
use self::fit::Points;
use self::form::Asked;
use self::peers::Seen;
use self::prepared::Prepared;
use self::selections::Selections;
use super::case::{self, End, Who};
use super::{Connection, Party, Question, Selecting, weigh};
use crate::cluster::{Cluster, Node, Pod, Protocol};
use crate::policy::{Direction, Policy, PolicyId, Tier};
use crate::policy_set::PolicySet;
use crate::reading::{Engine, Reader};
use crate::terway::is_exclusive_eni;
use crate::verdict::{Decision, JudgedSide, Judgement, Outcome, Unspecified};

/// A world compiled for many questions. Answers equal those of [`evaluate`](super::evaluate), without their reasons.
pub struct Compiled<'a> {
    policies: Cow<'a, PolicySet>,
    cluster: Cow<'a, Cluster>,
    engine: Engine,
    points: Points,
    /// The same as explanations show them.
    shown: Points,
    classes: Classes,
    selections: Selections,
    /// Every tier that a policy stands in or stood in.
    tiers: BTreeMap<Tier, u32>,
    /// By number; `None` for numbers that are free.
    prepared: Vec<Option<Prepared>>,
    free: Vec<u32>,
    /// The numbers of what each object became.
    by_id: HashMap<PolicyId, Vec<u32>>,
    /// The policies that use a selection as their subject, by its number.
    subjects: HashMap<u32, Vec<u32>>,
    /// Whether on some node nothing enforces policies, which explanations say.
    has_exclusive_nodes: bool,
    /// In the order of [`Cluster::pods`]; `None` for those that share their node's network.
    class_of_pod: Vec<Option<u32>>,
    /// By class.
    selected: Vec<Selected>,
}

/// The policies that select one class, by number, in the order in which they are walked.
#[derive(Clone, Debug, Default)]
struct Selected {
    ingress: Vec<u32>,
    egress: Vec<u32>,
}

/// One end of a question, looked up once.
#[derive(Clone, Copy)]
pub struct Endpoint<'a> {
    party: Party<'a>,
    /// What it is when it is a pod or outside.
    seen: Option<Seen<'a>>,
}

impl Endpoint<'_> {
    /// What messages call it.
    pub(crate) fn name(&self) -> String {
        End::new(&self.party).name()
    }
}

impl<'a> Compiled<'a> {
    /// Compiles `policies` over `cluster`. The first change makes copies of both.
    pub fn new(policies: &'a PolicySet, cluster: &'a Cluster, engine: Engine) -> Self {
        Self::of(Cow::Borrowed(policies), Cow::Borrowed(cluster), engine)
    }

    /// Compiles a world of its own, to be changed.
    pub fn owning(policies: PolicySet, cluster: Cluster, engine: Engine) -> Compiled<'static> {
        Compiled::of(Cow::Owned(policies), Cow::Owned(cluster), engine)
    }

    fn of(policies: Cow<'a, PolicySet>, cluster: Cow<'a, Cluster>, engine: Engine) -> Self {
        let mut classes = Classes::default();
        let pods = cluster.pods().iter();
        let class_of_pod: Vec<Option<u32>> = pods
            .map(|pod| (!pod.host_network).then(|| classes.enter(pod, &cluster).0))
            .collect();
        let has_exclusive_nodes = cluster.nodes().iter().any(is_exclusive_eni);
        let mut compiled = Self {
            has_exclusive_nodes,
            policies,
            cluster,
            engine,
            points: Points::of(Reader::Engine(engine)),
            shown: Points::shown(Reader::Engine(engine)),
            selected: vec![Selected::default(); classes.end()],
            classes,
            selections: Selections::default(),
            tiers: BTreeMap::new(),
            prepared: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            subjects: HashMap::new(),
            class_of_pod,
        };
        for policy in compiled.policies.shared().to_vec() {
            let number = compiled.prepare(policy);
            compiled.each_list(number, |list, _| list.push(number));
        }
        compiled
    }

    /// The world that is judged.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The policies that are judged.
    pub fn policies(&self) -> &PolicySet {
        &self.policies
    }

    /// Looks an end up, to ask about it more than once.
    pub fn endpoint<'s>(&'s self, party: &Party<'s>) -> Endpoint<'s> {
        let end = End::new(party);
        let address = end.address;
        let seen = match end.who {
            Who::Pod(pod) => self.class_of(pod).map(|class| Seen {
                address,
                pod: Some((pod, class)),
            }),
            Who::External => Some(Seen { address, pod: None }),
            Who::HostPod(_) | Who::Node(_) | Who::Service(_) => None,
        };
        Endpoint {
            party: *party,
            seen,
        }
    }

    /// The same of a pod by its place in [`Cluster::pods`].
    pub(crate) fn endpoint_at<'s>(&'s self, index: usize, party: Party<'s>) -> Endpoint<'s> {
        let pod = self.cluster.pods().get(index);
        let class = self.class_of_pod.get(index).copied().flatten();
        Endpoint {
            seen: pod.zip(class).map(|pod| Seen {
                address: party.address,
                pod: Some(pod),
            }),
            party,
        }
    }

    /// What is declared about `connection`.
    pub fn evaluate(&self, connection: &Connection<'_>) -> Judgement {
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
        client: &Endpoint<'_>,
        server: &Endpoint<'_>,
        port: u16,
        protocol: Protocol,
    ) -> Judgement {
        let asked = Asked {
            client: *client,
            server: *server,
            port,
            protocol,
        };
        match self.sides(&asked) {
            Some((egress, ingress)) if asked.is_loopback() => self.loopback(egress, ingress),
            Some((egress, ingress)) => Judgement::settled(egress, ingress),
            None => {
                let question = Question {
                    clients: &[client.party],
                    servers: &[server.party],
                    port,
                    protocol,
                };
                let reader = Reader::Engine(self.engine);
                let cases = case::cases(self, &self.cluster, reader, &question);
                weigh(&cases, &self.cluster, reader).judgement
            }
        }
    }

    /// What policies say on both sides, exemptions apart (§1.6), where no reading makes a difference to it.
    fn sides(&self, asked: &Asked<'_>) -> Option<(Decision, Decision)> {
        let (client, server) = (asked.client.seen?, asked.server.seen?);
        if !asked.protocol.has_ports() {
            return None;
        }
        let side = |direction, own, other| {
            let view = side::View {
                compiled: self,
                direction,
                own,
                other,
                port: asked.port,
                protocol: asked.protocol,
                points: self.points,
            };
            view.decide()
        };
        let egress = side(Direction::Egress, client, server)?;
        let ingress = side(Direction::Ingress, server, client)?;
        Some((egress, ingress))
    }

    /// What both sides say where neither a reading nor an exemption makes a difference.
    pub(crate) fn settled_sides(&self, asked: &Asked<'_>) -> Option<(Decision, Decision)> {
        match asked.is_loopback() {
            true => None,
            false => self.sides(asked),
        }
    }

    /// What is declared about a pod's connection to itself, of which policies say this. Every engine may let it
    /// through whatever they say, as the default reading does, and some may not (§1.6).
    fn loopback(&self, egress: Decision, ingress: Decision) -> Judgement {
        let allowed = Judgement::settled(Decision::Allowed, Decision::Allowed);
        let is_exempt = Reader::Engine(self.engine)
            .only(Unspecified::Loopback)
            .is_some();
        if is_exempt || egress.and(ingress) == Decision::Allowed {
            return allowed;
        }
        let side = |decision| JudgedSide {
            outcome: match decision {
                Decision::Allowed => Outcome::Allowed,
                Decision::Denied => Outcome::Unspecified,
            },
            default_reading: Decision::Allowed,
        };
        Judgement {
            outcome: Outcome::Unspecified,
            unspecified: vec![Unspecified::Loopback],
            egress: side(egress),
            ingress: side(ingress),
            ..allowed
        }
    }

    /// The number of classes into which the pods fall.
    pub fn class_count(&self) -> usize {
        self.classes.len()
    }

    /// The class of a pod; `None` for one that shares its node's network or is not of this world.
    fn class_of(&self, pod: &Pod) -> Option<u32> {
        let index = self.cluster.pod_index(&pod.namespace, &pod.name)?;
        // A caller may ask about a pod that only has the name of one of ours.
        let ours = self.cluster.pods().get(index)?;
        if !std::ptr::eq(ours, pod) {
            return None;
        }
        self.class_of_pod.get(index).copied().flatten()
    }

    fn prepared(&self, number: u32) -> Option<&Prepared> {
        self.prepared.get(number as usize)?.as_ref()
    }

    /// The policies that select `class` and say something of `direction`.
    fn selected(&self, class: u32, direction: Direction) -> &[u32] {
        match (self.selected.get(class as usize), direction) {
            (None, _) => &[],
            (Some(selected), Direction::Ingress) => &selected.ingress,
            (Some(selected), Direction::Egress) => &selected.egress,
        }
    }
}

impl Selecting for Compiled<'_> {
    fn selecting<'s>(
        &'s self,
        pod: &Pod,
        cluster: &Cluster,
        direction: Direction,
    ) -> Cow<'s, [&'s Policy]> {
        let Some(class) = self.class_of(pod) else {
            return Selecting::selecting(self.policies.as_ref(), pod, cluster, direction);
        };
        let selected = self.selected(class, direction).iter();
        let policies = selected.filter_map(|number| self.prepared(*number));
        policies.map(|prepared| prepared.policy.as_ref()).collect()
    }

    fn selecting_node<'s>(&'s self, node: &Node, direction: Direction) -> Cow<'s, [&'s Policy]> {
        Selecting::selecting_node(self.policies.as_ref(), node, direction)
    }
}
