//! Every call, by both signatures, with and without STS, in every packing.

use std::sync::Arc;

use flowaudit_ingest::sls::calls::{Pull, Query};
use flowaudit_ingest::sls::unpack::Packing;
use flowaudit_ingest::sls::{Class, Client, ClientSettings, Credentials, Fixed, Place as At};

use crate::common::{Place, RECEIVED, client, client_settings, credentials};
use crate::fake::Fake;

fn with(fake: &Fake, change: impl FnOnce(&mut ClientSettings, &mut Credentials)) -> Client {
    let (mut settings, mut credentials) = (client_settings(fake), credentials());
    change(&mut settings, &mut credentials);
    Client::new(settings, Arc::new(Fixed::new(credentials))).unwrap()
}

#[tokio::test]
async fn every_call_by_both_signatures_with_and_without_a_token() {
    for (v1, token) in [
        (false, None),
        (true, None),
        (false, Some("tok/en+==")),
        (true, Some("tok/en+==")),
    ] {
        let place = Place::new(2);
        place.put(0..100);
        place.fake.world().account.token = token.map(str::to_owned);
        let client = with(&place.fake, |settings, credentials| {
            settings.sign_v1 = v1;
            if let Some(token) = token {
                *credentials = credentials.clone().with_token(token);
            }
        });
        let shards = client.list_shards().await.unwrap();
        assert_eq!(
            shards.iter().map(|shard| shard.id).collect::<Vec<_>>(),
            [0, 1]
        );
        assert!(!shards[0].is_readonly());
        let begin = client.cursor(0, At::Begin).await.unwrap();
        let end = client.cursor(0, At::End).await.unwrap();
        let middle = client.cursor(0, At::Received(RECEIVED + 1)).await.unwrap();
        assert_eq!(end.number().unwrap() - begin.number().unwrap(), 3);
        assert_eq!(middle.number().unwrap() - begin.number().unwrap(), 1);
        assert_eq!(client.cursor_time(0, &begin).await.unwrap(), RECEIVED);

        let records = client
            .get_logs(&Query {
                from: 0,
                to: i64::from(u32::MAX),
                query: "action: ACCEPT or \"日志 x\"",
                records_max: 1000,
            })
            .await
            .unwrap();
        assert_eq!(records.len(), 100);
        assert_eq!(records[0]["dstport"], "80");

        client.create_group("cg-1", 60).await.unwrap();
        client.create_group("cg-1", 60).await.unwrap();
        client.update_group("cg-1", 30).await.unwrap();
        let groups = client.list_groups().await.unwrap();
        assert_eq!((groups[0].name.as_str(), groups[0].timeout), ("cg-1", 30));
        assert_eq!(
            client.heartbeat("cg-1", "pod-0", &[]).await.unwrap(),
            [0, 1]
        );
        assert_eq!(
            client.heartbeat("cg-1", "pod-0", &[0, 1]).await.unwrap(),
            [0, 1]
        );
        client
            .save_checkpoint("cg-1", "pod-0", 0, &end)
            .await
            .unwrap();
        let saved = client.group_checkpoints("cg-1").await.unwrap();
        assert_eq!(saved[0].checkpoint, end.0);
        assert_eq!(
            (saved[0].consumer.as_str(), saved[1].checkpoint.as_str()),
            ("pod-0", "")
        );
        let stranger = client
            .save_checkpoint("cg-1", "pod-1", 0, &end)
            .await
            .unwrap_err();
        assert_eq!(stranger.class(), Class::Group);
        let unknown = client.heartbeat("cg-1", "pod-1", &[0]).await.unwrap_err();
        assert_eq!(unknown.class(), Class::Group);
        client.delete_group("cg-1").await.unwrap();
        assert_eq!(client.list_groups().await.unwrap(), []);
    }
}

#[tokio::test]
async fn every_packing_gives_the_same_records() {
    let place = Place::new(1);
    place.put(0..1000);
    let client = client(&place.fake);
    let begin = client.cursor(0, At::Begin).await.unwrap();
    let end = client.cursor(0, At::Received(RECEIVED + 40)).await.unwrap();
    let pull = |packing, groups| Pull {
        cursor: &begin,
        end: Some(&end),
        groups,
        query: None,
        packing,
        bytes_max: 10 << 20,
    };
    let plain = client.pull(0, &pull(Packing::Plain, 1000)).await.unwrap();
    assert_eq!((plain.tally.groups, plain.tally.logs), (40, 800));
    assert!(plain.next.is(&end));
    assert_eq!(plain.last, end.number().map(|end| end - 1));
    for packing in [Packing::Lz4, Packing::Zstd, Packing::Deflate] {
        let pulled = client.pull(0, &pull(packing, 1000)).await.unwrap();
        assert_eq!(pulled.list, plain.list, "{packing:?}");
        assert!(pulled.packed_bytes < plain.packed_bytes / 2, "{packing:?}");
    }
    let some = client.pull(0, &pull(Packing::Lz4, 7)).await.unwrap();
    assert_eq!(some.tally.groups, 7);
    let nothing = Pull {
        cursor: &end,
        ..pull(Packing::Lz4, 1000)
    };
    let nothing = client.pull(0, &nothing).await.unwrap();
    assert!(nothing.next.is(&end) && nothing.list.is_empty());
}

#[tokio::test]
async fn an_address_as_endpoint_carries_the_project_in_the_host() {
    let place = Place::new(1);
    // The fake looks for the region in the host, as a name of the service has it.
    place.fake.world().account.region = "127".to_owned();
    let client = with(&place.fake, |settings, _| {
        settings.endpoint = place.fake.proxy();
        settings.proxy = None;
        settings.region = Some("127".to_owned());
    });
    assert_eq!(client.list_shards().await.unwrap().len(), 1);
}

#[tokio::test]
async fn bad_settings_say_the_cause_and_the_remedy() {
    let place = Place::new(1);
    let fails = async |change: fn(&mut ClientSettings, &mut Credentials)| {
        let error = with(&place.fake, change).list_shards().await.unwrap_err();
        let cause = error.cause.to_string();
        (error.to_string(), cause, error.help().unwrap())
    };
    let (error, cause, help) =
        fails(|settings, _| settings.project = "other-proj".to_owned()).await;
    assert_eq!(error, "ListShards of `other-proj/vpc-flow` failed");
    assert!(cause.starts_with("ProjectNotExist (404): The Project does not exist : other-proj"));
    assert!(
        help.contains("`project`") && help.contains("region"),
        "{help}"
    );
    let (_, cause, help) =
        fails(|settings, _| settings.endpoint = "http://cn-beijing.log.aliyuncs.com".to_owned())
            .await;
    assert!(cause.starts_with("ProjectNotExist") && help.contains("endpoint"));
    let (_, cause, help) = fails(|settings, _| settings.logstore = "nothing".to_owned()).await;
    assert!(cause.starts_with("LogStoreNotExist (404)") && help.contains("`logstore`"));
    let (_, cause, help) =
        fails(|settings, _| settings.region = Some("cn-beijing".to_owned())).await;
    assert!(cause.starts_with("SignatureNotMatch (401)") && help.contains("`region`"));
    let (_, cause, help) = fails(|_, credentials| {
        *credentials = Credentials::lasting(credentials.access_key_id.clone(), "wrong")
    })
    .await;
    assert!(cause.starts_with("SignatureNotMatch (401)") && help.contains("secret"));
    let (_, cause, _) =
        fails(|_, credentials| credentials.access_key_id = "LTAIwrong".to_owned()).await;
    assert!(cause.starts_with("Unauthorized (401)"), "{cause}");
    place.fake.world().denied = Some("log:ListShards".to_owned());
    let (_, cause, help) = fails(|_, _| {}).await;
    assert!(cause.contains("action: log:ListShards") && help.contains("docs/ram"));
    let secrets = [credentials().secret().to_owned(), "wrong".to_owned()];
    assert!(secrets.iter().all(|secret| !cause.contains(secret)));
}
