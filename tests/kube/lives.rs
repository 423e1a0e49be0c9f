//! What really was so in a story, and what the lake may say of it.

use std::ops::Range;

use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;
use serde_json::Value;

/// One second, in the microseconds in which all times are.
pub(crate) const S: i64 = 1_000_000;
/// From a change to its receipt on a busy machine, with what the machine takes to tell the time.
const RECEIPT: i64 = 2 * S;
/// A kubelet tells the API server of what happened this much later at most, as the recorder supposes.
const STATUS_LAG: i64 = 11 * S;

/// The time.
pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

/// What was so, one after the other, each from within the time in which the server was asked to change it.
pub(crate) type Versions = Vec<(Range<i64>, String)>;

/// How a pod ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// Its deletion was asked for, its containers stop, and it goes.
    Deleted,
    /// Its containers end by themselves, and it stays for a while or for ever.
    Done,
    /// Failed, and no container says when.
    Evicted,
    /// The object is deleted at once, and its containers run on.
    Forced,
    /// Its node is deleted, then the object.
    Lost,
}

impl Ending {
    pub(crate) const ALL: [Ending; 5] = [
        Ending::Deleted,
        Ending::Done,
        Ending::Evicted,
        Ending::Forced,
        Ending::Lost,
    ];
}

/// One pod.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) name: String,
    pub(crate) addr: String,
    pub(crate) labels: Versions,
    /// From when it had its address.
    pub(crate) start: i64,
    /// When the API server had said so.
    pub(crate) shown: i64,
    pub(crate) end: Option<End>,
}

/// The end of one.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) ending: Ending,
    /// Until when it had its address.
    pub(crate) release: i64,
    /// When the API server was told of the end.
    pub(crate) told: Range<i64>,
    /// Up to when it surely held, as far as the API server can know.
    pub(crate) known: i64,
}

impl End {
    /// Whether the API server is told when it was.
    pub(crate) fn is_said(&self) -> bool {
        matches!(self.ending, Ending::Deleted | Ending::Done)
    }
}

impl Life {
    pub(crate) fn release(&self) -> i64 {
        self.end.as_ref().map_or(i64::MAX, |end| end.release)
    }

    fn told(&self) -> i64 {
        self.end.as_ref().map_or(i64::MAX, |end| end.told.end)
    }
}

/// When the recorder first saw what a row is about.
fn first_seen(row: &EndpointRow) -> i64 {
    let evidence: Value = serde_json::from_str(&row.evidence).unwrap();
    let seen = evidence["first_seen"].as_str().unwrap();
    let seen: chrono::DateTime<chrono::Utc> = seen.parse().unwrap();
    seen.timestamp_micros()
}

/// Whether `value` was so at that time, as far as its receipt may be late.
fn was_so(versions: &Versions, value: &str, at: i64) -> bool {
    versions.iter().enumerate().any(|(number, (from, own))| {
        let next = versions.get(number + 1);
        let until = next.map_or(i64::MAX, |(next, _)| next.end + RECEIPT);
        own == value && (from.start - RECEIPT..=until).contains(&at)
    })
}

/// A core at its beginning, in its middle and at its end.
fn instants(from: i64, to: i64) -> [i64; 3] {
    [from, i64::midpoint(from, to), to]
}

/// What is wrong with the rows of pods. `missed` are the times in which the recorder did not listen, `gaps` those of which the lake says
/// that somebody may be in no row, and `until` is the end of the story.
pub(crate) fn mistakes(
    lives: &[Life],
    rows: &[EndpointRow],
    (missed, gaps): (&[Range<i64>], &[Range<i64>]),
    until: i64,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for life in lives {
        let mut own: Vec<_> = rows.iter().filter(|row| row.name == life.name).collect();
        own.sort_by_key(|row| row.valid_from_us);
        if own.is_empty() {
            // Whoever was told of only while nobody listened, or in the burst after a list and without a word of when.
            let told = life.shown - RECEIPT..life.told();
            let is_within = |missed: &Range<i64>, slack: i64| {
                missed.start <= told.start + slack && told.end <= missed.end
            };
            let is_missed = missed.iter().any(|missed| is_within(missed, 0));
            // A gap begins when the kind was last heard, by the clock by which the pod was heard of.
            if !is_missed && !gaps.iter().any(|gap| is_within(gap, 2 * RECEIPT)) {
                wrong.push(format!(
                    "in no row: {life:?}, missed {missed:?}, gaps {gaps:?}"
                ));
            }
            continue;
        }
        wrong.extend(of_one(life, &own, missed, until));
    }
    wrong.extend(overlaps(lives, rows));
    wrong
}

fn of_one(life: &Life, own: &[&EndpointRow], missed: &[Range<i64>], until: i64) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut say = |what: &str| wrong.push(format!("{what}: {life:?} {own:#?}"));
    let last = life.release().max(life.told()).saturating_add(RECEIPT);
    for (number, row) in own.iter().enumerate() {
        let (from, to) = (row.valid_from_us, row.valid_to_us.unwrap_or(i64::MAX));
        // Kubernetes cuts its times to the second.
        if from < life.start - S || to > last || from > to {
            say("surely so, and was not");
        }
        let labels: Value = serde_json::from_str(row.labels.as_deref().unwrap_or("{}")).unwrap();
        let label = labels["v"].as_str().unwrap_or_default();
        // What it looked like before it was first seen is taken to be the same, and is not known.
        let known_from = match number {
            0 => first_seen(row).max(life.shown),
            _ => life.shown,
        };
        let seen = instants(from, to).into_iter();
        let mut seen = seen.filter(|at| *at >= known_from);
        if !seen.all(|at| was_so(&life.labels, label, at)) {
            say("another label");
        }
    }
    let low = own
        .iter()
        .map(|row| row.from_slack_ms.map(|ms| row.valid_from_us - ms * 1000));
    if low
        .min()
        .flatten()
        .is_some_and(|low| low > life.start + RECEIPT)
    {
        say("began earlier");
    }
    // That it was deleted by force while nobody listened, nobody can know: it is taken to have ended.
    let end = life.end.as_ref();
    let is_forced = end.is_some_and(|end| matches!(end.ending, Ending::Forced | Ending::Lost));
    let mut unheard = missed.iter();
    let is_unheard = unheard
        .any(|missed| missed.start - RECEIPT <= life.told() && life.told() <= missed.end + RECEIPT);
    let high = own
        .iter()
        .map(|row| match (row.valid_to_us, row.to_slack_ms) {
            (Some(to), Some(ms)) => to + ms * 1000,
            _ => i64::MAX,
        });
    if high.max().unwrap_or(i64::MAX) < life.release().min(until) - RECEIPT
        && !(is_forced && is_unheard)
    {
        say("ended later");
    }
    for pair in own.windows(2) {
        if pair[0].valid_to_us.unwrap_or(i64::MAX) >= pair[1].valid_from_us {
            say("doubled");
        }
    }
    wrong
}

/// Pods that both surely had one address, though the API server was told of the end of the first long ago.
fn overlaps(lives: &[Life], rows: &[EndpointRow]) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_told = |row: &EndpointRow| {
        let mut own = lives.iter().filter(|life| life.name == row.name);
        own.any(|life| life.end.is_some())
    };
    for one in rows.iter().filter(|row| is_told(row)) {
        let later = rows.iter().filter(|other| {
            other.addr == one.addr
                && other.name != one.name
                && other.valid_from_us >= one.valid_from_us
        });
        for other in later {
            if one.valid_to_us.unwrap_or(i64::MAX) > other.valid_from_us + STATUS_LAG {
                wrong.push(format!("two at once: {one:#?} {other:#?}"));
            }
        }
    }
    wrong
}

/// What is wrong with the versions of one declared object; `state` is where what changes stands in it.
pub(crate) fn mistakes_of_versions<'r>(
    truth: &Versions,
    rows: impl Iterator<Item = &'r ObjectRow>,
    state: &str,
) -> Vec<String> {
    let is_wrong = |row: &&ObjectRow| {
        let object: Value = serde_json::from_str(&row.spec).unwrap();
        let value = object.pointer(state).and_then(Value::as_str);
        let to = row.valid_to_us.unwrap_or(row.valid_from_us);
        let mut seen = instants(row.valid_from_us, to).into_iter();
        !seen.all(|at| was_so(truth, value.unwrap_or_default(), at))
    };
    let wrong = rows.filter(is_wrong);
    wrong.map(|row| format!("was not so: {row:#?}")).collect()
}
