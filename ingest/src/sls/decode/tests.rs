//! The walk against the vectors of the Python SDK, and against prost.

use proptest::prelude::*;
use prost::Message;

use super::*;

/// The messages as prost sees them, with values as bytes.
mod oracle {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Pair {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) key: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) value: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Log {
        #[prost(uint32, tag = "1")]
        pub(super) time: u32,
        #[prost(message, repeated, tag = "2")]
        pub(super) contents: Vec<Pair>,
        #[prost(fixed32, optional, tag = "4")]
        pub(super) time_ns: Option<u32>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Group {
        #[prost(message, repeated, tag = "1")]
        pub(super) logs: Vec<Log>,
        #[prost(bytes = "vec", optional, tag = "2")]
        pub(super) category: Option<Vec<u8>>,
        #[prost(bytes = "vec", optional, tag = "3")]
        pub(super) topic: Option<Vec<u8>>,
        #[prost(bytes = "vec", optional, tag = "4")]
        pub(super) source: Option<Vec<u8>>,
        #[prost(bytes = "vec", optional, tag = "5")]
        pub(super) machine: Option<Vec<u8>>,
        #[prost(message, repeated, tag = "6")]
        pub(super) tags: Vec<Pair>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct List {
        #[prost(message, repeated, tag = "1")]
        pub(super) groups: Vec<Group>,
    }
}

const P1: &str = "0a7f0a4608b8e6c3b40612180a0773726361646472120d3137322e33312e31362e313339120d0a07647374706f72741202383012100a06616374696f6e12064143434550542515cd5b071a08666c6f775f6c6f67220b6c6f675f73657276696365321e0a105f5f726563656976655f74696d655f5f120a31373230373735343930";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Every log of a reply as its pairs; what the walk says.
fn walked(list: &[u8]) -> Result<Vec<Vec<Pairs>>, Malformed> {
    let pair = |pair: Result<(&[u8], &[u8]), _>| pair.map(|(k, v)| (k.to_vec(), v.to_vec()));
    groups(list)
        .map(|group| {
            logs(group?)
                .map(|log| contents(log?).map(pair).collect())
                .collect()
        })
        .collect()
}

/// The same from prost.
fn expected(list: &oracle::List) -> Vec<Vec<Pairs>> {
    let pairs = |log: &oracle::Log| {
        let pair = |pair: &oracle::Pair| (pair.key.clone(), pair.value.clone());
        log.contents.iter().map(pair).collect()
    };
    let logs = |group: &oracle::Group| group.logs.iter().map(pairs).collect();
    list.groups.iter().map(logs).collect()
}

#[test]
fn the_message_of_the_python_sdk() {
    let list = bytes(P1);
    assert_eq!(list.len(), 129);
    assert_eq!(check(&list), Ok(Tally { groups: 1, logs: 1 }));
    let group = groups(&list).next().unwrap().unwrap();
    let log = logs(group).next().unwrap().unwrap();
    let read = record(log).unwrap();
    assert_eq!(read.get(Field::SrcAddr), Some("172.31.16.139"));
    assert_eq!(read.get(Field::DstPort), Some("80"));
    assert_eq!(read.get(Field::Action), Some("ACCEPT"));
    assert_eq!(read.len(), 3);
    assert_eq!(
        to_json(log, 4096),
        r#"{"srcaddr":"172.31.16.139","dstport":"80","action":"ACCEPT"}"#
    );
    assert_eq!(to_json(log, 8), r#"{"srcaddr":"172.31.1"}"#);
    assert_eq!(
        walked(&list).unwrap(),
        expected(&oracle::List::decode(list.as_slice()).unwrap())
    );
}

#[test]
fn every_cut_of_a_reply_is_noticed_or_ends_between_groups() {
    let list = bytes(P1).repeat(2);
    for cut in 0..list.len() {
        let whole = cut == 0 || cut == list.len() / 2;
        assert_eq!(check(&list[..cut]).is_ok(), whole, "{cut}");
    }
}

fn record(log: &[u8]) -> Result<RawRecord<'_>, NotARecord> {
    LogDecoder::default().record(log).cloned()
}

fn log(pairs: &[(&str, &[u8])]) -> Vec<u8> {
    let contents = pairs.iter().map(|(key, value)| oracle::Pair {
        key: key.as_bytes().to_vec(),
        value: value.to_vec(),
    });
    oracle::Log {
        time: 1,
        contents: contents.collect(),
        time_ns: None,
    }
    .encode_to_vec()
}

#[test]
fn bytes_that_are_no_text_cost_their_record_only_where_they_are_needed() {
    let unknown = log(&[("note", b"\xff"), ("srcaddr", b"10.0.0.1")]);
    let read = record(&unknown).unwrap();
    assert_eq!(read.get(Field::SrcAddr), Some("10.0.0.1"));
    let known = log(&[("note", b"x"), ("srcaddr", b"10.\xff")]);
    assert_eq!(record(&known), Err(Unreadable::NotUtf8 { at: 3 }.into()));
    let foreign = log(&[("message", b"hello")]);
    assert_eq!(record(&foreign), Err(Unreadable::NoField.into()));
    let twice = log(&[("srcaddr", b"10.0.0.1"), ("src_addr", b"10.0.0.2")]);
    assert!(record(&twice).is_err());
}

#[test]
fn a_group_of_the_old_wire_format_is_skipped() {
    // Field 9: a group with a varint, a nested group and bytes.
    let inner: &[u8] = &[0x4b, 0x08, 0x01, 0x53, 0x54, 0x12, 0x01, b'x', 0x4c];
    let list = [inner, &bytes(P1)].concat();
    assert_eq!(check(&list).unwrap().logs, 1);
    assert_eq!(check(&[0x4b; 300]), Err(Malformed::Tag));
    assert_eq!(check(&[0x4b, 0x54]), Err(Malformed::Tag));
}

fn any_pair() -> impl Strategy<Value = oracle::Pair> {
    let key = prop_oneof![
        Just(b"srcaddr".to_vec()),
        Just(b"dstport".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..9),
    ];
    (key, proptest::collection::vec(any::<u8>(), 0..200))
        .prop_map(|(key, value)| oracle::Pair { key, value })
}

fn any_list() -> impl Strategy<Value = oracle::List> {
    let text = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9));
    let log = (
        any::<u32>(),
        proptest::collection::vec(any_pair(), 0..6),
        any::<Option<u32>>(),
    )
        .prop_map(|(time, contents, time_ns)| oracle::Log {
            time,
            contents,
            time_ns,
        });
    let group = (
        proptest::collection::vec(log, 0..5),
        text(),
        text(),
        proptest::collection::vec(any_pair(), 0..3),
    )
        .prop_map(|(logs, topic, source, tags)| oracle::Group {
            logs,
            topic,
            source,
            tags,
            ..oracle::Group::default()
        });
    proptest::collection::vec(group, 0..5).prop_map(|groups| oracle::List { groups })
}

proptest! {
    #[test]
    fn the_walk_sees_what_prost_sees(list in any_list()) {
        let bytes = list.encode_to_vec();
        let tally = check(&bytes).unwrap();
        prop_assert_eq!(tally.groups, list.groups.len() as u64);
        prop_assert_eq!(tally.logs, list.groups.iter().map(|group| group.logs.len() as u64).sum::<u64>());
        prop_assert_eq!(walked(&bytes).unwrap(), expected(&list));
    }

    /// Damage: flipped, inserted and cut bytes. Both accept the same, and see the same in it.
    #[test]
    fn damage_is_refused_where_prost_refuses_it(
        list in any_list(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let mut bytes = list.encode_to_vec();
        if !bytes.is_empty() {
            for (at, byte) in flips {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
        }
        match oracle::List::decode(bytes.as_slice()) {
            Ok(list) => {
                prop_assert!(check(&bytes).is_ok());
                prop_assert_eq!(walked(&bytes).unwrap(), expected(&list));
            }
            Err(error) => prop_assert!(check(&bytes).is_err(), "{}", error),
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = check(&bytes);
        let _ = walked(&bytes);
        let _ = LogDecoder::default().record(&bytes);
        let _ = to_json(&bytes, 64);
    }
}

/// Logs like those before them, but for one thing.
#[test]
fn the_log_before_makes_no_difference() {
    let usual: [(&str, &[u8]); 5] = [
        ("eni-id", b"eni-1"),
        ("srcaddr", b"10.0.0.1"),
        ("note", b"a"),
        ("dstport", b"80"),
        ("region", b"-"),
    ];
    let with = |at: usize, pair: (&'static str, &'static [u8])| {
        let mut pairs = usual;
        pairs[at] = pair;
        log(&pairs)
    };
    let long = "1".repeat(200).into_bytes();
    let mut long_value = usual;
    long_value[3].1 = &long;
    let mut time_ns = oracle::Log::decode(log(&usual).as_slice()).unwrap();
    time_ns.time_ns = Some(7);
    let two_pairs = [log(&usual), log(&usual[..1])].concat();
    let logs = [
        log(&usual),
        log(&usual),
        with(1, ("srcaddr", b"10.0.0.22")),
        with(3, ("dstport", b"-")),
        with(3, ("dstport", b" 443 ")),
        with(2, ("note", b"\xff")),
        with(1, ("srcaddr", b"\xff")),
        log(&usual),
        with(3, ("srcport", b"80")),
        log(&usual[1..]),
        log(&usual),
        log(&usual[..4]),
        log(&long_value),
        log(&usual),
        time_ns.encode_to_vec(),
        with(3, ("src_addr", b"10.0.0.2")),
        with(3, ("src_addr", b"10.0.0.1")),
        with(1, ("srcaddr", b"10.0.0.2")),
        log(&[("message", b"hello")]),
        two_pairs,
        log(&usual),
        Vec::new(),
        log(&usual),
    ];
    for first in &logs {
        for second in &logs {
            let mut decoder = LogDecoder::default();
            let read = [first, second].map(|log| decoder.record(log).cloned());
            assert_eq!(read, [first, second].map(|log| record(log)));
        }
    }
    let mut decoder = LogDecoder::default();
    for log in &logs {
        assert_eq!(decoder.record(log).cloned(), record(log));
    }
}
