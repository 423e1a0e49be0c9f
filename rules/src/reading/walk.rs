//! Every combination of readings that makes a difference.

use super::{Reader, Reading, Unspecified};

/// How many combinations of readings are tried before a connection counts as depending on all that was asked.
/// What is merely written in a policy adds one for each rule that cannot be decided, so few ever come near.
const COMBINATIONS_MAX: usize = 1024;

/// How many questions one evaluation keeps; each is looked for among those before it.
const ASKED_MAX: usize = 256;

/// One question: a point, and which of the things that cannot be decided it is about. How an engine behaves is one
/// question however often it comes up; whether two different rules match are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asking {
    pub(crate) point: Unspecified,
    of: usize,
}

impl From<Unspecified> for Asking {
    fn from(point: Unspecified) -> Self {
        Self { point, of: 0 }
    }
}

impl Asking {
    /// The question of `point` about `thing`, which tells it apart from the same question about other things.
    pub(crate) fn of<T>(point: Unspecified, thing: &T) -> Self {
        Self {
            point,
            of: std::ptr::from_ref(thing).addr(),
        }
    }
}

/// Walks through every combination of readings that makes a difference to the way an evaluation takes.
///
/// An evaluation asks for readings as it comes to points; the answers stay the same within one evaluation. Then
/// [`Readings::next`] moves to the next combination of the points that were asked, until all were had.
pub(crate) struct Readings {
    reader: Reader,
    /// What was asked, in order, and which reading is taken.
    asked: Vec<Asked>,
    /// How many of them were asked in this evaluation.
    depth: usize,
    /// One question read otherwise than first.
    flipped: Option<(Asking, Reading)>,
    /// How many combinations came before this one.
    combinations: usize,
    /// Whether more was asked than is kept.
    overflowed: bool,
}

#[derive(Clone, Copy)]
struct Asked {
    asking: Asking,
    taken: usize,
}

/// What comes after a combination of readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another combination.
    More,
    /// That was the last.
    Done,
    /// There are more than anyone can try.
    TooMany,
}

impl Readings {
    /// Begins with the first reading of every point.
    pub(crate) fn new(reader: Reader) -> Self {
        Self {
            reader,
            asked: Vec::new(),
            depth: 0,
            flipped: None,
            combinations: 0,
            overflowed: false,
        }
    }

    /// The first reading of every point, except for one question.
    pub(crate) fn flipped(reader: Reader, asking: Asking, reading: Reading) -> Self {
        Self {
            flipped: Some((asking, reading)),
            ..Self::new(reader)
        }
    }

    /// How this is read in this evaluation.
    pub(crate) fn ask(&mut self, asking: impl Into<Asking>) -> Reading {
        let asking = asking.into();
        let readings = self.reader.of(asking.point);
        let first = readings.first().copied().unwrap_or(Reading::Matches);
        if let Some((flipped, reading)) = self.flipped
            && flipped == asking
        {
            return reading;
        }
        if readings.len() < 2 {
            return first;
        }
        let answered = self.asked.get(..self.depth).unwrap_or_default();
        let taken = match answered.iter().find(|asked| asked.asking == asking) {
            Some(asked) => asked.taken,
            None if self.depth == ASKED_MAX => {
                self.overflowed = true;
                0
            }
            None => {
                // What is scripted beyond `depth` was asked in this order before: same answers, same way.
                if self.depth == self.asked.len() {
                    self.asked.push(Asked { asking, taken: 0 });
                }
                self.depth += 1;
                self.asked
                    .get(self.depth - 1)
                    .map_or(0, |asked| asked.taken)
            }
        };
        readings.get(taken).copied().unwrap_or(first)
    }

    /// Moves to the next combination.
    pub(crate) fn next(&mut self) -> Next {
        self.asked.truncate(self.depth);
        self.depth = 0;
        self.combinations += 1;
        if self.overflowed {
            return Next::TooMany;
        }
        while let Some(last) = self.asked.last_mut() {
            last.taken += 1;
            if last.taken < self.reader.of(last.asking.point).len() {
                return match self.combinations < COMBINATIONS_MAX {
                    true => Next::More,
                    false => Next::TooMany,
                };
            }
            self.asked.pop();
        }
        Next::Done
    }

    /// Whether more was asked in this evaluation than is kept.
    pub(crate) fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// What was asked in this evaluation and has several readings.
    pub(crate) fn asked(&self) -> impl Iterator<Item = Asking> {
        self.asked
            .get(..self.depth)
            .unwrap_or_default()
            .iter()
            .map(|asked| asked.asking)
    }

    /// The other readings of a point.
    pub(crate) fn others(reader: Reader, point: Unspecified) -> &'static [Reading] {
        reader.of(point).get(1..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Engine;
    use super::*;

    #[test]
    fn every_combination_of_what_is_asked_comes_once() {
        let mut readings = Readings::new(Reader::Engine(Engine::Unknown));
        let mut seen = Vec::new();
        loop {
            // The second point is asked only under one reading of the first; asking twice changes nothing.
            let host = readings.ask(Unspecified::HostNetwork);
            let block = (host == Reading::IsPod).then(|| readings.ask(Unspecified::BlockOnPod));
            assert_eq!(readings.ask(Unspecified::HostNetwork), host);
            seen.push((host, block));
            if readings.next() != Next::More {
                break;
            }
        }
        use Reading::{DoesNotMatch, IsNode, IsNodeInNamespace, IsPod, Matches};
        let pod = |block| (IsPod, Some(block));
        assert_eq!(
            seen,
            [
                (IsNode, None),
                (IsNodeInNamespace, None),
                pod(Matches),
                pod(DoesNotMatch)
            ]
        );
    }

    #[test]
    fn a_settled_point_has_one_reading() {
        let mut readings = Readings::new(Reader::Engine(Engine::Cilium));
        assert_eq!(readings.ask(Unspecified::BlockOnPod), Reading::DoesNotMatch);
        assert_eq!(readings.next(), Next::Done);
        let mut readings = Readings::new(Reader::Page);
        assert_eq!(readings.ask(Unspecified::BlockOnPod), Reading::Matches);
        assert_eq!(readings.next(), Next::Done);
    }

    #[test]
    fn more_than_anyone_can_try_is_said_and_not_tried() {
        let things = [0_u8; ASKED_MAX + 1];
        let ask_about = |count: usize, readings: &mut Readings| {
            for thing in things.iter().take(count) {
                readings.ask(Asking::of(Unspecified::NotEvaluated, thing));
            }
        };
        let mut readings = Readings::new(Reader::Engine(Engine::Felix));
        ask_about(ASKED_MAX, &mut readings);
        assert_eq!(readings.next(), Next::More);
        let mut readings = Readings::new(Reader::Engine(Engine::Felix));
        ask_about(ASKED_MAX + 1, &mut readings);
        assert_eq!(readings.next(), Next::TooMany);
        // Eleven questions of two readings have 2048 combinations, ten 1024.
        for (questions, ended) in [(11, Next::TooMany), (10, Next::Done)] {
            let mut readings = Readings::new(Reader::Engine(Engine::Felix));
            let mut tried = 0;
            let last = loop {
                tried += 1;
                ask_about(questions, &mut readings);
                match readings.next() {
                    Next::More => {}
                    last => break last,
                }
            };
            assert_eq!((tried, last), (COMBINATIONS_MAX, ended));
        }
    }

    #[test]
    fn two_things_are_two_questions() {
        let (one, two) = (1_u8, 2_u8);
        let mut readings = Readings::new(Reader::Engine(Engine::Unknown));
        let mut seen = Vec::new();
        loop {
            let mut matches = |thing| {
                readings.ask(Asking::of(Unspecified::NotEvaluated, thing)) == Reading::Matches
            };
            let answers = (matches(&one), matches(&two));
            assert_eq!((matches(&one), matches(&two)), answers);
            seen.push(answers);
            if readings.next() != Next::More {
                break;
            }
        }
        assert_eq!(
            seen,
            [(false, false), (false, true), (true, false), (true, true)]
        );
    }
}
