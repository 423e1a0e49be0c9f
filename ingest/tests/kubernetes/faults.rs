//! What breaks, and what is made of it.

use std::time::{Duration, Instant};

use flowaudit_ingest::inventory::live::Heard;
use serde_json::json;

use crate::common::{Place, pod, short, until};
use crate::listening::KINDS;

/// After the watches of all kinds have begun.
#[track_caller]
fn settled(place: &Place) -> crate::common::Listening {
    let listening = place.watch();
    listening.until_listed(KINDS);
    until("pods are watched", || place.watches("pods") > 0);
    listening
}

fn has(texts: &[String], text: &str) -> bool {
    texts.iter().any(|found| found == text)
}

#[test]
fn a_watch_that_is_cut_goes_on_where_it_was() {
    let place = Place::new();
    place.pods(0..3);
    let listening = settled(&place);
    for n in 10..20 {
        place.create("pods", pod(&format!("new-{n}"), n));
        place.fake.world().cut();
        let text = format!("put new-{n}");
        listening.until("it is heard", |taken| has(&short(taken, "Pod"), &text));
    }
    let (taken, ended) = listening.end();
    let of_pods = short(&taken, "Pod");
    let puts = of_pods
        .iter()
        .filter(|text| text.starts_with("put"))
        .count();
    assert_eq!((puts, has(&of_pods, "lost")), (10, false), "{of_pods:?}");
    assert_eq!((place.lists("pods"), ended.unwrap().relisted), (1, 0));
    assert!(place.watches("pods") > 5);
}

#[track_caller]
fn check_compaction(as_status: bool) {
    let place = Place::new();
    place.pods(0..3);
    let listening = settled(&place);
    {
        let mut world = place.fake.world();
        world.faults.gone_as_status = as_status;
        let resource = world.resource("pods");
        // Not to be seen: born and gone while nobody could hear of it, and one that is simply gone.
        world.create(resource, pod("short", 77));
        world.delete(resource, "shop", "short").unwrap();
        world.delete(resource, "shop", "web-1").unwrap();
        world.compact();
        world.cut();
    }
    listening.until("pods are listed again", |taken| {
        let of_pods = short(taken, "Pod");
        of_pods.iter().filter(|text| *text == "end").count() == 2
    });
    place.create("pods", pod("after", 78));
    listening.until("the watch goes on", |taken| {
        has(&short(taken, "Pod"), "put after")
    });
    let (taken, _) = listening.end();
    let of_pods = short(&taken, "Pod");
    assert_eq!(
        of_pods,
        [
            "list",
            "is web-0",
            "is web-1",
            "is web-2",
            "end",
            "lost",
            "list",
            "is web-0",
            "is web-2",
            "end",
            "put after"
        ]
    );
}

#[test]
fn compaction_told_by_an_event() {
    check_compaction(false);
}

#[test]
fn compaction_told_by_the_status() {
    check_compaction(true);
}

#[test]
fn a_silent_connection_is_noticed() {
    let place = Place::new();
    place.pods(0..2);
    let listening = settled(&place);
    place.fake.world().faults.silent = true;
    place.create("pods", pod("unheard", 5));
    listening.until("the silence is noticed", |taken| {
        has(&short(taken, "Pod"), "lost")
    });
    place.fake.world().faults.silent = false;
    listening.until("pods are listed again", |taken| {
        has(&short(taken, "Pod"), "is unheard")
    });
    let (taken, _) = listening.end();
    // It did not come late as if it had just happened.
    assert!(!has(&short(&taken, "Pod"), "put unheard"));
}

#[test]
fn what_stood_in_line_while_a_connection_stalled_is_no_news() {
    let place = Place::new();
    place.pods(0..2);
    let mut settings = place.quick();
    settings.tuning.watch_idle = Duration::from_secs(30);
    let listening = crate::common::Listening::start(settings);
    listening.until_listed(KINDS);
    let of_pods = |heard: &Heard| match heard {
        Heard::Waited { kind, .. } if kind.kind == "Pod" => Some("waited".to_owned()),
        Heard::Progress { kind, .. } if kind.kind == "Pod" => Some("progress".to_owned()),
        Heard::Applied { object, .. } if object.kind == "Pod" => Some(object.name.clone()),
        _ => None,
    };
    let told = |from: usize| -> Vec<String> {
        let mut told: Vec<String> = listening.taken().heard[from..]
            .iter()
            .filter_map(of_pods)
            .collect();
        told.dedup();
        told
    };
    place.fake.world().faults.silent = true;
    let before = listening.taken().heard.len();
    let label = json!({"metadata": {"labels": {"app": "db"}}});
    place.patch("pods", "shop", "web-0", &label);
    std::thread::sleep(Duration::from_secs(5));
    place.fake.world().faults.silent = false;
    listening.until("what had waited has come", |taken| {
        let mut heard = taken.heard[before..].iter().filter_map(of_pods);
        heard.any(|text| text == "web-0") && heard.any(|text| text == "progress")
    });
    let order = told(before);
    let waited = order.iter().position(|text| text == "waited");
    let put = order.iter().position(|text| text == "web-0");
    assert!(waited.is_some() && waited < put, "{order:?}");
    // After a silence in which nothing happened, what says itself that it is new is news.
    place.fake.world().bookmark_pause = Duration::from_secs(3600);
    std::thread::sleep(Duration::from_secs(4));
    let before = listening.taken().heard.len();
    place.create("pods", pod("new", 9));
    listening.until("the new one is heard", |taken| {
        has(&short(taken, "Pod"), "put new")
    });
    assert_eq!(told(before)[0], "new");
    let (_, ended) = listening.end();
    assert_eq!(ended.unwrap().relisted, 0);
}

#[test]
fn a_server_without_bookmarks_is_believed_when_it_ends_a_watch_in_order() {
    let place = Place::new();
    place.pods(0..2);
    place.fake.world().bookmark_pause = Duration::from_secs(3600);
    let mut settings = place.quick();
    settings.tuning.watch_length = Duration::from_secs(2);
    settings.tuning.watch_idle = Duration::from_secs(5);
    settings.tuning.wait_first = Duration::from_millis(100);
    settings.tuning.wait_max = Duration::from_secs(5);
    let listening = crate::common::Listening::start(settings);
    // A kind of which nothing happens at all: longer than the waits between its watches could grow.
    until("jobs are watched again and again", || {
        place.watches("jobs") >= 8
    });
    let (taken, ended) = listening.end();
    assert_eq!(short(&taken, "Job"), ["list", "end"]);
    assert_eq!(ended.unwrap().relisted, 0);
    let progress = taken.heard.iter();
    let progress = progress
        .filter(|heard| matches!(heard, Heard::Progress { kind, .. } if kind.kind == "Job"));
    assert!(
        progress.count() >= 7,
        "its end says up to when nothing was missed"
    );
}

#[test]
fn an_outage_is_waited_out_without_hurry() {
    let place = Place::new();
    place.pods(0..2);
    let listening = settled(&place);
    let before = {
        let mut world = place.fake.world();
        world.faults.away = true;
        world.cut();
        world.connections
    };
    std::thread::sleep(Duration::from_secs(3));
    place.delete("pods", "shop", "web-0");
    let tries = {
        let mut world = place.fake.world();
        world.faults.away = false;
        world.connections - before
    };
    listening.until("pods are listed again", |taken| {
        short(taken, "Pod")
            .iter()
            .filter(|text| *text == "end")
            .count()
            == 2
    });
    let (taken, _) = listening.end();
    let of_pods = short(&taken, "Pod");
    assert_eq!(
        of_pods,
        [
            "list", "is web-0", "is web-1", "end", "lost", "list", "is web-1", "end"
        ]
    );
    // Each kind at most every 100 ms, after some quicker tries.
    let most = KINDS as u64 * 50;
    assert!(tries <= most, "{tries} connections");
    assert!(
        taken.told.iter().any(|line| line.contains("Waiting")),
        "{:?}",
        taken.told
    );
}

#[test]
fn lists_that_break_off_are_begun_again() {
    let place = Place::new();
    place.pods(0..250);
    place.fake.world().faults.cut_lists = 3;
    let listening = settled(&place);
    let (taken, _) = listening.end();
    let of_pods = short(&taken, "Pod");
    let last = of_pods.iter().rposition(|text| text == "list").unwrap();
    assert_eq!(of_pods.len() - last, 252);
    assert_eq!(of_pods.iter().filter(|text| *text == "end").count(), 1);
}

#[test]
fn pages_that_come_slowly_are_waited_for() {
    let place = Place::new();
    place.pods(0..50);
    place.fake.world().faults.slow = Some(Duration::from_millis(50));
    let listening = settled(&place);
    let (taken, _) = listening.end();
    assert_eq!(short(&taken, "Pod").len(), 52);
}

#[test]
fn a_busy_server_is_given_the_time_it_asks_for() {
    let place = Place::new();
    {
        let mut world = place.fake.world();
        world.faults.busy = 1;
        world.faults.busy_seconds = 1;
    }
    let begun = std::time::Instant::now();
    let listening = settled(&place);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    listening.end().1.unwrap();
}

#[test]
fn nothing_is_dated_by_a_clock_that_is_far_from_the_servers() {
    let place = Place::new();
    place.pods(0..2);
    place.fake.world().faults.seconds_ahead = -3_600;
    let listening = place.watch();
    listening.until("it is told", |taken| {
        let mut told = taken.told.iter();
        told.any(|line| line.contains("ahead of the server's: what happens cannot be dated"))
    });
    assert!(listening.taken().heard.is_empty());
    // Set right, it begins; set wrong later, nothing is dated by it either.
    place.fake.world().faults.seconds_ahead = 2;
    listening.until_listed(KINDS);
    until("pods are watched", || place.watches("pods") > 0);
    {
        let mut world = place.fake.world();
        world.faults.seconds_ahead = 60;
        world.cut();
    }
    place.create("pods", pod("unheard", 5));
    listening.until("the pods are lost", |taken| {
        has(&short(taken, "Pod"), "lost")
    });
    let lists = place.lists("pods");
    until("they are listed again and again", || {
        place.lists("pods") > lists + 2
    });
    assert!(!format!("{:?}", short(&listening.taken(), "Pod")).contains("unheard"));
    place.fake.world().faults.seconds_ahead = 0;
    listening.until("pods are listed", |taken| {
        has(&short(taken, "Pod"), "is unheard")
    });
    listening.end().1.unwrap();
}

#[test]
fn a_lake_without_room_is_waited_for() {
    let place = Place::new();
    place.pods(0..2);
    let listening = settled(&place);
    listening.full(true);
    let begun = Instant::now();
    place.create("pods", pod("unwritten", 5));
    listening.until("commits are tried again", |taken| taken.refused >= 5);
    // As often as usual, and no more.
    assert!(begun.elapsed() >= Duration::from_millis(400), "{begun:?}");
    {
        let taken = listening.taken();
        let mut told = taken.told.iter();
        let said = "cannot be written to the lake: cannot write `part.parquet`";
        assert!(told.any(|line| line.contains(said)), "{:?}", taken.told);
        assert!(taken.committed < taken.heard.len());
    }
    listening.full(false);
    listening.until("what was heard meanwhile is written", |taken| {
        let of_pods = short(taken, "Pod");
        has(&of_pods, "put unwritten") && taken.committed == taken.heard.len()
    });
    let (taken, ended) = listening.end();
    ended.unwrap();
    assert!(!has(&short(&taken, "Pod"), "lost"));
}

#[test]
fn a_lake_that_stays_without_room_ends_the_run() {
    let place = Place::new();
    let mut settings = place.quick();
    settings.tuning.lake_max = Duration::from_millis(500);
    let listening = crate::common::Listening::start(settings);
    listening.until_listed(KINDS);
    listening.full(true);
    place.create("pods", pod("unwritten", 5));
    let (taken, ended) = listening.join();
    let error = ended.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap();
    let text = format!("{cause}; {}", error.help().unwrap());
    assert!(text.starts_with("what was heard since 20"), "{text}");
    assert!(text.contains("make room on the lake's disk"), "{text}");
    assert!(taken.refused >= 5, "{}", taken.refused);
}

#[test]
fn whatever_answers_in_the_place_of_an_api_server_is_told_from_one() {
    let place = Place::new();
    place.fake.world().faults.html = true;
    let listening = place.watch();
    listening.until("it is told", |taken| {
        let mut told = taken.told.iter();
        told.any(|line| {
            line.contains("perhaps a proxy: `text/html; charset=utf-8` instead of JSON")
        })
    });
    place.fake.world().faults.html = false;
    listening.until_listed(KINDS);
    // One that comes later is not believed either.
    until("pods are watched", || place.watches("pods") > 0);
    {
        let mut world = place.fake.world();
        world.faults.html = true;
        world.cut();
    }
    listening.until("pods are lost", |taken| has(&short(taken, "Pod"), "lost"));
    place.fake.world().faults.html = false;
    listening.until_listed(KINDS + 1);
    listening.end().1.unwrap();
}
