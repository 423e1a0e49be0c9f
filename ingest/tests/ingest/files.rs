//! The file source over real files: what people have lying around, and what happens to files over time.

use std::path::Path;

use crate::common::{Place, check_once, gzip, json, lines};
use flowaudit_ingest::decode::text::Layout;
use flowaudit_ingest::{Counts, Settings};

fn counts(records: u64, flows: u64, gaps: u64, rejects: u64, duplicates: u64) -> Counts {
    Counts {
        records,
        flows,
        gaps,
        rejects,
        duplicates,
    }
}

#[test]
fn every_form_of_the_same_records_is_recognised_and_told_apart_from_new_ones() {
    let place = Place::new();
    let records = lines(0..50);
    let as_list = format!(
        "[\n{}\n]\n",
        (0..50).map(json).collect::<Vec<_>>().join(",\n")
    );
    let names = "version account-id eni-id srcaddr srcport dstaddr dstport protocol direction action packets bytes start end tcp-flags log-status";
    let rows: Vec<Vec<String>> = (0..50)
        .map(|n| {
            let object: serde_json::Value = serde_json::from_str(&json(n)).unwrap();
            names
                .split(' ')
                .map(|name| object[name].as_str().unwrap().to_owned())
                .collect()
        })
        .collect();
    let csv = |separator: &str, ending: &str| {
        let mut text = format!(
            "\u{feff}{}{ending}",
            names.replace('-', "_").replace(' ', separator)
        );
        rows.iter()
            .for_each(|row| text.push_str(&(row.join(separator) + ending)));
        text
    };
    let files = [
        place.file("a.jsonl", &records),
        place.file(
            "b.jsonl.gz",
            [gzip(&records[..1000]), gzip(&records[1000..])].concat(),
        ),
        place.file(
            "c.jsonl.zst",
            zstd::encode_all(records.as_bytes(), 1).unwrap(),
        ),
        place.file("d.json", as_list),
        place.file("e.csv", csv(",", "\r\n")),
        place.file("f.tsv", csv("\t", "\n")),
        place.file("g.txt", csv(" ", "\n")),
        place.file(
            "h.jsonl",
            records
                .replace("\"eni-id\"", "\"eniId\"")
                .replace("\"srcaddr\"", "\"SrcAddr\""),
        ),
        place.file("i.jsonl", records.trim_end()),
    ];
    let paths: Vec<&Path> = files.iter().map(|path| path.as_path()).collect();
    let summary = place.ingest(&paths);
    assert_eq!(summary.problems, []);
    assert_eq!(summary.counts, counts(450, 50, 0, 0, 400));
    check_once(&place.flows(), 0..50);
    // A new process knows only the lake, and each file is recognised by itself.
    let again = Place {
        lake: flowaudit_lake::Lake::open(place.path("lake")).unwrap(),
        ..place
    };
    assert_eq!(again.ingest(&paths).unchanged, 9);
    let copy = again.file("copy.jsonl", lines(25..75));
    assert_eq!(again.ingest(&[&copy]).counts, counts(50, 25, 0, 0, 25));
    check_once(&again.flows(), 0..75);
}

#[test]
fn the_documented_order_and_a_given_one() {
    let place = Place::new();
    let official = place.file("vpc.log", "1 1210 eni-1 i-1 vsw-1 vpc-1 6 10.0.0.1 1 10.0.0.2 80 out ACCEPT 10 2048 1720775420 1720775480 27 OK 2\n\
        1 1210 eni-1 i-1 vsw-1 vpc-1 - - - - - - - - - 1720775420 1720775480 - SKIPDATA -\n");
    let other = place.file(
        "other.log",
        "10.0.0.1 2 10.0.0.2 80 6 out ACCEPT 1 2 1720775420 1720775480\n",
    );
    assert_eq!(
        place.problems(&place.ingest(&[&official, &other])),
        ["`other.log` is not a flow log: no line in its first 62 bytes is a record or a header"]
    );
    assert_eq!(place.gaps().len(), 1);
    let fields = Layout::from_names(
        "srcaddr srcport dstaddr dstport protocol direction action packets bytes start end",
    );
    let summary = place
        .ingest_with(
            &[&other],
            &Settings {
                fields,
                ..Settings::default()
            },
        )
        .unwrap();
    assert_eq!(summary.counts.flows, 1);
    assert_eq!(place.flows().len(), 2);
}

#[test]
fn a_growing_file_is_read_on_and_a_replaced_one_anew() {
    let place = Place::new();
    let path = place.file("flow.log", lines(0..10));
    assert_eq!(place.ingest(&[&path]).counts.flows, 10);
    assert_eq!(place.ingest(&[&path]).unchanged, 1);
    place.append("flow.log", lines(10..15));
    assert_eq!(place.ingest(&[&path]).counts, counts(5, 5, 0, 0, 0));
    // Rotated away, and a new one in its place that is longer.
    place.file("flow.log", lines(15..40));
    assert_eq!(place.ingest(&[&path]).counts, counts(25, 25, 0, 0, 0));
    place.append("flow.log", lines(40..41));
    assert_eq!(place.ingest(&[&path]).counts, counts(1, 1, 0, 0, 0));
    // And one that is shorter.
    place.file("flow.log", lines(41..43));
    assert_eq!(place.ingest(&[&path]).counts, counts(2, 2, 0, 0, 0));
    check_once(&place.flows(), 0..43);
}

#[test]
fn a_file_with_the_same_head_but_another_middle_is_another_file() {
    let place = Place::new();
    let head = lines(0..20);
    let path = place.file("flow.log", format!("{head}{}", lines(20..30)));
    place.ingest(&[&path]);
    place.file("flow.log", format!("{head}{}", lines(30..50)));
    assert_eq!(place.ingest(&[&path]).counts, counts(40, 20, 0, 0, 20));
    check_once(&place.flows(), 0..50);
}

#[test]
fn a_file_that_was_cut_is_left_alone() {
    let place = Place::new();
    let whole = lines(0..30);
    for (name, packed) in [("plain.log", false), ("packed.log.gz", true)] {
        let bytes = if packed {
            gzip(&whole)
        } else {
            whole.clone().into_bytes()
        };
        let path = place.file(name, &bytes);
        place.ingest(&[&path]);
        place.file(name, &bytes[..bytes.len() / 2]);
        let summary = place.ingest(&[&path]);
        assert!(summary.has_failures());
        assert_eq!(summary.counts.records, 0);
        let half = bytes.len() / 2;
        let expected = format!(
            "`{name}` has {half} bytes now, and had {} when it was last read; it was left alone",
            bytes.len()
        );
        assert_eq!(place.problems(&summary), [expected]);
    }
    check_once(&place.flows(), 0..30);
}

#[test]
fn a_packed_file_that_grows_by_members_is_read_on() {
    let place = Place::new();
    let path = place.file("flow.gz", gzip(lines(0..30)));
    place.ingest(&[&path]);
    place.append("flow.gz", gzip(lines(30..40)));
    assert_eq!(place.ingest(&[&path]).counts, counts(10, 10, 0, 0, 0));
    check_once(&place.flows(), 0..40);
}

#[test]
fn a_cut_stream_gives_its_whole_records_and_the_rest_later() {
    let place = Place::new();
    let good = place.file("z-good.log", lines(5000..5010));
    for (name, first) in [("cut.gz", 0), ("cut.zst", 2500)] {
        let text = lines(first..first + 2500);
        let whole = if name.ends_with("gz") {
            gzip(&text)
        } else {
            zstd::encode_all(text.as_bytes(), 1).unwrap()
        };
        let path = place.file(name, &whole[..whole.len() * 2 / 3]);
        let summary = place.ingest(&[&path, &good]);
        assert!(summary.counts.flows > 100, "{:?}", summary.counts);
        assert_eq!(summary.counts.rejects, 0);
        let problem = &place.problems(&summary)[0];
        let kind = if name.ends_with("gz") { "gzip" } else { "zstd" };
        assert!(
            problem.starts_with(&format!("`{name}` is cut off: its {kind} data ends after ")),
            "{problem}"
        );
        // Still cut: said again, nothing doubled.
        let again = place.ingest(&[&path]);
        assert_eq!((again.counts.records, again.problems.len()), (0, 1));
        place.file(name, &whole);
        let summary = place.ingest(&[&path]);
        assert_eq!((summary.problems.len(), summary.counts.duplicates), (0, 0));
    }
    check_once(&place.flows(), 0..5010);
}

#[test]
fn a_damaged_stream_is_told_from_a_cut_one() {
    let place = Place::new();
    let mut bytes = gzip(lines(0..2000));
    let middle = bytes.len() / 2;
    bytes[middle..middle + 200].fill(0xff);
    let path = place.file("damaged.gz", bytes);
    let summary = place.ingest(&[&path]);
    assert!(
        place.problems(&summary)[0]
            .starts_with("`damaged.gz` is damaged: its gzip data ends after")
    );
    let zeros = place.file(
        "padded.gz",
        [gzip(lines(2000..2010)), vec![0; 512]].concat(),
    );
    assert_eq!(place.ingest(&[&zeros]).counts.flows, 10);
}

#[test]
fn a_last_line_without_end() {
    let place = Place::new();
    let (json_log, csv) = (
        lines(0..3),
        "start,end,eni-id,srcaddr,srcport,dstaddr,dstport,protocol,direction,action,packets,bytes\n\
        1720775420,1720775480,eni-1,10.0.0.1,100,10.0.0.2,80,6,out,ACCEPT,1,40\n\
        1720775420,1720775480,eni-1,10.0.0.1,101,10.0.0.2,80,6,out,ACCEPT,1,40",
    );
    // A closed object is whole.
    let path = place.file("a.jsonl", json_log.trim_end());
    assert_eq!(place.ingest(&[&path]).counts.flows, 3);
    // Half of one waits.
    place.append("a.jsonl", format!("\n{}", &json(3)[..200]));
    let summary = place.ingest(&[&path]);
    assert_eq!(summary.counts.records, 0);
    assert!(
        place.problems(&summary)[0]
            .contains("ends in the middle of a record: its last 200 bytes, from")
    );
    assert!(!summary.has_failures());
    place.append("a.jsonl", &json(3)[200..]);
    assert_eq!(place.ingest(&[&path]).counts, counts(1, 1, 0, 0, 0));
    check_once(&place.flows(), 0..4);

    // A line with all its values is taken; what is written behind it later is no record of its own.
    let path = place.file("b.csv", csv);
    assert_eq!(place.ingest(&[&path]).counts.flows, 2);
    place.append(
        "b.csv",
        "960\n1720775420,1720775480,eni-1,10.0.0.1,102,10.0.0.2,80,6,out,ACCEPT,1,40\n",
    );
    assert_eq!(place.ingest(&[&path]).counts, counts(2, 1, 0, 1, 0));
    assert_eq!(
        place.rejects()[0].reason,
        "the beginning of this line was already read as a record of its own"
    );
    place.append(
        "b.csv",
        "1720775420,1720775480,eni-1,10.0.0.1,103,10.0.0.2,80,6,out,ACC",
    );
    assert_eq!(place.ingest(&[&path]).counts.records, 0);
    place.append("b.csv", "EPT,1,40\n");
    assert_eq!(place.ingest(&[&path]).counts.flows, 1);
}

#[test]
fn garbage_is_named_file_by_file_and_the_rest_is_read() {
    let place = Place::new();
    place.file(
        "dir/a.bin",
        [0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0xff],
    );
    place.file("dir/b.parquet", b"PAR1\x15\x04\x15\x10");
    place.file("dir/c.empty", "");
    place.file("dir/d/readme.md", "# A title\n\nProse.\n");
    place.file("dir/d/pods.yaml", "apiVersion: v1\nkind: Pod\n");
    place.file("dir/e.utf16", [0xff, 0xfe, b'{', 0]);
    place.file("dir/f.gz", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3]);
    place.file(
        "dir/g.zst",
        [0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff, 0xff, 0xff],
    );
    place.file("dir/h.gz", gzip("not a flow log either\n"));
    place.file("dir/i.zeros", vec![0; 100_000]);
    place.file("dir/z.log", lines(0..5));
    let summary = place.ingest(&[&place.path("dir")]);
    assert_eq!(summary.counts, counts(5, 5, 0, 0, 0));
    assert_eq!(
        place.problems(&summary),
        [
            "`dir/a.bin` is binary data, not a flow log",
            "`dir/b.parquet` is a Parquet file, not a flow log",
            "`dir/c.empty` is empty",
            "`dir/d/pods.yaml` is a Kubernetes manifest, not a flow log",
            "`dir/d/readme.md` is not a flow log: no line in its first 18 bytes is a record or a header",
            "`dir/e.utf16` is UTF-16 text, not a flow log",
            "`dir/f.gz` is cut off: its gzip data ends after 13 bytes, 0 unpacked",
            "`dir/g.zst` is cut off: its zstd data ends after 8 bytes, 0 unpacked",
            "`dir/h.gz` is not a flow log: no line in its first 22 bytes is a record or a header",
            "`dir/i.zeros` is binary data, not a flow log",
        ]
    );
    assert!(
        summary
            .problems
            .iter()
            .all(|problem| problem.message.contains("is empty") || problem.help.is_some())
    );
}

#[test]
fn bad_lines_are_rejects_with_their_reasons() {
    let place = Place::new();
    let mut log = lines(0..2).into_bytes();
    log.extend(b"{\"srcaddr\":\"10.0.0.1\"\n");
    log.extend(b"\xff\xfe garbage\n");
    log.extend(b"{\"a\":\"\0\0\"}\n");
    log.extend(json(9).replace("\"80\"", "\"70000\"").bytes());
    log.extend(b"\r\n\r\n");
    log.extend(json(9).replace("\"end\":\"", "\"end\":\"1").bytes());
    log.push(b'\n');
    log.extend(lines(2..4).bytes());
    let path = place.file("mixed.log", log);
    let summary = place.ingest(&[&path]);
    assert_eq!(summary.counts, counts(9, 4, 0, 5, 0));
    let rejects = place.rejects();
    let reasons: Vec<_> = rejects
        .iter()
        .map(|reject| reject.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "not a JSON object: expected `,` or `}` at byte 21",
            "byte 0 is not UTF-8",
            "byte 6 is NUL",
            "`dstport` is `70000`, above 65535",
            "`end` is `11720775480`, no time between 2009 and 2100",
        ]
    );
    assert!(rejects[1].raw.contains("garbage") && rejects[0].source.starts_with("file:/"));
    assert_eq!(rejects[0].source_position as usize, lines(0..2).len());
    assert_eq!(summary.reject_kinds.values().sum::<u64>(), 5);
    assert_eq!(place.ingest(&[&path]).unchanged, 1);
}

#[test]
fn a_line_beyond_the_bound_is_one_reject() {
    let place = Place::new();
    let long = format!("{{\"srcaddr\":\"{}\"}}", "x".repeat(100_000));
    let path = place.file(
        "long.log",
        format!("{}{long}\n{}", lines(0..3), lines(3..6)),
    );
    let settings = Settings {
        record_bytes_max: 10_000,
        ..Settings::default()
    };
    let summary = place.ingest_with(&[&path], &settings).unwrap();
    assert_eq!(summary.counts, counts(7, 6, 0, 1, 0));
    let reject = &place.rejects()[0];
    assert_eq!(
        reject.reason,
        "the record has 100015 bytes, the bound is 10000"
    );
    assert_eq!(reject.raw.len(), 4096);
    check_once(&place.flows(), 0..6);
}

#[test]
fn small_batches_and_small_bounds_give_the_same_lake() {
    let place = Place::new();
    let text = lines(0..3000);
    let path = place.file("flow.log", format!("{text}{text}"));
    let settings = Settings {
        batch_rows_max: 100,
        recent_keys_max: 250,
        batch_partitions_max: 2,
        ..Settings::default()
    };
    let summary = place.ingest_with(&[&path], &settings).unwrap();
    assert_eq!(summary.counts, counts(6000, 3000, 0, 0, 3000));
    check_once(&place.flows(), 0..3000);
    assert!(place.lake.snapshot().unwrap().number >= 30);
}

#[test]
fn duplicates_of_gaps_are_dropped_and_late_data_goes_to_its_hour() {
    let place = Place::new();
    let gap = r#"{"eni-id":"eni-9","start":"1720775420","end":"1720775480","log-status":"NODATA","srcaddr":"-"}"#;
    let late = json(1).replace("17207754", "17207654");
    let path = place.file("flow.log", format!("{gap}\n{gap}\n{}\n{late}\n", json(1)));
    assert_eq!(place.ingest(&[&path]).counts, counts(4, 2, 1, 0, 1));
    let copy = place.file("copy.log", format!("{gap}\n"));
    assert_eq!(place.ingest(&[&copy]).counts, counts(1, 0, 0, 0, 1));
    assert_eq!(
        place
            .lake
            .snapshot()
            .unwrap()
            .hours(flowaudit_lake::Table::Flows)
            .len(),
        2
    );
}

#[test]
fn unreadable_inputs_are_told_from_wrong_arguments() {
    let place = Place::new();
    let good = place.file("good.log", lines(0..2));
    let error = place
        .ingest_with(&[&good, &place.path("none.log")], &Settings::default())
        .unwrap_err();
    assert!(error.is_usage() && error.help().is_some());
    assert_eq!(
        place.lake.snapshot().unwrap().number,
        0,
        "nothing was written"
    );
    let summary = place.ingest(&[&good.join("below"), Path::new("/proc/self/mem"), &good]);
    assert_eq!(summary.counts.flows, 2);
    let problems = place.problems(&summary);
    assert_eq!(
        problems[0],
        "`good.log/below` cannot be read: not a directory"
    );
    assert!(
        problems[1].contains("cannot be read: ") || problems[1].contains("could not be read past"),
        "{}",
        problems[1]
    );
    assert!(summary.has_failures());
}

/// A line as long as a disk is passed over in bounded memory: it is made while it is read.
#[test]
fn a_huge_line_is_passed_over_while_it_streams() {
    use flowaudit_ingest::decode::split::{PieceEnd, Pieces, Splitting};
    use std::io::Read;
    let bytes = 1 << 30;
    let input = b"first\n"
        .chain(std::io::repeat(b'x').take(bytes))
        .chain(&b"\nlast\n"[..]);
    let mut pieces = Pieces::new(input, 0, Splitting::Lines, 1024 * 1024);
    assert_eq!(pieces.next_piece().map(|piece| piece.bytes.len()), Some(5));
    let piece = pieces.next_piece().unwrap();
    assert_eq!(
        (piece.bytes.len(), piece.end),
        (4096, PieceEnd::Overlong(bytes + 1))
    );
    assert_eq!(
        pieces.next_piece().map(|piece| piece.bytes.to_vec()),
        Some(b"last".to_vec())
    );
}
