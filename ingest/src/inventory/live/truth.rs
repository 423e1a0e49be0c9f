//! Random worlds, heard with outages, restarts and lists that take their time, against what really was.
//!
//! The truth is said by the world's own pods, not by the code under test: an address is a pod's from `start` to `release`; the API server
//! hears of it later.

use std::time::Duration;

use flowaudit_lake::table::endpoints::EndpointRow;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::terway::{enis, pod_eni, runtime, runtimes};
use super::tests::{Place, S, at, finished, pod, pods, text};
use super::*;
use crate::inventory::sighting::UNKNOWN;

/// How a pod ends, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    /// Its containers finish so long before the address is back; the API server hears so long after; then the object goes.
    Finishes(i64, i64, i64),
    /// Nobody says when its containers finished; the API server hears so long after its address is back; then the object goes.
    Evicted(i64, i64),
    /// It is deleted by force so long before its address is back.
    Forced(i64),
    /// It does not end while anybody looks.
    Lives,
}

#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) name: String,
    pub(super) addr: String,
    pub(super) start: i64,
    pub(super) release: i64,
    /// The API server hears of its address so long after it has it.
    pub(super) lag: i64,
    pub(super) relabelled: Option<i64>,
    /// Its container, by which alone it says when it began, is started again then.
    pub(super) restarted: Option<i64>,
    /// Whether it says itself when it began.
    pub(super) is_dated: bool,
    pub(super) ending: Ending,
    /// Terway writes down so long after its end that its address is back; not every cluster has it do so.
    pub(super) told: Option<i64>,
    /// It has interfaces of its own, which its PodENI gives back so long after its end.
    pub(super) own: Option<i64>,
}

const END: i64 = 400;

impl Life {
    fn finish(&self) -> Option<i64> {
        match self.ending {
            Ending::Finishes(before, ..) => Some((self.release - before).max(self.start)),
            _ => None,
        }
    }

    /// When the API server shows the end of it, and when the object goes.
    fn terminal(&self) -> i64 {
        let shown = self.start + self.lag;
        match self.ending {
            Ending::Finishes(_, after, _) | Ending::Evicted(after, _) => {
                (self.release + after).max(shown)
            }
            Ending::Forced(before) => (self.release - before).max(shown),
            Ending::Lives => 10_000,
        }
    }

    fn gone(&self) -> i64 {
        match self.ending {
            Ending::Finishes(_, _, later) | Ending::Evicted(_, later) => self.terminal() + later,
            _ => self.terminal(),
        }
    }

    fn created(&self) -> i64 {
        self.start - 2
    }

    fn label(&self, second: i64) -> &'static str {
        match self.relabelled {
            Some(change) if change <= second => "b",
            _ => "a",
        }
    }

    /// The object at this time.
    pub(super) fn state(&self, second: i64) -> Option<Value> {
        (self.created() <= second && second < self.gone()).then(|| self.last_state(second))
    }

    fn last_state(&self, second: i64) -> Value {
        let mut value = pod(&self.name, &self.addr, self.start);
        value["metadata"]["labels"] = json!({"v": self.label(second)});
        if let Some(change) = self.relabelled.filter(|change| *change <= second) {
            value["metadata"]["managedFields"] = json!([{
                "manager": "kubectl-label", "operation": "Update", "time": text(change),
                "fieldsV1": {"f:metadata": {"f:labels": {"f:v": {}}}},
            }]);
        }
        if !self.is_dated {
            value["status"]["conditions"] = json!([]);
            value["status"]["containerStatuses"] = json!([]);
        }
        let mut start = self.start;
        if let Some(restart) = self.restarted.filter(|_| self.is_dated) {
            start = if restart <= second { restart } else { start };
            value["status"]["conditions"] = json!([]);
            value["status"]["containerStatuses"] =
                json!([{"state": {"running": {"startedAt": text(start)}}}]);
        }
        if second < self.start + self.lag {
            value["status"] = json!({"phase": "Pending"});
        } else if second >= self.terminal() {
            match self.finish() {
                Some(finish) => value = finished(value, start.min(finish), finish),
                None => {
                    value["status"]["phase"] = "Failed".into();
                    value["status"]["containerStatuses"] = json!([]);
                }
            }
        }
        value
    }

    /// The address of its second interface: that of all pods of a kind, one after the other.
    fn further(&self) -> String {
        self.addr.replacen("10.0.", "10.8.", 1)
    }

    /// From when to when its PodENI gives it that address.
    fn bound(&self) -> Option<(i64, i64)> {
        let left = self.terminal().max(self.release) + self.own?;
        Some((self.start - 1, left))
    }

    /// Its PodENI at this time.
    fn eni(&self, second: i64) -> Option<Value> {
        let (bound, left) = self.bound()?;
        let phase = match second {
            _ if second < bound => "",
            _ if second < left => "Bind",
            _ => "Detaching",
        };
        let uid = format!("uid-{}", self.name);
        let addrs = [self.addr.as_str(), &self.further()];
        (self.created() <= second && second < left + 2)
            .then(|| pod_eni(&self.name, &uid, phase, addrs))
    }

    /// What the API server shows of that at this time: from then on, and for five minutes.
    fn word(&self, second: i64) -> Option<(&str, Option<i64>)> {
        let told = self.release + self.told?;
        let is_told = told <= second;
        (self.start <= second && second < told + 300)
            .then_some((self.name.as_str(), is_told.then_some(self.release)))
    }

    fn changes(&self) -> Vec<i64> {
        let mut changes = vec![
            self.created(),
            self.start + self.lag,
            self.terminal(),
            self.gone(),
        ];
        changes.extend(self.relabelled.into_iter().chain(self.restarted));
        changes
    }
}

/// One session: how long nobody watched before it, how long its list takes, how long it lasts, whether the process ends with it.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) outage: i64,
    pub(super) list: i64,
    /// It shows what was so this long after it was asked for, and its first page comes so long after that.
    pub(super) lead: (i64, i64),
    pub(super) length: i64,
    /// Stretches of it in which the connection stalls, and after which all comes at once.
    pub(super) stalls: Vec<(i64, i64)>,
    pub(super) is_restart: bool,
    pub(super) bookmark_every: i64,
    pub(super) commit_every: i64,
    /// How long a second takes.
    pub(super) pause: Duration,
}

/// A session that begins at a second.
pub(super) fn session(from: i64) -> Session {
    Session {
        outage: from,
        list: 1,
        lead: (0, 0),
        length: 200,
        stalls: Vec::new(),
        is_restart: true,
        bookmark_every: 5,
        commit_every: 10,
        pause: Duration::ZERO,
    }
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let ending = prop_oneof![
        4 => (0_i64..3, 0_i64..4, 0_i64..6).prop_map(|(a, b, c)| Ending::Finishes(a, b, c)),
        1 => (0_i64..4, 0_i64..40).prop_map(|(a, b)| Ending::Evicted(a, b)),
        1 => (0_i64..9).prop_map(Ending::Forced),
    ];
    let life = (
        0_i64..12,
        3_i64..70,
        0_i64..4,
        prop::option::weighted(0.4, 0_i64..70),
        prop::option::weighted(0.3, 0_i64..70),
        prop::bool::weighted(0.7),
        ending,
        prop::option::of(0_i64..4),
        prop::option::of(0_i64..6),
    );
    let chain = prop::collection::vec(life, 1..9);
    prop::collection::vec(chain, 1..4).prop_map(|chains| {
        let mut lives = Vec::new();
        for (number, chain) in chains.into_iter().enumerate() {
            let (mut free, mut unbound) = (-20, i64::MIN);
            for (wait, length, lag, relabelled, restarted, is_dated, ending, told, own) in chain {
                let start = free + wait;
                let mut life = Life {
                    name: format!("p{number}-{}", lives.len()),
                    addr: format!("10.0.0.{number}"),
                    start,
                    release: start + length,
                    lag,
                    relabelled: relabelled.map(|after| start + lag + after),
                    restarted: restarted.map(|after| start + lag + after),
                    is_dated,
                    ending,
                    told,
                    own: own.filter(|_| is_dated && unbound < start - 2),
                };
                life.relabelled = life.relabelled.filter(|change| *change < life.terminal());
                life.restarted = life.restarted.filter(|change| *change < life.terminal());
                free = life.release;
                if life.release >= END {
                    (life.ending, life.release) = (Ending::Lives, 10_000);
                }
                let lasts = life.release >= END;
                unbound = life.bound().map_or(unbound, |(_, left)| left);
                lives.push(life);
                if lasts {
                    break;
                }
            }
        }
        lives
    })
}

fn sessions() -> impl Strategy<Value = Vec<Session>> {
    let session = (
        0_i64..25,
        (0_i64..8, 0_i64..8, 0_i64..8),
        5_i64..120,
        prop::collection::vec((0_i64..100, 4_i64..60), 0..3),
        any::<bool>(),
        1_i64..20,
        1_i64..30,
    );
    let session = session.prop_map(
        |(outage, (list, lead, way), length, stalls, is_restart, bookmark_every, commit_every)| {
            Session {
                outage,
                list,
                lead: (lead.min(list), way.min(list - lead.min(list))),
                length,
                stalls,
                is_restart,
                bookmark_every,
                commit_every,
                pause: Duration::ZERO,
            }
        },
    );
    prop::collection::vec(session, 1..6)
}

/// From when to when nothing came.
fn stalls(sessions: &[Session]) -> Vec<(i64, i64)> {
    let mut ended = 0;
    let mut stalls = Vec::new();
    for session in sessions {
        ended += session.outage + session.list;
        let of_session = session.stalls.iter();
        stalls.extend(of_session.map(|(from, length)| (ended + from, ended + from + length)));
        ended += session.length;
    }
    stalls
}

/// Plays the sessions; the second at which the last one ended.
pub(super) fn play(place: &mut Place, lives: &[Life], sessions: &[Session]) -> i64 {
    let mut now = 0;
    for (number, session) in sessions.iter().enumerate() {
        now += session.outage;
        let (begun, ended) = (now, now + session.list);
        let as_of = begun + session.lead.0;
        let shown = as_of + session.lead.1;
        let objects: Vec<Value> = lives.iter().filter_map(|life| life.state(as_of)).collect();
        let words = |second| lives.iter().filter_map(move |life| life.word(second));
        let mut told: Vec<_> = words(begun).collect();
        let owned = |second| lives.iter().map(move |life| life.eni(second));
        let mut own: Vec<_> = owned(begun).collect();
        let of_terway = |place: &mut Place, own: &[Option<Value>]| {
            let own: Vec<Value> = own.iter().flatten().cloned().collect();
            place.list(&runtimes(), begun, ended, &[runtime(&told)]);
            place.list(&enis(), begun, ended, &own);
        };
        let is_first = number.is_multiple_of(2);
        if is_first {
            of_terway(place, &own);
        }
        place.list_shown(&pods(), (begun, shown, ended), &objects);
        if !is_first {
            of_terway(place, &own);
        }
        let mut changes: Vec<(i64, &Life)> = lives
            .iter()
            .flat_map(|life| life.changes().into_iter().map(move |change| (change, life)))
            .filter(|(change, _)| *change > as_of)
            .collect();
        changes.sort_by_key(|(change, life)| (*change, life.name.clone()));
        changes.dedup_by_key(|(change, life)| (*change, life.name.clone()));
        let mut changes = changes.into_iter().peekable();
        let over = ended + session.length;
        for second in ended..=over {
            std::thread::sleep(session.pause);
            let is_stalled = |second: i64| {
                let mut stalls = session.stalls.iter();
                stalls.any(|(from, length)| (0..*length).contains(&(second - ended - from)))
                    && second < over
            };
            let is_again = is_stalled(second - 1) && !is_stalled(second);
            if is_again {
                for kind in [pods(), runtimes(), enis()] {
                    place.hear(Heard::Waited {
                        kind,
                        at: at(second),
                    });
                }
            }
            let is_heard = !is_stalled(second);
            while let Some((change, life)) =
                changes.next_if(|(change, _)| is_heard && *change <= second)
            {
                match life.state(change) {
                    Some(state) => place.put(&state, second),
                    None if change == life.gone() => {
                        place.delete(&life.last_state(change - 1), second)
                    }
                    None => {}
                }
            }
            let now: Vec<_> = words(second).collect();
            if is_heard && now != told {
                place.put(&runtime(&now), second);
                told = now;
            }
            for (was, is) in own.iter_mut().zip(owned(second)).filter(|_| is_heard) {
                match (&was, &is) {
                    (was, Some(is)) if was.as_ref() != Some(is) => place.put(is, second),
                    (Some(was), None) => place.delete(was, second),
                    _ => {}
                }
                *was = is;
            }
            // One that comes in the burst is not counted.
            let is_quiet = is_heard && !is_again;
            if is_quiet && (second - ended) % session.bookmark_every == session.bookmark_every - 1 {
                place.progress(&pods(), second);
                place.progress(&runtimes(), second);
                place.progress(&enis(), second);
            }
            if (second - ended) % session.commit_every == session.commit_every - 1 {
                place.commit(second);
            }
        }
        now = over;
        let is_last = number + 1 == sessions.len();
        if is_last {
            place.commit(now);
        } else if session.is_restart {
            place.restart();
        } else {
            for kind in [pods(), runtimes(), enis()] {
                place.hear(Heard::Lost {
                    kind,
                    at: at(now),
                    why: "410".to_owned(),
                });
            }
        }
    }
    now
}

/// `watched` is from when on somebody watched all the time up to `until`, if somebody did.
pub(super) fn check(
    place: &Place,
    lives: &[Life],
    (watched, until): (i64, i64),
    stalls: &[(i64, i64)],
) {
    let rows = place.endpoints();
    let mut gaps = place.gaps();
    gaps.retain(|gap| gap.source.ends_with("/Pod"));
    gaps.sort_by_key(|gap| gap.from_us);
    let of_own = lives.iter().filter(|life| life.own.is_some());
    let further = of_own.map(|life| (life, life.further()));
    let shown = lives.iter().map(|life| (life, life.addr.clone()));
    for (life, addr) in shown.chain(further) {
        let is_further = addr != life.addr;
        let own = rows.iter().filter(|row| row.name == life.name);
        let own: Vec<_> = own.filter(|row| row.addr == addr).collect();
        let visible = (life.start + life.lag, life.terminal());
        let is_shown = rows.iter().any(|row| row.name == life.name);
        // In a burst all that is said of pods may come before what is said of PodENIs.
        let came_late = |(from, to): &(i64, i64)| visible.0 <= *to && *from <= visible.1;
        let is_late = stalls.iter().any(came_late);
        if is_further && own.is_empty() && (is_late || !is_shown || watched >= life.terminal()) {
            // Its PodENI was seen by nobody, or the pod only after its end.
            continue;
        }
        if own.is_empty() {
            // Nobody could see it: before all, after all, or inside a gap.
            let spans = place.objects();
            let spans = spans.iter().filter(|row| row.name == "Pod");
            let first = spans.map(|row| row.valid_from_us).min();
            let first = first.map_or(0, |us| (us - at(0)) / S);
            // Gaps may overlap.
            let mut missed = at(visible.0.max(first));
            for gap in &gaps {
                if (gap.from_us..=gap.to_us).contains(&missed) {
                    missed = gap.to_us;
                }
            }
            // An evicted pod has let go of its address though its object stays.
            let over = match life.ending {
                Ending::Evicted(..) => life.terminal(),
                _ => life.gone(),
            };
            let in_gap = at(over) <= missed;
            let outside = life.gone() <= first || visible.0 > until || life.gone() <= visible.0;
            assert!(in_gap || outside, "{life:?} is in no row, gaps {gaps:?}");
            continue;
        }
        for row in &own {
            let (from, to) = (row.valid_from_us, row.valid_to_us.unwrap());
            assert!(from <= to, "{row:?}");
            let slack = [row.from_slack_ms, row.to_slack_ms];
            assert!(slack.iter().flatten().all(|ms| *ms >= 0), "{row:?}");
            assert!(
                from >= at(life.start),
                "core begins too early: {row:?} {life:?}"
            );
            // Without a word of its end, an address is known as far as the API server knew.
            let known = life.terminal().max(life.release);
            assert!(to <= at(known), "core ends too late: {row:?} {life:?}");
            if row.labels.as_deref() == Some(UNKNOWN) {
                // They are known from when they were written on, but for an instant that a later look showed to be the last.
                let written = life.relabelled.map(|change| at(change + 1));
                let is_before = written.is_some_and(|written| to < written || from == to);
                assert!(is_before, "labels are known: {row:?} {life:?}");
                continue;
            }
            for us in [from, to] {
                let label = json!({"v": life.label((us - at(0)).div_euclid(S))}).to_string();
                assert_eq!(
                    row.labels.as_deref(),
                    Some(label.as_str()),
                    "at {us} {row:?} {life:?}"
                );
            }
        }
        let low = own.iter().map(|row| {
            let slack = row.from_slack_ms.unwrap_or(1 << 40);
            row.valid_from_us - slack * 1000
        });
        assert!(
            low.min().unwrap() <= at(life.start),
            "begins too late: {own:?} {life:?}"
        );
        let high = own.iter().map(|row| {
            let slack = row.to_slack_ms.unwrap_or(1 << 40);
            row.valid_to_us.unwrap() + slack * 1000
        });
        let high = high.collect::<Vec<_>>().into_iter();
        // That it was deleted by force while nobody watched, nobody can know: whoever is gone then is taken to have ended.
        let is_forced = matches!(life.ending, Ending::Forced(_));
        let deleted = at(life.gone());
        let unseen = is_forced
            && gaps
                .iter()
                .any(|gap| gap.from_us < deleted && deleted <= gap.to_us);
        let released = match unseen {
            true => life.gone(),
            false => life.release,
        };
        let released = released.min(until);
        assert!(
            high.clone().max().unwrap() >= at(released),
            "ends too early: {own:?} {life:?}"
        );
        // Who was deleted by force while somebody watched is known to have ended once Terway says so.
        // Slack is in whole milliseconds.
        let word = life.told.map(|told| life.release + told);
        if is_forced && !unseen && word.is_some_and(|word| (life.gone()..=until).contains(&word)) {
            let core = own.iter().filter_map(|row| row.valid_to_us).max();
            let back = at(life.release).max(core.unwrap_or(i64::MIN));
            // Or that the next one had the address, if a process that ended wrote that down before.
            let next = lives.iter().filter(|next| next.addr == life.addr);
            let next = next.map(|next| at(next.start)).filter(|next| *next >= back);
            let next = next.filter(|next| *next <= until && watched == i64::MAX);
            let back = next.min().unwrap_or(back);
            assert!(
                high.clone().max().unwrap() - back < 1000,
                "its end is open: {own:?} {life:?}"
            );
        }
        for pair in own.windows(2) {
            let high = pair[0].valid_to_us.unwrap() + pair[0].to_slack_ms.unwrap_or(1 << 40) * 1000;
            let low = pair[1].valid_from_us - pair[1].from_slack_ms.unwrap_or(1 << 40) * 1000;
            assert!(
                pair[0].valid_to_us.unwrap() < pair[1].valid_from_us,
                "{pair:?}"
            );
            assert!(
                high >= low || high >= at(life.release),
                "a hole between {pair:?}"
            );
        }
    }
    // Nobody surely holds what somebody else surely holds, once the API server has heard of the end of the one before.
    let is_over = |name: &str| {
        let mut lives = lives.iter();
        lives.any(|life| life.name == name && life.terminal() < until)
    };
    for one in rows.iter().filter(|one| is_over(&one.name)) {
        let same = rows.iter().filter(|other| other.addr == one.addr);
        let later = same.filter(|other| other.name != one.name);
        let times = |row: &EndpointRow| (row.valid_from_us, row.valid_to_us);
        for other in later.filter(|other| times(other) >= times(one)) {
            // What nobody said is known as far as a kubelet may be late; an analysis names neither of two that overlap.
            assert!(
                one.valid_to_us.unwrap() <= other.valid_from_us + 11 * S,
                "two cores: {one:?} {other:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_core_says_what_was_not_so_and_nothing_is_outside(lives in lives(), sessions in sessions()) {
        let mut place = Place::new();
        let until = play(&mut place, &lives, &sessions);
        let watched = match sessions.as_slice() {
            [only] => only.outage + only.list,
            _ => i64::MAX,
        };
        check(&place, &lives, (watched, until), &stalls(&sessions));
    }
}
