//! Log groups by way of prost: what the fake holds was not written by the decoder under test.

use prost::Message;

#[derive(Clone, PartialEq, prost::Message)]
struct Pair {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Log {
    #[prost(uint32, tag = "1")]
    time: u32,
    #[prost(message, repeated, tag = "2")]
    contents: Vec<Pair>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Group {
    #[prost(message, repeated, tag = "1")]
    logs: Vec<Log>,
    #[prost(string, optional, tag = "3")]
    topic: Option<String>,
    #[prost(string, optional, tag = "4")]
    source: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct List {
    #[prost(message, repeated, tag = "1")]
    groups: Vec<Group>,
}

/// A log as the index shows it.
pub(crate) struct Shown {
    pub(crate) time: u32,
    pub(crate) pairs: Vec<(String, String)>,
}

/// The logs of a stored group.
pub(crate) fn logs_of(stored: &[u8]) -> Vec<Shown> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let list = List::decode(stored).unwrap();
    let logs = list.groups.into_iter().flat_map(|group| group.logs);
    logs.map(|log| Shown {
        time: log.time,
        pairs: log
            .contents
            .iter()
            .map(|pair| (text(&pair.key), text(&pair.value)))
            .collect(),
    })
    .collect()
}

/// What a statement leaves of stored groups: the groups that still have logs, and how many logs were there before and are
/// there after.
pub(crate) fn filtered(stored: &[u8], spl: &super::spl::Spl) -> (Vec<u8>, u64, u64, u64) {
    let mut list = List::decode(stored).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let count = |list: &List| {
        list.groups
            .iter()
            .map(|group| group.logs.len() as u64)
            .sum()
    };
    let before = count(&list);
    for group in &mut list.groups {
        let logs = std::mem::take(&mut group.logs).into_iter();
        let left = logs.filter_map(|log| {
            let pairs = log.contents.iter();
            let pairs: Vec<_> = pairs
                .map(|pair| (text(&pair.key), text(&pair.value)))
                .collect();
            let contents = spl.apply(&pairs)?.into_iter().map(|(key, value)| Pair {
                key: key.into_bytes(),
                value: value.into_bytes(),
            });
            let (time, contents) = (log.time, contents.collect());
            Some(Log { time, contents })
        });
        group.logs = left.collect();
    }
    list.groups.retain(|group| !group.logs.is_empty());
    let (groups, after) = (list.groups.len() as u64, count(&list));
    (list.encode_to_vec(), groups, before, after)
}

/// A log group of such records.
pub(crate) fn group(records: &[Vec<(&str, String)>], time: u32) -> Vec<u8> {
    let log = |record: &Vec<(&str, String)>| Log {
        time,
        contents: record
            .iter()
            .map(|(key, value)| Pair {
                key: key.as_bytes().to_vec(),
                value: value.as_bytes().to_vec(),
            })
            .collect(),
    };
    Group {
        logs: records.iter().map(log).collect(),
        topic: Some("flow_log".to_owned()),
        source: Some("log_service".to_owned()),
    }
    .encode_to_vec()
}

/// Start of the window of record 0.
pub(crate) const START: u64 = 1_720_775_420;

/// Record `n` of an endless supply: source port and start tell it from all others.
pub(crate) fn record(n: u64) -> Vec<(&'static str, String)> {
    let (port, start) = (n % 60_000, START + n / 60_000 * 60);
    let text = |text: &str| text.to_owned();
    vec![
        ("version", text("1")),
        ("account-id", text("1210123456789012")),
        ("eni-id", format!("eni-bp166tg9uk1ryf{:06}", n % 7)),
        ("vm-id", text("i-bp13cgxxxxxxxxzs2l")),
        ("vswitch-id", text("vsw-bp16xxxxxxxxwqe6p44")),
        ("vpc-id", text("vpc-bp1cznkxxxxxxxxvv")),
        ("type", text("IPv4")),
        ("protocol", text("6")),
        ("srcaddr", format!("172.31.{}.{}", n / 250 % 16, n % 250)),
        ("srcport", port.to_string()),
        ("dstaddr", format!("172.31.16.{}", n % 100)),
        ("dstport", text("80")),
        ("direction", text("out")),
        ("action", text("ACCEPT")),
        ("packets", (n % 50 + 1).to_string()),
        ("bytes", (n % 5000 + 60).to_string()),
        ("start", start.to_string()),
        ("end", (start + 60).to_string()),
        ("tcp-flags", text("27")),
        ("log-status", text("OK")),
        ("traffic_path", text("2")),
    ]
}

/// Records as log groups of `size` each.
pub(crate) fn groups(range: std::ops::Range<u64>, size: u64) -> Vec<Vec<u8>> {
    let mut groups = Vec::new();
    let mut from = range.start;
    while from < range.end {
        let to = (from + size).min(range.end);
        let records: Vec<_> = (from..to).map(record).collect();
        groups.push(group(&records, (START + from / 60_000 * 60 + 900) as u32));
        from = to;
    }
    groups
}
