//! The bytes of objects, ahead of need: a few objects at a time, each a bounded stretch ahead of its reader.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use flowaudit_lake::cloud::oss::Oss;
use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStore, Result};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::stop::Stop;

/// Pieces are cut to this.
const PIECE_BYTES: usize = 64 * 1024;
/// So many pieces of an object wait for its reader.
const PIECES_AHEAD: usize = 32;
/// What one object read ahead may hold, in bytes: what waits, and what is just being received.
pub(super) const AHEAD_BYTES: u64 = (PIECES_AHEAD * PIECE_BYTES) as u64 + (2 << 20);

/// So many bytes tell what an object is.
const HEAD_BYTES: usize = 64;

/// The first bytes of formats that are read from their end.
const MAGICS: [&[u8]; 2] = [b"PAR1", b"ORC"];

/// An object of the bucket, as it was listed.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) oss: Oss,
    pub(super) path: Path,
    pub(super) e_tag: Option<String>,
    pub(super) size: u64,
    pub(super) handle: Handle,
    /// Nobody waits for bytes any longer when the run is to end.
    pub(super) stop: Stop,
}

impl Object {
    fn options(&self, range: Option<GetRange>) -> GetOptions {
        GetOptions {
            range,
            // Another object under the same key must not be taken for the rest of this one.
            if_match: self.e_tag.clone(),
            ..GetOptions::default()
        }
    }

    /// Begins to fetch; waits for nothing.
    pub(super) fn fetch(&self) -> Fetched {
        let (sender, receiver) = channel(PIECES_AHEAD);
        let object = self.clone();
        self.handle.spawn(async move {
            if let Err(error) = object.send_all(&sender).await {
                // Nobody may be reading any more.
                let _ = sender.send(Err(error)).await;
            }
        });
        Fetched {
            receiver,
            handle: self.handle.clone(),
            stop: self.stop.clone(),
            left: self.size,
            piece: Bytes::new(),
            bytes: 0,
            failure: Failure::default(),
        }
    }

    async fn send_all(&self, sender: &Sender<Result<Bytes>>) -> Result<()> {
        let found = self.oss.get_opts(&self.path, self.options(None)).await?;
        let mut stream = found.into_stream();
        // However small the first pieces are, the first one handed on tells what the object is.
        let mut head = BytesMut::new();
        while head.len() < HEAD_BYTES
            && let Some(piece) = stream.next().await
        {
            head.extend_from_slice(&piece?);
        }
        let mut piece = head.freeze();
        let stop = MAGICS.iter().any(|magic| piece.starts_with(magic));
        loop {
            while !piece.is_empty() {
                let part = piece.split_to(PIECE_BYTES.min(piece.len()));
                // What is read from its end is not fetched from its beginning.
                if sender.send(Ok(part)).await.is_err() || stop {
                    return Ok(());
                }
            }
            match stream.next().await {
                None => return Ok(()),
                Some(next) => piece = next?,
            }
        }
    }

    /// One range; waits for it. Not to be called within the runtime.
    pub(super) fn range(&self, range: Range<u64>) -> Result<Bytes> {
        let wanted = range.end - range.start;
        let get = async {
            let options = self.options(Some(GetRange::Bounded(range)));
            let found = self.oss.get_opts(&self.path, options).await?;
            found.bytes().await
        };
        let bytes = self.handle.block_on(async {
            tokio::select! {
                bytes = get => bytes,
                () = self.stop.stopped() => Err(ended()),
            }
        })?;
        match bytes.len() as u64 == wanted {
            true => Ok(bytes),
            false => Err(Error::Generic {
                store: "OSS",
                source: "a range came shorter than asked for".into(),
            }),
        }
    }
}

fn ended() -> Error {
    Error::Generic {
        store: "OSS",
        source: "the run is to end".into(),
    }
}

/// The bytes of one object as they come.
#[derive(Debug)]
pub(super) struct Fetched {
    receiver: Receiver<Result<Bytes>>,
    handle: Handle,
    stop: Stop,
    /// Bytes that are still to come.
    left: u64,
    piece: Bytes,
    /// Bytes handed out.
    pub(super) bytes: u64,
    /// Why no more come.
    pub(super) failure: Failure,
}

/// Why bytes of an object do not come, for whoever still asks when its reader is gone.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<Arc<Error>>>>);

impl Failure {
    pub(super) fn set(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(error));
    }

    pub(super) fn get(&self) -> Option<Arc<Error>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Read for Fetched {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            if let Some(failure) = self.failure.get() {
                return Err(io::Error::other(failure.to_string()));
            }
            let next = self.handle.block_on(async {
                tokio::select! {
                    biased;
                    next = self.receiver.recv() => next,
                    () = self.stop.stopped() => Some(Err(ended())),
                }
            });
            match next {
                None if self.left == 0 => return Ok(0),
                // Whoever fetches went away before the end: what is missing would be passed over.
                None => self.failure.set(Error::Generic {
                    store: "OSS",
                    source: format!("{} bytes of it did not come", self.left).into(),
                }),
                Some(Ok(piece)) => {
                    self.left = self.left.saturating_sub(piece.len() as u64);
                    self.piece = piece;
                }
                Some(Err(error)) => self.failure.set(error),
            }
        }
        let piece = self.piece.split_to(into.len().min(self.piece.len()));
        if let Some(into) = into.get_mut(..piece.len()) {
            into.copy_from_slice(&piece);
        }
        self.bytes += piece.len() as u64;
        Ok(piece.len())
    }
}
