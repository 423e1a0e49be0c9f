//! Answers of the control plane → what there is, each thing as canonical JSON. Pure.
//!
//! Of each thing the fields are kept that say what it is and what it does; what changes by itself is left out, and lists
//! are sorted, so that nothing is a new version that says the same. Security groups, prefix lists and port lists are read by
//! [`flowaudit_rules::security_group`] and written as it prints them.

use std::collections::{BTreeMap, BTreeSet};

use flowaudit_rules::kubernetes::{Issue, Severity};
use flowaudit_rules::security_group::{self, SecurityGroups};
use serde_json::{Map, Value};

use crate::source::Problem;

/// No id of the API is longer.
const ID_LENGTH_MAX: usize = 256;

/// What kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An elastic network interface.
    NetworkInterface,
    /// A security group with its rules.
    SecurityGroup,
    /// The address blocks that rules refer to.
    PrefixList,
    /// The ports that rules refer to.
    PortRangeList,
    /// A vSwitch.
    VSwitch,
    /// A flow log of the VPC.
    FlowLog,
    /// A NAT gateway.
    NatGateway,
    /// One rule of a NAT gateway for connections outwards.
    SnatEntry,
    /// A load balancer (CLB).
    LoadBalancer,
    /// A network load balancer (NLB).
    NetworkLoadBalancer,
    /// An application load balancer (ALB).
    ApplicationLoadBalancer,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 11] = [
        Kind::NetworkInterface,
        Kind::SecurityGroup,
        Kind::PrefixList,
        Kind::PortRangeList,
        Kind::VSwitch,
        Kind::FlowLog,
        Kind::NatGateway,
        Kind::SnatEntry,
        Kind::LoadBalancer,
        Kind::NetworkLoadBalancer,
        Kind::ApplicationLoadBalancer,
    ];

    /// As the lake calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::NetworkInterface => "NetworkInterface",
            Kind::SecurityGroup => "SecurityGroup",
            Kind::PrefixList => "PrefixList",
            Kind::PortRangeList => "PortRangeList",
            Kind::VSwitch => "VSwitch",
            Kind::FlowLog => "FlowLog",
            Kind::NatGateway => "NatGateway",
            Kind::SnatEntry => "SnatEntry",
            Kind::LoadBalancer => "LoadBalancer",
            Kind::NetworkLoadBalancer => "NetworkLoadBalancer",
            Kind::ApplicationLoadBalancer => "ApplicationLoadBalancer",
        }
    }

    /// The kind of load balancer that has an id.
    #[must_use]
    pub(super) fn of_balancer(id: &str) -> Kind {
        match id.split('-').next() {
            Some("nlb") => Kind::NetworkLoadBalancer,
            Some("alb") => Kind::ApplicationLoadBalancer,
            _ => Kind::LoadBalancer,
        }
    }

    /// The product, in the place of an API group.
    #[must_use]
    pub fn group(self) -> &'static str {
        match self {
            Kind::NetworkInterface
            | Kind::SecurityGroup
            | Kind::PrefixList
            | Kind::PortRangeList => "ecs.aliyuncs.com",
            Kind::VSwitch | Kind::FlowLog | Kind::NatGateway | Kind::SnatEntry => {
                "vpc.aliyuncs.com"
            }
            Kind::LoadBalancer => "slb.aliyuncs.com",
            Kind::NetworkLoadBalancer => "nlb.aliyuncs.com",
            Kind::ApplicationLoadBalancer => "alb.aliyuncs.com",
        }
    }

    /// The kind that is written so.
    #[must_use]
    pub fn from_text(group: &str, kind: &str) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .find(|known| known.as_str() == kind && known.group() == group)
    }
}

/// Lists that are taken as they are: wrapper, item, kind, and the fields that are kept, the id first.
const LISTS: [(&str, &str, Kind, &[&str]); 6] = [
    (
        "NetworkInterfaceSets",
        "NetworkInterfaceSet",
        Kind::NetworkInterface,
        &[
            "NetworkInterfaceId",
            "NetworkInterfaceName",
            "InstanceId",
            "Type",
            "Status",
            "VpcId",
            "VSwitchId",
            "ZoneId",
            "PrivateIpAddress",
            "PrivateIpSets",
            "Ipv6Sets",
            "Ipv4PrefixSets",
            "Ipv6PrefixSets",
            "SecurityGroupIds",
            "AssociatedPublicIp",
            "Attachment",
            "ServiceManaged",
            "Description",
            "Tags",
            "CreationTime",
        ],
    ),
    (
        "VSwitches",
        "VSwitch",
        Kind::VSwitch,
        &[
            "VSwitchId",
            "VSwitchName",
            "VpcId",
            "CidrBlock",
            "Ipv6CidrBlock",
            "ZoneId",
            "Status",
            "CreationTime",
        ],
    ),
    (
        "FlowLogs",
        "FlowLog",
        Kind::FlowLog,
        &[
            "FlowLogId",
            "FlowLogName",
            "ResourceType",
            "ResourceId",
            "TrafficType",
            "TrafficPath",
            "AggregationInterval",
            "IpVersion",
            "ProjectName",
            "LogStoreName",
            "Status",
            "BusinessStatus",
            "ServiceType",
            "FlowLogDeliverStatus",
            "FlowLogDeliverErrorMessage",
            "LogFormat",
            "RegionId",
            "CreationTime",
        ],
    ),
    (
        "NatGateways",
        "NatGateway",
        Kind::NatGateway,
        &[
            "NatGatewayId",
            "Name",
            "VpcId",
            "NatType",
            "NetworkType",
            "Status",
            "IpLists",
            "NatGatewayPrivateInfo",
            "SnatTableIds",
            "CreationTime",
        ],
    ),
    (
        "SnatTableEntries",
        "SnatTableEntry",
        Kind::SnatEntry,
        &[
            "SnatEntryId",
            "SnatEntryName",
            "SnatTableId",
            "SnatIp",
            "SourceCIDR",
            "SourceVSwitchId",
            "NatGatewayId",
            "Status",
        ],
    ),
    (
        "LoadBalancers",
        "LoadBalancer",
        Kind::LoadBalancer,
        &[
            "LoadBalancerId",
            "LoadBalancerName",
            "Address",
            "AddressType",
            "AddressIPVersion",
            "VpcId",
            "VSwitchId",
            "NetworkType",
            "LoadBalancerStatus",
            "RegionId",
            "CreateTime",
        ],
    ),
];

/// What is kept of a network or application load balancer, which has addresses in several zones; the id first.
const ZONED: [&str; 13] = [
    "LoadBalancerId",
    "LoadBalancerName",
    "LoadBalancerEdition",
    "LoadBalancerStatus",
    "AddressType",
    "AddressIpVersion",
    "Ipv6AddressType",
    "DNSName",
    "VpcId",
    "ZoneMappings",
    "SecurityGroupIds",
    "RegionId",
    "CreateTime",
];

/// Whether a target of a load balancer is well comes and goes; keys of that end so.
const HEALTH: &str = "HcStatus";

/// Answers that `rules` reads.
const OF_SECURITY_GROUPS: [&str; 5] = [
    "SecurityGroups",
    "Permissions",
    "PrefixListId",
    "PortRangeListId",
    "Entries",
];

/// What the answers held.
#[derive(Debug, Default)]
pub struct Seen {
    /// By kind and id, as canonical JSON.
    pub objects: BTreeMap<(Kind, String), String>,
    /// Ids of security groups that were listed.
    pub listed_groups: BTreeSet<String>,
    /// Ids of application load balancers that were listed.
    pub listed_balancers: BTreeSet<String>,
    /// Answers that were used.
    pub answers: u64,
    /// What could not be used of whole texts.
    pub problems: Vec<Problem>,
    /// What could not be understood of security groups.
    pub issues: Vec<Issue>,
}

/// Reads texts of one answer or several, one after the other or in a list, each with the name that problems carry.
#[must_use]
pub fn read<'t>(texts: impl IntoIterator<Item = (&'t str, &'t str)>) -> Seen {
    let mut seen = Seen::default();
    let mut of_groups = Vec::new();
    for (name, text) in texts {
        for answer in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
            match answer {
                Ok(answer) => seen.take(name, answer, &mut of_groups),
                Err(error) => {
                    let message = format!("is no JSON from line {} on", error.line());
                    let help = "save answers as the API gives them, one after the other";
                    seen.problems.push(Problem::failed(name, message, help));
                    break;
                }
            }
        }
    }
    let texts = of_groups
        .iter()
        .map(|(name, text): &(String, String)| (name.as_str(), text.as_str()));
    let manifest = security_group::read(texts);
    seen.issues = manifest.issues;
    let SecurityGroups {
        groups,
        prefix_lists,
        port_lists,
    } = manifest.groups;
    for (id, group) in groups {
        let one = SecurityGroups {
            groups: [(id.clone(), group)].into(),
            ..SecurityGroups::default()
        };
        seen.objects
            .insert((Kind::SecurityGroup, id), one.to_json());
    }
    for (id, blocks) in prefix_lists {
        let one = SecurityGroups {
            prefix_lists: [(id.clone(), blocks)].into(),
            ..SecurityGroups::default()
        };
        seen.objects.insert((Kind::PrefixList, id), one.to_json());
    }
    for (id, ranges) in port_lists {
        let one = SecurityGroups {
            port_lists: [(id.clone(), ranges)].into(),
            ..SecurityGroups::default()
        };
        seen.objects
            .insert((Kind::PortRangeList, id), one.to_json());
    }
    seen
}

impl Seen {
    /// Whether the rules of every group that was listed are there.
    #[must_use]
    pub fn has_all_groups(&self) -> bool {
        let has = |id: &String| {
            self.objects
                .contains_key(&(Kind::SecurityGroup, id.clone()))
        };
        let errors = self
            .issues
            .iter()
            .any(|issue| issue.severity == Severity::Error);
        !errors && self.listed_groups.iter().all(has)
    }

    /// Whether the addresses of every application load balancer that was listed are there.
    #[must_use]
    pub fn has_all_balancers(&self) -> bool {
        let has = |id: &String| {
            let key = (Kind::ApplicationLoadBalancer, id.clone());
            self.objects.contains_key(&key)
        };
        self.listed_balancers.iter().all(has)
    }

    /// Of these kinds what is missing is not surely gone.
    pub fn keep_sure(&self, whole: &mut BTreeSet<Kind>) {
        if !self.has_all_groups() {
            whole.remove(&Kind::SecurityGroup);
        }
        if !self.has_all_balancers() {
            whole.remove(&Kind::ApplicationLoadBalancer);
        }
    }

    fn take(&mut self, name: &str, answer: Value, of_groups: &mut Vec<(String, String)>) {
        let fields = match answer {
            Value::Array(answers) => {
                for answer in answers {
                    self.take(name, answer, of_groups);
                }
                return;
            }
            Value::Object(fields) => fields,
            _ => {
                let message = "holds something that is no answer of the API";
                let help = "save answers as the API gives them, one after the other";
                return self.problems.push(Problem::failed(name, message, help));
            }
        };
        let mut used = false;
        for (wrapper, item, kind, keep) in LISTS {
            let Some(list) = fields.get(wrapper) else {
                continue;
            };
            used = true;
            // Not double-wrapped by every tool.
            let items = list.get(item).or(Some(list)).and_then(Value::as_array);
            for item in items.into_iter().flatten() {
                match kind {
                    Kind::LoadBalancer => self.balancer(name, keep, item),
                    kind => self.item(name, kind, keep, item),
                }
            }
        }
        // One load balancer, asked for by its id.
        if fields.contains_key("LoadBalancerId") && fields.contains_key("ZoneMappings") {
            used = true;
            self.balancer(name, &[], &Value::Object(fields.clone()));
        }
        if OF_SECURITY_GROUPS
            .iter()
            .any(|key| fields.contains_key(*key))
        {
            used = true;
            let listed = fields
                .get("SecurityGroups")
                .and_then(|groups| groups.get("SecurityGroup"));
            for group in listed.and_then(Value::as_array).into_iter().flatten() {
                let id = group.get("SecurityGroupId").and_then(Value::as_str);
                self.listed_groups.extend(id.map(str::to_owned));
            }
            of_groups.push((name.to_owned(), Value::Object(fields.clone()).to_string()));
        }
        self.answers += u64::from(used);
        if used {
            return;
        }
        let text = |key: &str| fields.get(key).and_then(Value::as_str);
        match text("Code").filter(|_| fields.contains_key("Message")) {
            Some(code) => {
                let code: String = code.chars().take(100).collect();
                let help = "grant what is missing, or put the cause right, and ask again";
                let message = format!("holds a refusal, `{code}`");
                self.problems.push(Problem::failed(name, message, help));
            }
            None => self.problems.push(Problem::note(
                name,
                "holds an answer of which nothing is used",
            )),
        }
    }

    /// A load balancer of any kind: their lists have the same name.
    fn balancer(&mut self, name: &str, classic: &[&str], item: &Value) {
        let id = item.get("LoadBalancerId").and_then(Value::as_str);
        match id.map(Kind::of_balancer) {
            Some(Kind::ApplicationLoadBalancer) if item.get("ZoneMappings").is_none() => {
                self.listed_balancers.extend(id.map(str::to_owned));
            }
            None | Some(Kind::LoadBalancer) => {
                self.item(name, Kind::LoadBalancer, classic, item);
            }
            Some(kind) => self.item(name, kind, &ZONED, item),
        }
    }

    fn item(&mut self, name: &str, kind: Kind, keep: &[&str], item: &Value) {
        let id = keep
            .first()
            .and_then(|key| item.get(*key))
            .and_then(Value::as_str);
        let Some(id) = id.filter(|id| !id.is_empty() && id.len() <= ID_LENGTH_MAX) else {
            let message = format!("holds a {} without an id", kind.as_str());
            let help = "save answers as the API gives them";
            return self.problems.push(Problem::failed(name, message, help));
        };
        let kept: Map<String, Value> = keep
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), canonical(item.get(*key)?)?)))
            .collect();
        let spec = canonical(&Value::Object(kept)).unwrap_or_default();
        self.objects.insert((kind, id.to_owned()), spec.to_string());
    }
}

/// The value with its keys and lists in order and without what is empty.
fn canonical(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().filter_map(canonical).collect();
            items.sort_by_cached_key(Value::to_string);
            (!items.is_empty()).then_some(Value::Array(items))
        }
        Value::Object(fields) => {
            let fields: BTreeMap<&String, Value> = fields
                .iter()
                .filter(|(key, _)| !key.ends_with(HEALTH))
                .filter_map(|(key, value)| Some((key, canonical(value)?)))
                .collect();
            let fields: Map<String, Value> = fields
                .into_iter()
                .map(|(key, value)| (key.clone(), value))
                .collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
        other => Some(other.clone()),
    }
}
