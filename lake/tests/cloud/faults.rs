//! What the service and the way to it do wrong: recovered where that is safe, said clearly where not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use flowaudit_lake::cloud::credentials::{Chain, Credentials, Surroundings};
use flowaudit_lake::cloud::oss::{ListQuery, Oss, OssError, Retries, Versioning};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode};

use crate::bucket::{BUCKET, bare, client, fresh, owner, quick};
use crate::fake_oss::http::{Reply, Request, Server};
use crate::fake_oss::{FakeOss, Fault};

fn content(length: usize) -> Bytes {
    (0..length).map(|n| (n * 7 % 251) as u8).collect()
}

async fn read(oss: &Oss, key: &str) -> Result<Bytes, Error> {
    oss.get(&Path::from(key)).await?.bytes().await
}

fn cause(error: &Error) -> &OssError {
    let source = std::error::Error::source(error);
    source.and_then(|source| source.downcast_ref()).unwrap()
}

#[tokio::test]
async fn what_passes_by_is_tried_again() {
    for fault in [
        Fault::Refused(500, "InternalError"),
        Fault::Refused(503, "ServiceUnavailable"),
        Fault::Refused(429, "TooManyRequests"),
        Fault::Refused(400, "QpsLimitExceeded"),
        Fault::Reset,
        Fault::AnswerLost,
        Fault::DoneAndRefused(502),
    ] {
        let (fake, oss) = fresh();
        let path = Path::from("a/b");
        fake.fail(fault, 0, 2, |_| true);
        oss.put(&path, content(100).into()).await.unwrap();
        assert_eq!(fake.calm(), 0);
        fake.fail(fault, 0, 2, |_| true);
        assert_eq!(read(&oss, "a/b").await.unwrap(), content(100));
        assert_eq!(fake.calm(), 0);
        fake.fail(fault, 0, 2, |_| true);
        assert_eq!(oss.head(&path).await.unwrap().size, 100);
        fake.fail(fault, 0, 2, |_| true);
        let page = oss.list_page(&ListQuery::default()).await.unwrap();
        assert_eq!(page.objects.len(), 1);
        fake.fail(fault, 0, 2, |_| true);
        oss.delete(&path).await.unwrap();
    }
}

#[tokio::test]
async fn what_does_not_pass_is_given_up() {
    let (fake, oss) = fresh();
    fake.fail(Fault::Refused(503, "ServiceUnavailable"), 0, 100, |_| true);
    let error = read(&oss, "a").await.unwrap_err();
    assert_eq!(fake.calm(), 100 - u64::from(quick().attempts));
    assert!(
        error.to_string().contains("`ServiceUnavailable`"),
        "{error}"
    );
    assert!(cause(&error).help().unwrap().contains("nothing was lost"));
}

#[tokio::test]
async fn a_lost_answer_to_a_creation_is_found_out() {
    let creates = |request: &Request| request.method == "PUT";
    for fault in [
        Fault::AnswerLost,
        Fault::DoneAndRefused(500),
        Fault::DoneAndRefused(503),
    ] {
        for times in [1, 3, 100] {
            let (fake, oss) = fresh();
            let path = Path::from("record");
            fake.fail(fault, 0, times, creates);
            let put = oss.put_opts(&path, "one".into(), PutMode::Create.into());
            put.await.unwrap();
            assert_eq!(read(&oss, "record").await.unwrap(), "one");
            // Another's is not taken for one's own.
            fake.calm();
            fake.fail(fault, 0, times, creates);
            let put = oss.put_opts(&path, "two".into(), PutMode::Create.into());
            assert!(put.await.is_err());
            fake.calm();
            assert_eq!(read(&oss, "record").await.unwrap(), "one");
        }
        // Who cannot even read has to say so.
        let (fake, oss) = fresh();
        fake.fail(fault, 0, 100, |_| true);
        let path = Path::from("record");
        let put = oss.put_opts(&path, "one".into(), PutMode::Create.into());
        let error = put.await.unwrap_err();
        assert!(!matches!(error, Error::AlreadyExists { .. }), "{error}");
    }
    let (fake, oss) = fresh();
    let path = Path::from("record");
    oss.put(&path, "one".into()).await.unwrap();
    fake.fail(Fault::AnswerLost, 0, 1, creates);
    let put = oss.put_opts(&path, "two".into(), PutMode::Create.into());
    assert!(matches!(
        put.await.unwrap_err(),
        Error::AlreadyExists { .. }
    ));
    // Without a try before, the same bytes are another's.
    let put = oss.put_opts(&path, "one".into(), PutMode::Create.into());
    assert!(matches!(
        put.await.unwrap_err(),
        Error::AlreadyExists { .. }
    ));
}

#[tokio::test]
async fn a_lost_answer_to_the_end_of_an_upload_is_found_out() {
    for fault in [Fault::AnswerLost, Fault::DoneAndRefused(500)] {
        let (fake, oss) = fresh();
        let path = Path::from("large");
        let mut upload = oss.put_multipart(&path).await.unwrap();
        for _ in 0..2 {
            upload.put_part(content(6 << 20).into()).await.unwrap();
        }
        fake.fail(fault, 0, 1, |request| {
            request.method == "POST" && request.query.contains("uploadId")
        });
        upload.complete().await.unwrap();
        assert_eq!(fake.calm(), 0);
        assert_eq!(oss.head(&path).await.unwrap().size, 12 << 20);
    }
}

#[tokio::test]
async fn what_is_no_answer_of_the_service_is_asked_for_again() {
    for fault in [
        Fault::Html(200),
        Fault::Html(302),
        Fault::Html(404),
        Fault::Halved,
        Fault::CutAfter(100),
    ] {
        let (fake, oss) = fresh();
        for n in 0..20 {
            let path = Path::from(format!("d/{n:02}"));
            oss.put(&path, content(100).into()).await.unwrap();
        }
        let query = ListQuery {
            prefix: "d/".to_string(),
            ..ListQuery::default()
        };
        fake.fail(fault, 0, 2, |_| true);
        let page = oss.list_page(&query).await.unwrap();
        assert_eq!((page.objects.len(), fake.calm()), (20, 0), "{fault:?}");
        fake.fail(fault, 0, 100, |_| true);
        let error = oss.list_page(&query).await.unwrap_err();
        assert!(error.help().is_some(), "{error}");
        fake.calm();
        if let Fault::Html(_) = fault {
            let tag = page.objects[3].e_tag.clone();
            let path = Path::from("d/03");
            let get = || oss.get_opts(&path, GetOptions::new().with_if_match(tag.clone()));
            fake.fail(fault, 0, 2, |_| true);
            let found = get().await.unwrap().bytes().await.unwrap();
            assert_eq!(found, content(100));
            fake.fail(fault, 0, 100, |_| true);
            let error = get().await.unwrap_err();
            assert!(matches!(cause(&error), OssError::Garbage(_)), "{error}");
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_continued() {
    let (fake, oss) = fresh();
    let whole = content(1_000_000);
    oss.put(&Path::from("big"), whole.clone().into())
        .await
        .unwrap();
    for cut in [0, 1, 70_000] {
        fake.take_log();
        fake.fail(Fault::CutAfter(cut), 0, 3, |_| true);
        assert_eq!(read(&oss, "big").await.unwrap(), whole);
        assert_eq!(fake.calm(), 0);
        assert_eq!(fake.take_log().len(), 4);
    }
    fake.fail(Fault::CutAfter(10), 0, 2, |_| true);
    let options = GetOptions::new().with_range(Some(GetRange::Bounded(500..900)));
    let read = oss.get_opts(&Path::from("big"), options).await.unwrap();
    assert_eq!(read.bytes().await.unwrap(), whole.slice(500..900));
}

#[tokio::test]
async fn a_body_is_not_continued_with_another_object() {
    let (fake, oss) = fresh();
    let path = Path::from("big");
    oss.put(&path, content(300_000).into()).await.unwrap();
    fake.fail(Fault::CutAfter(1000), 0, 1, |_| true);
    let get = oss.get(&path).await.unwrap();
    oss.put(&path, content(299_999).into()).await.unwrap();
    let error = get.bytes().await.unwrap_err();
    assert!(matches!(error, Error::Precondition { .. }), "{error}");
}

#[tokio::test]
async fn a_slow_body_is_waited_for_and_a_silent_one_asked_for_again() {
    let (fake, oss) = fresh();
    oss.put(&Path::from("a"), content(10_000).into())
        .await
        .unwrap();
    fake.fail(Fault::Slow(Duration::from_millis(300)), 0, 1, |_| true);
    assert_eq!(read(&oss, "a").await.unwrap(), content(10_000));
    assert_eq!(fake.take_log().len(), 2);
    let impatient = Retries {
        silence: Duration::from_millis(100),
        ..quick()
    };
    let oss = client(&fake, owner(), impatient);
    fake.fail(Fault::Slow(Duration::from_secs(60)), 0, 1, |_| true);
    assert_eq!(read(&oss, "a").await.unwrap(), content(10_000));
    assert_eq!(fake.take_log().len(), 2);
}

#[tokio::test]
async fn a_body_that_trickles_is_asked_for_again_and_then_given_up() {
    let (fake, _) = fresh();
    let impatient = Retries {
        silence: Duration::from_millis(60),
        ..quick()
    };
    let oss = client(&fake, owner(), impatient);
    oss.put(&Path::from("a"), content(10_000).into())
        .await
        .unwrap();
    let trickle = Fault::Trickle(Duration::from_millis(5));
    fake.fail(trickle, 0, 2, |_| true);
    assert_eq!(read(&oss, "a").await.unwrap(), content(10_000));
    assert_eq!(fake.calm(), 0);
    fake.fail(trickle, 0, 100, |_| true);
    let error = read(&oss, "a").await.unwrap_err();
    assert!(matches!(cause(&error), OssError::Connection(_)), "{error}");
    assert!(oss.list_page(&ListQuery::default()).await.is_err());
}

#[tokio::test]
async fn a_flipped_bit_is_seen() {
    let (fake, oss) = fresh();
    oss.put(&Path::from("a"), content(10_000).into())
        .await
        .unwrap();
    fake.fail(Fault::Flipped, 0, 1, |_| true);
    let error = read(&oss, "a").await.unwrap_err();
    assert!(
        matches!(cause(&error), OssError::Checksum { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn the_clock_is_corrected_once() {
    for ahead in [TimeDelta::hours(3), TimeDelta::hours(-30)] {
        let (fake, oss) = fresh();
        fake.set_ahead(ahead);
        oss.put(&Path::from("a"), "x".into()).await.unwrap();
        assert_eq!(fake.take_log().len(), 2);
        assert_eq!(read(&oss, "a").await.unwrap(), "x");
        assert_eq!(fake.take_log().len(), 1, "the correction stays");
        // It may move on; to HEAD the error stands in a header.
        fake.set_ahead(ahead + ahead);
        assert_eq!(oss.head(&Path::from("a")).await.unwrap().size, 1);
    }
    let (fake, oss) = fresh();
    fake.fail(Fault::Refused(403, "RequestTimeTooSkewed"), 0, 9, |_| true);
    let error = read(&oss, "a").await.unwrap_err();
    assert_eq!(fake.calm(), 7, "corrected once, then given up");
    assert!(cause(&error).help().unwrap().contains("clock"));
}

#[tokio::test]
async fn rejected_credentials_are_renewed_once() {
    // Whoever is asked for credentials hands out a new key each time.
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let issuer = Server::start(move |_| {
        let n = counted.fetch_add(1, Ordering::SeqCst);
        Reply::new(
            200,
            format!(
                "{{\"Code\":\"Success\",\"AccessKeyId\":\"STS.{n}\",\"AccessKeySecret\":\"secret{n}\",\
                 \"SecurityToken\":\"token{n}\",\"Expiration\":\"2999-01-01T00:00:00Z\"}}"
            ),
        )
    });
    let uri = issuer.endpoint.clone();
    let surroundings = Surroundings {
        variables: [
            ("ALIBABA_CLOUD_CREDENTIALS_URI".to_string(), uri),
            (
                "ALIBABA_CLOUD_ECS_METADATA_DISABLED".to_string(),
                "true".to_string(),
            ),
        ]
        .into(),
        ..bare()
    };
    let fake = FakeOss::start();
    fake.make_bucket(BUCKET);
    for n in 0..2 {
        fake.add_key(
            &format!("STS.{n}"),
            &format!("secret{n}"),
            Some(&format!("token{n}")),
        );
    }
    let oss = client(&fake, Chain::new(surroundings), quick());
    oss.put(&Path::from("a"), "x".into()).await.unwrap();
    fake.expire_key("STS.0");
    assert_eq!(read(&oss, "a").await.unwrap(), "x");
    assert_eq!(count.load(Ordering::SeqCst), 2);
    // The third key is unknown there: asked for once, then it is an error.
    fake.expire_key("STS.1");
    let error = read(&oss, "a").await.unwrap_err();
    assert_eq!(count.load(Ordering::SeqCst), 3);
    assert!(error.to_string().contains("InvalidAccessKeyId"), "{error}");
}

#[tokio::test]
async fn what_is_denied_says_so_and_shows_no_secret() {
    let (fake, oss) = fresh();
    fake.deny(&format!("{BUCKET}/private/"));
    let error = read(&oss, "private/x").await.unwrap_err();
    assert!(matches!(error, Error::PermissionDenied { .. }), "{error}");
    assert!(cause(&error).help().unwrap().contains("rights"));
    let keys = Credentials::lasting(crate::fake_oss::KEY_ID, "wr0ngSecret");
    let wrong = client(&fake, Chain::given(keys, bare()), quick());
    let error = read(&wrong, "a").await.unwrap_err();
    let said = format!("{error} {error:?} {wrong:?}");
    assert!(said.contains("SignatureDoesNotMatch"), "{said}");
    assert!(!said.contains("wr0ngSecret"), "{said}");
    assert!(cause(&error).help().unwrap().contains("secret"));
    let nowhere = FakeOss::start();
    let error = read(&client(&nowhere, owner(), quick()), "a")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
    assert!(!matches!(error, Error::NotFound { .. }));
}

#[tokio::test]
async fn long_listings_come_page_by_page() {
    use futures_util::TryStreamExt;
    let (fake, oss) = fresh();
    for n in 0..2500 {
        oss.put(&Path::from(format!("d/{n:05}")), "".into())
            .await
            .unwrap();
    }
    fake.take_log();
    let all: Vec<_> = oss
        .list(Some(&Path::from("d")))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(all.len(), 2500);
    assert!(all.is_sorted_by(|a, b| a.location < b.location));
    assert_eq!(fake.take_log().len(), 3);
    let offset = Path::from("d/02400");
    let rest: Vec<_> = oss
        .list_with_offset(Some(&Path::from("d")), &offset)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(rest.len(), 99);
    assert_eq!(fake.take_log().len(), 1, "the service skips, not we");
    let paths = futures_util::stream::iter(all.into_iter().map(|meta| Ok(meta.location)));
    let gone: Vec<_> = oss
        .delete_stream(Box::pin(paths))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(gone.len(), 2500);
    let left = fake.bucket(BUCKET, |bucket| bucket.objects.len());
    assert_eq!((left, fake.take_log().len() <= 5), (0, true));
}

#[tokio::test]
async fn versioning_is_told() {
    let (fake, oss) = fresh();
    for (status, expected) in [
        (None, Versioning::Off),
        (Some("Enabled"), Versioning::Enabled),
        (Some("Suspended"), Versioning::Suspended),
    ] {
        fake.bucket(BUCKET, |bucket| bucket.versioning = status);
        assert_eq!(oss.versioning().await.unwrap(), expected);
    }
}
