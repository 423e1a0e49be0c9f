//! The real process, killed at random moments while it pulls: nothing is lost and nothing doubled.
//!
//! `FLOWAUDIT_CRASH_RECORDS=2000000` makes it the size of a day.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use flowaudit_ingest::Stop;
use flowaudit_ingest::sls::{Client, Fixed, PullSettings, pull};
use flowaudit_lake::Lake;

use crate::common::{Place, check_once, client_settings, credentials, quick};
use crate::fake::{Fake, records};

const DIR: &str = "FLOWAUDIT_SLS_CRASH_DIR";
const PROXY: &str = "FLOWAUDIT_SLS_CRASH_PROXY";
const SIZE: &str = "FLOWAUDIT_CRASH_RECORDS";

const KILLS: u64 = 50;
/// Logs in a group.
const GROUP: u64 = 50;

/// How many records there are; the child inherits the variable.
fn size() -> u64 {
    size_or(200_000)
}

/// How many records the environment asks for.
pub(crate) fn size_or(usual: u64) -> u64 {
    let size = std::env::var(SIZE).ok();
    size.map_or(usual, |size| size.parse().unwrap())
}

/// Ten batches for every kill, so that a fast machine does not read everything before the last one.
fn settings() -> PullSettings {
    PullSettings {
        batch_rows_max: (size() / KILLS / 10) as usize,
        memory_bytes: 64 << 20,
        ..quick()
    }
}

/// A client for the fake of another process.
pub(crate) fn client_of(proxy: String) -> Client {
    let mut settings = client_settings(&Fake::start(0));
    settings.proxy = Some(proxy);
    Client::new(settings, Arc::new(Fixed::new(credentials()))).unwrap()
}

/// What the child process does; in an ordinary run of the tests there is no directory and nothing to do.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let lake = Lake::create_or_open(dir).unwrap();
    let client = client_of(std::env::var(PROXY).unwrap());
    pull(&lake, &client, &settings(), &mut |_| {}, &Stop::default()).unwrap();
}

fn spawn(place: &Place) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--test-threads=1"])
        .env(DIR, place.lake_path())
        .env(PROXY, place.fake.proxy())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn killed_while_it_pulls_nothing_is_lost_and_nothing_doubled() {
    let records = size();
    let place = Place::new(8);
    {
        let mut world = place.fake.world();
        world.groups_max = (records / KILLS / 10 / GROUP) as usize;
        world.fault_every = 37;
    }
    let mut state = 0x51_5eed_u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut put, mut cut_short, mut kill) = (0, 0, 0);
    while cut_short < KILLS {
        assert!(
            kill < 4 * KILLS,
            "only {cut_short} of {kill} runs were cut short: the kills show nothing"
        );
        // Records come while shards split and merge.
        if kill % 7 == 3 {
            let mut world = place.fake.world();
            let open: Vec<u32> = world
                .shards
                .iter()
                .filter(|(_, shard)| !shard.readonly)
                .map(|(id, _)| *id)
                .collect();
            let one = open[random(open.len() as u64) as usize];
            match open.iter().find(|other| **other > one) {
                Some(other) if kill % 2 == 0 => drop(world.merge(one, *other)),
                _ => drop(world.split(one)),
            }
        }
        let more = (records / KILLS).min(records - put);
        for group in records::groups(put..put + more, GROUP) {
            place.fake.world().put(&group, 1_764_000_000 + kill as i64);
        }
        put += more;
        kill += 1;
        let mut child = spawn(&place);
        // A few batches further, then somewhere within the next one.
        let (commits, wanted) = (place.lake.snapshot().unwrap().number, random(2));
        while place.lake.snapshot().unwrap().number < commits + wanted
            && child.try_wait().unwrap().is_none()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(random(20_000)));
        child.kill().unwrap();
        cut_short += u64::from(!child.wait().unwrap().success());
        if kill % 10 == 0 {
            Lake::open(place.lake_path()).unwrap();
        }
    }
    for group in records::groups(put..records, GROUP) {
        place.fake.world().put(&group, 1_764_000_000);
    }
    let summary = place.pull(&settings()).unwrap();
    assert_eq!(summary.missed, 0);
    check_once(&place.lake, 0..records);
    assert_eq!((place.gaps().len(), place.rejects().len()), (0, 0));
    let read = place.lake.snapshot().unwrap();
    let finished = read.checkpoints().shards("sls:flow-proj/vpc-flow").count();
    assert_eq!(finished, place.fake.world().shards.len());
    println!("{records} records, {kill} runs of which {cut_short} were killed, lost 0, doubled 0");
}
