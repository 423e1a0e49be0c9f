//! Writes one object: at once if it is small, in parts if it is not.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload, Result};

use super::{Objects, io_error};
use crate::cloud::wait::{Pending, send, wait};
use crate::store::{Sink, StoreError};

/// Bytes of a part. OSS and S3 take ten thousand of them, none but the last below 5 MiB.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Parts on their way at once, so that memory is bounded.
const UNDER_WAY: usize = 2;

pub(super) struct ObjectSink {
    objects: Objects,
    key: String,
    path: Path,
    /// Says that the file is in no record yet.
    marker: Path,
    buffer: Vec<u8>,
    upload: Option<Box<dyn MultipartUpload>>,
    under_way: VecDeque<Pending<Result<()>>>,
    size: u64,
    written: Arc<Mutex<BTreeSet<String>>>,
}

impl ObjectSink {
    pub(super) fn new(
        objects: &Objects,
        key: &str,
        marker: &str,
        written: Arc<Mutex<BTreeSet<String>>>,
    ) -> std::result::Result<Self, StoreError> {
        Ok(Self {
            objects: objects.clone(),
            key: key.to_string(),
            path: objects.path(key)?,
            marker: objects.path(marker)?,
            buffer: Vec::new(),
            upload: None,
            under_way: VecDeque::new(),
            size: 0,
            written,
        })
    }

    /// Sends what is buffered off as a part.
    fn send_part(&mut self) -> io::Result<()> {
        let mut upload = match self.upload.take() {
            Some(upload) => upload,
            None => {
                let (store, path) = (Arc::clone(&self.objects.store), self.path.clone());
                let begun = wait(async move { store.put_multipart(&path).await })?;
                begun.map_err(io_error)?
            }
        };
        let part = PutPayload::from(std::mem::take(&mut self.buffer));
        let part = upload.put_part(part);
        self.upload = Some(upload);
        self.under_way.push_back(send(part)?);
        self.settle(UNDER_WAY)
    }

    /// Waits until no more than so many parts are under way.
    fn settle(&mut self, at_most: usize) -> io::Result<()> {
        while self.under_way.len() > at_most
            && let Some(part) = self.under_way.pop_front()
        {
            part.wait()?.map_err(io_error)?;
        }
        Ok(())
    }

    fn put(&self, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
        let (store, path) = (Arc::clone(&self.objects.store), path.clone());
        let put = wait(async move { store.put(&path, PutPayload::from(bytes)).await })?;
        put.map(drop).map_err(io_error)
    }

    /// The marker first: a file without one would be taken for a published one.
    fn end(&mut self) -> io::Result<()> {
        self.put(&self.marker, Vec::new())?;
        if self.upload.is_none() {
            let bytes = std::mem::take(&mut self.buffer);
            return self.put(&self.path, bytes);
        }
        if !self.buffer.is_empty() {
            self.send_part()?;
        }
        self.settle(0)?;
        let Some(mut upload) = self.upload.take() else {
            return Ok(());
        };
        let (upload, done) = wait(async move {
            let done = upload.complete().await;
            (upload, done)
        })?;
        done.map(drop).map_err(|error| {
            self.upload = Some(upload);
            io_error(error)
        })
    }
}

impl Write for ObjectSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PART_BYTES - self.buffer.len().min(PART_BYTES);
        let taken = bytes.len().min(room);
        self.buffer.extend_from_slice(&bytes[..taken]);
        self.size += taken as u64;
        if self.buffer.len() >= PART_BYTES {
            self.send_part()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for ObjectSink {
    fn finish(&mut self) -> std::result::Result<u64, StoreError> {
        let place = format!("{}/{}", self.objects.name, self.key);
        self.end()
            .map_err(|source| StoreError::new("write", place, source))?;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(self.key.clone());
        Ok(self.size)
    }
}

impl Drop for ObjectSink {
    /// Parts of a file that nobody will finish cost money until they are dropped.
    fn drop(&mut self) {
        if let Some(mut upload) = self.upload.take() {
            let _ = self.settle(0);
            let _ = wait(async move { upload.abort().await });
        }
    }
}
