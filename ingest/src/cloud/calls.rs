//! What is asked of the control plane, page by page. The answers are handed on as they are.

use std::collections::BTreeSet;

use serde_json::Value;

use super::client::{Action, Client};
use super::error::{Cause, CloudError};
use super::reply::Kind;

const ECS: (&str, &str) = ("ecs", "2014-05-26");
const VPC: (&str, &str) = ("vpc", "2016-04-28");
const SLB: (&str, &str) = ("slb", "2014-05-15");
const NLB: (&str, &str) = ("nlb", "2022-04-30");
const ALB: (&str, &str) = ("alb", "2020-06-16");

/// More pages than any account fills.
const PAGES_MAX: usize = 2_000;

/// How a list is paged.
#[derive(Debug, Clone, Copy)]
enum Paging {
    /// `MaxResults` at most this, then `NextToken`.
    Token(u32),
    /// `PageSize` at most this, `PageNumber` from 1 on, until `TotalCount` are there.
    Number(u32),
    /// All of it at once.
    Whole,
}

/// A list of one kind.
struct List {
    product: (&'static str, &'static str),
    action: &'static str,
    paging: Paging,
    kind: Kind,
    /// The parameter that chooses a VPC.
    vpc: &'static str,
}

/// In the order in which they are asked for. `DescribeNatGateways`, `DescribeSnatTableEntries` and
/// the load balancers are as their public documentation has them; no account was at hand to try.
const LISTS: [List; 8] = [
    List {
        product: ECS,
        action: "DescribeNetworkInterfaces",
        paging: Paging::Token(500),
        kind: Kind::NetworkInterface,
        vpc: "VpcId",
    },
    List {
        product: ECS,
        action: "DescribeSecurityGroups",
        paging: Paging::Token(100),
        kind: Kind::SecurityGroup,
        vpc: "VpcId",
    },
    List {
        product: VPC,
        action: "DescribeVSwitches",
        paging: Paging::Number(50),
        kind: Kind::VSwitch,
        vpc: "VpcId",
    },
    List {
        product: VPC,
        action: "DescribeFlowLogs",
        paging: Paging::Number(50),
        kind: Kind::FlowLog,
        vpc: "VpcId",
    },
    List {
        product: VPC,
        action: "DescribeNatGateways",
        paging: Paging::Number(50),
        kind: Kind::NatGateway,
        vpc: "VpcId",
    },
    List {
        product: SLB,
        action: "DescribeLoadBalancers",
        paging: Paging::Number(100),
        kind: Kind::LoadBalancer,
        vpc: "VpcId",
    },
    List {
        product: NLB,
        action: "ListLoadBalancers",
        paging: Paging::Token(100),
        kind: Kind::NetworkLoadBalancer,
        vpc: "VpcIds.1",
    },
    List {
        product: ALB,
        action: "ListLoadBalancers",
        paging: Paging::Token(100),
        kind: Kind::ApplicationLoadBalancer,
        vpc: "VpcIds.1",
    },
];

const RULES: Action = action(ECS, "DescribeSecurityGroupAttribute");
const PREFIX_LIST: Action = action(ECS, "DescribePrefixListAttributes");
const PORT_LIST: Action = action(ECS, "DescribePortRangeListEntries");
const SNAT: Action = action(VPC, "DescribeSnatTableEntries");
/// The list of application load balancers does not say their addresses.
const ALB_ADDRESSES: Action = action(ALB, "GetLoadBalancerAttribute");

const fn action(product: (&'static str, &'static str), name: &'static str) -> Action {
    Action {
        product: product.0,
        version: product.1,
        name,
    }
}

/// What was asked for, and what came.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    /// Answers as texts, with the call that each is of.
    pub(super) replies: Vec<(String, String)>,
    /// Kinds of which everything there is came.
    pub(super) whole: BTreeSet<Kind>,
    /// Calls that failed. The others are of use all the same.
    pub(super) failed: Vec<CloudError>,
}

/// Asks for everything, of the whole region or of some VPCs.
pub(super) async fn fetch(client: &Client, vpcs: &[String]) -> Fetched {
    let mut fetched = Fetched::default();
    let vpcs: Vec<Option<&str>> = match vpcs {
        [] => vec![None],
        some => some.iter().map(|vpc| Some(vpc.as_str())).collect(),
    };
    for list in &LISTS {
        let mut whole = vpcs == [None];
        for vpc in &vpcs {
            let own = vpc.map(|vpc| (list.vpc, vpc));
            let done = pages(
                client,
                action(list.product, list.action),
                list.paging,
                own.as_slice(),
                &mut fetched,
            );
            if let Err(error) = done.await {
                fetched.failed.push(error);
                whole = false;
                // What is refused for one VPC is for the next.
                break;
            }
        }
        if whole {
            fetched.whole.insert(list.kind);
        }
    }
    details(client, &mut fetched).await;
    fetched
}

/// What the lists only refer to: rules, prefix lists, port lists, SNAT entries.
async fn details(client: &Client, fetched: &mut Fetched) {
    let named = |fetched: &Fetched, key: &str| -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (_, text) in &fetched.replies {
            if let Ok(value) = serde_json::from_str::<Value>(text) {
                collect(&value, key, &mut found);
            }
        }
        found
    };
    let groups = named(fetched, "SecurityGroupId");
    let rest = [("Direction", "all"), ("NicType", "intranet")];
    each(
        client,
        RULES,
        Paging::Token(1000),
        "SecurityGroupId",
        &groups,
        &rest,
        fetched,
    )
    .await;
    let mut lists = named(fetched, "SourcePrefixListId");
    lists.extend(named(fetched, "DestPrefixListId"));
    each(
        client,
        PREFIX_LIST,
        Paging::Token(100),
        "PrefixListId",
        &lists,
        &[],
        fetched,
    )
    .await;
    let ports = named(fetched, "PortRangeListId");
    each(
        client,
        PORT_LIST,
        Paging::Token(100),
        "PortRangeListId",
        &ports,
        &[],
        fetched,
    )
    .await;
    let mut balancers = named(fetched, "LoadBalancerId");
    balancers.retain(|id| Kind::of_balancer(id) == Kind::ApplicationLoadBalancer);
    each(
        client,
        ALB_ADDRESSES,
        Paging::Whole,
        "LoadBalancerId",
        &balancers,
        &[],
        fetched,
    )
    .await;
    let tables = named(fetched, "SnatTableId");
    if each(
        client,
        SNAT,
        Paging::Number(50),
        "SnatTableId",
        &tables,
        &[],
        fetched,
    )
    .await
        && fetched.whole.contains(&Kind::NatGateway)
    {
        fetched.whole.insert(Kind::SnatEntry);
    }
}

/// The same call for each id; whether all of them came.
async fn each(
    client: &Client,
    action: Action,
    paging: Paging,
    parameter: &str,
    ids: &BTreeSet<String>,
    rest: &[(&str, &str)],
    fetched: &mut Fetched,
) -> bool {
    for id in ids {
        let mut own = vec![(parameter, id.as_str())];
        own.extend(rest);
        let before = fetched.replies.len();
        if let Err(error) = pages(client, action, paging, &own, fetched).await {
            let denied = error.is_denied();
            fetched.failed.push(error);
            if denied {
                return false;
            }
        }
        if action.name == PORT_LIST.name {
            // Its answer does not say which list it is of.
            for (_, text) in fetched.replies.iter_mut().skip(before) {
                if let Ok(Value::Object(mut answer)) = serde_json::from_str(text) {
                    answer.insert(parameter.to_owned(), Value::from(id.as_str()));
                    *text = Value::Object(answer).to_string();
                }
            }
        }
    }
    true
}

async fn pages(
    client: &Client,
    action: Action,
    paging: Paging,
    own: &[(&str, &str)],
    fetched: &mut Fetched,
) -> Result<(), CloudError> {
    let mut token = String::new();
    let mut seen = 0;
    for number in 1..=PAGES_MAX {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let mut parameters = vec![pair("RegionId", client.region())];
        parameters.extend(own.iter().map(|(key, value)| pair(key, value)));
        match paging {
            Paging::Token(most) => {
                parameters.push(pair("MaxResults", &most.to_string()));
                if !token.is_empty() {
                    parameters.push(pair("NextToken", &token));
                }
            }
            Paging::Number(size) => parameters.extend([
                pair("PageNumber", &number.to_string()),
                pair("PageSize", &size.to_string()),
            ]),
            Paging::Whole => {}
        }
        let body = client.call(action, &parameters).await?;
        let garbage = || client.error(action, Cause::Garbage);
        let text = String::from_utf8(body).map_err(|_| garbage())?;
        let answer: Value = serde_json::from_str(&text).map_err(|_| garbage())?;
        if !answer.is_object() {
            return Err(garbage());
        }
        let next = answer.get("NextToken").and_then(Value::as_str);
        let total = answer.get("TotalCount").map(number_of);
        let items = items(&answer);
        seen += items;
        let next = next.unwrap_or_default().to_owned();
        fetched.replies.push((action.name.to_owned(), text));
        let more = match paging {
            Paging::Token(_) => !next.is_empty() && next != token,
            Paging::Number(_) => items > 0 && total.is_some_and(|total| seen < total),
            Paging::Whole => false,
        };
        if !more {
            return Ok(());
        }
        token = next;
    }
    Err(client.error(action, Cause::Endless))
}

/// A number, also one that is written as text.
fn number_of(value: &Value) -> u64 {
    let text = || value.as_str().and_then(|text| text.parse().ok());
    value.as_u64().or_else(text).unwrap_or_default()
}

/// How many items the lists of an answer have: `Xs.X[]`.
fn items(answer: &Value) -> u64 {
    let wrapped = answer
        .as_object()
        .into_iter()
        .flat_map(|answer| answer.values());
    let lists = wrapped
        .filter_map(Value::as_object)
        .flat_map(|wrapper| wrapper.values());
    lists
        .filter_map(Value::as_array)
        .map(|list| list.len() as u64)
        .sum()
}

/// Every text under a key, or in a list under it.
fn collect(value: &Value, key: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == key && !text.is_empty() => {
                        found.insert(text.clone());
                    }
                    Value::Array(texts) if name == key => {
                        let texts = texts.iter().filter_map(Value::as_str);
                        found.extend(texts.filter(|text| !text.is_empty()).map(str::to_owned));
                    }
                    value => collect(value, key, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, key, found)),
        _ => {}
    }
}
