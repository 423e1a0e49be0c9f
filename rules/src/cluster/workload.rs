//! Which workload a pod belongs to: climbing controllers, or reading it off the name.

use std::collections::HashMap;

use super::{Owner, Pod};

/// What a pod belongs to, for people: a Deployment, a CronJob, or the pod itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    /// `Deployment`, `StatefulSet`, `DaemonSet`, `CronJob` …, `Pod` for one without a controller.
    pub kind: String,
    /// Its name; it lives in the pod's namespace.
    pub name: String,
    /// Whether the last step was read off a name because the owner object is unknown.
    pub by_name_rule: bool,
}

/// Who owns which controller. ReplicaSets and Jobs that are gone stay useful: their pods' records remain.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    /// namespace → (kind, name) → its own controller, if it has one.
    known: HashMap<String, HashMap<Owner, Option<Owner>>>,
}

/// Controllers above controllers are rare and never this deep; a cycle in broken input ends here.
const CLIMB_MAX: usize = 8;

impl Owners {
    /// Notes that the controller `kind`/`name` exists and who owns it.
    pub fn insert(&mut self, namespace: &str, kind: &str, name: &str, owner: Option<Owner>) {
        let key = Owner {
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        self.known
            .entry(namespace.to_owned())
            .or_default()
            .insert(key, owner);
    }

    /// What is known about a controller: `None` unknown, `Some(None)` known and not owned itself.
    fn above(&self, namespace: &str, owner: &Owner) -> Option<&Option<Owner>> {
        self.known.get(namespace)?.get(owner)
    }
}

/// The workload of `pod`.
///
/// Climbs `controller: true` references through the objects in `owners`. Where the owner object is unknown the
/// name decides (history 5.4.2): `<deployment>-<hash>` when the hash is the pod's label `pod-template-hash`,
/// `<cronjob>-<Unix minutes>`, `<statefulset>-<ordinal>`. A bare pod, and a static pod (owned by its node), is itself.
pub fn workload_of(pod: &Pod, owners: &Owners) -> Workload {
    let Some(mut owner) = pod.owner.clone().filter(|owner| owner.kind != "Node") else {
        return by_pod_name(pod).unwrap_or_else(|| Workload {
            kind: "Pod".to_owned(),
            name: pod.name.clone(),
            by_name_rule: false,
        });
    };
    for _ in 0..CLIMB_MAX {
        match owners.above(&pod.namespace, &owner) {
            Some(Some(above)) => owner = above.clone(),
            Some(None) => break,
            None => {
                if let Some(workload) = by_owner_name(pod, &owner) {
                    return workload;
                }
                break;
            }
        }
    }
    Workload {
        kind: owner.kind,
        name: owner.name,
        by_name_rule: false,
    }
}

/// The Deployment, Rollout or CronJob that a controller of this name must belong to.
fn by_owner_name(pod: &Pod, owner: &Owner) -> Option<Workload> {
    let (kind, name) = match owner.kind.as_str() {
        "ReplicaSet" => template_of(pod, &owner.name)?,
        "Job" => {
            let (cron_job, minutes) = owner.name.rsplit_once('-')?;
            // Unix minutes have eight digits from 1989 to 2160.
            let is_minutes = minutes.len() == 8 && minutes.bytes().all(|b| b.is_ascii_digit());
            (is_minutes && !cron_job.is_empty()).then_some(("CronJob", cron_job))?
        }
        _ => return None,
    };
    Some(Workload {
        kind: kind.to_owned(),
        name: name.to_owned(),
        by_name_rule: true,
    })
}

/// The workload of a pod whose source gave no owner reference but whose labels tell that it had one.
fn by_pod_name(pod: &Pod) -> Option<Workload> {
    let (stem, suffix) = pod.name.rsplit_once('-')?;
    let (kind, name) = if pod.labels.get("statefulset.kubernetes.io/pod-name") == Some(&pod.name)
        && suffix.bytes().all(|b| b.is_ascii_digit())
    {
        ("StatefulSet", stem)
    } else {
        template_of(pod, stem)?
    };
    Some(Workload {
        kind: kind.to_owned(),
        name: name.to_owned(),
        by_name_rule: true,
    })
}

/// Splits `<name>-<hash>` where the hash is the pod's template hash.
fn template_of<'a>(pod: &Pod, replica_set: &'a str) -> Option<(&'static str, &'a str)> {
    [
        ("pod-template-hash", "Deployment"),
        ("rollouts-pod-template-hash", "Rollout"),
    ]
    .into_iter()
    .find_map(|(label, kind)| {
        let hash = pod.labels.get(label)?;
        let name = replica_set.strip_suffix(hash.as_str())?.strip_suffix('-')?;
        (!name.is_empty()).then_some((kind, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, owner: Option<(&str, &str)>, labels: &[(&str, &str)]) -> Pod {
        Pod {
            namespace: "shop".into(),
            name: name.into(),
            owner: owner.map(|(kind, name)| Owner {
                kind: kind.into(),
                name: name.into(),
            }),
            labels: labels
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
            ..Pod::default()
        }
    }

    fn check(pod: &Pod, owners: &Owners, expected: &str, by_name_rule: bool) {
        let workload = workload_of(pod, owners);
        assert_eq!(format!("{}/{}", workload.kind, workload.name), expected);
        assert_eq!(workload.by_name_rule, by_name_rule, "{expected}");
    }

    #[test]
    fn climbs_through_known_objects() {
        let mut owners = Owners::default();
        let deployment = Owner {
            kind: "Deployment".into(),
            name: "cart".into(),
        };
        owners.insert("shop", "ReplicaSet", "cart-7d9f", Some(deployment));
        owners.insert("shop", "Deployment", "cart", None);
        let cart = pod("cart-7d9f-x", Some(("ReplicaSet", "cart-7d9f")), &[]);
        check(&cart, &owners, "Deployment/cart", false);
    }

    #[test]
    fn a_replica_set_known_to_be_alone_stays() {
        let mut owners = Owners::default();
        owners.insert("shop", "ReplicaSet", "cart-7d9f", None);
        let cart = pod(
            "cart-7d9f-x",
            Some(("ReplicaSet", "cart-7d9f")),
            &[("pod-template-hash", "7d9f")],
        );
        check(&cart, &owners, "ReplicaSet/cart-7d9f", false);
    }

    #[test]
    fn name_rules_where_the_owner_is_unknown() {
        let none = Owners::default();
        let hash = &[("pod-template-hash", "7d9f")][..];
        check(
            &pod("c", Some(("ReplicaSet", "cart-7d9f")), hash),
            &none,
            "Deployment/cart",
            true,
        );
        check(
            &pod("c", Some(("ReplicaSet", "cart-7d9f")), &[]),
            &none,
            "ReplicaSet/cart-7d9f",
            false,
        );
        check(
            &pod("c", Some(("Job", "tidy-29012345")), &[]),
            &none,
            "CronJob/tidy",
            true,
        );
        check(
            &pod("c", Some(("Job", "tidy-2901")), &[]),
            &none,
            "Job/tidy-2901",
            false,
        );
        check(
            &pod("db-0", Some(("StatefulSet", "db")), &[]),
            &none,
            "StatefulSet/db",
            false,
        );
        check(
            &pod("cart-7d9f-x2c", None, hash),
            &none,
            "Deployment/cart",
            true,
        );
        let ordinal = &[("statefulset.kubernetes.io/pod-name", "db-0")][..];
        check(&pod("db-0", None, ordinal), &none, "StatefulSet/db", true);
        let rollout = &[("rollouts-pod-template-hash", "5b")][..];
        check(
            &pod("c", Some(("ReplicaSet", "web-5b")), rollout),
            &none,
            "Rollout/web",
            true,
        );
    }

    #[test]
    fn bare_and_static_pods_are_themselves() {
        let none = Owners::default();
        check(&pod("redis-0", None, &[]), &none, "Pod/redis-0", false);
        check(
            &pod("etcd-n1", Some(("Node", "n1")), &[]),
            &none,
            "Pod/etcd-n1",
            false,
        );
    }

    #[test]
    fn a_cycle_ends() {
        let mut owners = Owners::default();
        let job = |name: &str| Owner {
            kind: "Job".into(),
            name: name.into(),
        };
        owners.insert("shop", "Job", "a", Some(job("b")));
        owners.insert("shop", "Job", "b", Some(job("a")));
        assert_eq!(
            workload_of(&pod("c", Some(("Job", "a")), &[]), &owners).kind,
            "Job"
        );
    }
}
