//! Reads ranges of an object, with blocks kept for the small reads that a Parquet reader makes.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore};

use super::io_error;
use crate::cloud::wait::wait;
use crate::store::ReadAt;

/// Bytes fetched at once for a smaller read.
const BLOCK_BYTES: u64 = 1024 * 1024;
/// Blocks kept: the columns of a row group are read side by side.
const BLOCKS: usize = 32;

/// Reads one object.
pub(super) struct ObjectReader {
    store: Arc<dyn ObjectStore>,
    head: ObjectMeta,
    /// By number, the one used last at the end.
    blocks: Mutex<VecDeque<(u64, Bytes)>>,
}

impl std::fmt::Debug for ObjectReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectReader")
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

impl ObjectReader {
    pub(super) fn new(store: Arc<dyn ObjectStore>, head: ObjectMeta) -> Self {
        let blocks = Mutex::default();
        Self {
            store,
            head,
            blocks,
        }
    }

    fn fetch(&self, from: u64, to: u64) -> io::Result<Bytes> {
        let (store, path) = (Arc::clone(&self.store), self.head.location.clone());
        let options = GetOptions::new()
            .with_range(Some(GetRange::Bounded(from..to)))
            .with_if_match(self.head.e_tag.clone());
        let read = wait(async move { store.get_opts(&path, options).await?.bytes().await })?;
        let bytes = read.map_err(io_error)?;
        match bytes.len() as u64 == to - from {
            true => Ok(bytes),
            false => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    fn block(&self, number: u64) -> io::Result<Bytes> {
        let lock = || self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut blocks = lock();
            if let Some(at) = blocks.iter().position(|(known, _)| *known == number)
                && let Some(block) = blocks.remove(at)
            {
                let bytes = block.1.clone();
                blocks.push_back(block);
                return Ok(bytes);
            }
        }
        let from = number * BLOCK_BYTES;
        let bytes = self.fetch(from, (from + BLOCK_BYTES).min(self.head.size))?;
        let mut blocks = lock();
        if blocks.len() == BLOCKS {
            blocks.pop_front();
        }
        blocks.push_back((number, bytes.clone()));
        Ok(bytes)
    }
}

impl ReadAt for ObjectReader {
    fn size(&self) -> u64 {
        self.head.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        let end = end.filter(|end| *end <= self.head.size);
        let end = end.ok_or(ErrorKind::UnexpectedEof)?;
        if buffer.is_empty() {
            return Ok(());
        }
        if buffer.len() as u64 >= BLOCK_BYTES {
            buffer.copy_from_slice(&self.fetch(offset, end)?);
            return Ok(());
        }
        let mut rest = buffer;
        let mut at = offset;
        while !rest.is_empty() {
            let block = self.block(at / BLOCK_BYTES)?;
            let from = (at % BLOCK_BYTES) as usize;
            let part = block.get(from..).unwrap_or_default();
            let length = part.len().min(rest.len());
            if length == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let (now, later) = rest.split_at_mut(length);
            now.copy_from_slice(&part[..length]);
            at += length as u64;
            rest = later;
        }
        Ok(())
    }
}
