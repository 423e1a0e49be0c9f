//! A lake on an object store.
//!
//! Files go to their final key at once; beside each lies an empty marker `_staging/<batch>/<key>` until its record exists,
//! and `_staging/<batch>.json` says who is writing. What has a marker is not listed and is what a dead writer leaves
//! behind. The commit record is created only if absent: the store decides between two writers.
//!
//! There are no locks out there. A writer whose process is gone from this machine, or that has not stirred for an
//! hour, is taken for dead; whoever takes it for dead publishes that it is given up before touching its files, and a
//! writer that was only asleep finds that in the log and publishes nothing (`crate::recover`).
//!
//! Programs that read the lake by globs see files of a batch before its record exists.

mod reader;
mod sink;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use self::reader::ObjectReader;
use self::sink::ObjectSink;
use self::writer::Writer;
use super::credentials::Clock;
use super::oss::{Oss, OssError, Versioning};
use super::s3;
use super::wait::wait;
use crate::layout::{BatchId, LOG, STAGING, TRIAL};
use crate::store::{Advised, Put, ReadAt, Sink, Stage, Store, StoreError, token};

/// A writer of another machine that left no trace for this long is taken for dead.
const SILENT_FOR: Duration = Duration::from_secs(60 * 60);

/// What speaks against writing, and what to do about it.
type Objection = (String, &'static str);

/// A lake on an object store. Cheap to clone; clones share which stages live.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    name: String,
    clock: Clock,
    writer: Writer,
    /// What has to be found out before anything is written, and what came of it.
    guard: Guard,
    writable: Arc<OnceLock<Option<Objection>>>,
    live: Arc<Mutex<BTreeSet<BatchId>>>,
}

/// Whether a store keeps "create only if absent".
#[derive(Debug, Clone)]
enum Guard {
    /// It is known to.
    Trusted,
    /// A bucket of OSS does unless it keeps versions.
    Versions(Oss),
    /// Some that speak S3 do not know the condition and pass over it.
    Trial,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Objects {
    /// A lake below `prefix`. The store must keep its word on [`PutMode::Create`].
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path, name: String, clock: Clock) -> Self {
        Self {
            store,
            prefix,
            name,
            clock,
            writer: Writer::of_process(token()),
            guard: Guard::Trusted,
            writable: Arc::default(),
            live: Arc::default(),
        }
    }

    /// A lake in a bucket of OSS. Before anything is written the bucket is asked whether it keeps versions.
    pub fn on_oss(oss: Oss, prefix: Path, clock: Clock) -> Self {
        let name = place(&oss.to_string(), &prefix);
        Self {
            guard: Guard::Versions(oss.clone()),
            ..Self::new(Arc::new(oss), prefix, name, clock)
        }
    }

    /// A lake in a bucket of a store that speaks S3, by the name of which errors tell. Before anything is written the
    /// store is tried.
    pub fn on_s3(store: Arc<dyn ObjectStore>, prefix: Path, name: String, clock: Clock) -> Self {
        let name = place(&name, &prefix);
        Self {
            guard: Guard::Trial,
            ..Self::new(store, prefix, name, clock)
        }
    }

    fn path(&self, key: &str) -> Result<Path, StoreError> {
        let full = format!("{}/{key}", self.prefix);
        Path::parse(full).map_err(|error| {
            let source = io::Error::new(ErrorKind::InvalidInput, error);
            StoreError::new("name", key, source)
        })
    }

    fn key<'a>(&self, path: &'a Path) -> &'a str {
        let full: &str = path.as_ref();
        let rest = full.strip_prefix(self.prefix.as_ref()).unwrap_or(full);
        rest.trim_start_matches('/')
    }

    fn live(&self) -> MutexGuard<'_, BTreeSet<BatchId>> {
        // Every change is one insertion or removal.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, action: &'static str, key: &str, error: Error) -> StoreError {
        StoreError::new(action, format!("{}/{key}", self.name), io_error(error))
    }

    /// On a store that does not keep "create only if absent" two writers could both win.
    fn check_writable(&self, action: &'static str, key: &str) -> Result<(), StoreError> {
        let known = match self.writable.get() {
            Some(known) => known,
            None => {
                let found = match &self.guard {
                    Guard::Trusted => None,
                    Guard::Versions(oss) => self.ask_for_versions(oss.clone(), action)?,
                    Guard::Trial => self.try_creation(action)?,
                };
                self.writable.get_or_init(|| found)
            }
        };
        let Some((reason, help)) = known else {
            return Ok(());
        };
        let advised = Advised::new(reason, Some((*help).to_string()));
        let source = io::Error::new(ErrorKind::Unsupported, advised);
        Err(StoreError::new(
            action,
            format!("{}/{key}", self.name),
            source,
        ))
    }

    /// Buckets that keep or kept versions pass over "create only if absent".
    fn ask_for_versions(
        &self,
        oss: Oss,
        action: &'static str,
    ) -> Result<Option<Objection>, StoreError> {
        let found = wait(async move { oss.versioning().await })
            .map_err(|source| StoreError::new(action, self.name.clone(), source))?;
        let state = match found.map_err(|error| self.cannot_tell(action, error))? {
            Versioning::Off => return Ok(None),
            Versioning::Enabled => "enabled",
            Versioning::Suspended => "suspended",
        };
        Ok(Some((
            format!(
                "versioning of the bucket is {state}, and such buckets do not keep two writers apart"
            ),
            "make a bucket without versioning for the lake; reading this one is possible",
        )))
    }

    /// Creates an object that is there, which must not go well. It stays: whoever opens the lake next asks once, and nobody removes
    /// what another one is being asked about.
    fn try_creation(&self, action: &'static str) -> Result<Option<Objection>, StoreError> {
        if self.create(TRIAL, Vec::new())? == Put::Exists
            || self.create(TRIAL, Vec::new())? == Put::Exists
        {
            return Ok(None);
        }
        let path = self.path(TRIAL)?;
        let store = Arc::clone(&self.store);
        self.call(action, TRIAL, async move { store.delete(&path).await })?;
        Ok(Some((
            "the store creates an object that is there already, and so does not keep two writers apart".to_string(),
            "use a store that knows `If-None-Match: *` on PutObject; reading this one is possible",
        )))
    }

    fn cannot_tell(&self, action: &'static str, error: OssError) -> StoreError {
        let denied = error.refusal().is_some_and(|refusal| refusal.status == 403);
        let help = match denied {
            true => Some("grant `oss:GetBucketVersioning` on the bucket: without it nobody knows whether two writers are kept apart".to_string()),
            false => error.help(),
        };
        let kind = if denied {
            ErrorKind::PermissionDenied
        } else {
            ErrorKind::Other
        };
        let message = format!("whether the bucket keeps versions cannot be told: {error}");
        let source = io::Error::new(kind, Advised::new(&message, help));
        StoreError::new(action, self.name.clone(), source)
    }

    /// Everything below a folder, after a key.
    fn list_below(&self, prefix: &str, after: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let folder = self.path(prefix.trim_end_matches('/'))?;
        let offset = match after {
            "" => None,
            after => Some(self.path(after)?),
        };
        let store = Arc::clone(&self.store);
        let listed = wait(async move {
            let objects = match &offset {
                None => store.list(Some(&folder)),
                Some(offset) => store.list_with_offset(Some(&folder), offset),
            };
            objects.try_collect::<Vec<_>>().await
        });
        let listed = listed.map_err(|source| StoreError::new("list", prefix, source))?;
        let mut listed = listed.map_err(|error| self.error("list", prefix, error))?;
        listed.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        Ok(listed)
    }

    /// Runs one call of the store to its end.
    fn call<T, F>(&self, action: &'static str, key: &str, future: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = object_store::Result<T>> + Send + 'static,
    {
        let result = wait(future).map_err(|source| StoreError::new(action, key, source))?;
        result.map_err(|error| self.error(action, key, error))
    }

    fn create(&self, key: &str, bytes: Vec<u8>) -> Result<Put, StoreError> {
        let (store, path) = (Arc::clone(&self.store), self.path(key)?);
        self.call("create", key, async move {
            let payload = PutPayload::from(bytes);
            match store.put_opts(&path, payload, PutMode::Create.into()).await {
                Ok(_) => Ok(Put::Created),
                Err(Error::AlreadyExists { .. }) => Ok(Put::Exists),
                Err(error) => Err(error),
            }
        })
    }

    fn delete_all(&self, keys: &[String]) -> Result<(), StoreError> {
        let paths = keys.iter().map(|key| self.path(key));
        let paths = paths.collect::<Result<Vec<_>, _>>()?;
        let store = Arc::clone(&self.store);
        let place = keys.first().cloned().unwrap_or_default();
        self.call("remove", &place, async move {
            let asked = futures_util::stream::iter(paths.into_iter().map(Ok));
            let mut done = store.delete_stream(Box::pin(asked));
            loop {
                match done.try_next().await {
                    Ok(None) => return Ok(()),
                    Ok(Some(_)) | Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        })
    }

    fn hold(&self, batch: BatchId) -> Box<dyn Stage> {
        self.live().insert(batch.clone());
        Box::new(ObjectStage {
            objects: self.clone(),
            batch,
            written: Arc::default(),
        })
    }

    /// Whether the writer of a stage is dead, as far as can be told.
    fn seems_dead(&self, batch: &BatchId, last_seen_us: i64) -> Result<bool, StoreError> {
        let writer = match self.get(&stage_key(batch), 64 * 1024) {
            Ok(bytes) => serde_json::from_slice::<Writer>(&bytes).ok(),
            // Somebody has just finished with it, or a sleeper has gone on after it was given up.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let silent_us = self.clock.now().saturating_mul(1_000_000) - last_seen_us;
        let silent = silent_us > SILENT_FOR.as_micros() as i64;
        Ok(silent || writer.is_some_and(|writer| self.writer.sees_dead(&writer)))
    }
}

fn stage_key(batch: &BatchId) -> String {
    format!("{STAGING}/{batch}.json")
}

/// The marker of a file that is not in its record yet.
fn marker_key(batch: &BatchId, key: &str) -> String {
    format!("{STAGING}/{batch}/{key}")
}

/// Keeps the kind, the words and the advice.
/// How errors name a lake below a prefix of a bucket.
fn place(bucket: &str, prefix: &Path) -> String {
    match prefix.as_ref() {
        "" => bucket.to_string(),
        prefix => format!("{bucket}/{prefix}"),
    }
}

fn io_error(error: Error) -> io::Error {
    let kind = match &error {
        Error::NotFound { .. } => ErrorKind::NotFound,
        Error::AlreadyExists { .. } => ErrorKind::AlreadyExists,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            ErrorKind::PermissionDenied
        }
        Error::NotImplemented { .. } | Error::NotSupported { .. } => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    };
    let source = std::error::Error::source(&error);
    let advised = match source.and_then(|source| source.downcast_ref::<OssError>()) {
        Some(oss) => Advised::new(&oss.to_string(), oss.help()),
        None => {
            let text = error.to_string();
            Advised::new(&text, s3::help(&text))
        }
    };
    io::Error::new(kind, advised)
}

impl Store for Objects {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn is_fresh(&self) -> Result<bool, StoreError> {
        let (store, prefix) = (Arc::clone(&self.store), self.prefix.clone());
        let found = self.call("list", "", async move {
            store.list_with_delimiter(Some(&prefix)).await
        })?;
        let ours = |path: &Path| [LOG, STAGING].contains(&self.key(path));
        Ok(found.objects.is_empty() && found.common_prefixes.iter().all(ours))
    }

    fn get(&self, key: &str, max_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let (store, path) = (Arc::clone(&self.store), self.path(key)?);
        let read = self.call("read", key, async move {
            let found = store.get(&path).await?;
            if found.meta.size > max_bytes {
                return Ok(None);
            }
            Ok(Some(found.bytes().await?))
        })?;
        let too_large = || StoreError::new("read", key, ErrorKind::FileTooLarge.into());
        read.map(|bytes| bytes.to_vec()).ok_or_else(too_large)
    }

    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Put, StoreError> {
        self.check_writable("create", key)?;
        self.create(key, bytes.to_vec())
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, StoreError> {
        let listed = self.list_below(prefix, after)?;
        let mut keys: Vec<String> = listed
            .iter()
            .map(|meta| self.key(&meta.location).to_string())
            .collect();
        if !prefix.starts_with('_') && !keys.is_empty() {
            // Asked afterwards: what has lost its marker meanwhile has its record.
            let markers = self.list_below(STAGING, "")?;
            let hidden: BTreeSet<&str> = markers
                .iter()
                .filter_map(|meta| self.key(&meta.location).splitn(3, '/').nth(2))
                .collect();
            keys.retain(|key| !hidden.contains(key.as_str()));
        }
        Ok(keys)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.delete_all(&[key.to_string()])
    }

    fn open(&self, key: &str) -> Result<Box<dyn ReadAt>, StoreError> {
        let (store, path) = (Arc::clone(&self.store), self.path(key)?);
        let head = self.call("open", key, async move { store.head(&path).await })?;
        Ok(Box::new(ObjectReader::new(Arc::clone(&self.store), head)))
    }

    fn stage(&self, batch: &BatchId) -> Result<Box<dyn Stage>, StoreError> {
        let key = stage_key(batch);
        self.check_writable("create", &key)?;
        // Before the marker exists: nobody who sees it may think that it is an orphan.
        let stage = self.hold(batch.clone());
        match self.create(&key, crate::commit::json(&self.writer))? {
            Put::Created => Ok(stage),
            Put::Exists => {
                let source = io::Error::from(ErrorKind::AlreadyExists);
                Err(StoreError::new("create", key, source))
            }
        }
    }

    fn knows_the_dead(&self) -> bool {
        false
    }

    fn orphans(&self) -> Result<Vec<Box<dyn Stage>>, StoreError> {
        let mut last_seen: BTreeMap<BatchId, i64> = BTreeMap::new();
        for meta in self.list_below(STAGING, "")? {
            let key = self.key(&meta.location);
            let name = key.split('/').nth(1).unwrap_or_default();
            let name = name.strip_suffix(".json").unwrap_or(name);
            if let Ok(batch) = name.parse() {
                let seen = last_seen.entry(batch).or_insert(i64::MIN);
                *seen = (*seen).max(meta.last_modified.timestamp_micros());
            }
        }
        let mut orphans = Vec::new();
        for (batch, seen) in last_seen {
            if !self.live().contains(&batch) && self.seems_dead(&batch, seen)? {
                orphans.push(self.hold(batch));
            }
        }
        Ok(orphans)
    }
}

#[derive(Debug)]
struct ObjectStage {
    objects: Objects,
    batch: BatchId,
    /// Files that this writer has finished.
    written: Arc<Mutex<BTreeSet<String>>>,
}

impl Drop for ObjectStage {
    fn drop(&mut self) {
        self.objects.live().remove(&self.batch);
    }
}

impl Stage for ObjectStage {
    fn batch(&self) -> &BatchId {
        &self.batch
    }

    fn create(&mut self, key: &str) -> Result<Box<dyn Sink>, StoreError> {
        let marker = marker_key(&self.batch, key);
        let sink = ObjectSink::new(&self.objects, key, &marker, Arc::clone(&self.written))?;
        Ok(Box::new(sink))
    }

    fn seal(&mut self) -> Result<(), StoreError> {
        // What the store has acknowledged survives.
        Ok(())
    }

    fn keys(&self) -> Result<Vec<String>, StoreError> {
        let folder = format!("{STAGING}/{}", self.batch);
        let markers = self.objects.list_below(&folder, "")?;
        let keys = markers.iter().filter_map(|meta| {
            let key = self.objects.key(&meta.location);
            key.strip_prefix(&folder)?.strip_prefix('/')
        });
        Ok(keys.map(str::to_string).collect())
    }

    fn reveal(&mut self, keys: &[String]) -> Result<(), StoreError> {
        for key in keys {
            let written = {
                let written = self.written.lock();
                written
                    .unwrap_or_else(PoisonError::into_inner)
                    .contains(key)
            };
            if !written {
                drop(self.objects.open(key)?);
            }
        }
        let markers: Vec<String> = keys
            .iter()
            .map(|key| marker_key(&self.batch, key))
            .collect();
        match markers.is_empty() {
            true => Ok(()),
            false => self.objects.delete_all(&markers),
        }
    }

    fn discard(self: Box<Self>) -> Result<(), StoreError> {
        let keys = self.keys()?;
        if !keys.is_empty() {
            // Files before their markers: what is left half way is still known.
            self.objects.delete_all(&keys)?;
            let markers: Vec<String> = keys
                .iter()
                .map(|key| marker_key(&self.batch, key))
                .collect();
            self.objects.delete_all(&markers)?;
        }
        self.objects.delete_all(&[stage_key(&self.batch)])
    }
}
