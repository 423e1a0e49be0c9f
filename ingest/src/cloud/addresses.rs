//! The addresses that a thing of the cloud holds. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::reply::Kind;

/// An address that a thing holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Canonical text.
    pub addr: String,
    /// The VPC in which it is meant; `None` for public ones.
    pub vpc_id: Option<String>,
}

/// The kind of endpoint that a thing is, and its addresses. Of an interface the first one: what is behind the others
/// of an interface of Terway are pods.
#[must_use]
pub fn addresses(kind: Kind, spec: &Value) -> Option<(&'static str, BTreeSet<Address>)> {
    let vpc = spec.get("VpcId").and_then(Value::as_str).map(str::to_owned);
    let (mut found, mut add) = (BTreeSet::new(), Vec::new());
    match kind {
        Kind::NetworkInterface => add.push((spec.get("PrivateIpAddress"), vpc)),
        Kind::LoadBalancer => {
            let internal = spec.get("AddressType").and_then(Value::as_str) == Some("intranet");
            add.push((spec.get("Address"), vpc.filter(|_| internal)));
        }
        Kind::NatGateway => {
            let lists = spec.pointer("/IpLists/IpList").and_then(Value::as_array);
            for list in lists.into_iter().flatten() {
                add.push((list.get("IpAddress"), None));
                add.push((list.get("PrivateIpAddress"), vpc.clone()));
            }
            add.push((spec.pointer("/NatGatewayPrivateInfo/PrivateIpAddress"), vpc));
        }
        Kind::NetworkLoadBalancer | Kind::ApplicationLoadBalancer => {
            add = of_zones(spec, &vpc);
        }
        _ => return None,
    }
    for (addr, vpc_id) in add {
        let addr = addr
            .and_then(Value::as_str)
            .and_then(|addr| addr.parse::<IpAddr>().ok());
        found.extend(addr.map(|addr| Address {
            addr: addr.to_canonical().to_string(),
            vpc_id,
        }));
    }
    let endpoint = match kind {
        Kind::NetworkInterface => "eni",
        Kind::NatGateway => "nat-gateway",
        _ => "load-balancer",
    };
    Some((endpoint, found))
}

/// The addresses of a load balancer in its zones, each with the VPC where it is a private one: those that clients ask, and those from which an
/// application load balancer asks its servers. IPv6 addresses are unique.
fn of_zones<'s>(spec: &'s Value, vpc: &Option<String>) -> Vec<(Option<&'s Value>, Option<String>)> {
    let list = |value: &'s Value, key: &str| value.get(key).and_then(Value::as_array);
    let internal = spec.get("AddressType").and_then(Value::as_str) == Some("Intranet");
    let zones = list(spec, "ZoneMappings").into_iter().flatten();
    let addresses =
        zones.flat_map(|zone| list(zone, "LoadBalancerAddresses").into_iter().flatten());
    let mut found = Vec::new();
    for address in addresses {
        for private in ["PrivateIPv4Address", "IntranetAddress"] {
            found.push((address.get(private), vpc.clone()));
        }
        found.push((address.get("Address"), vpc.clone().filter(|_| internal)));
        for unique in ["PublicIPv4Address", "Ipv6Address"] {
            found.push((address.get(unique), None));
        }
        let asks = list(address, "Ipv4LocalAddresses").into_iter().flatten();
        found.extend(asks.map(|address| (Some(address), vpc.clone())));
        let asks = list(address, "Ipv6LocalAddresses").into_iter().flatten();
        found.extend(asks.map(|address| (Some(address), None)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::reply;
    use super::*;

    const LISTED: &str = r#"{"LoadBalancers":[{"LoadBalancerId":"alb-1","VpcId":"vpc-1"}]}"#;

    fn network(healthy: &str) -> String {
        format!(
            r#"{{"LoadBalancers":[{{"LoadBalancerId":"nlb-1","VpcId":"vpc-1","AddressType":"Intranet","ZoneMappings":[
            {{"ZoneId":"a","LoadBalancerAddresses":[{{"PrivateIPv4Address":"10.0.0.1","PrivateIPv4HcStatus":"{healthy}"}}]}}]}}]}}"#
        )
    }

    fn application(kind: &str) -> String {
        format!(
            r#"{{"LoadBalancerId":"alb-1","VpcId":"vpc-1","AddressType":"{kind}","ZoneMappings":[
            {{"LoadBalancerAddresses":[{{"Address":"10.0.0.2","IntranetAddress":"10.0.0.3","Ipv6Address":"2001:DB8::2",
            "Ipv4LocalAddresses":["10.0.0.4","10.0.0.5"],"Ipv6LocalAddresses":["2001:db8::3"]}}]}}]}}"#
        )
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, Option<&str>)]) {
        let seen = reply::read([("a.json", text)]);
        assert_eq!((&*seen.problems, seen.objects.len()), (&[][..], 1));
        let ((kind, _), spec) = seen.objects.iter().next().unwrap();
        let (endpoint, found) = addresses(*kind, &serde_json::from_str(spec).unwrap()).unwrap();
        assert_eq!(endpoint, "load-balancer");
        let told: Vec<(&str, Option<&str>)> = found
            .iter()
            .map(|one| (one.addr.as_str(), one.vpc_id.as_deref()))
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn load_balancers_have_addresses_in_zones() {
        let vpc = Some("vpc-1");
        check(&network("Healthy"), &[("10.0.0.1", vpc)]);
        let rest = [
            ("10.0.0.3", vpc),
            ("10.0.0.4", vpc),
            ("10.0.0.5", vpc),
            ("2001:db8::2", None),
            ("2001:db8::3", None),
        ];
        let with = |first| [&[first], &rest[..]].concat();
        check(&application("Intranet"), &with(("10.0.0.2", vpc)));
        check(&application("Internet"), &with(("10.0.0.2", None)));
        let classic = r#"{"LoadBalancers":{"LoadBalancer":[{"LoadBalancerId":"lb-1","Address":"10.0.0.9","AddressType":"intranet","VpcId":"vpc-1"}]}}"#;
        check(classic, &[("10.0.0.9", vpc)]);
    }

    #[test]
    fn whether_they_are_well_is_no_new_version() {
        let objects = |text: &str| reply::read([("a.json", text)]).objects;
        assert_eq!(objects(&network("Healthy")), objects(&network("Unhealthy")));
    }

    #[test]
    fn a_list_without_addresses_is_not_all_there_is() {
        let seen = reply::read([("a.json", LISTED)]);
        assert!(seen.objects.is_empty() && !seen.has_all_balancers());
        assert_eq!((seen.answers, &*seen.problems), (1, &[][..]));
        let both = format!("{LISTED}{}", application("Intranet"));
        assert!(reply::read([("a.json", &*both)]).has_all_balancers());
    }
}
