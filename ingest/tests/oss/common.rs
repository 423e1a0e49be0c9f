//! A fake with objects, a client for it, and a lake to read into.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use flowaudit_ingest::IngestError;
use flowaudit_ingest::Stop;
use flowaudit_ingest::oss::{Event, PathFormat, PullSettings, PullSummary, pull};
use flowaudit_lake::Lake;
use flowaudit_lake::cloud::Objects;
use flowaudit_lake::cloud::credentials::{Chain, Clock, Credentials, Surroundings};
use flowaudit_lake::cloud::oss::{Address, Oss, Retries};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use crate::fake_oss::{FakeOss, KEY_ID, REGION, SECRET};
use crate::records::{check_once, flows_of};

pub(crate) const BUCKET: &str = "flow-bucket";
pub(crate) const PREFIX: &str = "sls/vpc/";
/// As the lake calls it.
pub(crate) const SOURCE: &str = "oss:flow-bucket/sls/vpc/";

/// A lake in a directory, a fake with an empty bucket, and its owner.
pub(crate) struct Place {
    _dir: tempfile::TempDir,
    pub(crate) lake: Lake,
    pub(crate) fake: FakeOss,
    pub(crate) oss: Oss,
    runtime: tokio::runtime::Runtime,
}

/// A lake in the bucket that is read.
pub(crate) fn lake_in_bucket(endpoint: &str) -> Lake {
    let objects = Objects::on_oss(owner(endpoint), Path::from("lakes/one"), Clock::system());
    Lake::create_or_open_on(Arc::new(objects)).unwrap()
}

pub(crate) fn owner(endpoint: &str) -> Oss {
    let bare = Surroundings {
        variables: Default::default(),
        home: None,
        metadata_endpoint: "http://127.0.0.1:1".to_string(),
        sts_endpoint: None,
        clock: Clock::system(),
    };
    let retries = Retries {
        attempts: 4,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(5),
        silence: Duration::from_secs(5),
    };
    let address = Address::new(BUCKET, endpoint, None, Some(REGION)).unwrap();
    let chain = Chain::given(Credentials::lasting(KEY_ID, SECRET), bare);
    Oss::new(address, chain, Clock::system(), retries).unwrap()
}

pub(crate) fn settings() -> PullSettings {
    let format = PathFormat::new(PathFormat::DEFAULT, "+0800").unwrap();
    PullSettings {
        list_pause: Duration::from_millis(20),
        ..PullSettings::new(PREFIX, format)
    }
}

/// The key of an object whose shipping task was made so many minutes ago.
pub(crate) fn key(minutes_ago: i64, number: u64, suffix: &str) -> String {
    key_at(Utc::now() - TimeDelta::minutes(minutes_ago), number, suffix)
}

pub(crate) fn key_at(at: DateTime<Utc>, number: u64, suffix: &str) -> String {
    // By hand: what the source makes of it must not come from the source.
    let local = at + TimeDelta::hours(8);
    format!(
        "{PREFIX}{}_1453812893059571256_{number}{suffix}",
        local.format("%Y/%m/%d/%H/%M")
    )
}

impl Place {
    pub(crate) fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let lake = Lake::create_or_open(dir.path().join("lake")).unwrap();
        let fake = FakeOss::start();
        fake.make_bucket(BUCKET);
        let oss = owner(&fake.endpoint);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        Place {
            _dir: dir,
            lake,
            fake,
            oss,
            runtime,
        }
    }

    pub(crate) fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        let payload = PutPayload::from(bytes.into());
        let path = Path::parse(key).unwrap();
        let put = self.oss.put(&path, payload);
        self.runtime.block_on(put).unwrap();
    }

    pub(crate) fn remove(&self, key: &str) {
        self.fake
            .bucket(BUCKET, |bucket| bucket.objects.remove(key));
    }

    pub(crate) fn pull(&self, settings: &PullSettings) -> Result<PullSummary, IngestError> {
        self.pull_telling(settings).0
    }

    /// What became of it, and what was told about single objects, with what to do.
    pub(crate) fn pull_telling(
        &self,
        settings: &PullSettings,
    ) -> (Result<PullSummary, IngestError>, Vec<String>) {
        let mut told = Vec::new();
        let summary = pull(
            &self.lake,
            &self.oss,
            settings,
            &mut |event| {
                if let Event::Problem(problem) = event {
                    told.push(format!("{problem}: {}", problem.help().unwrap_or_default()));
                }
            },
            &Stop::default(),
        );
        if let Ok(summary) = &summary {
            assert!(summary.counts.add_up(), "{summary:?}");
        }
        (summary, told)
    }

    #[track_caller]
    pub(crate) fn check_once(&self, range: std::ops::Range<u64>) {
        check_once(&flows_of(&self.lake), range);
    }

    /// Before which nothing is listed, in Unix seconds.
    pub(crate) fn watermark(&self) -> u64 {
        let snapshot = self.lake.snapshot().unwrap();
        snapshot.checkpoints().get(SOURCE, "/watermark").unwrap().at
    }

    /// The shards that the lake keeps of the source.
    pub(crate) fn shards(&self) -> Vec<String> {
        let snapshot = self.lake.snapshot().unwrap();
        let shards = snapshot.checkpoints().shards(SOURCE);
        shards.map(|(shard, _)| shard.to_string()).collect()
    }
}
