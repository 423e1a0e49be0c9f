//! A bucket of the fake and the client under test.

use std::time::Duration;

use flowaudit_lake::cloud::credentials::{Chain, Clock, Credentials, Surroundings};
use flowaudit_lake::cloud::oss::{Address, Oss, Retries};

use crate::fake_oss::{FakeOss, KEY_ID, REGION, SECRET};

pub(crate) const BUCKET: &str = "flow-bucket";

/// Surroundings in which nothing is set up.
pub(crate) fn bare() -> Surroundings {
    Surroundings {
        variables: Default::default(),
        home: None,
        metadata_endpoint: "http://127.0.0.1:1".to_string(),
        sts_endpoint: None,
        clock: Clock::system(),
    }
}

/// Retries that do not make tests wait.
pub(crate) fn quick() -> Retries {
    Retries {
        attempts: 4,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(5),
        silence: Duration::from_secs(5),
    }
}

pub(crate) fn client(fake: &FakeOss, chain: Chain, retries: Retries) -> Oss {
    let address = Address::new(BUCKET, &fake.endpoint, None, Some(REGION)).unwrap();
    Oss::new(address, chain, Clock::system(), retries).unwrap()
}

pub(crate) fn owner() -> Chain {
    Chain::given(Credentials::lasting(KEY_ID, SECRET), bare())
}

/// A fake with an empty bucket, and the client of its owner.
pub(crate) fn fresh() -> (FakeOss, Oss) {
    let fake = FakeOss::start();
    fake.make_bucket(BUCKET);
    let oss = client(&fake, owner(), quick());
    (fake, oss)
}
