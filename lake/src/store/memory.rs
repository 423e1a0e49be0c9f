//! A store in memory, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Put, ReadAt, Sink, Stage, Store, StoreError};
use crate::layout::{BatchId, STAGING, parse_file_key};

/// A store in memory. Clones share what they hold.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<String, Arc<Vec<u8>>>,
    /// Batch id, then key.
    staged: BTreeMap<String, BTreeMap<String, Arc<Vec<u8>>>>,
    /// Batches whose writer lives.
    live: BTreeSet<String>,
}

impl Memory {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A writer that panicked leaves the maps whole: every change below is one insertion or removal.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, batch: BatchId) -> Box<dyn Stage> {
        self.inner().live.insert(batch.to_string());
        Box::new(MemoryStage {
            store: self.clone(),
            batch,
        })
    }
}

fn not_found(action: &'static str, key: &str) -> StoreError {
    StoreError::new(action, key, io::Error::from(ErrorKind::NotFound))
}

impl Store for Memory {
    fn name(&self) -> String {
        "memory".to_string()
    }

    fn is_fresh(&self) -> Result<bool, StoreError> {
        Ok(self.inner().objects.is_empty())
    }

    fn get(&self, key: &str, max_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let inner = self.inner();
        let bytes = inner
            .objects
            .get(key)
            .ok_or_else(|| not_found("read", key))?;
        if bytes.len() as u64 > max_bytes {
            let source = io::Error::from(ErrorKind::FileTooLarge);
            return Err(StoreError::new("read", key, source));
        }
        Ok(bytes.to_vec())
    }

    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Put, StoreError> {
        let mut inner = self.inner();
        if inner.objects.contains_key(key) {
            return Ok(Put::Exists);
        }
        inner
            .objects
            .insert(key.to_string(), Arc::new(bytes.to_vec()));
        Ok(Put::Created)
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, StoreError> {
        let inner = self.inner();
        let keys = inner
            .objects
            .range(prefix.to_string()..)
            .map(|(key, _)| key);
        let below = keys.take_while(|key| key.starts_with(prefix));
        Ok(below.filter(|key| key.as_str() > after).cloned().collect())
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner().objects.remove(key);
        Ok(())
    }

    fn open(&self, key: &str) -> Result<Box<dyn ReadAt>, StoreError> {
        let inner = self.inner();
        let staged = || {
            let batch = parse_file_key(key).ok()?.batch.to_string();
            inner.staged.get(&batch)?.get(key)
        };
        let bytes = inner.objects.get(key).or_else(staged);
        let bytes = bytes.ok_or_else(|| not_found("open", key))?;
        Ok(Box::new(MemoryReader {
            bytes: bytes.clone(),
        }))
    }

    fn stage(&self, batch: &BatchId) -> Result<Box<dyn Stage>, StoreError> {
        let fresh = self
            .inner()
            .staged
            .insert(batch.to_string(), BTreeMap::new())
            .is_none();
        if !fresh {
            let place = format!("{STAGING}/{batch}");
            return Err(StoreError::new(
                "create",
                place,
                io::Error::from(ErrorKind::AlreadyExists),
            ));
        }
        Ok(self.hold(batch.clone()))
    }

    fn orphans(&self) -> Result<Vec<Box<dyn Stage>>, StoreError> {
        let dead: Vec<BatchId> = {
            let inner = self.inner();
            let dead = inner
                .staged
                .keys()
                .filter(|batch| !inner.live.contains(*batch));
            dead.filter_map(|batch| batch.parse().ok()).collect()
        };
        Ok(dead.into_iter().map(|batch| self.hold(batch)).collect())
    }
}

#[derive(Debug)]
struct MemoryReader {
    bytes: Arc<Vec<u8>>,
}

impl ReadAt for MemoryReader {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let end = start.and_then(|start| start.checked_add(buffer.len()));
        let range = start
            .zip(end)
            .and_then(|(start, end)| self.bytes.get(start..end));
        buffer.copy_from_slice(range.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryStage {
    store: Memory,
    batch: BatchId,
}

impl Stage for MemoryStage {
    fn batch(&self) -> &BatchId {
        &self.batch
    }

    fn create(&mut self, key: &str) -> Result<Box<dyn Sink>, StoreError> {
        Ok(Box::new(MemorySink {
            store: self.store.clone(),
            batch: self.batch.to_string(),
            key: key.to_string(),
            bytes: Vec::new(),
        }))
    }

    fn seal(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn keys(&self) -> Result<Vec<String>, StoreError> {
        let inner = self.store.inner();
        let staged = inner.staged.get(&self.batch.to_string());
        Ok(staged
            .into_iter()
            .flat_map(|files| files.keys().cloned())
            .collect())
    }

    fn reveal(&mut self, keys: &[String]) -> Result<(), StoreError> {
        let mut inner = self.store.inner();
        for key in keys {
            let staged = inner.staged.get_mut(&self.batch.to_string());
            if let Some(bytes) = staged.and_then(|files| files.remove(key)) {
                inner.objects.insert(key.clone(), bytes);
            } else if !inner.objects.contains_key(key) {
                return Err(not_found("publish", key));
            }
        }
        Ok(())
    }

    fn discard(self: Box<Self>) -> Result<(), StoreError> {
        self.store.inner().staged.remove(&self.batch.to_string());
        Ok(())
    }
}

impl Drop for MemoryStage {
    fn drop(&mut self) {
        self.store.inner().live.remove(&self.batch.to_string());
    }
}

struct MemorySink {
    store: Memory,
    batch: String,
    key: String,
    bytes: Vec<u8>,
}

impl Write for MemorySink {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.bytes.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for MemorySink {
    fn finish(&mut self) -> Result<u64, StoreError> {
        let size = self.bytes.len() as u64;
        let mut inner = self.store.inner();
        let files = inner.staged.entry(self.batch.clone()).or_default();
        files.insert(self.key.clone(), Arc::new(std::mem::take(&mut self.bytes)));
        Ok(size)
    }
}
