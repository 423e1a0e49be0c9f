//! One kind, followed: list it, watch from there, and list anew when the watch cannot be taken up where it stopped.
//!
//! | what happens | what follows |
//! | --- | --- |
//! | the server closes the watch, the connection is cut | watched on from the last resource version, if that succeeds soon |
//! | it does not succeed soon, or the connection was silent | `Lost`, then a new list: events that come late say nothing of when they happened |
//! | something comes after a shorter silence, and no time in it says that it is new | `Waited`: nobody knows whether it happened now or stood in line ([`silence`](super::silence)) |
//! | we ourselves did not listen: stopped, starved, or waiting for a slow commit; the clock was set | the same |
//! | 410, as status or as an event | the same |
//! | 403 | `Lost` with the right that is missing; tried again soon at first, then now and then |
//! | 404 | the kind is not served any more; discovery brings it back |
//! | 401, no credentials | tried with newer ones; after a set time the run ends |
//! | anything else | tried again after a growing wait |

use std::time::{Duration, Instant};

use chrono::Utc;
use flowaudit_rules::kubernetes::{self, Change, Issue};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use super::api::{Api, Refusal, Status};
use super::awake::{Awake, TICK};
use super::discovery::Served;
use super::error::KubernetesError;
use super::lines::EventLines;
use super::pause::Backoff;
use super::silence::{Comes, Silence};
use crate::inventory::live::{Heard, KindId};
use crate::sls::sign::encode;

/// A page is asked for in smaller pieces if it is longer.
const PAGE_BYTES_MAX: usize = 64 << 20;

/// How patient a watch is; tests are less so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    /// Objects in a page of a list.
    pub page_objects: u32,
    /// Without a byte for this long an answer counts as broken.
    pub answer_idle: Duration,
    /// Without a byte for this long a watch counts as dead; bookmarks come about every minute.
    pub watch_idle: Duration,
    /// The server is asked to close a watch after about this long, which is less than `watch_idle`: before 1.21 or so a bookmark comes
    /// only then.
    pub watch_length: Duration,
    /// A watch is taken up where it stopped if it stopped less than this ago; otherwise the kind is listed anew.
    pub resume_within: Duration,
    /// The first wait before something is tried again.
    pub wait_first: Duration,
    /// The longest.
    pub wait_max: Duration,
    /// How often a kind is tried that is forbidden.
    pub forbidden_pause: Duration,
    /// For so long what is forbidden is tried again as soon as anything else, and the Lease is waited for: a server that has just begun
    /// does not know yet what it allows.
    pub forbidden_at_first: Duration,
    /// How often is asked which kinds are served: a server that has just begun names some of them only after a while.
    pub discovery_pause: Duration,
    /// How long a token may be refused before the run ends.
    pub unauthorized_max: Duration,
    /// The same of one that was never accepted.
    pub login_max: Duration,
    /// How long the server may be away before a run that only lists ends.
    pub outage_max: Duration,
    /// How long a lake is borne that cannot be written. What is heard meanwhile is kept in memory.
    pub lake_max: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            page_objects: 500,
            answer_idle: Duration::from_secs(30),
            watch_idle: Duration::from_secs(100),
            watch_length: Duration::from_secs(80),
            resume_within: Duration::from_secs(3),
            wait_first: Duration::from_millis(500),
            wait_max: Duration::from_secs(30),
            forbidden_pause: Duration::from_secs(300),
            forbidden_at_first: Duration::from_secs(15),
            discovery_pause: Duration::from_secs(60),
            unauthorized_max: Duration::from_secs(120),
            login_max: Duration::from_secs(10),
            outage_max: Duration::from_secs(120),
            lake_max: Duration::from_secs(3600),
        }
    }
}

/// What the tasks tell the one loop.
#[derive(Debug)]
pub(super) enum Message {
    /// What the server said, in its order.
    Heard(Heard),
    /// Objects that cannot be used whole.
    Issues(Vec<Issue>),
    /// A right is missing.
    Forbidden(Served, String),
    /// The kind is not served any more; its task has ended.
    NotServed(Served),
    /// The kind was listed and written down; its task has ended.
    Done(KindId),
    /// Something is tried again and again.
    Waiting(String),
    /// There is no use in going on.
    Failed(KubernetesError),
}

/// The task has ended: nobody listens, or it has said why.
pub(super) struct Ended;

/// One kind and how it is followed.
pub(super) struct Follower {
    pub(super) api: Api,
    pub(super) served: Served,
    pub(super) out: Sender<Message>,
    pub(super) tuning: Tuning,
    /// Ends after the first list.
    pub(super) once: bool,
}

/// Why a watch is over.
enum Over {
    /// It stopped at this moment, and goes on from where it was.
    At(Instant, Option<Refusal>),
    /// It cannot go on from where it was.
    Stale(String),
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: Meta,
    items: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Meta {
    resource_version: String,
    r#continue: String,
}

#[derive(Deserialize)]
struct Event {
    r#type: String,
    object: Part,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    metadata: Meta,
}

#[derive(Deserialize)]
struct Failure {
    object: Status,
}

pub(super) fn now_us() -> i64 {
    Utc::now().timestamp_micros()
}

impl Follower {
    /// Follows the kind until nobody listens any more, or there is no use.
    pub(super) async fn run(self) {
        let mut waits = Waits::new(&self);
        let _: Result<(), Ended> = self.follow(&mut waits).await;
    }

    async fn follow(&self, waits: &mut Waits) -> Result<(), Ended> {
        loop {
            let mut version = loop {
                match self.list().await? {
                    Ok(version) => break version,
                    Err(refusal) => waits.wait(self, refusal).await?,
                }
            };
            waits.worked();
            if self.once {
                return self.tell(Message::Done(self.served.id())).await;
            }
            self.watch(&mut version, waits).await?;
        }
    }

    /// Lists the kind page by page, and gives the version to watch from.
    async fn list(&self) -> Result<Result<String, Refusal>, Ended> {
        let kind = self.served.id();
        let (path, selection) = (
            self.served.kind.path(self.served.version),
            self.served.kind.selection(),
        );
        let origin = self.served.origin();
        let mut limit = self.tuning.page_objects;
        let mut after = String::new();
        let mut begun = Some(now_us());
        loop {
            let url = format!("{path}?limit={limit}{selection}{after}");
            let body = match self.api.get(&url, PAGE_BYTES_MAX).await {
                Err(Refusal::TooLong) if limit > 1 => {
                    limit = (limit / 8).max(1);
                    continue;
                }
                Err(refusal) => return Ok(Err(refusal)),
                Ok(body) => body,
            };
            let unreadable = || Refusal::Broken(format!("the list of {kind} cannot be read"));
            let Ok(text) = std::str::from_utf8(&body) else {
                return Ok(Err(unreadable()));
            };
            let Ok(page) = serde_json::from_str::<Page>(text) else {
                return Ok(Err(unreadable()));
            };
            // The list begins once there is something to list: a refused one says nothing.
            let mut heard: Vec<Heard> = begun
                .take()
                .map(|at| Heard::ListBegun {
                    kind: kind.clone(),
                    at,
                    shown: now_us(),
                })
                .into_iter()
                .collect();
            if page.items.is_some() {
                let manifest = kubernetes::read(&origin, text);
                heard.extend(manifest.objects.into_iter().map(|object| Heard::Listed {
                    object: Box::new(object),
                }));
                self.issues(manifest.issues).await?;
            }
            drop(body);
            let is_last = page.metadata.r#continue.is_empty();
            if is_last {
                heard.push(Heard::ListEnded {
                    kind: kind.clone(),
                    at: now_us(),
                });
            }
            for heard in heard {
                self.hear(heard).await?;
            }
            if is_last {
                return Ok(Ok(page.metadata.resource_version));
            }
            after = format!("&continue={}", encode(&page.metadata.r#continue));
        }
    }

    /// Watches from `version` until the kind must be listed anew.
    async fn watch(&self, version: &mut String, waits: &mut Waits) -> Result<(), Ended> {
        let mut stopped = Instant::now();
        let mut silence = Silence::new(self.tuning.resume_within + TICK);
        loop {
            let over = self
                .watch_once(version, stopped, &mut silence, waits)
                .await?;
            let why = match over {
                Over::Stale(why) => why,
                Over::At(at, refusal) => {
                    stopped = at;
                    let wait = match &refusal {
                        None => waits.backoff.next(),
                        Some(Refusal::Busy(_, asked)) => waits.backoff.next_after(*asked),
                        Some(refusal) => {
                            waits.say(self, refusal).await?;
                            waits.backoff.next()
                        }
                    };
                    if stopped.elapsed() + wait < self.tuning.resume_within {
                        tokio::time::sleep(wait).await;
                        continue;
                    }
                    match refusal {
                        Some(refusal) => refusal.to_string(),
                        None => "the server closes every watch".to_owned(),
                    }
                }
            };
            return self.lost(why).await;
        }
    }

    async fn watch_once(
        &self,
        version: &mut String,
        stopped: Instant,
        silence: &mut Silence,
        waits: &mut Waits,
    ) -> Result<Over, Ended> {
        let length = waits.backoff.spread(self.tuning.watch_length).as_secs();
        let length = length.max(1);
        let url = format!(
            "{}?watch=true&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}{}",
            self.served.kind.path(self.served.version),
            encode(version),
            length,
            self.served.kind.selection(),
        );
        let asked = now_us();
        let body = match self.api.stream(&url).await {
            Ok(body) => body,
            Err(Refusal::Gone) => return Ok(Over::Stale(Refusal::Gone.to_string())),
            Err(refusal @ (Refusal::Forbidden(_) | Refusal::NotFound)) => {
                return Ok(Over::Stale(refusal.to_string()));
            }
            Err(refusal) => return Ok(Over::At(stopped, Some(refusal))),
        };
        let away = stopped.elapsed();
        if away > self.tuning.resume_within {
            return Ok(Over::Stale(format!(
                "not connected for {:.1} s",
                away.as_secs_f32()
            )));
        }
        let mut lines = EventLines::new(body, self.tuning.watch_idle);
        let mut awake = Awake::new(self.tuning.resume_within);
        silence.connected();
        let (mut last, mut last_at, mut is_behind) = (Instant::now(), now_us(), true);
        let length = Duration::from_secs(length);
        let whole = last + length - Duration::from_millis(500);
        let said = asked.saturating_add(i64::try_from(length.as_micros()).unwrap_or(i64::MAX));
        loop {
            let line = timeout(TICK, lines.next()).await;
            // What has waited for us meanwhile is late by nobody knows how much.
            let at = match awake.look() {
                Ok(at) => at,
                Err(why) => return Ok(Over::Stale(why)),
            };
            let Ok(line) = line else {
                // What happened before it began, or while it was silent, has all come.
                if std::mem::take(&mut is_behind) {
                    self.progress(last_at).await?;
                }
                silence.over();
                continue;
            };
            let line = match line {
                Ok(Some(line)) => line,
                Ok(None) => {
                    // Whoever ends it when asked to has said all there was until then, bookmarks or not; we may hear of it late.
                    if Instant::now() >= whole {
                        waits.worked();
                        silence.heard();
                        self.progress(at.min(said)).await?;
                    }
                    return Ok(Over::At(Instant::now(), None));
                }
                // Nobody knows since when it was dead.
                Err(refusal) if last.elapsed() >= self.tuning.watch_idle => {
                    return Ok(Over::At(last, Some(refusal)));
                }
                Err(refusal) => return Ok(Over::At(Instant::now(), Some(refusal))),
            };
            match silence.comes(&line, at) {
                Comes::AsBefore => {}
                Comes::Now => self.progress(last_at).await?,
                Comes::Late => {
                    is_behind = true;
                    self.waited(at).await?;
                }
            }
            (last, last_at) = (Instant::now(), at);
            match self.event(&line, at, silence.has_waited(), version).await? {
                None => waits.worked(),
                Some(Refusal::Gone) => return Ok(Over::Stale(Refusal::Gone.to_string())),
                Some(refusal) => return Ok(Over::At(last, Some(refusal))),
            }
        }
    }

    /// One line of a watch, which came at `at`, perhaps after it had waited; a refusal if it says that the watch is over.
    async fn event(
        &self,
        line: &[u8],
        at: i64,
        has_waited: bool,
        version: &mut String,
    ) -> Result<Option<Refusal>, Ended> {
        let unreadable = || Some(Refusal::Broken("an event cannot be read".to_owned()));
        let Ok(text) = std::str::from_utf8(line) else {
            return Ok(unreadable());
        };
        let Ok(event) = serde_json::from_str::<Event>(text) else {
            return Ok(unreadable());
        };
        match event.r#type.as_str() {
            "ERROR" => {
                let status = serde_json::from_str::<Failure>(text);
                return Ok(
                    status.map_or_else(|_| unreadable(), |failure| Some(failure.object.refusal()))
                );
            }
            // One that has waited says nothing of now.
            "BOOKMARK" if has_waited => {}
            "BOOKMARK" => self.progress(at).await?,
            _ => {
                let watch = kubernetes::read_watch(&self.served.origin(), text);
                self.issues(watch.issues).await?;
                for event in watch.events {
                    let object = Box::new(event.object);
                    self.hear(match event.change {
                        Change::Added | Change::Modified => Heard::Applied { object, at },
                        Change::Deleted => Heard::Deleted { object, at },
                    })
                    .await?;
                }
            }
        }
        let next = event.object.metadata.resource_version;
        if !next.is_empty() {
            *version = next;
        }
        Ok(None)
    }

    async fn progress(&self, at: i64) -> Result<(), Ended> {
        let kind = self.served.id();
        self.hear(Heard::Progress { kind, at }).await
    }

    async fn waited(&self, at: i64) -> Result<(), Ended> {
        let kind = self.served.id();
        self.hear(Heard::Waited { kind, at }).await
    }

    async fn lost(&self, why: String) -> Result<(), Ended> {
        let (kind, at) = (self.served.id(), now_us());
        self.hear(Heard::Lost { kind, at, why }).await
    }

    async fn hear(&self, heard: Heard) -> Result<(), Ended> {
        self.tell(Message::Heard(heard)).await
    }

    async fn issues(&self, issues: Vec<Issue>) -> Result<(), Ended> {
        match issues.is_empty() {
            true => Ok(()),
            false => self.tell(Message::Issues(issues)).await,
        }
    }

    async fn tell(&self, message: Message) -> Result<(), Ended> {
        self.out.send(message).await.map_err(|_| Ended)
    }
}

/// How long a kind has been refused, and how long it is waited for.
struct Waits {
    backoff: Backoff,
    refused: Option<Instant>,
    unauthorized: Option<Instant>,
    is_lost: bool,
}

impl Waits {
    fn new(follower: &Follower) -> Self {
        Waits {
            backoff: Backoff::new(follower.tuning.wait_first, follower.tuning.wait_max),
            refused: None,
            unauthorized: None,
            is_lost: false,
        }
    }

    fn worked(&mut self) {
        self.backoff.reset();
        self.refused = None;
        self.unauthorized = None;
        self.is_lost = false;
    }

    /// Waits for as long as this refusal asks for, or ends the task.
    async fn wait(&mut self, follower: &Follower, refusal: Refusal) -> Result<(), Ended> {
        let tuning = &follower.tuning;
        let refused = *self.refused.get_or_insert_with(Instant::now);
        if !matches!(
            refusal,
            Refusal::Unauthorized(_) | Refusal::NoCredentials(_)
        ) {
            self.unauthorized = None;
        }
        let wait = match refusal {
            Refusal::Forbidden(text) => {
                // Asked again, it is the same news.
                if !std::mem::replace(&mut self.is_lost, true) {
                    follower.lost(format!("forbidden: {text}")).await?;
                    let message = Message::Forbidden(follower.served, text);
                    follower.tell(message).await?;
                }
                if follower.once {
                    return Err(Ended);
                }
                match refused.elapsed() < tuning.forbidden_at_first {
                    true => self.backoff.next().min(tuning.forbidden_pause),
                    false => self.backoff.spread(tuning.forbidden_pause),
                }
            }
            Refusal::NotFound => {
                follower
                    .lost("it is not served any more".to_owned())
                    .await?;
                follower.tell(Message::NotServed(follower.served)).await?;
                return Err(Ended);
            }
            Refusal::Unauthorized(text) | Refusal::NoCredentials(text) => {
                let since = *self.unauthorized.get_or_insert_with(Instant::now);
                if since.elapsed() >= tuning.unauthorized_max {
                    let server = follower.api.server().to_owned();
                    let error = KubernetesError::Unauthorized {
                        server,
                        reason: text,
                    };
                    follower.tell(Message::Failed(error)).await?;
                    return Err(Ended);
                }
                self.say(follower, &Refusal::Unauthorized(text)).await?;
                self.backoff.next()
            }
            refusal => {
                if follower.once && refused.elapsed() >= tuning.outage_max {
                    let server = follower.api.server().to_owned();
                    let error = KubernetesError::Unreachable {
                        server,
                        reason: refusal.to_string(),
                    };
                    follower.tell(Message::Failed(error)).await?;
                    return Err(Ended);
                }
                self.say(follower, &refusal).await?;
                match refusal {
                    Refusal::Busy(_, asked) => self.backoff.next_after(asked),
                    _ => self.backoff.next(),
                }
            }
        };
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Tells of what is waited for, once it has been tried a few times.
    async fn say(&self, follower: &Follower, refusal: &Refusal) -> Result<(), Ended> {
        if self.backoff.tries() < 2 {
            return Ok(());
        }
        let text = format!("{}: {refusal}", follower.served.kind.right());
        follower.tell(Message::Waiting(text)).await
    }
}
