//! What was declared when: policies, namespaces and Services over time, cut into epochs.
//!
//! An epoch is a span without any change in what is declared. When exactly a change happened is often known only to
//! lie in a stretch (between two snapshots, plus the time nodes take to enforce it); a window that touches the stretch
//! is judged before and after the change. Epochs are those of all clusters together, what is declared in one is each
//! cluster's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_rules::cluster::Service;
use flowaudit_rules::kubernetes::{self, Body, Issue};

use crate::identify::Stretch;
use crate::unknown::is_unknown;
use crate::worlds::{CONFIGURES, InhabitantsOf, World, Worlds};

/// The epochs that one span of policy windows touches, first and last included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// First epoch.
    pub first: u16,
    /// Last epoch.
    pub last: u16,
}

/// The epochs of one stretch of time.
#[derive(Debug)]
pub struct Timeline {
    /// Per change, when it may have happened; ordered by the first instant.
    changes: Vec<Stretch>,
    /// Per epoch, the object versions in force.
    in_force: Vec<Vec<usize>>,
    versions: Vec<Version>,
    worlds: Vec<OnceLock<Worlds>>,
    inhabitants: InhabitantsOf,
    concerned: Concerned,
    /// What could not be read back from the lake.
    pub issues: Vec<Issue>,
}

/// Whom the changes of a timeline can concern at all. A policy speaks about pods of its namespace, labels of a
/// namespace about its pods, a Service about the pods behind it and, by its node ports, about nodes.
#[derive(Debug, Default)]
struct Concerned {
    namespaces: BTreeSet<String>,
    /// Nodes and Services, too.
    not_pods: bool,
    everyone: bool,
}

impl Concerned {
    fn add(&mut self, version: &Version) {
        let (_, _, kind, namespace, _) = &version.key;
        match &version.body {
            // What configures enforcement concerns everyone, whichever namespace it is in.
            Body::Other if version.is_unknown && is_of_namespace(kind, namespace) => {
                self.namespaces.insert(namespace.clone());
            }
            Body::NetworkPolicy(policy) => {
                self.namespaces.insert(policy.namespace.clone());
            }
            Body::Namespace(namespace) => {
                self.namespaces.insert(namespace.name.clone());
            }
            Body::Service(service) => {
                self.namespaces.insert(service.namespace.clone());
                self.not_pods = true;
            }
            _ => self.everyone = true,
        }
    }
}

/// Whether an object of unknown content concerns the pods of its namespace only.
fn is_of_namespace(kind: &str, namespace: &str) -> bool {
    !matches!(kind, "Namespace" | CONFIGURES) && !namespace.is_empty()
}

/// One version of an object, and when it was in force.
#[derive(Debug)]
pub(crate) struct Version {
    /// Cluster, group, kind, namespace and name.
    pub(crate) key: (String, String, String, String, String),
    /// Of what is not known it is [`Body::Other`].
    pub(crate) body: Body,
    pub(crate) is_unknown: bool,
    core: Stretch,
    outer: Stretch,
}

/// Changes beyond this number within one analysed stretch are merged into their neighbours: their verdicts become
/// less certain, never wrong.
const CHANGES_MAX: usize = 4096;

impl Timeline {
    /// The epochs within `within`. `grace_us` is how long nodes may take to enforce a change. The inhabitants are those
    /// that the evaluator may have to look up (backends of Services, port names).
    pub fn new(
        rows: &[ObjectRow],
        within: Stretch,
        grace_us: i64,
        inhabitants: InhabitantsOf,
    ) -> Timeline {
        let mut issues = Vec::new();
        let mut versions: Vec<Version> = rows
            .iter()
            .filter_map(|row| read_version(row, &mut issues))
            .collect();
        versions.sort_by(|a, b| {
            (&a.key, a.core.from, a.core.to).cmp(&(&b.key, b.core.from, b.core.to))
        });
        let mut steps = steps_of(&versions, within, grace_us);
        let is_settled = |step: &Step| step.when.to < within.from;
        steps.sort_by_key(|step| (!is_settled(step), step.when.from, step.when.to));

        let mut active: Vec<usize> = Vec::new();
        let mut changes: Vec<Stretch> = Vec::new();
        let mut in_force: Vec<Vec<usize>> = vec![Vec::new()];
        let mut concerned = Concerned::default();
        for step in steps {
            if !is_settled(&step) {
                let changed = step.leaves.into_iter().chain(step.enters);
                changed.for_each(|version| concerned.add(&versions[version]));
            }
            active.retain(|version| Some(*version) != step.leaves);
            active.extend(step.enters);
            let full = changes.len() >= CHANGES_MAX;
            match changes.last_mut() {
                Some(last) if full || *last == step.when => last.to = last.to.max(step.when.to),
                _ if is_settled(&step) => {}
                _ => {
                    changes.push(step.when);
                    in_force.push(Vec::new());
                }
            }
            if let Some(epoch) = in_force.last_mut() {
                epoch.clone_from(&active);
            }
        }
        let worlds = in_force.iter().map(|_| OnceLock::new()).collect();
        Timeline {
            changes,
            in_force,
            versions,
            worlds,
            inhabitants,
            concerned,
            issues,
        }
    }

    /// Number of epochs, at least one.
    pub fn epochs(&self) -> usize {
        self.in_force.len()
    }

    /// The epochs that a window touches.
    pub fn span(&self, window: Stretch) -> Span {
        let first = self
            .changes
            .iter()
            .take_while(|change| change.to < window.from)
            .count();
        let last = self
            .changes
            .partition_point(|change| change.from <= window.to);
        Span {
            first: first as u16,
            last: last.max(first) as u16,
        }
    }

    /// Whether nothing changes at all.
    pub fn is_constant(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether some change can matter to a connection because this holder is one end of it. Between two holders that no
    /// change concerns, everything is the same in all epochs.
    pub fn concerns(&self, kind: &str, namespace: Option<&str>) -> bool {
        let of_kind = match kind {
            "pod" => namespace.is_none_or(|name| self.concerned.namespaces.contains(name)),
            "external" | "cidr-set" => false,
            _ => self.concerned.not_pods,
        };
        !self.is_constant() && (of_kind || self.concerned.everyone)
    }

    /// The Services of all epochs, with their clusters.
    pub fn services(&self) -> impl Iterator<Item = (&str, &Service)> {
        let in_force: BTreeSet<usize> = self.in_force.iter().flatten().copied().collect();
        in_force.into_iter().filter_map(|version| {
            let version = self.versions.get(version)?;
            match &version.body {
                Body::Service(service) => Some((version.key.0.as_str(), service)),
                _ => None,
            }
        })
    }

    /// The pods and nodes that the evaluator may have to look up.
    pub fn inhabitants(&self) -> &InhabitantsOf {
        &self.inhabitants
    }

    /// What a cluster declares in an epoch; nothing, where it is none that is known.
    pub fn world(&self, epoch: u16, cluster: &str) -> &World {
        self.worlds(epoch).of(cluster)
    }

    /// What each cluster declares in an epoch.
    pub fn worlds(&self, epoch: u16) -> &Worlds {
        let epoch = usize::from(epoch).min(self.epochs() - 1);
        self.worlds[epoch].get_or_init(|| {
            let in_force = self.in_force[epoch].iter();
            Worlds::new(in_force.map(|&n| &self.versions[n]), &self.inhabitants)
        })
    }
}

struct Step {
    when: Stretch,
    leaves: Option<usize>,
    enters: Option<usize>,
}

/// The changes that versions of objects make. Two versions of one object that follow each other are one change.
fn steps_of(versions: &[Version], within: Stretch, grace_us: i64) -> Vec<Step> {
    let mut steps = Vec::new();
    let ends = |version: &Version| version.outer.to < i64::MAX;
    for (n, version) in versions.iter().enumerate() {
        let successor = versions.get(n + 1).filter(|next| next.key == version.key);
        let predecessor = n
            .checked_sub(1)
            .map(|n| &versions[n])
            .filter(|before| before.key == version.key);
        if predecessor.is_none_or(|before| ends(before) && before.outer.to < version.outer.from) {
            steps.push(Step {
                when: Stretch {
                    from: version.outer.from,
                    to: version.core.from,
                },
                leaves: None,
                enters: Some(n),
            });
        }
        match successor {
            Some(next) if !ends(version) || next.outer.from <= version.outer.to => {
                steps.push(Step {
                    when: Stretch {
                        from: version.core.to.min(next.core.from),
                        to: next.core.from,
                    },
                    leaves: Some(n),
                    enters: Some(n + 1),
                })
            }
            _ if ends(version) => {
                steps.push(Step {
                    when: Stretch {
                        from: version.core.to,
                        to: version.outer.to,
                    },
                    leaves: Some(n),
                    enters: None,
                });
            }
            _ => {}
        }
    }
    for step in &mut steps {
        step.when.to = step.when.to.saturating_add(grace_us);
    }
    steps.retain(|step| step.when.from <= within.to);
    steps
}

fn read_version(row: &ObjectRow, issues: &mut Vec<Issue>) -> Option<Version> {
    // Cheaper than reading every controller to find that it is none of these.
    let of_cloud = row.group.ends_with(".aliyuncs.com");
    let may_matter = row.group.contains('.') && !of_cloud
        || matches!(
            row.kind.as_str(),
            "Namespace" | "Service" | "ServiceAccount" | "ConfigMap"
        );
    if !may_matter {
        return None;
    }
    let body = match is_unknown(row) {
        true => Body::Other,
        false => read_body(row, issues)?,
    };
    let (core, outer) = Stretch::core_and_outer(
        row.valid_from_us,
        row.valid_to_us,
        row.from_slack_ms,
        row.to_slack_ms,
    );
    let key = (
        row.cluster.clone(),
        row.group.clone(),
        row.kind.clone(),
        row.namespace.clone().unwrap_or_default(),
        row.name.clone(),
    );
    Some(Version {
        key,
        body,
        is_unknown: is_unknown(row),
        core,
        outer,
    })
}

/// What a version says, if that can matter to anyone.
fn read_body(row: &ObjectRow, issues: &mut Vec<Issue>) -> Option<Body> {
    let manifest = kubernetes::read(&row.origin, &row.spec);
    let object = manifest.objects.into_iter().next();
    let matters = object.as_ref().is_none_or(|object| {
        object.body.is_policy()
            || matches!(
                object.body,
                Body::Namespace(_)
                    | Body::Terway(_)
                    | Body::Service(_)
                    | Body::ServiceAccount(_)
                    | Body::Calico(_)
                    | Body::CiliumCidrGroup(_)
            )
    });
    if !matters {
        return None;
    }
    issues.extend(manifest.issues);
    Some(object?.body)
}

/// Numbers for spans, so that a tuple's key carries two bytes. Number 0 is [`Spans::ANY`].
#[derive(Debug)]
pub struct Spans {
    numbers: BTreeMap<Span, u16>,
    spans: Vec<Span>,
}

impl Default for Spans {
    fn default() -> Self {
        Spans {
            numbers: BTreeMap::new(),
            spans: vec![Span { first: 0, last: 0 }],
        }
    }
}

impl Spans {
    /// The span of records between holders that no change concerns: one epoch is as good as any other.
    pub const ANY: u16 = 0;

    /// The number of a span; spans beyond 65,535 share the last one's number only if equal, so it widens instead.
    pub fn number(&mut self, span: Span) -> u16 {
        if let Some(number) = self.numbers.get(&span) {
            return *number;
        }
        let number = self.spans.len().min(usize::from(u16::MAX)) as u16;
        match self.spans.get_mut(usize::from(number)) {
            Some(last) => {
                *last = Span {
                    first: last.first.min(span.first),
                    last: last.last.max(span.last),
                }
            }
            None => self.spans.push(span),
        }
        self.numbers.insert(span, number);
        number
    }

    /// The span with that number.
    pub fn span(&self, number: u16) -> Span {
        self.spans[usize::from(number)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unknown::Touch;

    const SECOND: i64 = 1_000_000;

    fn policy(name: &str, from: i64, to: Option<i64>, slack_ms: Option<i64>) -> ObjectRow {
        ObjectRow {
            group: "networking.k8s.io".into(),
            kind: "NetworkPolicy".into(),
            namespace: Some("shop".into()),
            name: name.into(),
            uid: None,
            valid_from_us: from * SECOND,
            valid_to_us: to.map(|to| to * SECOND),
            from_slack_ms: Some(0),
            to_slack_ms: slack_ms,
            spec: format!(
                r#"{{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{{"name":"{name}","namespace":"shop"}},"spec":{{"podSelector":{{}},"policyTypes":["Ingress"]}}}}"#
            ),
            origin: "test:1".into(),
            cluster: "c".into(),
        }
    }

    fn timeline(rows: &[ObjectRow]) -> Timeline {
        let within = Stretch {
            from: 1000 * SECOND,
            to: 2000 * SECOND,
        };
        Timeline::new(rows, within, 10 * SECOND, InhabitantsOf::new())
    }

    fn names(timeline: &Timeline, from: i64, to: i64) -> Vec<Vec<String>> {
        let span = timeline.span(Stretch {
            from: from * SECOND,
            to: to * SECOND,
        });
        let names = |epoch| {
            timeline
                .world(epoch, "c")
                .policies
                .iter()
                .map(|policy| policy.id.name.clone())
                .collect()
        };
        (span.first..=span.last).map(names).collect()
    }

    #[test]
    fn what_the_cloud_holds_declares_nothing() {
        let interface = ObjectRow {
            group: "ecs.aliyuncs.com".into(),
            kind: "NetworkInterface".into(),
            spec: r#"{"NetworkInterfaceId":"eni-1"}"#.into(),
            cluster: String::new(),
            ..policy("eni-1", 0, None, None)
        };
        let timeline = timeline(&[interface]);
        assert_eq!(timeline.issues, []);
        assert!(timeline.is_constant());
    }

    #[test]
    fn a_change_splits_time_and_its_grace_belongs_to_both() {
        let timeline = timeline(&[
            policy("old", 0, None, None),
            policy("new", 1500, None, None),
        ]);
        assert_eq!(names(&timeline, 1000, 1499), [["old".to_string()]]);
        assert_eq!(
            names(&timeline, 1511, 1600),
            [["new".to_string(), "old".to_string()]]
        );
        assert_eq!(
            names(&timeline, 1505, 1600).len(),
            2,
            "nodes may still be at it"
        );
        assert_eq!(names(&timeline, 1400, 1600).len(), 2);
    }

    #[test]
    fn a_replaced_version_is_one_change() {
        let timeline = timeline(&[
            policy("p", 0, Some(1200), Some(300_000)),
            policy("p", 1500, None, None),
        ]);
        assert_eq!(timeline.epochs(), 2);
        assert_eq!(
            names(&timeline, 1300, 1310),
            [["p".to_string()], ["p".to_string()]]
        );
    }

    #[test]
    fn a_removed_policy_ends_within_its_slack() {
        let timeline = timeline(&[policy("p", 0, Some(1200), Some(300_000))]);
        assert_eq!(names(&timeline, 1100, 1110), [["p".to_string()]]);
        assert_eq!(
            names(&timeline, 1300, 1310),
            [vec!["p".to_string()], vec![]]
        );
        assert_eq!(names(&timeline, 1600, 1610), [Vec::<String>::new()]);
    }

    #[test]
    fn what_happened_before_is_settled() {
        let timeline = timeline(&[
            policy("a", 0, Some(10), Some(0)),
            policy("b", 20, None, None),
            policy("c", 30, Some(40), None),
        ]);
        assert_eq!(timeline.epochs(), 1);
        assert_eq!(
            names(&timeline, 1100, 1110),
            [["b".to_string(), "c".to_string()]]
        );
    }

    #[test]
    fn a_version_of_unknown_content_is_in_force_as_that() {
        let unknown = ObjectRow {
            spec: "null".into(),
            ..policy("p", 1500, Some(1600), Some(0))
        };
        let timeline = timeline(&[policy("p", 0, Some(1500), Some(0)), unknown]);
        let touches = |epoch: u16, namespace| {
            let world = timeline.world(epoch, "c");
            world.unknown.touches(Some(namespace))
        };
        let all: Vec<_> = (0..timeline.epochs() as u16)
            .map(|epoch| touches(epoch, "shop"))
            .collect();
        assert_eq!(all, [None, Some(Touch::Adds), None]);
        assert_eq!(touches(1, "web"), None);
        assert!(timeline.concerns("pod", Some("shop")) && !timeline.concerns("pod", Some("web")));
        assert_eq!(timeline.issues, []);
    }

    /// An object of Calico with the label `role: trusted`, since `from`.
    fn of_calico(kind: &str, from: i64, spec: &str) -> ObjectRow {
        ObjectRow {
            group: "projectcalico.org".into(),
            kind: kind.into(),
            namespace: None,
            name: "x".into(),
            spec: format!(
                r#"{{"apiVersion":"projectcalico.org/v3","kind":"{kind}","metadata":{{"name":"x","labels":{{"role":"trusted"}}}},"spec":{spec}}}"#
            ),
            ..policy("x", from, None, None)
        }
    }

    #[test]
    fn what_policies_refer_to_makes_epochs_too() {
        let allow = r#"{"ingress":[{"action":"Allow","source":{"selector":"role == 'trusted'"}}]}"#;
        let timeline = timeline(&[
            of_calico("GlobalNetworkPolicy", 0, allow),
            of_calico("GlobalNetworkSet", 1200, r#"{"nets":["198.51.100.0/24"]}"#),
        ]);
        assert_eq!(timeline.epochs(), 2);
        let cidrs = |epoch| timeline.world(epoch, "c").policies.cidrs().count();
        assert_eq!((cidrs(0), cidrs(1)), (0, 1));
    }
}
