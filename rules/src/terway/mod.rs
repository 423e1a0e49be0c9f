//! What enforces policies in an ACK cluster, read from its own configuration (policy-semantics §4.2).
//!
//! Terway is configured by the ConfigMap `kube-system/eni-config`. The data path and the policy provider say which
//! engine there is; `disable_network_policy` switches it off. Nodes whose pods each have an ENI of their own enforce
//! nothing, whatever the ConfigMap says.

pub mod binding;

use serde_json::{Value, json};

use crate::cluster::Node;
use crate::kubernetes::field::{Field, Notes};
use crate::kubernetes::{Body, Object};
use crate::reading::Engine;

pub use binding::{Allocation, Binding, NodeRuntime, PodEni, PodName, TerwayNode};

/// The namespace and name of Terway's ConfigMap.
pub(crate) const CONFIG: (&str, &str) = ("kube-system", "eni-config");

/// The entries of its data that matter here.
pub(crate) const DATA_KEYS: [&str; 3] = [
    "disable_network_policy",
    "10-terway.conf",
    "10-terway.conflist",
];

/// The label that a node of an exclusive-ENI node pool carries from its creation.
const EXCLUSIVE_ENI: (&str, &str) = ("k8s.aliyun.com/exclusive-mode-eni-type", "eniOnly");

/// Terway's configuration, as far as it says what enforces policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terway {
    /// `disable_network_policy`: policies are accepted and not enforced.
    pub is_disabled: bool,
    /// `eniip_virtual_type`, in lower case: `veth`, `ipvlan`, `datapathv2`.
    pub data_path: Option<String>,
    /// `network_policy_provider`, in lower case: `iptables`, `ebpf`.
    pub provider: Option<String>,
}

impl Terway {
    /// What enforces policies; unknown where the configuration has words that the page does not.
    ///
    /// | `eniip_virtual_type` | `network_policy_provider` | |
    /// | --- | --- | --- |
    /// | `Veth` or none | `iptables` or none | Felix |
    /// | `Veth` or none | `ebpf` | Cilium |
    /// | `IPVlan`, `DataPathV2` | any | Cilium |
    pub fn engine(&self) -> Engine {
        if self.is_disabled {
            return Engine::None;
        }
        match (self.data_path.as_deref(), self.provider.as_deref()) {
            (Some("ipvlan" | "datapathv2"), _) | (Some("veth") | None, Some("ebpf")) => {
                Engine::Cilium
            }
            (Some("veth") | None, Some("iptables") | None) => Engine::Felix,
            _ => Engine::Unknown,
        }
    }
}

/// What enforces the policies of the cluster that `objects` describe, if its configuration is among them.
pub fn engine_of(objects: &[Object]) -> Option<Engine> {
    let mut configurations = objects.iter().filter_map(|object| match &object.body {
        Body::Terway(terway) => Some(terway.engine()),
        _ => None,
    });
    configurations.next_back()
}

/// Whether policies are not enforced on this node: each of its pods has an ENI of its own.
pub fn is_exclusive_eni(node: &Node) -> bool {
    let (key, value) = EXCLUSIVE_ENI;
    node.labels.get(key).is_some_and(|label| label == value)
}

/// Reads the ConfigMap. Its parts are JSON within text; one that is not counts as absent and is named.
pub(crate) fn read(root: &Field<'_, '_>, notes: &mut Notes<'_>) -> Terway {
    let data = root.get("data");
    data.expect_map(notes);
    let mut terway = Terway {
        // Terway switches policies off for anything but these words (history 5.3).
        is_disabled: !matches!(
            data.get("disable_network_policy").text(notes),
            None | Some("" | "0" | "false")
        ),
        ..Terway::default()
    };
    for key in ["10-terway.conf", "10-terway.conflist"] {
        let field = data.get(key);
        let Some(text) = field.text(notes) else {
            continue;
        };
        let Ok(conf) = serde_json::from_str::<Value>(text) else {
            let help = "what enforces the policies is not read from it";
            notes.warn(&field, "is not JSON".to_owned(), Some(help.to_owned()));
            continue;
        };
        // A list of plugins, or the one plugin itself.
        let plugins = conf.get("plugins").and_then(Value::as_array);
        let plugins = plugins.map_or(std::slice::from_ref(&conf), Vec::as_slice);
        for plugin in plugins {
            let word = |key| {
                let text = plugin.get(key).and_then(Value::as_str)?;
                (!text.is_empty() && text.len() <= 64).then(|| text.to_ascii_lowercase())
            };
            terway.data_path = terway.data_path.or(word("eniip_virtual_type"));
            terway.provider = terway.provider.or(word("network_policy_provider"));
        }
    }
    terway
}

/// The `data` of the ConfigMap.
pub(crate) fn print(terway: &Terway) -> Value {
    let conf = crate::kubernetes::print::prune(json!({
        "eniip_virtual_type": terway.data_path,
        "network_policy_provider": terway.provider,
    }));
    json!({
        "disable_network_policy": terway.is_disabled.to_string(),
        "10-terway.conf": conf.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes;

    #[track_caller]
    fn check(data: &str, expected: Engine) {
        let text = format!(
            "apiVersion: v1\ndata: {{{data}}}\nkind: ConfigMap\nmetadata: {{name: eni-config, namespace: kube-system}}\n"
        );
        let manifest = kubernetes::read("f", &text);
        assert_eq!(manifest.issues, [], "{text}");
        assert_eq!(engine_of(&manifest.objects), Some(expected), "{text}");
        let printed = manifest.objects.first().map(Object::to_json);
        let again = kubernetes::read("f", &printed.unwrap_or_default());
        assert_eq!(engine_of(&again.objects), Some(expected), "{text}");
    }

    fn conf(fields: &str) -> String {
        format!("10-terway.conf: '{{\"type\": \"terway\"{fields}}}'")
    }

    #[test]
    fn the_table() {
        let path = |path: &str| format!(", \"eniip_virtual_type\": \"{path}\"");
        let provider = |word: &str| format!(", \"network_policy_provider\": \"{word}\"");
        for veth in [String::new(), path("Veth"), path("veth"), path("")] {
            check(&conf(&veth), Engine::Felix);
            check(
                &conf(&(veth.clone() + &provider("iptables"))),
                Engine::Felix,
            );
            check(&conf(&(veth.clone() + &provider("ebpf"))), Engine::Cilium);
            check(&conf(&(veth + &provider("nftables"))), Engine::Unknown);
        }
        for ebpf in ["IPVlan", "datapathv2", "DataPathV2"] {
            check(&conf(&path(ebpf)), Engine::Cilium);
        }
        check(&conf(&path("macvlan")), Engine::Unknown);
        check("", Engine::Felix);
    }

    #[test]
    fn the_switch_is_stronger() {
        let off = "disable_network_policy: \"true\"";
        check(off, Engine::None);
        let ipvlan = conf(", \"eniip_virtual_type\": \"IPVlan\"");
        check(&format!("{off}, {ipvlan}"), Engine::None);
        check("disable_network_policy: \"yes\"", Engine::None);
        for on in ["false", "0", ""] {
            check(&format!("disable_network_policy: \"{on}\""), Engine::Felix);
        }
    }

    #[test]
    fn credentials_in_it_are_not_kept() {
        let text = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: eni-config, namespace: kube-system}\ndata: {eni_conf: '{\"access_key\": \"AKEY\", \"access_secret\": \"ASECRET\"}', disable_network_policy: \"false\"}\n";
        let manifest = kubernetes::read("f", text);
        let kept = format!("{:?} {}", manifest.objects, manifest.objects[0].to_json());
        assert!(
            !kept.contains("AKEY") && !kept.contains("ASECRET"),
            "{kept}"
        );
        assert!(kept.contains("eni-config"));
    }

    #[test]
    fn a_chain_of_plugins() {
        check(
            "10-terway.conflist: '{\"plugins\": [{\"type\": \"terway\", \"eniip_virtual_type\": \"datapathv2\"}, {\"type\": \"cilium-cni\"}]}'",
            Engine::Cilium,
        );
    }

    #[test]
    fn what_is_not_json_is_named_and_other_config_maps_are_nothing() {
        let text = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: eni-config, namespace: kube-system}\ndata: {10-terway.conf: \"{\"}\n";
        let manifest = kubernetes::read("f", text);
        let messages = manifest.issues.iter().map(|issue| issue.message.as_str());
        assert_eq!(messages.collect::<Vec<_>>(), ["is not JSON"]);
        let other = text.replace("kube-system", "default");
        let manifest = kubernetes::read("f", &other);
        assert_eq!(manifest.issues, []);
        assert_eq!(engine_of(&manifest.objects), None);
    }

    #[test]
    fn nodes_of_exclusive_pools() {
        let node = |value: &str| Node {
            labels: [(EXCLUSIVE_ENI.0.to_owned(), value.to_owned())].into(),
            ..Node::default()
        };
        assert!(is_exclusive_eni(&node("eniOnly")));
        assert!(!is_exclusive_eni(&node("default")));
        assert!(!is_exclusive_eni(&Node::default()));
    }
}
