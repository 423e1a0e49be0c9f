//! Raw records, with any text in any field: line n of the input is the value of field n.
#![no_main]

use std::borrow::Cow;

use flowaudit_fuzz::record;
use flowaudit_ingest::decode::{Field, RawRecord};
use flowaudit_ingest::normalize::{Entry, normalize};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut raw = RawRecord::default();
    for (field, value) in Field::ALL.into_iter().zip(text.split('\n')) {
        raw.set(field, Cow::Borrowed(value))
            .expect("every field is set once");
    }
    let Ok(entry) = normalize(&raw) else { return };
    let printed = printed(&entry);
    let printed = record(&printed);
    assert_eq!(normalize(&printed), Ok(entry));
});

/// The entry as a record whose texts are canonical, times in microseconds.
fn printed(entry: &Entry<'_>) -> Vec<(Field, String)> {
    let some = |field, value: Option<&str>| value.map(|value| (field, value.to_owned()));
    match entry {
        Entry::Gap(gap) => [
            some(Field::EniId, gap.eni_id),
            Some((Field::Start, gap.from_us.to_string())),
            Some((Field::End, gap.to_us.to_string())),
            some(Field::LogStatus, Some(gap.reason.as_str())),
        ]
        .into_iter()
        .flatten()
        .collect(),
        Entry::Flow(flow) => {
            assert!(flow.end_us >= flow.start_us && flow.packets >= 0 && flow.bytes >= 0);
            [
                some(Field::AccountId, flow.account_id),
                some(Field::EniId, Some(flow.eni_id)),
                some(Field::VmId, flow.vm_id),
                some(Field::VswitchId, flow.vswitch_id),
                some(Field::VpcId, flow.vpc_id),
                some(Field::Region, flow.region),
                Some((Field::Protocol, flow.protocol.to_string())),
                some(Field::SrcAddr, Some(&flow.src_addr)),
                Some((Field::SrcPort, flow.src_port.to_string())),
                some(Field::DstAddr, Some(&flow.dst_addr)),
                Some((Field::DstPort, flow.dst_port.to_string())),
                some(Field::Direction, Some(flow.direction.as_str())),
                some(Field::Action, Some(flow.action.as_str())),
                Some((Field::Packets, flow.packets.to_string())),
                Some((Field::Bytes, flow.bytes.to_string())),
                Some((Field::Start, flow.start_us.to_string())),
                Some((Field::End, flow.end_us.to_string())),
                flow.tcp_flags
                    .map(|flags| (Field::TcpFlags, flags.to_string())),
                flow.traffic_path
                    .map(|path| (Field::TrafficPath, path.to_string())),
            ]
            .into_iter()
            .flatten()
            .collect()
        }
    }
}
