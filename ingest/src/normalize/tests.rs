//! What records mean, and that every format says the same.

use proptest::prelude::*;

use super::*;
use crate::decode::csv::CsvDecoder;
use crate::decode::text::Layout;
use crate::decode::{json, text};

const GOOD: [(Field, &str); 20] = [
    (Field::Version, "1"),
    (Field::AccountId, "1210123456789012"),
    (Field::EniId, "eni-1"),
    (Field::VmId, "i-1"),
    (Field::VswitchId, "vsw-1"),
    (Field::VpcId, "vpc-1"),
    (Field::Protocol, "6"),
    (Field::SrcAddr, "172.31.16.139"),
    (Field::SrcPort, "41332"),
    (Field::DstAddr, "172.31.16.21"),
    (Field::DstPort, "80"),
    (Field::Direction, "out"),
    (Field::Action, "ACCEPT"),
    (Field::Packets, "10"),
    (Field::Bytes, "2048"),
    (Field::Start, "1720775420"),
    (Field::End, "1720775480"),
    (Field::TcpFlags, "27"),
    (Field::LogStatus, "OK"),
    (Field::TrafficPath, "2"),
];

fn record_with<'a>(changes: &[(Field, &'a str)]) -> RawRecord<'a> {
    let mut record = RawRecord::default();
    for (field, value) in GOOD {
        let value = changes
            .iter()
            .find(|(changed, _)| *changed == field)
            .map_or(value, |(_, value)| value);
        record.set(field, Cow::Borrowed(value)).unwrap();
    }
    record
}

#[track_caller]
fn flow_with(changes: &[(Field, &str)]) -> Flow<'static> {
    let record = record_with(changes);
    match normalize(&record) {
        Ok(Entry::Flow(flow)) => Flow {
            eni_id: flow.eni_id.to_owned().leak(),
            vm_id: None,
            vpc_id: None,
            vswitch_id: None,
            account_id: None,
            region: None,
            src_addr: Cow::Owned(flow.src_addr.into_owned()),
            dst_addr: Cow::Owned(flow.dst_addr.into_owned()),
            ..flow
        },
        other => panic!("{changes:?} gave {other:?}"),
    }
}

#[track_caller]
fn check_refused(changes: &[(Field, &str)], reason: &str) {
    let record = record_with(changes);
    match normalize(&record) {
        Err(refused) => assert_eq!(refused.to_string(), reason),
        Ok(entry) => panic!("{changes:?} gave {entry:?}"),
    }
}

#[test]
fn the_good_record() {
    let record = record_with(&[]);
    let Ok(Entry::Flow(flow)) = normalize(&record) else {
        panic!()
    };
    assert_eq!(
        (flow.start_us, flow.end_us),
        (1_720_775_420_000_000, 1_720_775_480_000_000)
    );
    assert_eq!(
        (flow.src_addr.as_ref(), flow.src_port),
        ("172.31.16.139", 41332)
    );
    assert_eq!(
        (flow.protocol, flow.direction, flow.action),
        (6, Direction::Out, Action::Accept)
    );
    assert_eq!((flow.tcp_flags, flow.traffic_path), (Some(27), Some(2)));
    assert_eq!((flow.vm_id, flow.region), (Some("i-1"), None));
}

#[test]
fn what_may_be_absent() {
    let flow = flow_with(&[
        (Field::Version, "-"),
        (Field::EniId, "-"),
        (Field::TcpFlags, "-"),
        (Field::TrafficPath, "-"),
        (Field::LogStatus, "-"),
    ]);
    assert_eq!(
        (flow.eni_id, flow.tcp_flags, flow.traffic_path),
        ("-", None, None)
    );
    for field in [
        Field::SrcAddr,
        Field::DstAddr,
        Field::SrcPort,
        Field::DstPort,
        Field::Protocol,
        Field::Direction,
        Field::Action,
        Field::Packets,
        Field::Bytes,
        Field::Start,
        Field::End,
    ] {
        check_refused(&[(field, "-")], &format!("`{}` is absent", field.name()));
    }
}

#[test]
fn gaps_need_only_their_window() {
    for (status, reason) in [
        ("NODATA", GapReason::NoData),
        ("skipdata", GapReason::SkipData),
    ] {
        let nothing: Vec<_> = GOOD
            .iter()
            .map(|(field, _)| (*field, "-"))
            .filter(|(field, _)| !matches!(field, Field::Start | Field::End | Field::EniId))
            .chain([(Field::LogStatus, status)])
            .rev()
            .collect();
        let record = record_with(&nothing);
        let Ok(Entry::Gap(gap)) = normalize(&record) else {
            panic!("{status}")
        };
        assert_eq!((gap.eni_id, gap.reason), (Some("eni-1"), reason));
        assert_eq!(gap.to_us - gap.from_us, 60_000_000);
    }
    check_refused(
        &[(Field::LogStatus, "NODATA"), (Field::Start, "-")],
        "`start` is absent",
    );
    check_refused(
        &[(Field::LogStatus, "LOST")],
        "`log-status` is `LOST`, not `OK`, `NODATA` or `SKIPDATA`",
    );
}

#[test]
fn addresses_become_canonical() {
    for (text, canonical) in [
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("2001:0db8:0000:0000:0000:0000:0000:0007", "2001:db8::7"),
        ("::ffff:10.0.3.7", "10.0.3.7"),
        ("::ffff:a00:307", "10.0.3.7"),
        ("10.0.3.7", "10.0.3.7"),
    ] {
        let flow = flow_with(&[(Field::SrcAddr, text), (Field::DstAddr, text)]);
        assert_eq!(
            (flow.src_addr.as_ref(), flow.dst_addr.as_ref()),
            (canonical, canonical)
        );
    }
    for text in [
        "10.0.3",
        "10.0.3.007",
        "10.0.3.7/32",
        "fe80::1%eth0",
        "localhost",
        "1.2.3.4.5",
        "::ffff:300.0.0.1",
    ] {
        check_refused(
            &[(Field::SrcAddr, text)],
            &format!("`srcaddr` is `{text}`, not an address"),
        );
    }
    check_refused(
        &[(Field::SrcAddr, "::1")],
        "`srcaddr` and `dstaddr` are of different families",
    );
}

#[test]
fn numbers_have_bounds() {
    assert_eq!(
        flow_with(&[(Field::Bytes, "9223372036854775807")]).bytes,
        i64::MAX
    );
    check_refused(
        &[(Field::Bytes, "9223372036854775808")],
        "`bytes` is `9223372036854775808`, above 9223372036854775807",
    );
    check_refused(
        &[(Field::Packets, "99999999999999999999999")],
        "`packets` is `99999999999999999999999`, above 9223372036854775807",
    );
    assert_eq!(flow_with(&[(Field::DstPort, "65535")]).dst_port, 65535);
    check_refused(
        &[(Field::DstPort, "65536")],
        "`dstport` is `65536`, above 65535",
    );
    check_refused(
        &[(Field::Protocol, "256")],
        "`protocol` is `256`, above 255",
    );
    check_refused(
        &[(Field::TcpFlags, "512")],
        "`tcp-flags` is `512`, above 511",
    );
    for text in ["-1", "+80", "0x50", "80.5", "80.", "1e3", "８０", "", " "] {
        let reason = match text.trim() {
            "" => "`dstport` is absent".to_owned(),
            _ => format!("`dstport` is `{text}`, not a whole number"),
        };
        check_refused(&[(Field::DstPort, text)], &reason);
    }
    assert_eq!(
        flow_with(&[(Field::DstPort, "80.0"), (Field::SrcPort, "0080")]).dst_port,
        80
    );
    let long = "x".repeat(1000);
    let record = record_with(&[(Field::DstPort, &long)]);
    assert!(normalize(&record).unwrap_err().to_string().len() < 200);
}

#[test]
fn times_in_any_unit() {
    for (start, end) in [
        ("1720775420", "1720775480"),
        ("1720775420000", "1720775480000"),
        ("1720775420000000", "1720775480"),
        ("1720775420000000000", "1720775480000000"),
        ("1720775420.0", "1720775480.000"),
    ] {
        let flow = flow_with(&[(Field::Start, start), (Field::End, end)]);
        assert_eq!(
            (flow.start_us, flow.end_us),
            (1_720_775_420_000_000, 1_720_775_480_000_000),
            "{start}"
        );
    }
    assert_eq!(
        flow_with(&[(Field::Start, "1720775420123"), (Field::End, "1720775421")]).start_us,
        1_720_775_420_123_000
    );
    let same = flow_with(&[(Field::End, "1720775420")]);
    assert_eq!(same.start_us, same.end_us);
    check_refused(&[(Field::End, "1720775419")], "`end` is 1 s before `start`");
    check_refused(
        &[(Field::End, "1720865421")],
        "`end` is 90001 s after `start`, longer than any window",
    );
    for text in [
        "0",
        "1",
        "1230767999",
        "4102444800",
        "18446744073709551615",
        "17207754200",
    ] {
        check_refused(
            &[(Field::Start, text)],
            &format!("`start` is `{text}`, no time between 2009 and 2100"),
        );
    }
}

#[test]
fn words_in_any_case() {
    let flow = flow_with(&[
        (Field::Direction, "IN"),
        (Field::Action, "reject"),
        (Field::Protocol, "TCP"),
    ]);
    assert_eq!(
        (flow.direction, flow.action, flow.protocol),
        (Direction::In, Action::Reject, 6)
    );
    check_refused(
        &[(Field::Direction, "inside")],
        "`direction` is `inside`, not `in` or `out`",
    );
    check_refused(
        &[(Field::Action, "DROP")],
        "`action` is `DROP`, not `ACCEPT` or `REJECT`",
    );
}

#[test]
fn icmp_needs_no_ports() {
    for protocol in ["1", "58", "icmp", "47", "0"] {
        let flow = flow_with(&[
            (Field::Protocol, protocol),
            (Field::SrcPort, "-"),
            (Field::DstPort, ""),
        ]);
        assert_eq!((flow.src_port, flow.dst_port), (0, 0));
    }
    assert_eq!(
        flow_with(&[(Field::Protocol, "1"), (Field::DstPort, "8")]).dst_port,
        8
    );
    check_refused(
        &[(Field::Protocol, "17"), (Field::SrcPort, "-")],
        "`srcport` is absent",
    );
}

#[test]
fn paths_by_code_and_by_name() {
    for (text, code) in [
        ("22", Some(22)),
        ("natGateway", Some(7)),
        ("all", None),
        ("somethingNew", None),
        ("-", None),
    ] {
        assert_eq!(
            flow_with(&[(Field::TrafficPath, text)]).traffic_path,
            code,
            "{text}"
        );
    }
}

fn values() -> impl Strategy<Value = Vec<String>> {
    let field = |good: &'static str| prop_oneof![8 => Just(good.to_owned()), 1 => Just("-".to_owned()), 1 => "[0-9]{1,20}", 1 => "[a-zA-Z0-9:._]{1,12}"];
    GOOD.map(|(_, good)| field(good).boxed()).to_vec()
}

proptest! {
    /// The same record means the same, whether it is written as JSON, CSV or text.
    #[test]
    fn every_format_says_the_same(values in values()) {
        let names: Vec<_> = GOOD.iter().map(|(field, _)| field.name()).collect();
        let object: serde_json::Map<_, _> = names.iter().map(|name| (*name).to_owned())
            .zip(values.iter().map(|value| match value.as_str() {
                "-" => serde_json::Value::Null,
                text => text.parse::<u64>().map_or_else(|_| text.into(), |number| if number.to_string() == *text { number.into() } else { text.into() }),
            })).collect();
        let as_json = serde_json::Value::Object(object).to_string();
        let mut csv = CsvDecoder::new(names.join(",").as_bytes()).unwrap();
        let (as_csv, as_text) = (values.join(","), values.join(" "));
        let json = json::record(as_json.as_bytes()).unwrap();
        let csv = csv.record(as_csv.as_bytes()).unwrap();
        let text = text::record(as_text.as_bytes(), &Layout::from_names(&names.join(" ")).unwrap()).unwrap();
        prop_assert_eq!(&json, &csv);
        prop_assert_eq!(&json, &text);
        let _ = normalize(&json);
    }

    #[test]
    fn no_value_panics(value in "\\PC{0,30}|[0-9]{0,40}|[0-9a-f:.]{0,40}", field in prop::sample::select(Field::ALL.to_vec())) {
        let record = record_with(&[(field, &value)]);
        if let Ok(Entry::Flow(flow)) = normalize(&record) {
            prop_assert!(flow.start_us <= flow.end_us && flow.packets >= 0 && flow.bytes >= 0);
            prop_assert!(flow.src_addr.parse::<IpAddr>().is_ok_and(|address| address.to_string() == *flow.src_addr));
        }
    }
}
