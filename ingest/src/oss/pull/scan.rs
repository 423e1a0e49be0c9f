//! One look at the bucket: list from the watermark on, read what is new, move the watermark.

use std::collections::VecDeque;
use std::io::BufReader;

use chrono::Utc;
use flowaudit_lake::cloud::oss::{ListQuery, Listed, OssError, Page};
use object_store::path::Path;

use super::catch_up::KeptRejects;
use super::object::{Outcome, Todo};
use super::{OssReadError, Problem, Pulling, Severity, Start};
use crate::error::IngestError;
use crate::oss::fetch::{Fetched, Object};
use crate::oss::position::{self, Reached};

/// Keys that sort after what is written in a day from now are none of a shipping job.
const AHEAD_S: i64 = 86_400;

impl Pulling<'_> {
    /// Reads everything there is from the watermark on.
    pub(super) fn scan(&mut self) -> Result<(), IngestError> {
        self.learn()?;
        self.held = None;
        self.summary.listed = 0;
        self.summary.foreign = 0;
        let now = Utc::now().timestamp();
        let watermark = match self.watermark {
            Some(watermark) => watermark,
            None => self.begin(now)?,
        };
        let from = match self.settings.catch_up {
            Some(back) => watermark.min(now.saturating_sub(back.num_seconds())),
            None => watermark,
        };
        if from < watermark {
            let source = self.place(&self.settings.prefix);
            self.kept_rejects = KeptRejects::load(self.lake, &source)?;
        }
        let mut query = ListQuery {
            prefix: self.settings.prefix.clone(),
            start_after: (from > 0).then(|| self.bound(from)),
            ..ListQuery::default()
        };
        let last = self.bound(now + AHEAD_S);
        loop {
            let Some(page) = self.list(&query)? else {
                return Ok(());
            };
            let over = page.objects.last().is_some_and(|object| object.key > last);
            let (todo, reached) = self.choose(page.objects)?;
            self.read(todo)?;
            if self.stop.is_stopped() {
                return Ok(());
            }
            match page.next {
                Some(next) if !over => {
                    self.move_watermark(reached, now)?;
                    query.continuation_token = Some(next);
                }
                _ => break,
            }
        }
        self.move_watermark(Some(now), now)?;
        if self.summary.foreign > 0 && self.told.insert("foreign".to_owned()) {
            let place = self.place(&self.settings.prefix);
            let format = self.settings.path_format.text();
            let message = format!(
                "holds {} other objects, whose keys do not go on with `{format}`; left out",
                self.summary.foreign
            );
            self.tell(Problem::note(place, message));
        }
        Ok(())
    }

    /// Decides where to start, once and for all.
    fn begin(&mut self, now: i64) -> Result<i64, IngestError> {
        let at = match self.settings.start {
            Start::Begin => 0,
            Start::End => now,
            Start::At(at) => at.timestamp(),
        };
        if at > 0 {
            self.publish_moving(Some(at), &[])?;
        } else {
            self.watermark = Some(0);
        }
        Ok(at)
    }

    fn bound(&self, at: i64) -> String {
        format!(
            "{}{}",
            self.settings.prefix,
            self.settings.path_format.bound(at)
        )
    }

    /// A page of the listing, unless the run is to end.
    fn list(&self, query: &ListQuery) -> Result<Option<Page>, IngestError> {
        let listed = self.runtime.block_on(async {
            tokio::select! {
                listed = self.oss.list_page(query) => listed.map(Some),
                () = self.stop.stopped() => Ok(None),
            }
        });
        listed.map_err(|error: OssError| {
            OssReadError::listing(self.place(&query.prefix), &error).into()
        })
    }

    /// What of a page is to be read, and the time of its last object.
    fn choose(&mut self, objects: Vec<Listed>) -> Result<(Vec<Todo>, Option<i64>), IngestError> {
        let until = self.settings.until.map(|until| until.timestamp());
        let (mut todo, mut last) = (Vec::new(), None);
        for listed in objects {
            let tail = listed.key.strip_prefix(&self.settings.prefix);
            let Some(at) = tail.and_then(|tail| self.settings.path_format.time_of(tail)) else {
                // Consoles make empty objects for folders.
                self.summary.foreign += u64::from(!listed.key.ends_with('/'));
                continue;
            };
            if until.is_some_and(|until| at >= until) {
                continue;
            }
            self.summary.listed += 1;
            last = Some(at);
            if let Some(chosen) = self.choose_one(listed, at) {
                todo.push(chosen);
            }
        }
        Ok((todo, last))
    }

    fn choose_one(&mut self, listed: Listed, at: i64) -> Option<Todo> {
        let e_tag = listed.e_tag.clone().unwrap_or_default();
        let shard = position::shard(&listed.key, &e_tag);
        let bare = e_tag.trim_matches('"');
        let known = self.known.get(&listed.key);
        let reached = known.and_then(|e_tags| e_tags.get(bare)).cloned();
        if reached.as_ref().is_some_and(|reached| reached.done) {
            return None;
        }
        let reached = reached.unwrap_or(Reached::BEGIN);
        if self.settings.skip.contains(&listed.key) {
            if known.is_none() && self.watermark.is_some_and(|watermark| at < watermark) {
                // Given up before, and forgotten.
                return None;
            }
            self.missed(&listed.key, at, "object-skipped");
            self.finish(&shard, &reached);
            return None;
        }
        if self.refused.contains_key(&shard) {
            self.hold(at);
            return None;
        }
        let others = known.into_iter().flat_map(|e_tags| e_tags.keys());
        let before: Vec<String> = others
            .filter(|other| *other != bare)
            .map(|other| position::shard(&listed.key, other))
            .collect();
        let Ok(path) = Path::parse(&listed.key) else {
            let help = "name its key under `skip` in the settings of the source";
            self.refuse(
                &listed.key,
                shard,
                at,
                "has a key that cannot be asked for".to_owned(),
                help.to_owned(),
            );
            return None;
        };
        let object = Object {
            oss: self.oss.clone(),
            path,
            e_tag: listed.e_tag,
            size: listed.size,
            handle: self.runtime.handle().clone(),
            stop: self.stop.clone(),
        };
        Some(Todo {
            key: listed.key,
            shard,
            at,
            reached,
            before,
            object,
        })
    }

    /// Reads objects in their order, the next ones being fetched meanwhile.
    fn read(&mut self, todo: Vec<Todo>) -> Result<(), IngestError> {
        let mut waiting = todo.into_iter();
        let mut ahead: VecDeque<(Todo, BufReader<Fetched>)> = VecDeque::new();
        loop {
            while ahead.len() < self.parallel
                && let Some(todo) = waiting.next()
            {
                let fetched = BufReader::with_capacity(64 * 1024, todo.object.fetch());
                ahead.push_back((todo, fetched));
            }
            let Some((todo, fetched)) = ahead.pop_front() else {
                return Ok(());
            };
            let outcome = self.object(&todo, fetched)?;
            if outcome == Outcome::Stopped {
                return Ok(());
            }
            self.batch.lag_s = u64::try_from(Utc::now().timestamp() - todo.at).unwrap_or_default();
            if self.writer.is_full() || self.begun.elapsed() >= self.settings.batch_pause {
                self.publish()?;
            }
        }
    }

    /// Keeps the watermark before an object that could not be read.
    pub(super) fn hold(&mut self, at: i64) {
        self.held = Some(self.held.map_or(at, |held| held.min(at)));
    }

    /// An object that cannot be read: told once, and in the way until it can be or is given up.
    pub(super) fn refuse(
        &mut self,
        key: &str,
        shard: String,
        at: i64,
        message: String,
        help: String,
    ) {
        self.hold(at);
        self.refused.insert(shard, at);
        let problem = Problem {
            severity: Severity::Failed,
            input: self.place(key),
            message,
            help: (!help.is_empty()).then_some(help),
        };
        self.tell(problem);
    }

    /// Notes that an object is done, however little of it was read.
    pub(super) fn finish(&mut self, shard: &str, reached: &Reached) {
        let done = Reached {
            done: true,
            ..reached.clone()
        };
        let (from, to) = (reached.to_position(), done.to_position());
        self.writer.advance(&self.source, shard, &from, to);
    }

    /// Moves the watermark up to what surely was read whole, and forgets what lies before it.
    fn move_watermark(&mut self, reached: Option<i64>, now: i64) -> Result<(), IngestError> {
        let look_back = now.saturating_sub(self.settings.look_back.num_seconds());
        let until = self.settings.until.map(|until| until.timestamp());
        let limits = [reached, Some(look_back), self.held, until];
        let to = limits.into_iter().flatten().min().unwrap_or_default();
        let from = self.watermark.unwrap_or_default();
        // Not for every minute: each move is a commit, if a small one.
        let worth = self
            .settings
            .path_format
            .step_s()
            .max(self.settings.look_back.num_seconds() / 8);
        if reached.is_none() || to < from.saturating_add(worth) {
            return Ok(());
        }
        let bound = self.bound(to);
        let mut forgotten = Vec::new();
        let snapshot = self.lake.snapshot()?;
        // What this batch finishes is not in there yet and goes with the next move.
        for (shard, _) in snapshot.checkpoints().shards(&self.source) {
            let old = position::object_of(shard).is_some_and(|(key, _)| key < bound.as_str());
            if old {
                forgotten.push(shard.to_owned());
            }
        }
        self.publish_moving(Some(to), &forgotten)
    }
}
