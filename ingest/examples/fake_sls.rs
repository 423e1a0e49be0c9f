//! The fake log service of the tests as a program: a place to try clients against.
//!
//! ```text
//! cargo run -p flowaudit-ingest --example fake_sls -- 8087 8 100000
//! ```
//!
//! port, shards and records; then `http_proxy=http://127.0.0.1:8087` and the keys that it prints.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for people at a terminal"
)]
#![expect(dead_code, reason = "the tests use all of the fake")]

#[path = "../tests/fake/mod.rs"]
mod fake;

fn main() {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .map(|argument| argument.parse().unwrap())
        .collect();
    let number = |at: usize, absent| numbers.get(at).copied().unwrap_or(absent);
    let (port, shards, records) = (number(0, 0), number(1, 4), number(2, 10_000));
    let fake = fake::Fake::start_at(u16::try_from(port).unwrap(), u32::try_from(shards).unwrap());
    let now = chrono::Utc::now().timestamp();
    for group in fake::records::groups(0..records, 100) {
        fake.world().put(&group, now);
    }
    let account = fake::account();
    println!("http_proxy={}", fake.proxy());
    println!("endpoint   {}", fake::ENDPOINT);
    println!("project    {}", fake::PROJECT);
    println!("logstore   {}", fake::LOGSTORE);
    println!("key        {} {}", account.id, account.secret);
    loop {
        std::thread::park();
    }
}
