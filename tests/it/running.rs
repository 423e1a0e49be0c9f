//! The binary while it runs, and what it said.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a command said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Said {
    #[track_caller]
    pub(crate) fn check(&self, code: i32, in_err: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        for text in in_err {
            assert!(self.err.contains(text), "`{text}` is not in:\n{}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }
}

/// Waits until this is so.
#[track_caller]
pub(crate) fn until(what: &str, so: impl Fn() -> bool, instead: impl Fn() -> String) {
    until_within(Duration::from_secs(60), what, so, instead);
}

/// The same of what may take longer.
#[track_caller]
pub(crate) fn until_within(
    most: Duration,
    what: &str,
    so: impl Fn() -> bool,
    instead: impl Fn() -> String,
) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < most, "never: {what}, but {}", instead());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A command that goes on until it is told to end.
pub(crate) struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
    hearing: Option<JoinHandle<()>>,
}

/// A test that fails leaves nobody behind.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Running {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (heard, stderr) = (said.clone(), child.stderr.take().unwrap());
        let hearing = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut said = heard.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        Running {
            child,
            said,
            hearing: Some(hearing),
        }
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    #[track_caller]
    pub(crate) fn until_said(&self, text: &str) {
        until(text, || self.said().contains(text), || self.said());
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let told = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(told.success());
    }

    /// SIGSTOP. The signal is sent before it works: a thread that was running may go on for a moment, and hear what comes.
    pub(crate) fn stop(&self) {
        self.signal("-STOP");
        let threads = format!("/proc/{}/task", self.child.id());
        let states = || {
            let all = std::fs::read_dir(&threads).unwrap();
            let stats =
                all.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")));
            // The name of the thread, in parentheses, may hold anything; after it comes the state.
            let state = |stat: String| stat.rsplit_once(") ").map(|(_, rest)| rest[..1].to_owned());
            stats.flatten().filter_map(state).collect::<String>()
        };
        let is_stopped = || states().chars().all(|state| state == 'T');
        until("every thread is stopped", is_stopped, states);
    }

    /// SIGTERM, and what it said to the end.
    pub(crate) fn terminate(self) -> Said {
        self.signal("-TERM");
        self.end()
    }

    /// Waits for it to end by itself.
    pub(crate) fn end(mut self) -> Said {
        let mut out = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut out)
            .unwrap();
        let status = self.child.wait().unwrap();
        // Its last words may not be read yet.
        if let Some(hearing) = self.hearing.take() {
            hearing.join().unwrap();
        }
        Said {
            code: status.code().unwrap_or(-1),
            out,
            err: self.said(),
        }
    }

    /// As the kernel kills a process: without a word.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
