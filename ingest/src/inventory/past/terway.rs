//! What Terway writes of pods, where an audit log holds it whole: networks that are gone, and interfaces that are a pod's own. Pure.
//!
//! The policy of ACK keeps only metadata of these kinds, but whoever writes a policy of their own may keep more. A NodeRuntime holds each word for minutes, so
//! the log of its writes holds all of them, where a snapshot shows the last ones.

use super::super::interfaces;
use super::Past;
use super::declared::read;
use super::entry::{Entry, Level};

/// Whether it is of these kinds, and what they became is not in it.
pub(super) fn is_mute(entry: &Entry) -> bool {
    let is_of_terway = ["noderuntimes", "podenis"].contains(&entry.resource.as_str());
    is_of_terway && entry.level < Level::RequestResponse
}

impl Past {
    /// What a write of one of Terway's objects says.
    pub(super) fn terway(&mut self, entry: &Entry, kind: &str) {
        let answer = entry.response.as_ref();
        let Some((object, _)) = answer.and_then(|body| read(body, entry, kind)) else {
            return;
        };
        self.moment.take_back(&object);
        // What is deleted was so before.
        if entry.verb != "delete" {
            let seen = interfaces::seen(&object);
            let seen = seen.map(|seen| (entry.answered, seen));
            self.moment.interfaces.extend(seen);
        }
    }
}
