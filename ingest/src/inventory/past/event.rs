//! Events of Kubernetes, from the event centre or from `kubectl get events`: when Terway gave a pod its address. Pure.
//!
//! The daemon writes `AllocIPSucceed` before any container runs, so the address is the pod's from that time on; the message says
//! which address, in words that differ by version. There is no event for giving an address back. That an event is not there proves nothing:
//! equal ones are merged, and many are dropped.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::entry::time;

const SECOND_US: i64 = 1_000_000;

/// An address was given to a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's uid as the daemon knew it; it looks pods up by name, so it may be that of the next one.
    pub uid: String,
    /// One per family.
    pub addresses: Vec<IpAddr>,
    /// When it was the pod's at the latest, by the node's clock; one or two times, microseconds since the epoch.
    pub at: Vec<i64>,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// An address was given.
    Allocation(Allocation),
    /// Something else.
    Other,
    /// It claims to be an allocation and cannot be read.
    Damaged,
}

/// The event within what it is wrapped in: an entry of the event centre, or a plain object.
#[must_use]
pub fn unwrapped(members: &Map<String, Value>) -> Option<Value> {
    for key in ["eventId", "event_id"] {
        match members.get(key) {
            Some(Value::String(text)) => return serde_json::from_str(text).ok(),
            Some(Value::Object(event)) => return Some(Value::Object(event.clone())),
            _ => {}
        }
    }
    let is_event = members.get("kind").and_then(Value::as_str) == Some("Event");
    is_event.then(|| Value::Object(members.clone()))
}

/// Reads one event.
#[must_use]
pub fn read(event: &Value) -> Said {
    if text(event, "reason") != "AllocIPSucceed" {
        return Said::Other;
    }
    let object = event
        .get("involvedObject")
        .or_else(|| event.get("regarding"));
    let Some(object) = object.filter(|object| text(object, "kind") == "Pod") else {
        return Said::Other;
    };
    let message = match text(event, "message") {
        "" => text(event, "note"),
        message => message,
    };
    // Windows nodes say nothing more.
    if message.is_empty() {
        return Said::Other;
    }
    let combined = message.strip_prefix("(combined from similar events): ");
    let addresses = addresses(combined.unwrap_or(message));
    let at = times(event, combined.is_some());
    let of_pod = |key| text(object, key).to_owned();
    let allocation = Allocation {
        namespace: of_pod("namespace"),
        name: of_pod("name"),
        uid: of_pod("uid"),
        addresses: addresses.unwrap_or_default(),
        at,
    };
    let is_whole = !allocation.addresses.is_empty()
        && !allocation.at.is_empty()
        && !allocation.uid.is_empty()
        && !allocation.name.is_empty();
    if is_whole {
        Said::Allocation(allocation)
    } else {
        Said::Damaged
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// `Alloc IP 10.0.3.127/24 took 35.12ms`, `Alloc IP 10.0.3.127/32-fd00::1/128 for Pod`
fn addresses(message: &str) -> Option<Vec<IpAddr>> {
    let nets = message
        .strip_prefix("Alloc IP ")?
        .split_whitespace()
        .next()?;
    nets.split('-')
        .map(|net| {
            let address = net.split_once('/').map_or(net, |(address, _)| address);
            address
                .parse::<IpAddr>()
                .ok()
                .map(|address| address.to_canonical())
        })
        .collect()
}

/// The first occurrence to the nanosecond is in the event's name, the last to the second beside it.
fn times(event: &Value, is_combined: bool) -> Vec<i64> {
    let metadata = event.get("metadata");
    let name = metadata.map_or("", |metadata| text(metadata, "name"));
    let by = |key| time(text(event, key)).map(|at| at + SECOND_US);
    let exact = time(text(event, "eventTime"));
    let (first, last) = (by("firstTimestamp"), by("lastTimestamp"));
    let named = name.rsplit_once('.').and_then(|(_, hex)| {
        let nanoseconds = i64::from_str_radix(hex, 16).ok()?;
        Some(nanoseconds / 1000)
    });
    // A name that says another time than the event itself is not made in that way.
    let named = named.filter(|named| match first.or(exact) {
        Some(first) => first.saturating_sub(*named).abs() <= 2 * SECOND_US,
        None => false,
    });
    // What was combined says when the last one was, and its message is the last one's.
    let begin = if is_combined {
        None
    } else {
        named.or(exact).or(first)
    };
    let is_later = |last: &i64| begin.is_none_or(|begin| *last - begin > 2 * SECOND_US);
    begin.into_iter().chain(last.filter(is_later)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(message: &str) -> Value {
        json!({
            "metadata": {"name": "web-x2x7k.1857975bf201c8fb", "namespace": "shop"},
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web-x2x7k", "uid": "2a36"},
            "reason": "AllocIPSucceed", "message": message, "source": {"component": "terway-daemon"},
            "firstTimestamp": "2025-08-01T08:30:01Z", "lastTimestamp": "2025-08-01T08:30:01Z", "count": 1, "type": "Normal",
        })
    }

    fn given(event: &Value) -> Allocation {
        match read(event) {
            Said::Allocation(allocation) => allocation,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_version_of_the_message_is_read() {
        for (message, addresses) in [
            ("Alloc IP 10.0.3.127/24 took 35.12ms", "10.0.3.127"),
            ("Alloc IP 10.0.3.127/24 for Pod", "10.0.3.127"),
            ("Alloc IP 10.0.3.127/32", "10.0.3.127"),
            ("Alloc IP fd00:0:0:0::7/128", "fd00::7"),
            (
                "Alloc IP 10.0.3.127/24-fd00::7/64 took 812.3µs",
                "10.0.3.127 fd00::7",
            ),
            (
                "(combined from similar events): Alloc IP 10.0.3.9/24",
                "10.0.3.9",
            ),
        ] {
            let told: Vec<String> = given(&event(message))
                .addresses
                .iter()
                .map(IpAddr::to_string)
                .collect();
            assert_eq!(told.join(" "), addresses, "{message}");
        }
        for message in [
            "Alloc IP",
            "Alloc IP soon",
            "Alloc IP 10.0.3.127/24-",
            "allocated 10.0.3.1",
        ] {
            assert_eq!(read(&event(message)), Said::Damaged, "{message}");
        }
        assert_eq!(read(&event("")), Said::Other);
        let mut other = event("Alloc IP 10.0.3.127/24");
        other["reason"] = "Scheduled".into();
        assert_eq!(read(&other), Said::Other);
    }

    #[test]
    fn the_time_is_in_the_name_unless_that_is_none() {
        let whole = time("2025-08-01T08:30:01Z").unwrap();
        let mut event = event("Alloc IP 10.0.3.127/24");
        let nanoseconds = whole * 1000 + 114_503_000;
        event["metadata"]["name"] = format!("web.{nanoseconds:x}").into();
        assert_eq!(given(&event).at, [whole + 114_503]);
        event["lastTimestamp"] = "2025-08-01T08:40:01Z".into();
        assert_eq!(given(&event).at, [whole + 114_503, whole + 601 * SECOND_US]);
        for name in ["web.5f0c6d1e-6a4f-4c4b-9d0e-0a1b2c3d4e5f", "web", "web.1"] {
            event["metadata"]["name"] = name.into();
            assert_eq!(given(&event).at[0], whole + SECOND_US, "{name}");
        }
        let combined = "(combined from similar events): Alloc IP 10.0.3.9/24";
        event["message"] = combined.into();
        assert_eq!(given(&event).at, [whole + 601 * SECOND_US]);
        event["firstTimestamp"] = Value::Null;
        event["lastTimestamp"] = Value::Null;
        assert_eq!(read(&event), Said::Damaged);
        event["eventTime"] = "2025-08-01T08:30:01.5Z".into();
        event["message"] = "Alloc IP 10.0.3.9/24".into();
        assert_eq!(given(&event).at, [whole + 500_000]);
    }

    #[test]
    fn the_event_centre_wraps_it_in_text() {
        let plain = event("Alloc IP 10.0.3.127/24");
        for key in ["eventId", "event_id"] {
            let entry =
                json!({"level": "Normal", key: serde_json::to_string_pretty(&plain).unwrap()});
            assert_eq!(unwrapped(entry.as_object().unwrap()), Some(plain.clone()));
        }
        assert_eq!(unwrapped(plain.as_object().unwrap()), None);
    }
}
