//! What it costs to ask who held an address, once the address was met: `cargo bench -p flowaudit-analyze --bench lookup`.
//!
//! 50,000 pods, of which every tenth address changed hands within the hour, asked for in random order at random times.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use flowaudit_analyze::identify::{Book, Stretch};
use flowaudit_analyze::parties::{Known, Parties};
use flowaudit_analyze::timeline::Timeline;
use flowaudit_lake::table::endpoints::EndpointRow;

const PODS: u32 = 50_000;
/// Questions of one pass: few enough to stay in the cache, for reading a million of them from memory cost a third of the time.
const ASKED: usize = 100_000;
const PASSES: usize = 400;
const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3600 * SECOND_US;

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + number)
}

fn row(name: String, number: u32, from: i64, to: Option<i64>) -> EndpointRow {
    EndpointRow {
        addr: address(number).to_string(),
        vpc_id: None,
        valid_from_us: from,
        valid_to_us: to,
        from_slack_ms: Some(1000),
        to_slack_ms: Some(1000),
        kind: "pod".into(),
        cluster: "c".into(),
        namespace: Some("shop".into()),
        uid: Some(name.clone()),
        name,
        workload_kind: None,
        workload: None,
        labels: None,
        host_network: false,
        node: Some(format!("n{}", number / 100)),
        container_ports: None,
        service_account: None,
        eni_id: None,
        evidence: String::new(),
    }
}

/// Not for anything but a bench.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn main() {
    let mut rows = Vec::new();
    for pod in 0..PODS {
        let change = (pod % 10 == 0).then(|| i64::from(pod % 3000) * SECOND_US + 300 * SECOND_US);
        rows.push(row(format!("pod-{pod}"), pod, -HOUR_US, change));
        rows.extend(change.map(|at| row(format!("next-{pod}"), pod, at + 4 * SECOND_US, None)));
    }
    let book = Book::new(rows, 6 * SECOND_US, &[]);
    let within = Stretch {
        from: 0,
        to: HOUR_US,
    };
    let timeline = Timeline::new(&[], within, 0, Default::default());
    let known = Known {
        book: &book,
        timeline: &timeline,
        within,
    };
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let asked: Vec<(IpAddr, Stretch)> = (0..ASKED)
        .map(|_| {
            let number = (next(&mut state) % u64::from(PODS)) as u32;
            let from = (next(&mut state) % (HOUR_US as u64 - 60)) as i64;
            let window = Stretch {
                from,
                to: from + 5 * SECOND_US,
            };
            (IpAddr::V4(address(number)), window)
        })
        .collect();
    let mut parties = Parties::default();
    let mut nanoseconds: Vec<f64> = (0..PASSES)
        .map(|_| {
            let start = Instant::now();
            let mut sum = 0u64;
            for (address, window) in &asked {
                sum += u64::from(parties.lookup(*address, None, &known, *window));
            }
            black_box(sum);
            start.elapsed().as_nanos() as f64 / ASKED as f64
        })
        .collect();
    let first = nanoseconds.remove(0);
    nanoseconds.sort_by(f64::total_cmp);
    println!(
        "{PODS} addresses: {first:.1} ns per address when they are new, then {:.1} at best, {:.1} in the middle",
        nanoseconds[0],
        nanoseconds[nanoseconds.len() / 2],
    );
    let start = Instant::now();
    let few = &asked[..ASKED / 2];
    for (address, window) in few {
        black_box(book.held(*address, None, *window));
    }
    let each = start.elapsed().as_nanos() as f64 / few.len() as f64;
    println!("plain: {each:.1} ns per address");
}
