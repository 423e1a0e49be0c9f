//! Whether we have listened all the time: a process that was stopped or starved, and one whose clock was set, hears late without a word.

use std::time::{Duration, Instant};

use super::follow::now_us;

/// How often is looked at least.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// Looks at two clocks: one that is never set, and the one that dates what is heard.
#[derive(Debug)]
pub(super) struct Awake {
    /// A pause of more than this beyond [`TICK`] is one in which nobody listened.
    most: Duration,
    looked: Instant,
    clock: i64,
}

impl Awake {
    pub(super) fn new(most: Duration) -> Self {
        Awake {
            most,
            looked: Instant::now(),
            clock: now_us(),
        }
    }

    /// The time by the clock that dates, or why what came up to now may be late or wrongly dated. To be asked every [`TICK`]; what came is
    /// dated with this, because the process may be stopped again before it looks at a clock once more.
    pub(super) fn look(&mut self) -> Result<i64, String> {
        let (looked, clock) = (Instant::now(), now_us());
        let spent = looked - std::mem::replace(&mut self.looked, looked);
        let dated = clock - std::mem::replace(&mut self.clock, clock);
        self.judge(spent, dated).map_or(Ok(clock), Err)
    }

    /// `spent` is how long it was since the last look, and `dated` the microseconds by the clock that dates.
    fn judge(&self, spent: Duration, dated: i64) -> Option<String> {
        let most = self.most + TICK;
        if spent > most {
            return Some(format!("not listened for {:.1} s", spent.as_secs_f32()));
        }
        let set = dated.saturating_sub(i64::try_from(spent.as_micros()).unwrap_or(i64::MAX));
        let by = Duration::from_micros(set.unsigned_abs());
        (by > most).then(|| {
            let way = if set > 0 { "forward" } else { "back" };
            format!("the clock was set {way} by {:.1} s", by.as_secs_f32())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_and_clocks_that_are_set_are_noticed() {
        let awake = Awake::new(Duration::from_secs(3));
        let judge = |spent: f64, dated: f64| {
            awake.judge(Duration::from_secs_f64(spent), (dated * 1e6) as i64)
        };
        assert_eq!(judge(1.0, 1.0), None);
        assert_eq!(judge(3.9, 3.9), None);
        assert_eq!(judge(0.5, 4.0), None);
        assert_eq!(judge(60.0, 60.0).unwrap(), "not listened for 60.0 s");
        assert_eq!(
            judge(1.0, 3601.0).unwrap(),
            "the clock was set forward by 3600.0 s"
        );
        assert_eq!(
            judge(1.0, -59.0).unwrap(),
            "the clock was set back by 60.0 s"
        );
    }
}
