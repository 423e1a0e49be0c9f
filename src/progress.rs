//! How far a command is: a bar on a terminal, otherwise now and then a plain line. Always on standard error.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::tell;

/// Between two plain lines.
const PAUSE: Duration = Duration::from_secs(5);

/// The progress of one command.
pub(crate) struct Progress {
    shown: Shown,
}

enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines { said: Instant },
}

impl Progress {
    /// Begins; nothing is shown yet.
    pub(crate) fn start(quiet: bool) -> Self {
        let shown = if quiet {
            Shown::Nothing
        } else if io::stderr().is_terminal() {
            let bar = ProgressBar::new(0);
            // The template is ours and fixed; were it wrong, the plain bar would do.
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3}%  {msg}") {
                bar.set_style(style);
            }
            Shown::Bar(bar)
        } else {
            Shown::Lines {
                said: Instant::now(),
            }
        };
        Progress { shown }
    }

    /// `done` of `total`, in whatever unit, and what is being done.
    pub(crate) fn at(&mut self, done: u64, total: u64, doing: impl FnOnce() -> String) {
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                bar.set_length(total.max(1));
                bar.set_position(done);
                bar.set_message(crate::output::printable(&doing()).into_owned());
            }
            Shown::Lines { said } => {
                if said.elapsed() >= PAUSE {
                    *said = Instant::now();
                    tell(doing());
                }
            }
        }
    }
}

/// A bar leaves no trace; what was done is said by the command.
impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
