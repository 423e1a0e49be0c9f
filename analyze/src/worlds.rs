//! What is declared in one epoch, cluster by cluster: a policy says nothing of another cluster's pods.

use std::collections::BTreeMap;

use flowaudit_rules::cluster::{Cluster, Namespace, Node, Pod, Service};
use flowaudit_rules::evaluate::Engine;
use flowaudit_rules::kubernetes::Body;
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::verdict::Verdict;

use crate::timeline::Version;
use crate::unknown::Unknown;

/// The kind of Terway's configuration.
pub(crate) const CONFIGURES: &str = "ConfigMap";

/// The pods and nodes of a cluster.
#[derive(Debug, Default)]
pub struct Inhabitants {
    /// Its pods.
    pub pods: Vec<Pod>,
    /// Its nodes.
    pub nodes: Vec<Node>,
}

/// The same of all clusters, by their names.
pub type InhabitantsOf = BTreeMap<String, Inhabitants>;

/// Everything that one cluster declares in one epoch.
#[derive(Debug, Default)]
pub struct World {
    /// NetworkPolicies in force.
    pub policies: PolicySet,
    /// Namespaces, Services, pods and nodes.
    pub cluster: Cluster,
    /// Whom objects concern of which it is not known what they say.
    pub unknown: Unknown,
    /// What the cluster's own configuration says of the enforcement engine, if it is known.
    configured: Option<Engine>,
}

impl World {
    fn new(versions: &[&Version], inhabitants: Option<&Inhabitants>) -> World {
        let (mut namespaces, mut services) = (Vec::<Namespace>::new(), Vec::<Service>::new());
        let bodies = || versions.iter().map(|version| &version.body);
        for body in bodies() {
            match body {
                Body::Namespace(namespace) => namespaces.push(namespace.clone()),
                Body::Service(service) => services.push(service.clone()),
                _ => {}
            }
        }
        let (nodes, pods) = inhabitants.map_or_else(Default::default, |here| {
            (here.nodes.clone(), here.pods.clone())
        });
        let configured = bodies().find_map(|body| match body {
            Body::Terway(terway) => Some(terway.engine()),
            _ => None,
        });
        let mut unknown = Unknown::default();
        for version in versions {
            let (_, group, kind, namespace, _) = &version.key;
            // Of what enforces, not knowing it is what it always is where nobody says: see `World::engine`.
            if version.is_unknown && kind != CONFIGURES {
                unknown.add((group, kind), namespace);
            }
        }
        World {
            policies: PolicySet::from_bodies(bodies()),
            cluster: Cluster::new(namespaces, nodes, pods, services),
            unknown,
            configured,
        }
    }

    /// What enforces policies: as set, or else as the cluster was configured.
    pub fn engine(&self, set: Engine) -> Engine {
        match set {
            Engine::Unknown => self.configured.unwrap_or_default(),
            known => known,
        }
    }
}

/// What each cluster declares in one epoch.
#[derive(Debug)]
pub struct Worlds {
    by_cluster: BTreeMap<String, World>,
    /// That of a cluster of which nothing is known.
    bare: World,
}

impl Worlds {
    /// The worlds of these versions, which are in force, and of whoever is there.
    pub(crate) fn new<'v>(
        in_force: impl Iterator<Item = &'v Version>,
        inhabitants: &InhabitantsOf,
    ) -> Worlds {
        let mut versions: BTreeMap<&str, Vec<&Version>> = BTreeMap::new();
        for cluster in inhabitants.keys() {
            versions.entry(cluster).or_default();
        }
        for version in in_force {
            versions.entry(&version.key.0).or_default().push(version);
        }
        let world = |(cluster, versions): (&str, Vec<&Version>)| {
            let world = World::new(&versions, inhabitants.get(cluster));
            (cluster.to_owned(), world)
        };
        Worlds {
            by_cluster: versions.into_iter().map(world).collect(),
            bare: World::default(),
        }
    }

    /// What a cluster declares.
    pub fn of(&self, cluster: &str) -> &World {
        self.by_cluster.get(cluster).unwrap_or(&self.bare)
    }

    /// What is declared about a connection between holders of two clusters; empty for what belongs to none. `said_by` asks
    /// one cluster, and is told of each end whether that is more to it than an address.
    pub fn between(
        &self,
        clusters: [&str; 2],
        said_by: impl Fn(&World, [bool; 2]) -> Verdict,
    ) -> Verdict {
        match clusters {
            ["", cluster] | [cluster, ""] => said_by(self.of(cluster), [true; 2]),
            [client, server] if client == server => said_by(self.of(client), [true; 2]),
            [client, server] => said_by(self.of(client), [true, false])
                .joined(said_by(self.of(server), [false, true])),
        }
    }

    /// Each cluster with what it declares.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &World)> {
        let worlds = self.by_cluster.iter();
        worlds.map(|(cluster, world)| (cluster.as_str(), world))
    }
}
