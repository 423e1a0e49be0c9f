//! The one loop of a live watch: take what the kinds' tasks hear, record it, commit now and then, while the lease is ours.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat};
use flowaudit_lake::LakeError;
use flowaudit_rules::kubernetes::Severity;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch as latest;
use tokio::task::JoinHandle;

use super::api::{Api, Refusal};
use super::discovery::{Offer, Served, discover};
use super::error::KubernetesError;
use super::follow::{Follower, Message, now_us};
use super::lease::{Elector, Standing, release};
use super::login::{Login, chain};
use super::told::{Event, Missing, Record, Report, WatchSettings, WatchSummary};
use crate::error::IngestError;
use crate::inventory::live::{Heard, KindId};
use crate::stop::{Stop, on_signals, runtime};

/// Messages between the tasks and the loop, each of one object at most. Tasks go on listening while a commit takes its time; what came
/// is dated when it came.
const WAITING_MAX: usize = 4096;
/// The user hears of what a run waits for this often.
const WORD_PAUSE: Duration = Duration::from_secs(30);
/// Odd objects told one by one; each once.
const ISSUES_TOLD_MAX: usize = 200;

/// Watches a cluster until it is told to stop, or lists it once.
///
/// `open` makes a recorder from what the lake holds; it is asked again whenever the lease was lost and is ours again. What was heard and
/// not committed when a run is killed is heard again by the next one's lists.
pub fn watch<'r>(
    open: &mut dyn FnMut() -> Result<Box<dyn Record + 'r>, LakeError>,
    settings: &WatchSettings,
    events: &mut dyn FnMut(Event<'_>),
    stop: &Stop,
) -> Result<WatchSummary, IngestError> {
    let runtime = runtime()?;
    if settings.signals {
        runtime.spawn(on_signals(stop.clone()));
    }
    let watched = watch_in(&runtime, open, settings, events, stop);
    runtime.shutdown_background();
    watched
}

/// Whether the login can be read, before anything is sent or written. No plugin is run.
pub fn check_login(login: &Login) -> Result<(), IngestError> {
    let loaded = runtime()?.block_on(login.load());
    Ok(loaded.map(drop).map_err(KubernetesError::from)?)
}

fn watch_in<'r>(
    runtime: &Runtime,
    open: &mut dyn FnMut() -> Result<Box<dyn Record + 'r>, LakeError>,
    settings: &WatchSettings,
    events: &mut dyn FnMut(Event<'_>),
    stop: &Stop,
) -> Result<WatchSummary, IngestError> {
    let idle = settings.tuning.answer_idle;
    let api = runtime.block_on(async {
        tokio::select! {
            api = Api::new(settings.login.clone(), idle) => Some(api),
            // A plugin may take its time.
            () = stop.stopped() => None,
        }
    });
    let Some(api) = api else {
        return Ok(WatchSummary::default());
    };
    let api = api.map_err(KubernetesError::from)?;
    let mut watching = Watching {
        runtime,
        settings,
        events,
        stop,
        api: &api,
        kinds: BTreeMap::new(),
        told: BTreeSet::new(),
        said: None,
        written: (Instant::now(), now_us()),
        report: Report::default(),
        summary: WatchSummary::default(),
    };
    let Some(offer) = watching.first_offer()? else {
        return Ok(watching.summary);
    };
    watching.unread(&offer);
    (watching.events)(Event::Connected {
        server: api.server(),
        kinds: offer.served.len(),
    });
    let Some(lease) = &settings.lease else {
        watching.record(open()?.as_mut(), &offer, None)?;
        return Ok(watching.summary);
    };
    let (standing, mut stands) = latest::channel(Standing::Unknown);
    let elector = Elector::new(api.clone(), lease.clone(), standing);
    let title = elector.title();
    let holding = runtime.spawn(elector.run());
    let ended = loop {
        match watching.await_lease(&title, &mut stands) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(error),
        }
        (watching.events)(Event::Leading);
        // What another one wrote meanwhile is read anew.
        let recorded = open().map_err(IngestError::from);
        match recorded
            .and_then(|mut recorder| watching.record(recorder.as_mut(), &offer, Some(&mut stands)))
        {
            Ok(Ending::LeaseLost) => (watching.events)(Event::LeaseLost),
            Ok(Ending::Done) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    holding.abort();
    // After the last commit; whoever waits need not wait for its end.
    let _ = runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(5), release(&api, lease)).await
    });
    ended.map(|()| watching.summary)
}

/// How a kind stands.
#[derive(Debug)]
struct State {
    served: Served,
    task: JoinHandle<()>,
    /// Objects of the list that is under way, or of the last one.
    listed: u64,
    is_listed: bool,
    heard: Instant,
    is_lost: bool,
    is_done: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Done,
    LeaseLost,
}

pub(super) struct Watching<'w> {
    pub(super) runtime: &'w Runtime,
    pub(super) settings: &'w WatchSettings,
    pub(super) events: &'w mut dyn FnMut(Event<'_>),
    pub(super) stop: &'w Stop,
    pub(super) api: &'w Api,
    kinds: BTreeMap<KindId, State>,
    /// Issues that were told.
    pub(super) told: BTreeSet<String>,
    said: Option<Instant>,
    /// When the last commit was made, or recording began.
    written: (Instant, i64),
    report: Report,
    pub(super) summary: WatchSummary,
}

/// What woke the loop.
enum Woken {
    Message(Message),
    Offer(Result<Offer, Refusal>),
    Lease,
    Stopped,
    Time,
}

impl Watching<'_> {
    /// Follows all kinds into the recorder until told to stop, listed once, or without the lease.
    fn record(
        &mut self,
        recorder: &mut dyn Record,
        offer: &Offer,
        mut stands: Option<&mut latest::Receiver<Standing>>,
    ) -> Result<Ending, IngestError> {
        self.written = (Instant::now(), now_us());
        let (out, mut messages) = channel(WAITING_MAX);
        let (offers, mut offered) = channel(1);
        self.kinds.clear();
        self.follow(offer, &out);
        let mut discovery = Instant::now() + self.settings.tuning.discovery_pause;
        let mut commit = Instant::now() + self.settings.every;
        let ended = loop {
            let until = commit
                .min(discovery)
                .min(Instant::now() + Duration::from_secs(1));
            let woken = self.wait(until, &mut messages, &mut offered, &mut stands);
            // What comes after the lease was lost is the other one's to write.
            if stands
                .as_ref()
                .is_some_and(|stands| !stands.borrow().is_ours())
            {
                self.end_tasks();
                return Ok(Ending::LeaseLost);
            }
            match woken {
                Woken::Stopped => break Ok(()),
                Woken::Message(Message::Failed(error)) => break Err(error.into()),
                Woken::Message(message) => {
                    if matches!(message, Message::NotServed(_)) {
                        // It may come back in another version.
                        let soon = Instant::now() + self.settings.tuning.wait_first * 4;
                        discovery = discovery.min(soon);
                    }
                    self.take(message, recorder)?;
                }
                Woken::Offer(Ok(offer)) => {
                    self.unread(&offer);
                    self.follow(&offer, &out);
                }
                Woken::Offer(Err(refusal)) => self.waiting(&format!("discovery: {refusal}")),
                Woken::Lease | Woken::Time => {}
            }
            if self.settings.once && self.kinds.values().all(|state| state.is_done) {
                break Ok(());
            }
            let now = Instant::now();
            if now >= commit && !self.settings.once {
                self.commit_or_wait(recorder)?;
                commit = Instant::now() + self.settings.every;
            }
            if now >= discovery && !self.settings.once {
                discovery = now + self.settings.tuning.discovery_pause;
                let (api, offers) = (self.api.clone(), offers.clone());
                self.runtime.spawn(async move {
                    let _ = offers.send(discover(&api).await).await;
                });
            }
        };
        self.end_tasks();
        // What was heard up to now is good, however the run ends.
        while let Ok(message) = messages.try_recv() {
            self.take(message, recorder)?;
        }
        if stands.is_none_or(|stands| stands.borrow().is_ours()) {
            self.commit(recorder)?;
        }
        ended.map(|()| Ending::Done)
    }

    fn wait(
        &self,
        until: Instant,
        messages: &mut Receiver<Message>,
        offered: &mut Receiver<Result<Offer, Refusal>>,
        stands: &mut Option<&mut latest::Receiver<Standing>>,
    ) -> Woken {
        let stop = self.stop;
        self.runtime.block_on(async {
            let lease = async {
                match stands {
                    Some(stands) => stands.changed().await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.stopped() => Woken::Stopped,
                _ = lease => Woken::Lease,
                Some(message) = messages.recv() => Woken::Message(message),
                Some(offer) = offered.recv() => Woken::Offer(offer),
                () = tokio::time::sleep_until(until.into()) => Woken::Time,
            }
        })
    }

    /// Begins to follow what is offered and not followed yet.
    fn follow(&mut self, offer: &Offer, out: &Sender<Message>) {
        for served in &offer.served {
            let id = served.id();
            if self.kinds.contains_key(&id) {
                continue;
            }
            let follower = Follower {
                api: self.api.clone(),
                served: *served,
                out: out.clone(),
                tuning: self.settings.tuning.clone(),
                once: self.settings.once,
            };
            let state = State {
                served: *served,
                task: self.runtime.spawn(follower.run()),
                listed: 0,
                is_listed: false,
                heard: Instant::now(),
                is_lost: false,
                is_done: false,
            };
            self.kinds.insert(id, state);
        }
        self.summary.kinds = self.kinds.len();
    }

    fn take(&mut self, message: Message, recorder: &mut dyn Record) -> Result<(), IngestError> {
        match message {
            Message::Heard(heard) => {
                self.note(&heard);
                recorder.hear(heard)?;
            }
            Message::Issues(issues) => {
                for issue in issues {
                    let is_error = issue.severity == Severity::Error;
                    self.summary.left_out += u64::from(is_error);
                    if self.told.len() < ISSUES_TOLD_MAX && self.told.insert(issue.to_string()) {
                        (self.events)(Event::Issue(&issue));
                    }
                }
            }
            Message::Forbidden(served, why) => {
                let missing = Missing {
                    right: served.kind.right(),
                    why,
                    cost: served.kind.cost,
                };
                (self.events)(Event::Missing(&missing));
                if let Some(state) = self.kinds.get_mut(&served.id()) {
                    state.is_done = true;
                }
                let known = &mut self.summary.missing;
                known.retain(|known| known.right != missing.right);
                known.push(missing);
            }
            Message::NotServed(served) => {
                self.kinds.remove(&served.id());
                self.summary.kinds = self.kinds.len();
            }
            Message::Done(kind) => {
                if let Some(state) = self.kinds.get_mut(&kind) {
                    state.is_done = true;
                }
            }
            Message::Waiting(text) => self.waiting(&text),
            // The others are told already; one cause is enough.
            Message::Failed(_) => {}
        }
        Ok(())
    }

    /// Notes how the kinds stand.
    fn note(&mut self, heard: &Heard) {
        let at = match heard {
            Heard::Applied { at, .. } | Heard::Deleted { at, .. } => {
                self.report.events += 1;
                self.summary.events += 1;
                Some(*at)
            }
            Heard::Progress { at, .. } | Heard::ListEnded { at, .. } => Some(*at),
            _ => None,
        };
        if let Some(at) = at {
            let lag = u64::try_from(now_us().saturating_sub(at)).unwrap_or(0);
            self.report.lag = self.report.lag.max(Duration::from_micros(lag));
        }
        let kind = match heard {
            Heard::ListBegun { kind, .. }
            | Heard::ListEnded { kind, .. }
            | Heard::Progress { kind, .. }
            | Heard::Waited { kind, .. }
            | Heard::Lost { kind, .. } => kind.clone(),
            Heard::Listed { object }
            | Heard::Applied { object, .. }
            | Heard::Deleted { object, .. } => KindId::of(object),
        };
        let Some(state) = self.kinds.get_mut(&kind) else {
            return;
        };
        state.heard = Instant::now();
        match heard {
            Heard::ListBegun { .. } => {
                self.summary.relisted += u64::from(state.is_listed);
                state.listed = 0;
            }
            Heard::Listed { .. } => state.listed += 1,
            Heard::ListEnded { .. } => {
                (state.is_listed, state.is_lost) = (true, false);
                self.summary.listed += state.listed;
                let right = state.served.kind.right();
                self.summary
                    .missing
                    .retain(|missing| missing.right != right);
                let objects = state.listed;
                (self.events)(Event::Listed {
                    kind: &kind,
                    objects,
                });
            }
            Heard::Lost { why, .. } => {
                let was_lost = std::mem::replace(&mut state.is_lost, true);
                // What was never listed is not lost: it is missing, or waited for.
                if !was_lost && state.is_listed {
                    (self.events)(Event::Lost { kind: &kind, why });
                }
            }
            _ => {}
        }
    }

    /// A lake that cannot be written for a while is waited for: what was heard stays, and the next commit has it.
    fn commit_or_wait(&mut self, recorder: &mut dyn Record) -> Result<(), IngestError> {
        match self.commit(recorder) {
            Err(IngestError::Kubernetes(error @ KubernetesError::Unwritten { .. }))
                if self.written.0.elapsed()
                    < self.settings.every + self.settings.tuning.lake_max =>
            {
                self.waiting(&chain(&error));
                Ok(())
            }
            committed => committed,
        }
    }

    fn commit(&mut self, recorder: &mut dyn Record) -> Result<(), IngestError> {
        let (begun, now) = (Instant::now(), now_us());
        let commit = recorder.commit(now).map_err(|cause| {
            if !cause.is_of_storage() {
                return IngestError::Lake(cause);
            }
            let since = DateTime::from_timestamp_micros(self.written.1).unwrap_or_default();
            let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
            let cause = Box::new(cause);
            IngestError::Kubernetes(KubernetesError::Unwritten { since, cause })
        })?;
        self.written = (Instant::now(), now);
        self.summary.commits += u64::from(commit.is_some());
        let mut report = std::mem::take(&mut self.report);
        report.commit = commit;
        report.spent = begun.elapsed();
        report.served = self.kinds.len();
        for (kind, state) in &self.kinds {
            report.listed += state.listed;
            if state.is_lost {
                report.lost.push(kind.clone());
            } else if state.is_listed {
                report.watched += 1;
                let silent = state.heard.elapsed();
                if report
                    .silent
                    .as_ref()
                    .is_none_or(|(_, most)| silent > *most)
                {
                    report.silent = Some((kind.clone(), silent));
                }
            }
        }
        (self.events)(Event::Committed(&report));
        Ok(())
    }

    fn end_tasks(&mut self) {
        for state in self.kinds.values() {
            state.task.abort();
        }
    }

    /// Tells what is waited for, now and then.
    pub(super) fn waiting(&mut self, text: &str) {
        if self.said.is_none_or(|said| said.elapsed() >= WORD_PAUSE) {
            self.said = Some(Instant::now());
            (self.events)(Event::Waiting(text));
        }
    }
}
