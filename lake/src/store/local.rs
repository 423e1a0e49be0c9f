//! A lake in a directory.
//!
//! Every batch has a folder `_staging/<batch id>/` and beside it a lock file, locked for as long as its writer
//! lives; the system lets go of the lock however the process ends. `_staging/.gate` is locked shared while a
//! stage or an object is being created and exclusively while the staging area is swept, so that a sweep never
//! meets something half made by a living process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Put, ReadAt, Sink, Stage, Store, StoreError};
use crate::LakeError;
use crate::layout::{BatchId, LOG, STAGING, parse_file_key};

const GATE: &str = "_staging/.gate";
const TEMPORARY: &str = "_staging/.new";
const WRITE_BUFFER_BYTES: usize = 256 * 1024;

/// A lake in a directory.
#[derive(Debug, Clone)]
pub struct Local {
    root: PathBuf,
}

impl Local {
    /// The directory `root`, which must exist. Symbolic links are followed once, here.
    pub fn open(root: &Path) -> Result<Self, LakeError> {
        let found = match fs::metadata(root) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(LakeError::NoLake {
                    root: root.display().to_string(),
                });
            }
            // Something on the way to it is a file.
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                return Err(LakeError::RootIsFile {
                    root: first_file(root),
                });
            }
            Err(error) => return Err(place_error("open", root)(error).into()),
        };
        if !found.is_dir() {
            return Err(LakeError::RootIsFile {
                root: root.to_path_buf(),
            });
        }
        let root = fs::canonicalize(root).map_err(place_error("open", root))?;
        Ok(Self { root })
    }

    /// The directory `root`, made if it does not exist.
    pub fn create(root: &Path) -> Result<Self, LakeError> {
        match Self::open(root) {
            Err(LakeError::NoLake { .. }) => {
                let first_new = root.ancestors().take_while(|path| !path.exists()).last();
                fs::create_dir_all(root).map_err(place_error("create", root))?;
                if let Some(parent) = first_new.and_then(Path::parent) {
                    let parent = if parent.as_os_str().is_empty() {
                        Path::new(".")
                    } else {
                        parent
                    };
                    sync_directory(parent)?;
                }
                Self::open(root)
            }
            other => other,
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// The gate, locked; see the head of this module. Makes the staging area if there is none.
    fn gate(&self) -> Result<File, StoreError> {
        let path = self.path(GATE);
        let open = || {
            OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
        };
        match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(self.path(STAGING)).map_err(place_error("create", &path))?;
                open()
            }
            other => other,
        }
        .map_err(place_error("open", &path))
    }

    fn enter(&self) -> Result<File, StoreError> {
        let gate = self.gate()?;
        gate.lock_shared()
            .map_err(place_error("lock", &self.path(GATE)))?;
        Ok(gate)
    }

    fn stage_at(&self, batch: BatchId, lock: File) -> LocalStage {
        let folder = self.path(STAGING).join(batch.to_string());
        let lock_path = self.lock_path(&batch);
        LocalStage {
            store: self.clone(),
            batch,
            folder,
            lock_path,
            _lock: lock,
        }
    }

    fn lock_path(&self, batch: &BatchId) -> PathBuf {
        self.path(STAGING).join(format!("{batch}.lock"))
    }

    /// Makes the folder of a key and everything above it durable.
    fn make_folder(&self, key: &str) -> Result<(), StoreError> {
        let folder = self.path(key.rsplit_once('/').map_or("", |(folder, _)| folder));
        if folder.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(&folder).map_err(place_error("create", &folder))?;
        let below_root = folder
            .ancestors()
            .skip(1)
            .take_while(|path| path.starts_with(&self.root));
        below_root.into_iter().try_for_each(sync_directory)
    }
}

impl Store for Local {
    fn name(&self) -> String {
        self.root.display().to_string()
    }

    fn is_fresh(&self) -> Result<bool, StoreError> {
        let entries = fs::read_dir(&self.root).map_err(place_error("list", &self.root))?;
        for entry in entries {
            let entry = entry.map_err(place_error("list", &self.root))?;
            let name = entry.file_name();
            let ours = name == LOG || name == STAGING;
            let of_the_system = name == "lost+found" || name.to_string_lossy().starts_with('.');
            if !ours && !of_the_system {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn get(&self, key: &str, max_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.path(key);
        let file = File::open(&path).map_err(place_error("read", &path))?;
        let mut bytes = Vec::new();
        let read = file
            .take(max_bytes.saturating_add(1))
            .read_to_end(&mut bytes);
        let read = read.map_err(place_error("read", &path))?;
        if read as u64 > max_bytes {
            return Err(place_error("read", &path)(ErrorKind::FileTooLarge.into()));
        }
        Ok(bytes)
    }

    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Put, StoreError> {
        let path = self.path(key);
        let gate = self.enter()?;
        self.make_folder(key)?;
        let folder = self.path(TEMPORARY);
        fs::create_dir_all(&folder).map_err(place_error("create", &folder))?;
        let temporary = folder.join(format!("{}-{:016x}", std::process::id(), token()));
        let written = write_synced(&temporary, bytes);
        // A link appears with complete content or not at all, and only where nothing is.
        let linked = written
            .map_err(place_error("write", &temporary))
            .and_then(|()| match fs::hard_link(&temporary, &path) {
                Ok(()) => Ok(Put::Created),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Put::Exists),
                Err(error) => Err(place_error("create", &path)(error)),
            });
        // What stays behind is swept with the next orphans.
        let _ = fs::remove_file(&temporary);
        drop(gate);
        if let (Ok(_), Some(parent)) = (&linked, path.parent()) {
            sync_directory(parent)?;
        }
        linked
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, StoreError> {
        let mut keys = Vec::new();
        let mut folders = vec![prefix.trim_end_matches('/').to_string()];
        while let Some(folder) = folders.pop() {
            let path = self.path(&folder);
            let entries = match fs::read_dir(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.map_err(place_error("list", &path))?,
            };
            for entry in entries {
                let entry = entry.map_err(place_error("list", &path))?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let key = if folder.is_empty() {
                    name
                } else {
                    format!("{folder}/{name}")
                };
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(key);
                } else if key.as_str() > after {
                    keys.push(key);
                }
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = self.path(key);
        remove_if_there(&path)
    }

    fn open(&self, key: &str) -> Result<Box<dyn ReadAt>, StoreError> {
        let path = self.path(key);
        let staged = parse_file_key(key)
            .ok()
            .map(|parsed| self.path(STAGING).join(parsed.batch.to_string()).join(key));
        // The last look is for a file that was renamed between the first two.
        let mut places = [Some(&path), staged.as_ref(), Some(&path)]
            .into_iter()
            .flatten();
        let opened = loop {
            let Some(place) = places.next() else {
                break Err(place_error("open", &path)(ErrorKind::NotFound.into()));
            };
            match File::open(place) {
                Ok(file) => break Ok(file),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => break Err(place_error("open", place)(error)),
            }
        };
        let file = opened?;
        let size = file.metadata().map_err(place_error("open", &path))?.len();
        Ok(Box::new(LocalReader { file, size }))
    }

    fn stage(&self, batch: &BatchId) -> Result<Box<dyn Stage>, StoreError> {
        let _gate = self.enter()?;
        let lock_path = self.lock_path(batch);
        let lock = OpenOptions::new()
            .create_new(true)
            .write(true)
            .open(&lock_path);
        let lock = lock.map_err(place_error("create", &lock_path))?;
        lock.lock().map_err(place_error("lock", &lock_path))?;
        let stage = self.stage_at(batch.clone(), lock);
        fs::create_dir_all(&stage.folder).map_err(place_error("create", &stage.folder))?;
        Ok(Box::new(stage))
    }

    fn orphans(&self) -> Result<Vec<Box<dyn Stage>>, StoreError> {
        let staging = self.path(STAGING);
        let names = match fs::read_dir(&staging) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(place_error("list", &staging))?,
        };
        let mut batches = Vec::new();
        let mut temporary = false;
        for entry in names {
            let entry = entry.map_err(place_error("list", &staging))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            temporary |= name == ".new";
            // A folder without its lock file is what a sweep left that died; its lock is made anew.
            let batch = name.strip_suffix(".lock").unwrap_or(&name);
            batches.extend(batch.parse::<BatchId>().ok());
        }
        batches.sort_unstable();
        batches.dedup();
        if batches.is_empty() && !temporary {
            return Ok(Vec::new());
        }
        let Some(_gate) = self.shut_gate()? else {
            return Ok(Vec::new());
        };
        if temporary {
            let folder = self.path(TEMPORARY);
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                remove_if_there(&entry.path())?;
            }
        }
        let mut stages: Vec<Box<dyn Stage>> = Vec::new();
        for batch in batches {
            let lock_path = self.lock_path(&batch);
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&lock_path);
            let lock = lock.map_err(place_error("open", &lock_path))?;
            match lock.try_lock() {
                Ok(()) => stages.push(Box::new(self.stage_at(batch, lock))),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(place_error("lock", &lock_path)(error));
                }
            }
        }
        Ok(stages)
    }
}

impl Local {
    /// The gate, closed to all others; `None` when somebody stays in it, which leaves the sweep to a later open.
    fn shut_gate(&self) -> Result<Option<File>, StoreError> {
        let gate = self.gate()?;
        for _ in 0..50 {
            match gate.try_lock() {
                Ok(()) => return Ok(Some(gate)),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(4)),
                Err(TryLockError::Error(error)) => {
                    return Err(place_error("lock", &self.path(GATE))(error));
                }
            }
        }
        Ok(None)
    }
}

#[derive(Debug)]
struct LocalReader {
    file: File,
    size: u64,
}

impl ReadAt for LocalReader {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

#[derive(Debug)]
struct LocalStage {
    store: Local,
    batch: BatchId,
    folder: PathBuf,
    lock_path: PathBuf,
    /// Held until the stage is dropped; nobody else touches the folder meanwhile.
    _lock: File,
}

impl Stage for LocalStage {
    fn batch(&self) -> &BatchId {
        &self.batch
    }

    fn create(&mut self, key: &str) -> Result<Box<dyn Sink>, StoreError> {
        let path = self.folder.join(key);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(place_error("create", folder))?;
        }
        let file = OpenOptions::new().create_new(true).write(true).open(&path);
        let file = file.map_err(place_error("create", &path))?;
        Ok(Box::new(LocalSink {
            file: BufWriter::with_capacity(WRITE_BUFFER_BYTES, file),
            path,
        }))
    }

    fn seal(&mut self) -> Result<(), StoreError> {
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            sync_directory(&folder)?;
            let entries = fs::read_dir(&folder).map_err(place_error("list", &folder))?;
            let inner = entries.flatten().map(|entry| entry.path());
            folders.extend(inner.filter(|path| path.is_dir()));
        }
        sync_directory(&self.store.path(STAGING))
    }

    fn keys(&self) -> Result<Vec<String>, StoreError> {
        let prefix = format!("{STAGING}/{}/", self.batch);
        let keys = self.store.list(&prefix, "")?;
        Ok(keys
            .iter()
            .filter_map(|key| key.strip_prefix(&prefix))
            .map(str::to_string)
            .collect())
    }

    fn reveal(&mut self, keys: &[String]) -> Result<(), StoreError> {
        let mut folders = std::collections::BTreeSet::new();
        for key in keys {
            let path = self.store.path(key);
            self.store.make_folder(key)?;
            match fs::rename(self.folder.join(key), &path) {
                Err(error) if error.kind() == ErrorKind::NotFound && path.exists() => {}
                other => other.map_err(place_error("publish", &path))?,
            }
            folders.extend(path.parent().map(Path::to_path_buf));
        }
        folders.iter().try_for_each(|folder| sync_directory(folder))
    }

    fn discard(self: Box<Self>) -> Result<(), StoreError> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(place_error("remove", &self.folder)(error));
            }
            _ => {}
        }
        remove_if_there(&self.lock_path)
    }
}

struct LocalSink {
    file: BufWriter<File>,
    path: PathBuf,
}

impl Write for LocalSink {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Sink for LocalSink {
    fn finish(&mut self) -> Result<u64, StoreError> {
        let flushed = self.file.flush();
        let synced = flushed.and_then(|()| self.file.get_ref().sync_all());
        let found = synced.and_then(|()| self.file.get_ref().metadata());
        found
            .map(|found| found.len())
            .map_err(place_error("write", &self.path))
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create_new(true).write(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(place_error("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Makes the names in a directory survive a power failure.
fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(place_error("sync", path))
}

fn place_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::new(action, path.display().to_string(), source)
}

/// The part of a path that is a file and should be a directory.
fn first_file(path: &Path) -> PathBuf {
    let file = path.ancestors().find(|path| path.is_file());
    file.unwrap_or(path).to_path_buf()
}

/// A number unlike any other in this or another process.
pub(crate) fn token() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // The standard library seeds this from the system's randomness.
    RandomState::new().hash_one((std::process::id(), count))
}
