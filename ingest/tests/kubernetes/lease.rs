//! Two replicas, one lease.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Listening, Place, lease, pod, short, until};
use crate::fake_kube::FakeKube;
use crate::listening::KINDS;

fn holder(fake: &FakeKube) -> Option<Value> {
    let world = fake.world();
    let resource = world.resource("leases");
    world.get(resource, "audit", "flowaudit-inventory")
}

fn replica(place: &Place, identity: &str) -> Listening {
    let mut settings = place.quick();
    settings.lease = Some(lease(identity));
    Listening::start(settings)
}

#[test]
fn only_one_records_and_the_other_takes_over_when_it_ends() {
    let place = Place::new();
    place.pods(0..2);
    let one = replica(&place, "one");
    one.until_listed(KINDS);
    let two = replica(&place, "two");
    two.until("it stands by", |taken| {
        taken
            .told
            .iter()
            .any(|line| line.contains(r#"holder: "one""#))
    });
    place.create("pods", pod("while-one", 5));
    one.until("one hears", |taken| {
        short(taken, "Pod").contains(&"put while-one".to_owned())
    });
    assert_eq!(two.taken().heard, []);
    // An orderly end gives the lease back at once.
    let (_, ended) = one.end();
    ended.unwrap();
    two.until_listed(KINDS);
    let lease = holder(&place.fake).unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "two");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 2);
    assert!(lease["spec"]["leaseTransitions"].as_u64().unwrap() >= 1);
    two.end().1.unwrap();
    let lease = holder(&place.fake).unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "");
}

/// Its authorizer learns of roles and bindings only after it answers.
#[test]
fn a_server_that_has_just_begun_allows_nothing_for_a_moment() {
    let place = Place::new();
    place.pods(0..2);
    let rights = ["leases.coordination.k8s.io", "pods"];
    let forbid = rights.map(str::to_owned);
    place.fake.world().faults.forbidden.extend(forbid.clone());
    let mut settings = place.quick();
    settings.lease = Some(lease("one"));
    settings.tuning.forbidden_pause = Duration::from_secs(3600);
    settings.tuning.forbidden_at_first = Duration::from_secs(20);
    let listening = Listening::start(settings);
    let asked = |text: &str| until(text, || place.requests(&[text]) >= 3);
    asked("/leases");
    place.fake.world().faults.forbidden.remove(&forbid[0]);
    listening.until_listed(KINDS - 1);
    asked("/pods?");
    place.fake.world().faults.forbidden.remove(&forbid[1]);
    listening.until_listed(KINDS);
    let (_, ended) = listening.end();
    assert_eq!(ended.unwrap().missing, []);
}

#[test]
fn whoever_cannot_renew_stops_before_another_begins() {
    let place = Place::new();
    place.pods(0..2);
    let one = replica(&place, "one");
    one.until_listed(KINDS);
    // Only leases: the rest of the API still answers.
    place
        .fake
        .world()
        .faults
        .forbidden
        .insert("leases.coordination.k8s.io".to_owned());
    let begun = Instant::now();
    one.until("it stops recording", |taken| {
        taken.told.iter().any(|line| line.contains("LeaseLost"))
    });
    assert!(begun.elapsed() < Duration::from_secs(10));
    let heard = one.taken().heard.len();
    place.create("pods", pod("unwatched", 5));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(one.taken().heard.len(), heard);
    // Then it says why.
    let (_, ended) = one.join();
    let error = ended.unwrap_err();
    let text = format!("{error:?} {}", error.help().unwrap());
    assert!(
        text.contains("LeaseForbidden") && text.contains("--no-lease"),
        "{text}"
    );
}

#[test]
fn a_lease_that_another_took_is_not_written_over() {
    let place = Place::new();
    let one = replica(&place, "one");
    one.until_listed(KINDS);
    {
        let mut world = place.fake.world();
        let resource = world.resource("leases");
        let mut lease = world.get(resource, "audit", "flowaudit-inventory").unwrap();
        lease["spec"]["holderIdentity"] = "a-person".into();
        lease["spec"]["leaseDurationSeconds"] = 3600.into();
        world.update(resource, lease);
    }
    one.until("it stops recording", |taken| {
        taken.told.iter().any(|line| line.contains("LeaseLost"))
    });
    one.end().1.unwrap();
    let lease = holder(&place.fake).unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "a-person");
}

#[test]
fn a_list_alone_waits_only_for_a_dead_holder() {
    let place = Place::new();
    let one = replica(&place, "one");
    one.until_listed(KINDS);
    let mut settings = place.quick();
    settings.once = true;
    settings.lease = Some(lease("two"));
    let (taken, ended) = Listening::start(settings).join();
    assert!(taken.heard.is_empty());
    let error = format!("{:?}", ended.unwrap_err());
    assert!(
        error.contains("LeaseHeld") && error.contains("one"),
        "{error}"
    );
    one.end().1.unwrap();
    until("the lease is free", || {
        holder(&place.fake).is_some_and(|lease| lease["spec"]["holderIdentity"] == "")
    });
}
