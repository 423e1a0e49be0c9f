//! A control plane on loopback: both signatures verified by code of its own, pages as the API makes them, faults on demand.
//!
//! Held honest by the official SDKs (`tests/cloud_sdks.rs`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::http::{Delivery, Reply, Request, Server, http_date, unescape};

pub(crate) const REGION: &str = "cn-hangzhou";
pub(crate) const KEY_ID: &str = "LTAI5tFakeKeyId000000001";
pub(crate) const SECRET: &str = "fakeSecret00000000000000000000";

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Refused with this status and code.
    Refuse(u16, &'static str),
    /// The connection closes without an answer.
    Drop,
    /// No JSON.
    Html,
}

type Refused = (u16, String, String);

fn refuse<T>(status: u16, code: &str, message: impl Into<String>) -> Result<T, Refused> {
    Err((status, code.to_owned(), message.into()))
}

/// How a list is given out.
#[derive(Clone, Copy)]
enum Paging {
    /// Smallest and largest `MaxResults`.
    Token(usize, usize),
    /// Largest `PageSize`.
    Number(usize),
    /// The answer is the one item.
    Whole,
}

/// Call, version, wrapper, item, paging; and the parameter that chooses, if one must be given.
type List = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Paging,
    Option<&'static str>,
);

const LISTS: [List; 13] = [
    (
        "DescribeNetworkInterfaces",
        "2014-05-26",
        "NetworkInterfaceSets",
        "NetworkInterfaceSet",
        Paging::Token(10, 500),
        None,
    ),
    (
        "DescribeSecurityGroups",
        "2014-05-26",
        "SecurityGroups",
        "SecurityGroup",
        Paging::Token(1, 100),
        None,
    ),
    (
        "DescribeSecurityGroupAttribute",
        "2014-05-26",
        "Permissions",
        "Permission",
        Paging::Token(10, 1000),
        Some("SecurityGroupId"),
    ),
    (
        "DescribePrefixListAttributes",
        "2014-05-26",
        "Entries",
        "Entry",
        Paging::Token(1, 100),
        Some("PrefixListId"),
    ),
    (
        "DescribePortRangeListEntries",
        "2014-05-26",
        "Entries",
        "",
        Paging::Token(1, 100),
        Some("PortRangeListId"),
    ),
    (
        "DescribeVSwitches",
        "2016-04-28",
        "VSwitches",
        "VSwitch",
        Paging::Number(50),
        None,
    ),
    (
        "DescribeFlowLogs",
        "2016-04-28",
        "FlowLogs",
        "FlowLog",
        Paging::Number(50),
        None,
    ),
    (
        "DescribeNatGateways",
        "2016-04-28",
        "NatGateways",
        "NatGateway",
        Paging::Number(50),
        None,
    ),
    (
        "DescribeSnatTableEntries",
        "2016-04-28",
        "SnatTableEntries",
        "SnatTableEntry",
        Paging::Number(50),
        Some("SnatTableId"),
    ),
    (
        "DescribeLoadBalancers",
        "2014-05-15",
        "LoadBalancers",
        "LoadBalancer",
        Paging::Number(100),
        None,
    ),
    (
        "ListLoadBalancers",
        "2022-04-30",
        "LoadBalancers",
        "",
        Paging::Token(1, 100),
        None,
    ),
    (
        "ListLoadBalancers",
        "2020-06-16",
        "LoadBalancers",
        "",
        Paging::Token(1, 100),
        None,
    ),
    (
        "GetLoadBalancerAttribute",
        "2020-06-16",
        "",
        "",
        Paging::Whole,
        Some("LoadBalancerId"),
    ),
];

#[derive(Default)]
pub(crate) struct State {
    /// Items by call, or by call and the value of the parameter that chooses.
    pub(crate) items: BTreeMap<String, Vec<Value>>,
    pub(crate) token: Option<String>,
    pub(crate) ahead: TimeDelta,
    pub(crate) denied: BTreeSet<&'static str>,
    pub(crate) faults: VecDeque<(&'static str, Fault)>,
    pub(crate) calls: Vec<String>,
    nonces: BTreeSet<String>,
}

pub(crate) struct FakeCloud {
    pub(crate) endpoint: String,
    state: Arc<Mutex<State>>,
    _server: Server,
}

impl FakeCloud {
    pub(crate) fn start() -> FakeCloud {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| answer(&shared, &request));
        FakeCloud {
            endpoint: server.endpoint.clone(),
            state,
            _server: server,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn put(&self, call: &str, items: Vec<Value>) {
        self.state().items.insert(call.to_owned(), items);
    }
}

fn answer(state: &Mutex<State>, request: &Request) -> Reply {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Utc::now() + state.ahead;
    let mut parameters = request.parameters();
    if request
        .header("content-type")
        .is_some_and(|kind| kind.contains("form"))
    {
        let form = Request {
            query: String::from_utf8_lossy(&request.body).into_owned(),
            ..request.clone()
        };
        parameters.extend(form.parameters());
    }
    let of = |name: &str| parameters.get(name).cloned();
    let call = request
        .header("x-acs-action")
        .map(str::to_owned)
        .or(of("Action"))
        .unwrap_or_default();
    let version = request
        .header("x-acs-version")
        .map(str::to_owned)
        .or(of("Version"))
        .unwrap_or_default();
    state.calls.push(call.clone());
    let fault = state
        .faults
        .iter()
        .position(|(of, _)| *of == call || of.is_empty());
    let fault = fault
        .and_then(|at| state.faults.remove(at))
        .map(|(_, fault)| fault);
    let done = match fault {
        Some(Fault::Drop) => {
            return Reply {
                delivery: Delivery::Never,
                ..Reply::default()
            };
        }
        Some(Fault::Html) => return Reply::new(200, "<html>welcome</html>"),
        Some(Fault::Refuse(status, code)) => refuse(status, code, "as was asked for"),
        None => verify(request, &parameters, &mut state, now)
            .and_then(|()| give(&state, &call, &version, &parameters)),
    };
    let reply = done.map_or_else(
        |(status, code, message)| {
            let body =
                json!({"RequestId": "6F2B", "HostId": "ecs", "Code": code, "Message": message});
            Reply::new(status, body.to_string())
        },
        |value| Reply::new(200, value.to_string()),
    );
    reply
        .header("content-type", "application/json")
        .header("date", http_date(now))
}

fn give(
    state: &State,
    call: &str,
    version: &str,
    parameters: &BTreeMap<String, String>,
) -> Result<Value, Refused> {
    let mut known = LISTS.iter().filter(|list| list.0 == call).peekable();
    if known.peek().is_none() {
        return refuse(404, "InvalidAction.NotFound", "Specified api is not found");
    }
    let Some((_, of, wrapper, item, paging, chosen)) = known.find(|list| list.1 == version) else {
        return refuse(
            400,
            "InvalidVersion",
            "Specified parameter Version is not valid.",
        );
    };
    if parameters.get("RegionId").map(String::as_str) != Some(REGION) {
        return refuse(
            404,
            "InvalidRegionId.NotFound",
            "The RegionId provided does not exist.",
        );
    }
    if state.denied.contains(call) {
        return refuse(
            403,
            "Forbidden.RAM",
            "User not authorized to operate on the specified resource.",
        );
    }
    let key = match chosen {
        None if call == "ListLoadBalancers" => format!("{call}/{of}"),
        None => call.to_owned(),
        Some(chosen) => match parameters.get(*chosen) {
            Some(value) => format!("{call}/{value}"),
            None => return refuse(400, "MissingParameter", format!("{chosen} is missing")),
        },
    };
    let mut items = state.items.get(&key).cloned().unwrap_or_default();
    let vpc = parameters.get("VpcId");
    if let Some(vpc) = vpc.or(parameters.get("VpcIds.1")) {
        items.retain(|item| item["VpcId"] == vpc.as_str());
    }
    let number = |name: &str, absent: usize| {
        let number = parameters
            .get(name)
            .map_or(Some(absent), |text| text.parse().ok());
        number.ok_or((400, "InvalidParameter".to_owned(), name.to_owned()))
    };
    let mut answer = Map::new();
    let page: Vec<Value> = match *paging {
        Paging::Token(least, most) => {
            let size = number("MaxResults", 10)?;
            if !(least..=most).contains(&size) {
                return refuse(400, "InvalidParameter.MaxResults", "out of range");
            }
            let from = match parameters.get("NextToken") {
                None => 0,
                Some(token) => match token.strip_prefix("t/+=").and_then(|at| at.parse().ok()) {
                    Some(at) => at,
                    None => return refuse(400, "InvalidParameter.NextToken", token),
                },
            };
            let next = from + size;
            let token = if next < items.len() {
                format!("t/+={next}")
            } else {
                String::new()
            };
            answer.insert("NextToken".to_owned(), token.into());
            items.into_iter().skip(from).take(size).collect()
        }
        Paging::Whole => {
            let mut whole = items.into_iter().next().unwrap_or_default();
            whole["RequestId"] = "6F2B".into();
            return Ok(whole);
        }
        Paging::Number(most) => {
            let (page, size) = (number("PageNumber", 1)?, number("PageSize", 10)?);
            if page == 0 || !(1..=most).contains(&size) {
                return refuse(400, "InvalidParameter", "PageSize");
            }
            // As text, as some products write it.
            answer.insert("TotalCount".to_owned(), items.len().to_string().into());
            items
                .into_iter()
                .skip((page - 1) * size)
                .take(size)
                .collect()
        }
    };
    answer.insert("RequestId".to_owned(), "6F2B".into());
    if let Some(chosen @ ("SecurityGroupId" | "PrefixListId")) = *chosen {
        answer.insert(chosen.to_owned(), parameters[chosen].clone().into());
    }
    if call == "DescribeSecurityGroupAttribute" {
        answer.insert("InnerAccessPolicy".to_owned(), "Accept".into());
    }
    let list = match *item {
        "" => Value::Array(page),
        item => json!({ item: page }),
    };
    answer.insert((*wrapper).to_owned(), list);
    Ok(Value::Object(answer))
}

fn verify(
    request: &Request,
    parameters: &BTreeMap<String, String>,
    state: &mut State,
    now: DateTime<Utc>,
) -> Result<(), Refused> {
    let wrong = |what: &str| {
        let message = format!("Specified signature is not matched with our calculation: {what}");
        (400, "SignatureDoesNotMatch".to_owned(), message)
    };
    let header = |name: &str| request.header(name).unwrap_or_default();
    let text = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
    // The older SDK names the action in a header too.
    let is_acs3 = header("authorization").starts_with("ACS3-");
    let (id, token, date, nonce) = match is_acs3 {
        true => {
            let rest = header("authorization").strip_prefix("ACS3-HMAC-SHA256 Credential=");
            let rest = rest.ok_or_else(|| wrong("authorization"))?;
            let (id, rest) = rest
                .split_once(",SignedHeaders=")
                .ok_or_else(|| wrong("form"))?;
            let (names, signature) = rest
                .split_once(",Signature=")
                .ok_or_else(|| wrong("form"))?;
            if header("x-acs-content-sha256") != hex(&Sha256::digest(&request.body)) {
                return Err(wrong("body"));
            }
            let names: Vec<&str> = names.split(';').collect();
            let needed = request
                .headers
                .keys()
                .filter(|name| *name == "host" || name.starts_with("x-acs-"));
            if let Some(name) = needed
                .into_iter()
                .find(|name| !names.contains(&name.as_str()))
            {
                return Err(wrong(name));
            }
            if acs3(request, &names) != signature {
                return Err(wrong("ACS3"));
            }
            (
                id,
                header("x-acs-security-token"),
                header("x-acs-date"),
                header("x-acs-signature-nonce"),
            )
        }
        false => {
            if v1(request, parameters) != text("Signature") {
                return Err(wrong("v1"));
            }
            (
                text("AccessKeyId"),
                text("SecurityToken"),
                text("Timestamp"),
                text("SignatureNonce"),
            )
        }
    };
    if id != KEY_ID {
        return refuse(
            404,
            "InvalidAccessKeyId.NotFound",
            "Specified access key is not found.",
        );
    }
    if token != state.token.as_deref().unwrap_or_default() {
        return refuse(
            400,
            "InvalidSecurityToken.Expired",
            "Specified SecurityToken is expired.",
        );
    }
    let date = date.parse::<DateTime<Utc>>();
    let date = date.map_err(|_| (400, "InvalidTimeStamp.Format".to_owned(), String::new()))?;
    if (date - now).num_minutes().abs() > 15 {
        return refuse(
            400,
            "InvalidTimeStamp.Expired",
            "Specified time stamp or date value is expired.",
        );
    }
    match state.nonces.insert(nonce.to_owned()) && nonce.len() >= 16 {
        true => Ok(()),
        false => refuse(
            400,
            "SignatureNonceUsed",
            "Specified signature nonce was used already.",
        ),
    }
}

fn acs3(request: &Request, names: &[&str]) -> String {
    let pairs = request
        .query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(key), unescape(&value.replace('+', "%20")))
        });
    let sorted: BTreeMap<String, String> = pairs.collect();
    let query: Vec<String> = sorted
        .iter()
        .map(|(key, value)| format!("{key}={}", quoted(value)))
        .collect();
    let lines: String = names
        .iter()
        .map(|name| {
            format!(
                "{name}:{}\n",
                request.header(name).unwrap_or_default().trim()
            )
        })
        .collect();
    let canonical = format!(
        "{}\n/\n{}\n{lines}\n{}\n{}",
        request.method,
        query.join("&"),
        names.join(";"),
        hex(&Sha256::digest(&request.body)),
    );
    let text = format!("ACS3-HMAC-SHA256\n{}", hex(&Sha256::digest(canonical)));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    hex(&mac.finalize().into_bytes())
}

fn v1(request: &Request, parameters: &BTreeMap<String, String>) -> String {
    let signed = parameters.iter().filter(|(key, _)| *key != "Signature");
    let pairs: Vec<String> = signed
        .map(|(key, value)| format!("{}={}", quoted(key), quoted(value)))
        .collect();
    let text = format!("{}&%2F&{}", request.method, quoted(&pairs.join("&")));
    let mut mac = Hmac::<Sha1>::new_from_slice(format!("{SECRET}&").as_bytes()).unwrap();
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn quoted(text: &str) -> String {
    let byte = |byte: u8| match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
