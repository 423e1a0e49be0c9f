//! Many verdicts over one world: a probe line in, an answer line out.
//!
//! A fixed format for other programs. A probe is `{"src":"ns/pod"|"ADDR","dst":"ns/pod"|"ADDR","port":80,
//! "protocol":"TCP"}`; the answer repeats these four and adds `verdict`, `unspecified`, `default_reading` and both sides.

mod answer;
mod ends;
mod probe;
mod session;

use std::net::IpAddr;

pub use self::probe::{LINE_BYTES_MAX, ProbeError};
pub use self::session::Session;

use self::answer::{Answer, push_error, push_reasons, push_side};
use self::ends::{Ends, Named, shared_family};
use self::probe::Probe;
use crate::cluster::{Cluster, Protocol};
use crate::evaluate::compiled::Compiled;
use crate::evaluate::{Connection, Party, Question, judge};
use crate::policy_set::PolicySet;
use crate::reading::Engine;
use crate::verdict::{Side, Verdict};

/// A world prepared for many questions. Answers equal those of [`evaluate`](crate::evaluate::evaluate).
pub struct Bulk<'a> {
    cluster: &'a Cluster,
    engine: Engine,
    ends: Ends<'a>,
    compiled: Compiled<'a>,
}

impl<'a> Bulk<'a> {
    /// Prepares `cluster` and `policies`.
    pub fn new(policies: &'a PolicySet, cluster: &'a Cluster, engine: Engine) -> Self {
        Self {
            cluster,
            engine,
            ends: Ends::new(cluster),
            compiled: Compiled::new(policies, cluster, engine),
        }
    }

    /// What is declared about `connection`.
    pub fn evaluate(&self, connection: &Connection<'a>) -> Verdict {
        self.judge(
            &[connection.client],
            &[connection.server],
            connection.port,
            connection.protocol,
        )
    }

    /// Answers one probe line: appends exactly one line to `answers`, without the line break. A line that cannot be
    /// answered gets `{"error":…}` there, so that order is kept, and is returned for the person to see.
    pub fn answer(&self, line: &str, answers: &mut String) -> Result<(), ProbeError> {
        let answered = self.try_answer(line, answers);
        if let Err(error) = &answered {
            push_error(&error.to_string(), answers);
        }
        answered
    }

    /// The same for one of many probes, by one of many threads.
    pub fn session(&self) -> Session<'_, 'a> {
        Session::new(self)
    }

    fn try_answer(&self, line: &str, answers: &mut String) -> Result<(), ProbeError> {
        let probe = Probe::read(line)?;
        let (client, server) = (self.ends.named(&probe.src)?, self.ends.named(&probe.dst)?);
        self.answer_named(&probe, &client, &server, answers);
        Ok(())
    }

    fn answer_named(
        &self,
        probe: &Probe<'_>,
        client: &Named<'a>,
        server: &Named<'a>,
        answers: &mut String,
    ) {
        let (ours, theirs) = shared_family(client, server).unzip();
        let (clients, servers) = (self.parties(client, ours), self.parties(server, theirs));
        let verdict = self.judge(&clients, &servers, probe.port, probe.number);
        let answer = Answer {
            verdict: verdict.outcome,
            unspecified: &verdict.unspecified,
            default_reading: verdict.default_reading,
        };
        let side = |side: &Side, json: &mut String| {
            push_side(side.outcome, side.tier, json, |json| {
                push_reasons(&side.reasons, json);
            });
        };
        answer.write(
            probe,
            answers,
            |json| side(&verdict.egress, json),
            |json| side(&verdict.ingress, json),
        );
    }

    fn judge(
        &self,
        clients: &[Party<'a>],
        servers: &[Party<'a>],
        port: u16,
        protocol: Protocol,
    ) -> Verdict {
        let question = Question {
            clients,
            servers,
            port,
            protocol,
        };
        judge(&self.compiled, self.cluster, self.engine, &question)
    }

    /// Who that is: the pod by one of its addresses, or all who may hold the address.
    fn parties(&self, named: &Named<'a>, address: Option<IpAddr>) -> Vec<Party<'a>> {
        match named {
            Named::Pod(pod) => vec![pod.party(address)],
            Named::Address(address) => {
                let holders = self.cluster.holders(*address).into_iter();
                holders
                    .map(|holder| Party {
                        address: Some(*address),
                        holder,
                    })
                    .collect()
            }
        }
    }
}
