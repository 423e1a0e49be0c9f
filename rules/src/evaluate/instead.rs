//! What an end has instead of what a rule demands of it: `the client has app=cart and is in namespace dev`.

use super::case::{End, Who};
use super::words;
use crate::cluster::{Cluster, Labels, NAME_LABEL};
use crate::policy::{Direction, Policy, Rule};

/// What the peers of one rule speak of, found once.
#[derive(Debug)]
pub(crate) struct Instead {
    role: &'static str,
    /// The policy's.
    namespace: Option<String>,
    speaks_of: words::Spoken,
    /// Labels of pods.
    of_pods: Vec<String>,
    /// Labels of namespaces other than their name.
    of_namespaces: Vec<String>,
    names_namespaces: bool,
    of_accounts: bool,
}

impl Instead {
    /// What the peers of `rule` speak of.
    pub(super) fn of(direction: Direction, policy: &Policy, rule: &Rule) -> Self {
        let keys = words::keys(rule);
        let owned = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        let unnamed: Vec<&str> = keys
            .of_namespaces
            .iter()
            .copied()
            .filter(|key| *key != NAME_LABEL)
            .collect();
        Self {
            role: match direction {
                Direction::Ingress => "client",
                Direction::Egress => "server",
            },
            namespace: policy.id.namespace.clone(),
            speaks_of: words::spoken_of(rule),
            of_pods: owned(&keys.of_pods),
            of_namespaces: owned(&unnamed),
            names_namespaces: !keys.of_namespaces.is_empty(),
            of_accounts: keys.of_accounts,
        }
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let keys = self.of_pods.iter().chain(&self.of_namespaces);
        let texts = keys.chain(&self.namespace);
        texts
            .map(|text| text.capacity() + size_of::<String>())
            .sum::<usize>()
            + size_of::<Self>()
    }

    /// Appends what `other` has of that.
    pub(super) fn write(&self, other: &End<'_>, cluster: &Cluster, text: &mut String) {
        push(text, &["the ", self.role]);
        let pod = match other.who {
            Who::Pod(pod) => pod,
            Who::HostPod(_) => {
                return push(text, &[" ", &other.name(), " uses its node's network"]);
            }
            Who::External => return push(text, &[" is ", &other.name()]),
            Who::Node(_) | Who::Service(_) => {
                return push(text, &[" is ", &other.name(), " and no pod"]);
            }
        };
        if self.speaks_of.addresses && !self.speaks_of.others {
            match other.address {
                Some(address) => push(text, &[" has the address ", &address.to_string()]),
                None => {
                    text.truncate(text.len() - "the ".len() - self.role.len());
                    push(text, &["the address of the ", self.role, " is not known"]);
                }
            }
            return;
        }
        let mut joint = " ";
        if self.of_accounts {
            let account = pod.service_account.as_deref().unwrap_or("default");
            push(text, &[joint, "uses service account ", account]);
            joint = " and ";
        }
        if !self.of_pods.is_empty() {
            push(text, &[joint, "has "]);
            push_labels(text, &pod.labels, &self.of_pods);
            joint = " and ";
        }
        // A policy without a namespace speaks of namespaces only where it names their labels.
        let is_elsewhere = self
            .namespace
            .as_ref()
            .is_some_and(|namespace| pod.namespace != *namespace);
        if is_elsewhere || self.names_namespaces {
            push(text, &[joint, "is in namespace ", &pod.namespace]);
            joint = " and ";
            if !self.of_namespaces.is_empty()
                && let Some(namespace) = cluster.namespace(&pod.namespace)
            {
                text.push_str(" with ");
                push_labels(text, &namespace.labels, &self.of_namespaces);
            }
        }
        if let (true, Some(address)) = (self.speaks_of.addresses, other.address) {
            push(text, &[joint, "has the address ", &address.to_string()]);
            joint = " and ";
        }
        if joint == " " {
            push(text, &[joint, "is ", &other.name()]);
        }
    }
}

fn push(text: &mut String, parts: &[&str]) {
    for part in parts {
        text.push_str(part);
    }
}

/// Those of `labels` whose keys are spoken of: `app=cart`, or `no app`.
fn push_labels(text: &mut String, labels: &Labels, keys: &[String]) {
    for (index, key) in keys.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        match labels.get(key) {
            Some(value) => push(text, &[key, "=", value]),
            None => push(text, &["no ", key]),
        }
    }
}
