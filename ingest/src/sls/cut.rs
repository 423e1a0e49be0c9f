//! A reply of very many records, cut into parts that are taken over one after the other: a batch may be published between
//! two of them, so that memory does not depend on how many records a reply has. Pure.

use std::ops::Range;

use super::decode::{Malformed, groups, logs};

/// How large a part may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartMax {
    pub(super) records: u64,
    pub(super) bytes: usize,
}

/// Records of one log group that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    /// The number of the log group in its reply.
    pub(super) group: u64,
    /// Where its fields stand in the reply: whole fields of the message, so that they read as a log group.
    pub(super) bytes: Range<usize>,
}

/// Records that are taken over together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) stretches: Vec<Stretch>,
    pub(super) records: u64,
}

impl Part {
    fn push(&mut self, group: u64, bytes: Range<usize>) {
        self.stretches.push(Stretch { group, bytes });
    }
}

/// Cuts a reply, without its first `skip` records. No part is empty.
pub(super) fn cut(list: &[u8], skip: u64, max: PartMax) -> Result<Vec<Part>, Malformed> {
    // Where a slice of the reply ends within it.
    let end = |slice: &[u8]| slice.as_ptr() as usize + slice.len() - list.as_ptr() as usize;
    let (mut parts, mut part, mut part_bytes) = (Vec::new(), Part::default(), 0);
    let mut left = skip;
    for (number, group) in (0..).zip(groups(list)) {
        let group = group?;
        // Of this group, the part has what lies between the two.
        let mut from = end(group) - group.len();
        let mut to = from;
        for log in logs(group) {
            let after = end(log?);
            if left > 0 {
                left -= 1;
                (from, to) = (after, after);
                continue;
            }
            let is_full = part.records >= max.records || part_bytes + (after - from) > max.bytes;
            if is_full && part.records > 0 {
                if from < to {
                    part.push(number, from..to);
                }
                parts.push(std::mem::take(&mut part));
                (from, part_bytes) = (to, 0);
            }
            part.records += 1;
            to = after;
        }
        if from < to {
            part.push(number, from..to);
            part_bytes += to - from;
        }
    }
    if part.records > 0 {
        parts.push(part);
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    #[derive(Clone, PartialEq, prost::Message)]
    struct Log {
        #[prost(uint32, tag = "1")]
        time: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Group {
        #[prost(message, repeated, tag = "1")]
        logs: Vec<Log>,
        #[prost(string, optional, tag = "3")]
        topic: Option<String>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct List {
        #[prost(message, repeated, tag = "1")]
        groups: Vec<Group>,
    }

    proptest! {
        #[test]
        fn every_record_is_in_one_part_and_in_order(
            sizes in proptest::collection::vec(0..9_u32, 0..9), skip in 0..30_u64, records in 1..12_u64, bytes in 1..40_usize,
        ) {
            // Record 0 has no field at all, and so no byte.
            let mut numbers = 0..;
            let group = |size: &u32| Group {
                logs: numbers.by_ref().take(*size as usize).map(|time| Log { time }).collect(),
                topic: Some("t".to_owned()),
            };
            let list = List { groups: sizes.iter().map(group).collect() };
            let bytes_of = list.encode_to_vec();
            let parts = cut(&bytes_of, skip, PartMax { records, bytes }).unwrap();
            let mut found = Vec::new();
            for part in &parts {
                let (before, mut size) = (found.len(), 0);
                for stretch in &part.stretches {
                    let group = &bytes_of[stretch.bytes.clone()];
                    size += group.len();
                    for log in logs(group) {
                        let log = Log::decode(log.unwrap()).unwrap();
                        prop_assert!(list.groups[stretch.group as usize].logs.contains(&log));
                        found.push(log.time);
                    }
                }
                let here = (found.len() - before) as u64;
                prop_assert_eq!(here, part.records);
                prop_assert!((1..=records).contains(&here));
                prop_assert!(size <= bytes || here == 1);
            }
            let expected: Vec<u32> = (0..sizes.iter().sum()).skip(skip as usize).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
