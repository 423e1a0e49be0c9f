//! What a side answers, as a form: the sentences of its reasons with blanks for what is another with each connection.
//!
//! Which sentences they are depends on the class of the pod that policies select and on what each of their rules matches
//! of a connection, and on nothing else. So there are few forms, and filling one in is as cheap as copying its text.

use std::cell::RefCell;
use std::fmt::Write;

use super::side::View;
use super::{Compiled, Endpoint};
use crate::cluster::{Cluster, Pod, Protocol};
use crate::evaluate::Question;
use crate::evaluate::case::{self, Case, End};
use crate::evaluate::instead::Instead;
use crate::evaluate::reasons::{self, Names};
use crate::policy::Direction;
use crate::reading::Reader;
use crate::terway::is_exclusive_eni;
use crate::verdict::Tier;

/// What tells the form of a side's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FormKey {
    direction: Direction,
    /// The class of the pod; `None` where no pod is.
    class: Option<u32>,
    /// Three bits for each rule: whether its ports match, its peers, and all of it.
    rules: u128,
}

/// The answer of a side with blanks.
#[derive(Debug)]
pub(crate) struct Form {
    /// Which tier decided.
    pub(crate) tier: Tier,
    /// The reasons as a JSON list of sentences, without what belongs in the blanks.
    text: String,
    /// Upwards by where in the text they are.
    blanks: Vec<(usize, Blank)>,
}

#[derive(Debug)]
enum Blank {
    Own,
    Ports,
    Peers(Box<Instead>),
}

/// A connection between two ends that were looked up.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) client: Endpoint<'a>,
    pub(crate) server: Endpoint<'a>,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
}

impl<'a> Asked<'a> {
    /// Whether both ends are one pod of this world.
    pub(super) fn is_loopback(&self) -> bool {
        match (self.client.seen, self.server.seen) {
            (Some(client), Some(server)) => match (client.pod, server.pod) {
                (Some((client, _)), Some((server, _))) => std::ptr::eq(client, server),
                _ => false,
            },
            _ => false,
        }
    }

    fn own(&self, direction: Direction) -> &Endpoint<'a> {
        match direction {
            Direction::Egress => &self.client,
            Direction::Ingress => &self.server,
        }
    }
}

impl Compiled<'_> {
    /// The key of a side's form; `None` where the plain evaluator has to say what the rules match, or there are too
    /// many of them.
    pub(crate) fn form_key(&self, direction: Direction, asked: &Asked<'_>) -> Option<FormKey> {
        let own = asked.own(direction).seen?;
        let other = asked.own(direction.other()).seen?;
        let class = own.pod.map(|(_, class)| class);
        let view = View {
            compiled: self,
            direction,
            own,
            other,
            port: asked.port,
            protocol: asked.protocol,
            points: self.shown,
        };
        let rules = match own.pod {
            Some((pod, _)) if self.is_unenforced(pod) => return None,
            Some((_, class)) => view.matching(class)?,
            None => 0,
        };
        Some(FormKey {
            direction,
            class,
            rules,
        })
    }

    /// Whether an explanation adds that nothing enforces what it says of `pod`.
    fn is_unenforced(&self, pod: &Pod) -> bool {
        let node = || self.cluster.node(pod.node.as_deref()?);
        self.has_exclusive_nodes && node().is_some_and(is_exclusive_eni)
    }

    /// The form of a side, from one connection that has it; `None` where the sentences leave no room for blanks.
    pub(crate) fn form(&self, direction: Direction, asked: &Asked<'_>) -> Option<Form> {
        let question = Question {
            clients: &[asked.client.party],
            servers: &[asked.server.party],
            port: asked.port,
            protocol: asked.protocol,
        };
        let reader = Reader::Engine(self.engine);
        let cases = case::cases(self, &self.cluster, reader, &question);
        let blanks = Blanks::default();
        let case = cases.first()?;
        let explained = reasons::explain(direction, case, &self.cluster, reader, 1, &blanks);
        let sentences = explained.reasons.iter().map(ToString::to_string);
        let sentences: Vec<String> = sentences.collect();
        let json = serde_json::to_string(&sentences).ok()?;
        let (text, blanks) = blanks.cut(&json)?;
        Some(Form {
            tier: explained.tier,
            text,
            blanks,
        })
    }
}

impl Form {
    /// Appends the reasons of `asked`, which has this form, as a JSON list of sentences; `own` is what messages call
    /// the end that policies select.
    pub(crate) fn write(
        &self,
        direction: Direction,
        own: &str,
        asked: &Asked<'_>,
        cluster: &Cluster,
        json: &mut String,
    ) {
        let mut written = 0;
        for (place, blank) in &self.blanks {
            json.push_str(self.text.get(written..*place).unwrap_or_default());
            written = *place;
            let begin = json.len();
            match blank {
                Blank::Own => json.push_str(own),
                Blank::Ports => {
                    // Writing to a text never fails.
                    let _ = write!(json, "{}", reasons::ports_used(asked.protocol, asked.port));
                }
                Blank::Peers(instead) => {
                    let other = End::new(&asked.own(direction.other()).party);
                    instead.write(&other, cluster, json);
                }
            }
            escape_from(begin, json);
        }
        json.push_str(self.text.get(written..).unwrap_or_default());
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let blanks = self.blanks.iter().map(|(_, blank)| match blank {
            Blank::Peers(instead) => instead.bytes(),
            Blank::Own | Blank::Ports => 0,
        });
        let own = self.text.capacity() + self.blanks.capacity() * size_of::<(usize, Blank)>();
        own + blanks.sum::<usize>()
    }
}

/// Makes what was appended from `begin` on the inside of a JSON string.
pub(crate) fn escape_from(begin: usize, json: &mut String) {
    let appended = json.get(begin..).unwrap_or_default();
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if appended.bytes().all(is_plain) {
        return;
    }
    let quoted = serde_json::to_string(appended).unwrap_or_default();
    json.truncate(begin);
    let inside = quoted.get(1..quoted.len().saturating_sub(1));
    json.push_str(inside.unwrap_or_default());
}

/// Puts a mark where a blank will be.
#[derive(Default)]
struct Blanks(RefCell<Vec<Blank>>);

impl Blanks {
    fn mark(&self, blank: Blank) -> String {
        let mut blanks = self.0.borrow_mut();
        blanks.push(blank);
        format!("\0{}\0", blanks.len() - 1)
    }

    /// Takes the marks out of a text and says where they were. `None` when there are others than were made: the text
    /// has such characters itself.
    fn cut(self, json: &str) -> Option<(String, Vec<(usize, Blank)>)> {
        let mut parts = json.split("\\u0000");
        let mut text = parts.next()?.to_owned();
        let mut blanks = Vec::new();
        for (index, blank) in self.0.into_inner().into_iter().enumerate() {
            if parts.next()? != index.to_string() {
                return None;
            }
            blanks.push((text.len(), blank));
            text.push_str(parts.next()?);
        }
        text.shrink_to_fit();
        parts.next().is_none().then_some((text, blanks))
    }
}

impl Names for Blanks {
    fn own(&self, _: &End<'_>) -> String {
        self.mark(Blank::Own)
    }

    fn ports(&self, _: &Case<'_>) -> String {
        self.mark(Blank::Ports)
    }

    fn peers(&self, instead: Instead, _: &End<'_>, _: &Cluster) -> String {
        self.mark(Blank::Peers(Box::new(instead)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_looks_like_a_mark_is_no_form() {
        for (text, is_cut) in [
            ("a {} b", true),
            ("a {} \0", false),
            ("\u{0}0\u{0} {}", false),
        ] {
            let blanks = Blanks::default();
            let mark = blanks.mark(Blank::Own);
            let json = serde_json::to_string(&text.replace("{}", &mark)).unwrap();
            assert_eq!(blanks.cut(&json).is_some(), is_cut, "{text:?}");
        }
    }

    #[test]
    fn what_is_filled_in_is_escaped_as_the_rest_is() {
        for text in ["", "cart-7", "\"\\", "tab\t \u{7f}é\u{1}", "line\nline"] {
            let mut json = String::from("before\"");
            let begin = json.len();
            json.push_str(text);
            escape_from(begin, &mut json);
            json.push('"');
            let expected = serde_json::to_string(text).unwrap();
            assert_eq!(json.strip_prefix("before"), Some(expected.as_str()));
        }
    }
}
