//! From documents to objects: lists are opened, kinds recognised, the API server's refusals anticipated.

use super::field::{Field, Notes};
use super::metadata::{self, Metadata};
use super::names::{is_dns_label, is_dns_subdomain};
use super::object::{Body, Manifest, Object, Origin};
use super::place::Places;
use super::text::{Lines, Unreadable, documents};
use super::tree::{Value, shorten};
use super::{Cause, Issue, Severity, kinds, names};
use crate::cluster::ServiceAccount;
use crate::dialect::{ack, admin_policy, calico, cilium, network_policy};
use crate::policy;
use crate::terway;

/// Reads Kubernetes objects from `text`: YAML with one or several documents, or JSON values one after the other.
/// `kind: List` and typed lists (`PodList`) are opened, however they nest; `null` counts as absent.
///
/// `file` is the name that origins and issues carry; nothing is opened.
///
/// ```
/// let manifest = flowaudit_rules::kubernetes::read("web.yaml", "
/// apiVersion: v1
/// kind: Pod
/// metadata: {name: web, namespace: shop, labels: {app: web}}
/// ---
/// apiVersion: v1
/// kind: Pod
/// metadata: {name: web, name: again}
/// ");
/// assert_eq!(manifest.objects[0].title(), "Pod shop/web");
/// assert_eq!(manifest.issues[0].to_string(), "web.yaml:8: error: the key `name` is there twice");
/// ```
pub fn read(file: &str, text: &str) -> Manifest {
    let mut manifest = Manifest::default();
    read_documents(file, text, &mut manifest, None);
    manifest
}

/// Reads like [`read`], and tells where in the text each object of [`Manifest::objects`] and its fields stand.
pub fn read_with_places(file: &str, text: &str) -> (Manifest, Vec<Places>) {
    let mut manifest = Manifest::default();
    let mut places = Vec::new();
    read_documents(file, text, &mut manifest, Some(&mut places));
    (manifest, places)
}

fn read_documents(
    file: &str,
    text: &str,
    manifest: &mut Manifest,
    mut places: Option<&mut Vec<Places>>,
) {
    let lines = Lines::new(text);
    documents(&lines, |line, document| match document {
        Ok(document) => {
            let mut reader = Reader {
                file,
                lines: &lines,
                manifest,
                places: places.as_deref_mut(),
            };
            reader.value(&document, line, None);
        }
        Err(reason) => manifest.issues.push(unreadable(file, reason)),
    });
}

/// A document that could not be read, as an issue.
pub(super) fn unreadable(file: &str, reason: Unreadable) -> Issue {
    Issue {
        severity: Severity::Error,
        cause: Cause::Unreadable,
        file: file.to_owned(),
        line: Some(reason.line),
        object: None,
        field: None,
        message: reason.message,
        help: reason.help,
    }
}

/// Takes documents apart into objects.
pub(super) struct Reader<'r> {
    pub(super) file: &'r str,
    pub(super) lines: &'r Lines<'r>,
    pub(super) manifest: &'r mut Manifest,
    /// One for each object of the manifest, where they are wanted.
    pub(super) places: Option<&'r mut Vec<Places>>,
}

/// What the items of a typed list are: they carry neither `apiVersion` nor `kind`.
#[derive(Clone, Copy)]
pub(super) struct Inherited<'a> {
    api_version: Option<&'a str>,
    kind: &'a str,
}

impl Reader<'_> {
    /// Reads one object, list, or sequence of them. `line` is the best that is known of where it stands.
    pub(super) fn value(&mut self, value: &Value<'_>, line: u32, inherited: Option<Inherited<'_>>) {
        let line = self.lines.of_value(value).unwrap_or(line);
        match value {
            Value::Null => {}
            Value::List(items) => {
                for item in items {
                    self.value(item, line, inherited);
                }
            }
            Value::Map(_) => self.map(value, line, inherited),
            other => self.refuse(
                line,
                format!(
                    "not a Kubernetes object but {}",
                    super::field::describe(other)
                ),
            ),
        }
    }

    fn map(&mut self, value: &Value<'_>, line: u32, inherited: Option<Inherited<'_>>) {
        let api_version = value
            .text("apiVersion")
            .or(inherited.and_then(|list| list.api_version));
        let Some(kind) = value.text("kind").or(inherited.map(|list| list.kind)) else {
            match value.get("items") {
                // kubectl sorts its keys: `kind` comes after the items, and a YAML that is cut off reads like a shorter one.
                Some(_) if value.get("apiVersion").is_some() => self.refuse(
                    line,
                    "a list without its `kind`, which stands after the items: it was cut short"
                        .to_owned(),
                ),
                // Some tools write the bare items of a list.
                Some(items) => self.list(items, line, None),
                None => self.refuse(line, "not a Kubernetes object: it has no `kind`".to_owned()),
            }
            return;
        };
        if kind == "Status" && api_version == Some("v1") {
            let said = value.text("message").or(value.text("reason"));
            let said = shorten(said.unwrap_or("no message"));
            return self.refuse(line, format!("the API server refused to answer: {said}"));
        }
        if let Some(item_kind) = kind.strip_suffix("List")
            && (value.get("items").is_some() || is_list_kind(item_kind))
        {
            let inherited = (!item_kind.is_empty()).then_some(Inherited {
                api_version,
                kind: item_kind,
            });
            self.list(value.get("items").unwrap_or(&Value::Null), line, inherited);
            return;
        }
        self.object(value, line, api_version, kind);
    }

    fn list(&mut self, items: &Value<'_>, line: u32, inherited: Option<Inherited<'_>>) {
        if !matches!(items, Value::List(_) | Value::Null) {
            return self.refuse(line, "the `items` of this list are no list".to_owned());
        }
        let (objects, lists) = (self.manifest.objects.len(), self.manifest.lists.len());
        self.value(items, line, inherited);
        // An outer list takes the place of those within it.
        self.manifest.lists.truncate(lists);
        self.manifest
            .lists
            .push(objects..self.manifest.objects.len());
    }

    fn refuse(&mut self, line: u32, message: String) {
        self.manifest.issues.push(Issue {
            severity: Severity::Error,
            cause: Cause::Unreadable,
            file: self.file.to_owned(),
            line: Some(line),
            object: None,
            field: None,
            message,
            help: Some("nothing of it was used; the other documents were".to_owned()),
        });
    }

    fn object(&mut self, value: &Value<'_>, line: u32, api_version: Option<&str>, kind: &str) {
        let root = Field::root(value);
        let fields = root.get("metadata");
        let title = title_of(&fields, kind);
        let mut notes = Notes::new(
            self.file,
            self.lines,
            title,
            line,
            &mut self.manifest.issues,
        );
        let Some(api_version) = api_version.or_else(|| version_of_core(kind)) else {
            let help = "write apiVersion, for instance networking.k8s.io/v1";
            notes.error(
                &root.get("apiVersion"),
                "is missing".to_owned(),
                Some(help.to_owned()),
            );
            return;
        };
        let (group, version) = match api_version.split_once('/') {
            Some((group, version)) if is_dns_subdomain(group) => (group, version),
            Some(_) => ("", ""),
            None => ("", api_version),
        };
        if !is_dns_label(version) || !is_dns_label(&kind.to_ascii_lowercase()) {
            let shown = shorten(api_version);
            let message = format!("`{shown}` with kind `{}` names no API", shorten(kind));
            let help = "write them as `kubectl api-resources` lists them";
            notes.error(&root.get("apiVersion"), message, Some(help.to_owned()));
            return;
        }
        let known = Known::of(group, version, kind);
        let mut common = metadata::read(&fields, &mut notes);
        check_scope(known, &fields, &mut common, &mut notes);
        let body = body(known, group, kind, &common, &root, &mut notes);
        if notes.refused() {
            return;
        }
        if let Some(places) = &mut self.places {
            places.push(match known.is_policy() {
                true => Places::of(value, self.lines, line),
                false => Places::at(line),
            });
        }
        let Metadata {
            name,
            namespace,
            uid,
            generation,
            resource_version,
            created,
            deletion,
            labels,
            labelled: _,
            owner: _,
        } = common;
        self.manifest.objects.push(Object {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            namespace,
            name,
            uid,
            generation,
            resource_version,
            created,
            deletion,
            labels,
            origin: Origin {
                file: self.file.to_owned(),
                line,
            },
            body,
        });
    }
}

/// `Pod shop/web`, as far as it can be told.
fn title_of(metadata: &Field<'_, '_>, kind: &str) -> String {
    let text = |key| match metadata.value() {
        Some(value) => value.text(key).map(|text| shorten(text).into_owned()),
        None => None,
    };
    let kind = shorten(kind);
    match (text("namespace"), text("name")) {
        (Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
        (None, Some(name)) => format!("{kind} {name}"),
        _ => kind.into_owned(),
    }
}

/// The kinds of which we use more than the name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Namespace,
    Node,
    Pod,
    Service,
    Controller,
    NetworkPolicy,
    Admin(policy::Kind),
    AckGlobalNetworkPolicy,
    ServiceAccount,
    /// A kind of Calico; whether it lives in a namespace.
    Calico {
        is_namespaced: bool,
    },
    ConfigMap,
    /// A policy of Cilium; whether it lives in a namespace.
    Cilium {
        is_namespaced: bool,
    },
    CiliumCidrGroup,
    EndpointSlice,
    /// `network.alibabacloud.com` Node, NodeRuntime and PodENI.
    TerwayNode,
    NodeRuntime,
    PodEni,
    /// A policy kind whose meaning is not part of this version.
    UnjudgedPolicy,
    Other,
}

impl Known {
    /// Whether it declares what may connect.
    fn is_policy(self) -> bool {
        !matches!(
            self,
            Self::Namespace
                | Self::Node
                | Self::Pod
                | Self::Service
                | Self::ServiceAccount
                | Self::Controller
                | Self::ConfigMap
                | Self::CiliumCidrGroup
                | Self::EndpointSlice
                | Self::TerwayNode
                | Self::NodeRuntime
                | Self::PodEni
                | Self::Other
        )
    }

    fn of(group: &str, version: &str, kind: &str) -> Self {
        if let ("projectcalico.org", "v3") | ("crd.projectcalico.org", "v1") = (group, version)
            && let Some(is_namespaced) = calico::read::is_namespaced(kind)
        {
            return Self::Calico { is_namespaced };
        }
        match (group, kind) {
            ("", "Namespace") => Self::Namespace,
            ("", "Node") => Self::Node,
            ("", "Pod") => Self::Pod,
            ("", "Service") => Self::Service,
            ("", "ServiceAccount") => Self::ServiceAccount,
            ("", "ConfigMap") => Self::ConfigMap,
            ("networking.k8s.io", "NetworkPolicy") if version == "v1" => Self::NetworkPolicy,
            (
                "" | "apps" | "extensions" | "batch" | "argoproj.io" | "apps.kruise.io",
                "ReplicationController"
                | "ReplicaSet"
                | "Deployment"
                | "StatefulSet"
                | "DaemonSet"
                | "Job"
                | "CronJob"
                | "Rollout"
                | "CloneSet"
                | "AdvancedCronJob"
                | "BroadcastJob",
            ) => Self::Controller,
            ("policy.networking.k8s.io", "AdminNetworkPolicy") if version == "v1alpha1" => {
                Self::Admin(policy::Kind::AdminNetworkPolicy)
            }
            ("policy.networking.k8s.io", "BaselineAdminNetworkPolicy") if version == "v1alpha1" => {
                Self::Admin(policy::Kind::BaselineAdminNetworkPolicy)
            }
            ("policy.networking.k8s.io", "ClusterNetworkPolicy") if version == "v1alpha2" => {
                Self::Admin(policy::Kind::ClusterNetworkPolicy)
            }
            ("network.alibabacloud.com", "GlobalNetworkPolicy") => Self::AckGlobalNetworkPolicy,
            ("network.alibabacloud.com", "Node") => Self::TerwayNode,
            ("network.alibabacloud.com", "NodeRuntime") => Self::NodeRuntime,
            ("network.alibabacloud.com", "PodENI") => Self::PodEni,
            ("discovery.k8s.io", "EndpointSlice") => Self::EndpointSlice,
            ("cilium.io", "CiliumNetworkPolicy") if version == "v2" => Self::Cilium {
                is_namespaced: true,
            },
            ("cilium.io", "CiliumClusterwideNetworkPolicy") if version == "v2" => Self::Cilium {
                is_namespaced: false,
            },
            ("cilium.io", "CiliumCIDRGroup") if matches!(version, "v2" | "v2alpha1") => {
                Self::CiliumCidrGroup
            }
            ("networking.k8s.io" | "extensions", "NetworkPolicy")
            | (
                "policy.networking.k8s.io",
                "AdminNetworkPolicy" | "BaselineAdminNetworkPolicy" | "ClusterNetworkPolicy",
            )
            | (
                "projectcalico.org" | "crd.projectcalico.org",
                "NetworkPolicy"
                | "GlobalNetworkPolicy"
                | "Tier"
                | "HostEndpoint"
                | "NetworkSet"
                | "GlobalNetworkSet",
            )
            | ("cilium.io", "CiliumNetworkPolicy" | "CiliumClusterwideNetworkPolicy")
            | ("network.alibabacloud.com", "TrafficPolicy" | "GlobalTrafficPolicy") => {
                Self::UnjudgedPolicy
            }
            _ => Self::Other,
        }
    }
}

/// Kinds whose typed list is a list even without items.
fn is_list_kind(item_kind: &str) -> bool {
    matches!(
        item_kind,
        "" | "Pod"
            | "Node"
            | "Namespace"
            | "Service"
            | "ServiceAccount"
            | "NetworkPolicy"
            | "AdminNetworkPolicy"
            | "BaselineAdminNetworkPolicy"
            | "ClusterNetworkPolicy"
            | "GlobalNetworkPolicy"
            | "CiliumNetworkPolicy"
            | "CiliumClusterwideNetworkPolicy"
            | "CiliumCIDRGroup"
            | "EndpointSlice"
            | "NodeRuntime"
            | "PodENI"
    ) || calico::read::is_namespaced(item_kind).is_some()
}

/// Kinds that exist in one group only may leave it out: hand-made lists do.
fn version_of_core(kind: &str) -> Option<&'static str> {
    let is_core = matches!(
        kind,
        "Pod" | "Node" | "Namespace" | "Service" | "ServiceAccount"
    );
    is_core.then_some("v1")
}

/// Checks the name, and gives the namespace that the API server would.
fn check_scope(known: Known, fields: &Field<'_, '_>, common: &mut Metadata, notes: &mut Notes<'_>) {
    let name = fields.get("name");
    match known {
        Known::Namespace => metadata::check_name(&name, &common.name, true, notes),
        Known::Other | Known::ConfigMap | Known::UnjudgedPolicy => {}
        _ => metadata::check_name(&name, &common.name, false, notes),
    }
    match known {
        Known::Namespace
        | Known::Node
        | Known::Admin(_)
        | Known::AckGlobalNetworkPolicy
        | Known::CiliumCidrGroup
        | Known::TerwayNode
        | Known::NodeRuntime
        | Known::Cilium {
            is_namespaced: false,
        }
        | Known::Calico {
            is_namespaced: false,
        } => common.namespace = None,
        Known::Other | Known::ConfigMap | Known::UnjudgedPolicy => {}
        _ => {
            let namespace = common.namespace.get_or_insert_with(|| "default".to_owned());
            if !names::is_dns_label(namespace) {
                let namespace = namespace.clone();
                metadata::check_name(&fields.get("namespace"), &namespace, true, notes);
            }
        }
    }
    if known == Known::Namespace {
        common.labels = kinds::namespace(common).labels;
    }
}

fn body(
    known: Known,
    group: &str,
    kind: &str,
    common: &Metadata,
    root: &Field<'_, '_>,
    notes: &mut Notes<'_>,
) -> Body {
    match known {
        Known::Namespace => Body::Namespace(kinds::namespace(common)),
        Known::Node => Body::Node(kinds::node(common, root, notes)),
        Known::Pod => Body::Pod(kinds::pod(common, root, notes)),
        Known::Service => Body::Service(kinds::service(common, root, notes)),
        Known::Controller => Body::Controller(common.owner.clone()),
        Known::ServiceAccount => Body::ServiceAccount(ServiceAccount {
            namespace: common.namespace.clone().unwrap_or_default(),
            name: common.name.clone(),
            labels: common.labels.clone(),
        }),
        Known::Calico { .. } => match calico::read::resource(kind, common, root, notes) {
            Some(resource) => Body::Calico(Box::new(resource)),
            None => Body::Other,
        },
        Known::NetworkPolicy => {
            Body::NetworkPolicy(network_policy::read::network_policy(common, root, notes))
        }
        Known::Admin(kind) => {
            Body::AdminPolicy(admin_policy::read::admin_policy(kind, common, root, notes))
        }
        Known::AckGlobalNetworkPolicy => {
            Body::AckGlobalNetworkPolicy(ack::read::global_network_policy(common, root, notes))
        }
        Known::ConfigMap
            if (common.namespace.as_deref(), common.name.as_str())
                == (Some(terway::CONFIG.0), terway::CONFIG.1) =>
        {
            Body::Terway(terway::read(root, notes))
        }
        Known::Cilium { .. } => Body::Cilium(Box::new(cilium::read::policy(common, root, notes))),
        Known::CiliumCidrGroup => {
            Body::CiliumCidrGroup(cilium::read::cidr_group(common, root, notes))
        }
        Known::EndpointSlice => Body::EndpointSlice(kinds::endpoint_slice(common, root, notes)),
        Known::TerwayNode => Body::TerwayNode(terway::binding::node(root, notes)),
        Known::NodeRuntime => Body::NodeRuntime(terway::binding::node_runtime(root, notes)),
        Known::PodEni => Body::PodEni(terway::binding::pod_eni(root, notes)),
        Known::UnjudgedPolicy => {
            notes.warn_of(
                Cause::NotEvaluated,
                &root.get("kind"),
                format!(
                    "{kind} of `{group}` is not evaluated yet: verdicts it would change are wrong"
                ),
                None,
            );
            Body::Other
        }
        Known::ConfigMap | Known::Other => Body::Other,
    }
}
