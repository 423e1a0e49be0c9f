//! `explain --inventory … --probes …`: many questions about one set of manifests, without a lake.
//!
//! Probes are taken as they arrive, split among the cores and answered in order; a program that waits for its answer
//! before it asks again gets it. Memory is bounded by [`BLOCK`] and by what a session remembers, however long the input or
//! a line of it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;

use flowaudit_rules::bulk::{Bulk, ProbeError, Session};
use flowaudit_rules::cluster::Cluster;
use flowaudit_rules::evaluate::Engine;
use flowaudit_rules::kubernetes::{self, Issue, Object, Severity};
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::terway;

use crate::cmd::inventory;
use crate::exit::Exit;
use crate::failure::{Failure, Word, say};
use crate::manifests;
use crate::output::{self, counted};

/// Bytes read at once; a longer line is not a probe.
const BLOCK: usize = 1 << 20;
/// Fewer probes are not worth a second thread.
const PROBES_PER_THREAD_MIN: usize = 256;
/// Bad probes told one by one.
const TOLD: u64 = 10;

/// Answers every probe on standard output.
pub(crate) fn run(inventory: &[PathBuf], probes: &Path, engine: Engine) -> Result<Exit, Failure> {
    let world = World::read(inventory)?;
    let mut issues = world.issues;
    let (cluster, odd) = Cluster::from_objects(&world.objects);
    issues.extend(odd);
    let (policies, odd) = PolicySet::from_objects(&world.objects);
    issues.extend(odd);
    inventory::issues(&issues);
    // An object that no cluster can hold is left out by contract; a text that is no object at all leaves us guessing.
    let unreadable = issues
        .iter()
        .any(|issue| issue.severity == Severity::Error && issue.object.is_none());
    // What the inventory says of the engine counts where no one said otherwise.
    let engine = match engine {
        Engine::Unknown => terway::engine_of(&world.objects).unwrap_or_default(),
        known => known,
    };
    let bulk = Bulk::new(&policies, &cluster, engine);
    let name = probes.display().to_string();
    let opened: Box<dyn Read> = match name.as_str() {
        "-" => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(probes).map_err(|error| cannot_read(&name, error))?),
    };
    let refused = answer_all(&bulk, opened, &name)?;
    if refused > 0 {
        let refused = counted(
            refused,
            "probe could not be answered",
            "probes could not be answered",
        );
        say(
            Word::Error,
            format!("{refused}; in their place stands `{{\"error\":…}}`"),
        );
    }
    Ok(match world.is_whole && !unreadable && refused == 0 {
        true => Exit::Clean,
        false => Exit::Failed,
    })
}

fn cannot_read(name: &str, error: io::Error) -> Failure {
    let error = anyhow::Error::new(error).context(format!("cannot read probes `{name}`"));
    Failure::usage(
        error,
        Some("check `--probes`; `-` is standard input".to_owned()),
    )
}

/// The objects of the manifests.
struct World {
    objects: Vec<Object>,
    issues: Vec<Issue>,
    /// Whether every file could be read.
    is_whole: bool,
}

impl World {
    fn read(paths: &[PathBuf]) -> Result<World, Failure> {
        let mut world = World {
            objects: Vec::new(),
            issues: Vec::new(),
            is_whole: true,
        };
        world.is_whole = manifests::read(paths, |name, text| {
            let manifest = kubernetes::read(name, text);
            world.objects.extend(manifest.objects);
            world.issues.extend(manifest.issues);
        })?;
        Ok(world)
    }
}

/// Answers line by line, in order; returns how many could not be answered.
fn answer_all(bulk: &Bulk<'_>, mut input: impl Read, name: &str) -> Result<u64, Failure> {
    let mut out = output::stdout();
    let mut refusals = Refusals {
        name,
        number: 0,
        told: 0,
        line: 0,
    };
    let mut lines = Lines {
        kept: Vec::new(),
        skipping: false,
    };
    let mut block = vec![0; BLOCK];
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut sessions: Vec<Session<'_, '_>> = (0..threads).map(|_| bulk.session()).collect();
    loop {
        let length = match input.read(&mut block) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let error =
                    anyhow::Error::new(error).context(format!("cannot read on in probes `{name}`"));
                let help = "what was answered stands; run again when they can be read";
                return Err(Failure::outside(error, Some(help.to_owned())));
            }
        };
        let Some(whole) = lines.take(block.get(..length).unwrap_or_default()) else {
            continue;
        };
        for answered in answer_lines(&mut sessions, &whole) {
            out.write_all(answered.text.as_bytes())?;
            for (line, error) in answered.refused {
                refusals.tell(refusals.line + line, &error);
            }
            refusals.line += answered.lines;
        }
        // Whoever waits for these answers gets them.
        out.flush()?;
        if length == 0 {
            return Ok(refusals.number);
        }
    }
}

/// Cuts blocks into whole lines and keeps what is begun.
struct Lines {
    kept: Vec<u8>,
    /// Within a line that is too long; its beginning is kept to be refused.
    skipping: bool,
}

impl Lines {
    /// The whole lines that `block` completes; an empty block is the end. `None` when there is none yet.
    fn take(&mut self, mut block: &[u8]) -> Option<Vec<u8>> {
        if block.is_empty() {
            return Some(std::mem::take(&mut self.kept));
        }
        if self.skipping {
            let end = block.iter().position(|byte| *byte == b'\n')?;
            block = block.get(end..).unwrap_or_default();
            self.skipping = false;
        }
        let Some(last) = block.iter().rposition(|byte| *byte == b'\n') else {
            self.kept.extend_from_slice(block);
            if self.kept.len() > BLOCK {
                // What is kept of it is no JSON, and is refused when the line ends.
                self.kept.truncate(BLOCK);
                self.skipping = true;
            }
            return None;
        };
        let (whole, begun) = block.split_at(last + 1);
        self.kept.extend_from_slice(whole);
        Some(std::mem::replace(&mut self.kept, begun.to_vec()))
    }
}

/// The answers to some lines.
#[derive(Default)]
struct Answered {
    text: String,
    /// Lines looked at.
    lines: u64,
    /// Their numbers, from 1, among these lines.
    refused: Vec<(u64, ProbeError)>,
}

/// Splits the lines among the sessions.
fn answer_lines(sessions: &mut [Session<'_, '_>], whole: &[u8]) -> Vec<Answered> {
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let share = lines.len().div_ceil(sessions.len().max(1));
    let shares = lines.chunks(share.max(PROBES_PER_THREAD_MIN));
    let mut shares = sessions.iter_mut().zip(shares);
    let first = shares.next();
    thread::scope(|scope| {
        let others: Vec<_> = shares
            .map(|(session, share)| scope.spawn(move || answer_share(session, share)))
            .collect();
        let first = first.map(|(session, share)| answer_share(session, share));
        let others = others.into_iter().map(|other| match other.join() {
            Ok(answered) => answered,
            // A mistake of ours, and no reason to answer fewer lines than were asked without a word.
            Err(panic) => std::panic::resume_unwind(panic),
        });
        first.into_iter().chain(others).collect()
    })
}

fn answer_share(session: &mut Session<'_, '_>, lines: &[&[u8]]) -> Answered {
    let mut answered = Answered::default();
    for line in lines {
        answered.lines += 1;
        let line = String::from_utf8_lossy(line);
        // Some programs begin a file with a byte order mark.
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() {
            continue;
        }
        if let Err(error) = session.answer(line, &mut answered.text) {
            answered.refused.push((answered.lines, error));
        }
        answered.text.push('\n');
    }
    answered
}

/// What could not be answered, told so that a million bad lines do not fill the screen.
struct Refusals<'n> {
    name: &'n str,
    number: u64,
    told: u64,
    /// Lines before those being told of.
    line: u64,
}

impl Refusals<'_> {
    fn tell(&mut self, line: u64, error: &ProbeError) {
        self.number += 1;
        if self.told < TOLD {
            self.told += 1;
            say(Word::Error, format!("{}:{line}: {error}", self.name));
            if let Some(help) = error.help() {
                say(Word::Help, help);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_wherever_blocks_end() {
        let text = b"one\ntwo\n\nthree";
        for size in 1..text.len() {
            let mut lines = Lines {
                kept: Vec::new(),
                skipping: false,
            };
            let mut taken = Vec::new();
            for block in text.chunks(size).chain([&[][..]]) {
                taken.extend(lines.take(block).unwrap_or_default());
            }
            assert_eq!(taken, text, "{size}");
        }
    }

    #[test]
    fn a_line_without_end_is_cut_and_what_follows_is_not() {
        let mut lines = Lines {
            kept: Vec::new(),
            skipping: false,
        };
        let long = vec![b'x'; BLOCK];
        for _ in 0..4 {
            assert_eq!(lines.take(&long), None);
        }
        let taken = lines.take(b"xx\nnext\n").unwrap();
        assert_eq!(taken.len(), BLOCK + "\nnext\n".len());
        assert!(taken.ends_with(b"x\nnext\n"));
    }
}
