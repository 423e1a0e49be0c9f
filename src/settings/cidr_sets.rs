//! `cidr-sets.yaml`: names for ranges of addresses outside the cluster, such as databases, offices and partners.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use flowaudit_analyze::identify::ranges::{CIDR_SET, NamedRange};
use ipnet::IpNet;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::failure::{Failure, Mistake};

/// A longer file is not one.
const BYTES_MAX: u64 = 8 << 20;
/// More ranges are no names any more.
const RANGES_MAX: usize = 100_000;

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sets {
    sets: Vec<Set>,
}

/// One name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Set {
    name: Spanned<String>,
    cidrs: Vec<Spanned<String>>,
    #[serde(default)]
    vpc: Option<String>,
}

/// Reads the file at `path`.
pub(super) fn read(path: &Path) -> Result<Vec<NamedRange>, Failure> {
    let file = path.display().to_string();
    let failed = |source| {
        let error = anyhow::Error::new(source).context(format!("cannot read CIDR sets `{file}`"));
        Failure::usage(error, Some("check the setting `cidr-sets`".to_owned()))
    };
    let mut text = String::new();
    let opened = fs::File::open(path).map_err(failed)?;
    opened
        .take(BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(wrong(&file, 0, "is longer than 8 MiB", "name fewer ranges"));
    }
    parse(&file, &text)
}

/// Reads the text of a file called `file`.
fn parse(file: &str, text: &str) -> Result<Vec<NamedRange>, Failure> {
    let options = serde_saphyr::options! { with_snippet: false };
    let sets: Sets = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        let message = error.to_string().replace('\n', " ");
        let message = message.split(" at line ").next().unwrap_or_default();
        wrong(file, line, message, EXAMPLE)
    })?;
    let mut ranges = Vec::new();
    // Per VPC and range, who has it and on which line.
    let mut taken: HashMap<(Option<String>, IpNet), (String, u64)> = HashMap::new();
    let mut names: HashMap<&str, u64> = HashMap::new();
    for set in &sets.sets {
        let (name, line) = (set.name.value.as_str(), set.name.referenced.line());
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            return Err(wrong(file, line, "a set has no name", EXAMPLE));
        }
        if let Some(first) = names.insert(name, line) {
            let message = format!("the set `{name}` is there already, on line {first}");
            return Err(wrong(file, line, &message, "put its ranges together"));
        }
        for cidr in &set.cidrs {
            let line = cidr.referenced.line();
            let net = range(file, line, &cidr.value)?;
            let place = (set.vpc.clone(), net);
            if let Some((other, first)) = taken.insert(place, (name.to_owned(), line)) {
                let message = format!("`{net}` is in `{other}` already, on line {first}");
                let help = "a range can have one name; a closer range inside it may have another";
                return Err(wrong(file, line, &message, help));
            }
            ranges.push(NamedRange {
                name: name.to_owned(),
                kind: CIDR_SET,
                net,
                vpc: set.vpc.clone(),
            });
        }
        // Inside one set a range that another one covers says nothing: one of the two is a slip.
        for cidr in &set.cidrs {
            let net = range(file, cidr.referenced.line(), &cidr.value)?;
            let mut wider = net.supernet();
            while let Some(around) = wider {
                if let Some((_, first)) = taken
                    .get(&(set.vpc.clone(), around))
                    .filter(|(of, _)| of == name)
                {
                    let message =
                        format!("`{net}` lies in `{around}` of the same set, on line {first}");
                    let line = cidr.referenced.line();
                    return Err(wrong(file, line, &message, "leave one of the two out"));
                }
                wider = around.supernet();
            }
        }
    }
    if ranges.len() > RANGES_MAX {
        let message = format!("{} ranges are more than {RANGES_MAX}", ranges.len());
        return Err(wrong(file, 0, &message, "name wider ranges"));
    }
    Ok(ranges)
}

const EXAMPLE: &str = "write for example `sets: [{name: office, cidrs: [192.0.2.0/24]}]`";

/// A range, or one address.
fn range(file: &str, line: u64, text: &str) -> Result<IpNet, Failure> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let Ok(net) = text.parse::<IpNet>() else {
        let message = format!("`{text}` is no range of addresses");
        return Err(wrong(
            file,
            line,
            &message,
            "write for example `192.0.2.0/24`",
        ));
    };
    if net != net.trunc() {
        let message = format!("`{text}` has bits beyond its prefix");
        let help = format!(
            "write `{}` for the range or `{}` for the one address",
            net.trunc(),
            IpNet::from(net.addr())
        );
        return Err(wrong(file, line, &message, &help));
    }
    Ok(net)
}

fn wrong(file: &str, line: u64, message: &str, help: &str) -> Failure {
    let place = match line {
        0 => file.to_owned(),
        line => format!("{file}:{line}"),
    };
    Failure::usage(
        Mistake(format!("{place}: {message}")),
        Some(help.to_owned()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_ranges_and_addresses() {
        let text = "sets:\n  - name: office\n    cidrs: [192.0.2.0/24, 2001:db8:1::/48]\n  - {name: printer, cidrs: [192.0.2.7], vpc: vpc-1}\n";
        let ranges = parse("cidr-sets.yaml", text).unwrap();
        let shown: Vec<String> = ranges
            .iter()
            .map(|range| format!("{} {} {:?}", range.name, range.net, range.vpc))
            .collect();
        assert_eq!(
            shown,
            [
                "office 192.0.2.0/24 None",
                "office 2001:db8:1::/48 None",
                "printer 192.0.2.7/32 Some(\"vpc-1\")"
            ]
        );
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let failure = parse("cidr-sets.yaml", text).unwrap_err();
        let said = format!("{failure:?}");
        assert!(said.contains(expected), "{said}");
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        refused(
            "sets:\n  - {name: a, cidrs: [10.0.0.5/24]}",
            "cidr-sets.yaml:2: `10.0.0.5/24` has bits beyond its prefix",
        );
        refused(
            "sets:\n  - {name: a, cidrs: [10.0.0.0/24]}\n  - {name: b, cidrs: [10.0.0.0/24]}",
            "cidr-sets.yaml:3: `10.0.0.0/24` is in `a` already, on line 2",
        );
        refused(
            "sets:\n  - name: a\n    cidrs: [10.0.0.0/24]\n  - {name: a, cidrs: []}",
            "cidr-sets.yaml:4: the set `a` is there already, on line 2",
        );
        refused(
            "sets:\n  - name: a\n    cidrs:\n      - 10.0.0.0/8\n      - 10.1.0.0/16",
            "cidr-sets.yaml:5: `10.1.0.0/16` lies in `10.0.0.0/8` of the same set, on line 4",
        );
        refused(
            "sets:\n  - {name: a, cidrs: [ten]}",
            "cidr-sets.yaml:2: `ten` is no range",
        );
        refused(
            "sets:\n  - {name: a, cidr: [10.0.0.0/8]}",
            "cidr-sets.yaml:2: ",
        );
        refused(
            "sets:\n  - {name: '', cidrs: []}",
            "cidr-sets.yaml:2: a set has no name",
        );
    }
}
