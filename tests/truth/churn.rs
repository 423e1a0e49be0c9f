//! Addresses that change hands within seconds, clocks that are off, ten minutes that nobody watched.

use flowaudit_analyze::coverage::{Coverage, Step};
use flowaudit_analyze::identify::Held;
use flowaudit_lake::table::gaps::GapRow;
use flowaudit_sample_logs::{Run, Scenario, simulate};

use super::findings::check_findings;
use super::{Score, Walked, check_edges, each_end, walk_with_gaps};

const SEEDS: u64 = 6;

/// Ends of records, by what became of them.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) all: u64,
    /// Ends that can be known, see `Holder::identifiable`.
    identifiable: u64,
    pub(crate) identified: u64,
    identified_of_identifiable: u64,
    reasons: std::collections::BTreeMap<&'static str, u64>,
}

impl Counts {
    fn add(&mut self, held: &Held, is_identifiable: bool) {
        self.all += 1;
        self.identifiable += u64::from(is_identifiable);
        match held {
            Held::Unclear(doubt) => *self.reasons.entry(doubt.as_str()).or_default() += 1,
            _ => {
                self.identified += 1;
                self.identified_of_identifiable += u64::from(is_identifiable);
            }
        }
    }

    /// Of the ends that can be known, so many of a hundred were.
    pub(crate) fn known(&self) -> f64 {
        share(self.identified_of_identifiable, self.identifiable)
    }

    fn told(&self, what: &str) {
        println!(
            "{what}: {} ends, identified {:.4} %; {} identifiable, of these {:.4} %; {:?}",
            self.all,
            share(self.identified, self.all),
            self.identifiable,
            self.known(),
            self.reasons,
        );
    }
}

pub(crate) fn share(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// What was counted, apart for records of the time that nobody watched, and whoever was named wrongly.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) watched: Counts,
    pub(crate) outage: Counts,
    wrong: Vec<String>,
}

impl Tally {
    pub(crate) fn add(&mut self, run: &Run<'_>, walked: &Walked) {
        let unwatched = unwatched(run.scenario);
        each_end(run, walked, |end| {
            let is_watched = end.window.to < unwatched[0] || end.window.from > unwatched[1];
            let counts = match is_watched {
                true => &mut self.watched,
                false => &mut self.outage,
            };
            counts.add(&end.held, end.truth.identifiable);
            if end.is_wrong() {
                self.wrong
                    .push(format!("seed {}: {}", run.seed, end.told()));
            }
        });
    }

    #[track_caller]
    pub(crate) fn nobody_is_wrong(&self) {
        self.watched.told("watched");
        self.outage.told("outage");
        let few = self.wrong.iter().take(8).cloned().collect::<Vec<_>>();
        assert!(
            few.is_empty(),
            "{} wrong:\n{}",
            self.wrong.len(),
            few.join("\n")
        );
    }
}

/// As whoever watched tells of the stretch in which he did not.
pub(crate) fn gap(scenario: &Scenario) -> GapRow {
    let [from_us, to_us] =
        scenario.faults.watch_interrupted[0].map(|span| (scenario.start_ms() + span.ms) * 1000);
    GapRow {
        eni_id: None,
        from_us,
        to_us,
        reason: "inventory".into(),
        source: "inventory/default//Pod".into(),
        source_position: 0,
    }
}

#[test]
fn whoever_held_an_address_for_seconds_is_named_right_or_not_at_all() {
    let scenario = Scenario::builtin("churn").unwrap();
    let (mut tally, mut score) = (Tally::default(), Score::default());
    let mut coverage = Coverage::default();
    let (mut reused, mut brief, mut contradictions) = (0, 0, 0);
    for seed in 1..=SEEDS {
        let run = simulate(&scenario, seed);
        let directory = tempfile::tempdir().unwrap();
        let walked = walk_with_gaps(&run, directory.path(), &[gap(&scenario)]);
        tally.add(&run, &walked);
        check_edges(&run, &walked, seed, &mut score);
        check_findings(&run, &walked.findings, seed);
        coverage.merge(&walked.coverage);
        contradictions += walked.contradictions;
        let lives = lives(&run);
        reused += lives.0;
        brief += lives.1;
    }
    println!(
        "{SEEDS} seeds: {reused} addresses had another holder within 10 s, {brief} pods lived for 6 s or less, {contradictions} contradictions"
    );
    for (step, outcome, records) in coverage.iter() {
        println!("{:<10} {outcome:<36} {records}", step.as_str());
    }
    assert!(reused > 1000 && brief > 400, "{reused} {brief}");
    tally.nobody_is_wrong();
    let few = |list: &[String]| list.iter().take(8).cloned().collect::<Vec<_>>().join("\n");
    for list in [&score.misjudged, &score.misobserved] {
        assert!(list.is_empty(), "{} wrong:\n{}", list.len(), few(list));
    }
    let Tally {
        watched, outage, ..
    } = &tally;
    let known = watched.known();
    assert!(known >= 99.5, "identified only {known} %");
    // The outage is real, and whoever lived through it is still known.
    assert!(share(outage.identified, outage.all) < 90.0);
    assert!(share(outage.identified, outage.all) > 10.0);
    // Each step accounts for every record.
    let records = coverage.total(Step::Read);
    for step in Step::ALL {
        assert_eq!(coverage.total(step), records, "{step:?}");
    }
}

/// A recorded watch that broke off leaves no word of it: only what its rows do not know is left to go by.
#[test]
fn an_outage_that_nobody_tells_of_names_nobody_wrongly() {
    let scenario = Scenario::builtin("churn").unwrap();
    let (mut wrong, mut named) = (Vec::new(), 0);
    for seed in 1..=SEEDS / 2 {
        let run = simulate(&scenario, seed);
        let directory = tempfile::tempdir().unwrap();
        let walked = walk_with_gaps(&run, directory.path(), &[]);
        each_end(&run, &walked, |end| {
            named += u64::from(end.named.is_some());
            if end.is_wrong() {
                wrong.push(format!("seed {seed}: {}", end.told()));
            }
        });
    }
    assert!(
        wrong.is_empty(),
        "{} wrong: {:#?}",
        wrong.len(),
        wrong.first()
    );
    assert!(named > 100_000, "{named}");
}

/// First and last instant, in microseconds, of records that the outage can concern.
fn unwatched(scenario: &Scenario) -> [i64; 2] {
    let [from, to] = scenario.faults.watch_interrupted[0];
    let skew_ms = scenario.skew_ms();
    [from.ms - skew_ms, to.ms + skew_ms].map(|ms| (scenario.start_ms() + ms) * 1000)
}

/// How many addresses had another holder within ten seconds, and how many pods lived for six seconds or less.
fn lives(run: &Run<'_>) -> (usize, usize) {
    let pods = &run.world.pods;
    let own = pods.iter().filter(|pod| !pod.host_network);
    let mut held: Vec<_> = own
        .flat_map(|pod| {
            pod.addresses
                .iter()
                .map(move |address| (*address, pod.life.allocated_ms, pod))
        })
        .collect();
    held.sort_by_key(|(address, allocated_ms, _)| (*address, *allocated_ms));
    let reused = held.windows(2).filter(|pair| {
        let end = pair[0].2.life.end;
        pair[0].0 == pair[1].0 && end.is_some_and(|end| pair[1].1 - end.released_ms < 10_000)
    });
    let brief = pods.iter().filter(|pod| {
        let end = pod.life.end;
        end.is_some_and(|end| end.finished_ms - pod.life.started_ms <= 6_000)
    });
    (reused.count(), brief.count())
}
