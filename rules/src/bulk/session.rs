//! One thread's work on many probes, with what it need not work out again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::Bulk;
use super::answer::{Answer, push_error, push_side};
use super::ends::{Named, shared_family};
use super::probe::{Probe, ProbeError};
use crate::evaluate::Party;
use crate::evaluate::compiled::Endpoint;
use crate::evaluate::compiled::form::{Asked, Form, FormKey};
use crate::policy::Direction;
use crate::verdict::Decision;

/// Answers probes one after the other as [`Bulk::answer`] does, and remembers the forms of its answers.
pub struct Session<'b, 'a> {
    bulk: &'b Bulk<'a>,
    forms: HashMap<FormKey, Form, RandomState>,
    /// About how much memory they take.
    bytes: usize,
}

/// Forms are forgotten, all of them, when they take more than this.
const BYTES_MAX: usize = 64 << 20;

/// One side that no reading makes a difference to.
struct Settled {
    direction: Direction,
    decision: Decision,
    form: FormKey,
}

/// What messages call the two ends.
struct Names<'p> {
    client: Cow<'p, str>,
    server: Cow<'p, str>,
}

/// A pod is called what the probe calls it.
fn name<'p>(text: &'p str, named: &Named<'_>, end: &Endpoint<'_>) -> Cow<'p, str> {
    match named {
        Named::Pod(_) => Cow::Borrowed(text),
        Named::Address(_) => Cow::Owned(end.name()),
    }
}

impl<'b, 'a> Session<'b, 'a> {
    pub(super) fn new(bulk: &'b Bulk<'a>) -> Self {
        Self {
            bulk,
            forms: HashMap::default(),
            bytes: 0,
        }
    }

    /// As [`Bulk::answer`].
    pub fn answer(&mut self, line: &str, answers: &mut String) -> Result<(), ProbeError> {
        let answered = self.try_answer(line, answers);
        if let Err(error) = &answered {
            push_error(&error.to_string(), answers);
        }
        answered
    }

    fn try_answer(&mut self, line: &str, answers: &mut String) -> Result<(), ProbeError> {
        let probe = Probe::read(line)?;
        let bulk = self.bulk;
        let (client, server) = (bulk.ends.named(&probe.src)?, bulk.ends.named(&probe.dst)?);
        let is_filled_in = self.asked(&probe, &client, &server).is_some_and(|asked| {
            let names = Names {
                client: name(&probe.src, &client, &asked.client),
                server: name(&probe.dst, &server, &asked.server),
            };
            self.fill_in(&probe, &asked, &names, answers).is_some()
        });
        if !is_filled_in {
            bulk.answer_named(&probe, &client, &server, answers);
        }
        Ok(())
    }

    /// The connection that a probe asks about, if its ends are one pod or address each.
    fn asked(
        &self,
        probe: &Probe<'_>,
        client: &Named<'b>,
        server: &Named<'b>,
    ) -> Option<Asked<'b>> {
        let (ours, theirs) = shared_family(client, server).unzip();
        Some(Asked {
            client: self.end(client, ours)?,
            server: self.end(server, theirs)?,
            port: probe.port,
            protocol: probe.number,
        })
    }

    fn end(&self, named: &Named<'b>, address: Option<IpAddr>) -> Option<Endpoint<'b>> {
        let compiled = &self.bulk.compiled;
        match named {
            Named::Pod(pod) => Some(compiled.endpoint_at(pod.index, pod.party(address))),
            Named::Address(address) => {
                let holders = self.bulk.cluster.holders(*address);
                let [holder] = holders.as_slice() else {
                    return None;
                };
                Some(compiled.endpoint(&Party {
                    address: Some(*address),
                    holder: *holder,
                }))
            }
        }
    }

    /// Appends the answer to `asked` by filling in forms; nothing where a reading makes a difference or the sentences
    /// have no form.
    fn fill_in(
        &mut self,
        probe: &Probe<'_>,
        asked: &Asked<'b>,
        names: &Names<'_>,
        answers: &mut String,
    ) -> Option<()> {
        let (egress, ingress) = self.bulk.compiled.settled_sides(asked)?;
        let settled = |direction, decision| {
            let form = self.bulk.compiled.form_key(direction, asked)?;
            Some(Settled {
                direction,
                decision,
                form,
            })
        };
        let egress = settled(Direction::Egress, egress)?;
        let ingress = settled(Direction::Ingress, ingress)?;
        for side in [&egress, &ingress] {
            self.remember(side, asked)?;
        }
        let form = |side: &Settled| self.forms.get(&side.form);
        let (egress_form, ingress_form) = (form(&egress)?, form(&ingress)?);
        let cluster = self.bulk.cluster;
        let push = |side: &Settled, form: &Form, json: &mut String| {
            push_side(side.decision.into(), form.tier, json, |json| {
                let own = match side.direction {
                    Direction::Egress => &names.client,
                    Direction::Ingress => &names.server,
                };
                form.write(side.direction, own, asked, cluster, json);
            });
        };
        let both = egress.decision.and(ingress.decision);
        let answer = Answer {
            verdict: both.into(),
            unspecified: &[],
            default_reading: both,
        };
        answer.write(
            probe,
            answers,
            |json| push(&egress, egress_form, json),
            |json| push(&ingress, ingress_form, json),
        );
        Some(())
    }

    /// Makes the form of a side unless it is known.
    fn remember(&mut self, side: &Settled, asked: &Asked<'b>) -> Option<()> {
        if self.forms.contains_key(&side.form) {
            return Some(());
        }
        let form = self.bulk.compiled.form(side.direction, asked)?;
        self.bytes += form.bytes() + size_of::<(FormKey, Form)>();
        if self.bytes > BYTES_MAX {
            self.forms.clear();
            self.bytes = 0;
        }
        self.forms.insert(side.form, form);
        Some(())
    }
}
