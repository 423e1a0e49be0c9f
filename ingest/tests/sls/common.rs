//! A fake with records, a client for it, and a lake to read into.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flowaudit_ingest::IngestError;
use flowaudit_ingest::Stop;
use flowaudit_ingest::sls::{
    Client, ClientSettings, Credentials, Event, Fixed, PullSettings, PullSummary, pull,
};
use flowaudit_lake::table::flows;
use flowaudit_lake::{Lake, Table, read};

use crate::fake::records::{self, START};
use crate::fake::{ENDPOINT, Fake, LOGSTORE, PROJECT, account};

/// Logs in a group.
pub(crate) const GROUP: u64 = 20;
/// When the first records of a test were received.
pub(crate) const RECEIVED: i64 = 1_764_000_000;

/// A directory with a lake, and a fake.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) lake: Lake,
    pub(crate) fake: Fake,
}

impl Place {
    pub(crate) fn new(shards: u32) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let lake = Lake::create_or_open(dir.path().join("lake")).unwrap();
        let fake = Fake::start(shards);
        Place { dir, lake, fake }
    }

    pub(crate) fn lake_path(&self) -> PathBuf {
        self.dir.path().join("lake")
    }

    /// Writes records into the shards that take more, in turn.
    pub(crate) fn put(&self, range: std::ops::Range<u64>) {
        let mut world = self.fake.world();
        for (number, group) in records::groups(range, GROUP).iter().enumerate() {
            world.put(group, RECEIVED + number as i64);
        }
    }

    pub(crate) fn pull(&self, settings: &PullSettings) -> Result<PullSummary, IngestError> {
        self.pull_with(settings, &mut |_| {})
    }

    pub(crate) fn pull_with(
        &self,
        settings: &PullSettings,
        events: &mut dyn FnMut(Event<'_>),
    ) -> Result<PullSummary, IngestError> {
        let client = client(&self.fake);
        let summary = pull(&self.lake, &client, settings, events, &Stop::default())?;
        assert!(summary.counts.add_up(), "{:?}", summary.counts);
        Ok(summary)
    }

    pub(crate) fn gaps(&self) -> Vec<flowaudit_lake::table::gaps::GapRow> {
        read::rows(&self.lake, &self.lake.snapshot().unwrap()).unwrap()
    }

    pub(crate) fn rejects(&self) -> Vec<flowaudit_lake::table::rejects::RejectRow> {
        read::rows(&self.lake, &self.lake.snapshot().unwrap()).unwrap()
    }

    #[track_caller]
    pub(crate) fn check(&self, range: std::ops::Range<u64>) {
        check_once(&self.lake, range);
    }
}

/// Settings of a client for a fake that loses no time.
pub(crate) fn client_settings(fake: &Fake) -> ClientSettings {
    ClientSettings {
        insecure: true,
        proxy: Some(fake.proxy()),
        patience: Some(Duration::from_secs(20)),
        read_timeout: Duration::from_secs(5),
        wait_factor: 0.01,
        ..ClientSettings::new(ENDPOINT, PROJECT, LOGSTORE)
    }
}

pub(crate) fn credentials() -> Credentials {
    let account = account();
    Credentials::lasting(account.id, account.secret)
}

pub(crate) fn client(fake: &Fake) -> Client {
    Client::new(client_settings(fake), Arc::new(Fixed::new(credentials()))).unwrap()
}

/// Settings that lose no time.
pub(crate) fn quick() -> PullSettings {
    PullSettings {
        batch_rows_max: 5_000,
        batch_pause: Duration::from_millis(300),
        list_pause: Duration::from_millis(100),
        memory_bytes: 128 << 20,
        wait_factor: 0.05,
        ..PullSettings::default()
    }
}

/// How often each flow is in the lake, by source port and start.
pub(crate) fn flows_of(lake: &Lake) -> BTreeMap<(i32, i64), u32> {
    let snapshot = lake.snapshot().unwrap();
    let columns: Vec<_> = Table::Flows
        .columns()
        .iter()
        .map(|column| column.name)
        .collect();
    let mut found = BTreeMap::new();
    for entry in snapshot.files(Table::Flows) {
        let file = read::open(lake, entry).unwrap();
        for row_group in 0..file.row_groups() {
            for batch in file.batches(&columns, row_group).unwrap() {
                for row in flows::rows(&batch.unwrap()).unwrap() {
                    *found.entry((row.src_port, row.start_us)).or_default() += 1;
                }
            }
        }
    }
    found
}

/// Every record of the range is in the lake exactly once, and nothing else.
#[track_caller]
pub(crate) fn check_once(lake: &Lake, range: std::ops::Range<u64>) {
    let found = flows_of(lake);
    let mut lost = 0;
    for n in range.clone() {
        let start = (START + n / 60_000 * 60) as i64 * 1_000_000;
        lost += u64::from(!found.contains_key(&((n % 60_000) as i32, start)));
    }
    let doubled = found.values().filter(|times| **times != 1).count();
    let foreign = found.len() as u64 + lost - (range.end - range.start);
    assert_eq!(
        (lost, doubled, foreign),
        (0, 0, 0),
        "lost, doubled, foreign"
    );
}
