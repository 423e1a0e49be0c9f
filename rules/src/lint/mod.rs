//! What is wrong with policies before a single packet is sent: one file per family of checks.
//!
//! Each [`Lint`] has an id that stays, and says what it finds, why that matters, when it is wrong and what to do;
//! `docs/policy-lint.md` is written from that. Checks that need to know what runs in the cluster only run when pods or
//! namespaces are among the input; [`Report::not_checked`] says which did not.
//!
//! ```
//! use flowaudit_rules::kubernetes::read_with_places;
//! use flowaudit_rules::lint::{Input, lint};
//! use flowaudit_rules::reading::Engine;
//!
//! let (manifest, places) = read_with_places("shop.yaml", "\
//! apiVersion: networking.k8s.io/v1
//! kind: NetworkPolicy
//! metadata: {name: redis, namespace: shop}
//! spec:
//!   podSelector: {matchLabels: {app: redis}}
//!   ingress:
//!   - from:
//!     - namespaceSelector: {matchLabels: {team: ops}}
//!     - podSelector: {matchLabels: {app: prometheus}}
//! ");
//! let mut input = Input::default();
//! input.check(manifest, places);
//! let report = lint(&input, Engine::Unknown);
//! assert_eq!(report.findings[0].lint.id, "and-became-or");
//! assert_eq!(report.findings[0].line, 9);
//! ```

mod input;
mod world;

mod include;
mod words;

mod blocks;
mod dash;
mod dns;
mod kinds;
mod ports;
mod refused;
mod scale;
mod selects;
mod shadow;

mod page;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Serialize, Serializer};

pub use input::Input;
pub use page::page;
use world::World;

use crate::reading::Engine;
use crate::verdict::Unspecified;

/// One kind of trouble that is looked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Lint {
    /// What it is called, in every output and for good: words joined by dashes that name what is wrong.
    pub id: &'static str,
    /// How bad it usually is.
    pub severity: Severity,
    /// What it finds: one sentence.
    pub finds: &'static str,
    /// Why that matters.
    pub matters: &'static str,
    /// When a finding is no mistake.
    pub wrong: &'static str,
    /// What to do about it.
    pub fix: &'static str,
    /// Without what it cannot look.
    pub needs: Needs,
}

impl Serialize for Lint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id)
    }
}

/// What must be among the input for a lint to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The policies alone.
    Policies,
    /// Pods.
    Pods,
    /// Namespaces.
    Namespaces,
}

/// How bad a finding is; the words are those of other findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Untidy, or wrong only somewhere else.
    Low,
    /// Something does not do what it was probably written for.
    Medium,
    /// More is open than the text makes believe, or the object is not taken at all.
    High,
}

impl Severity {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that a lint found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The lint.
    pub lint: &'static Lint,
    /// How bad it is here.
    pub severity: Severity,
    /// The file as the caller named it.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// `NetworkPolicy shop/redis`.
    pub object: Option<String>,
    /// `spec.ingress[0].from[1]`.
    pub field: Option<String>,
    /// What is wrong: lower case, one line, no full stop.
    pub message: String,
    /// What to do about it.
    pub fix: Option<String>,
    /// The points that an engine may read so that this does not hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Unspecified>,
}

/// What was found, and what was not looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By file and line.
    pub findings: Vec<Finding>,
    /// Which lints did not run, or not to the end, and why.
    pub not_checked: Vec<NotChecked>,
}

/// Lints that did not run, or not to the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotChecked {
    /// Their ids.
    pub lints: Vec<&'static str>,
    /// Why: the rest of a sentence that begins with them.
    pub because: &'static str,
}

/// Every lint, in the order of the reference page.
pub const LINTS: [&Lint; 23] = [
    &refused::UNREADABLE,
    &refused::REFUSED,
    &refused::UNKNOWN_FIELD,
    &refused::WITHOUT_EFFECT,
    &refused::REPEATED,
    &refused::NOT_EVALUATED,
    &refused::ODD,
    &kinds::NOT_ENFORCED,
    &dash::AND_BECAME_OR,
    &selects::CONTRADICTS_ITSELF,
    &selects::POLICY_SELECTS_NOTHING,
    &selects::PEER_SELECTS_NOTHING,
    &selects::NAMESPACES_MATCH_NOTHING,
    &ports::NAME_UNKNOWN,
    &blocks::EXCEPT_COVERS_ALL,
    &blocks::COVERS_PODS,
    &dns::WITHOUT_DNS,
    &shadow::DUPLICATE_RULE,
    &shadow::SHADOWED_RULE,
    &shadow::SHADOWED_PEER,
    &shadow::SHADOWED_PORT,
    &scale::TOO_MANY_POLICIES,
    &scale::GLOBAL_POLICY_TOO_LARGE,
];

/// Looks for everything in `input`. What the engine settles is not reported.
pub fn lint(input: &Input, engine: Engine) -> Report {
    let cluster = input.cluster();
    let world = World::new(input, &cluster, engine);
    let mut found = Found::default();
    for find in [
        refused::find,
        kinds::find,
        dash::find,
        selects::find,
        ports::find,
        blocks::find,
        dns::find,
        shadow::find,
        scale::find,
    ] {
        find(&world, &mut found);
    }
    let Found {
        mut findings,
        mut not_checked,
    } = found;
    findings.sort_by(|a, b| {
        let key = |f: &Finding| (f.line, f.field.clone(), f.lint.id, f.message.clone());
        a.file.cmp(&b.file).then_with(|| key(a).cmp(&key(b)))
    });
    for (needs, is_there, because) in [
        (Needs::Pods, world.has_pods, "no pods are among the input"),
        (
            Needs::Namespaces,
            world.has_namespaces,
            "no namespaces are among the input",
        ),
    ] {
        if !is_there {
            let lints = LINTS.iter().filter(|lint| lint.needs == needs);
            not_checked.push(NotChecked {
                lints: lints.map(|lint| lint.id).collect(),
                because,
            });
        }
    }
    Report {
        findings,
        not_checked,
    }
}

/// What a lint says to do, as the advice of a finding: within a line, not as a sentence of a page.
fn advice(lint: &Lint) -> String {
    let sentence = lint.fix.trim_end_matches('.');
    let mut letters = sentence.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    findings: Vec<Finding>,
    not_checked: Vec<NotChecked>,
}

impl Found {
    /// Adds a finding at a field of a policy, unless that policy is only there as context.
    fn add(
        &mut self,
        lint: &'static Lint,
        at: (&world::Declared<'_>, &str),
        message: String,
        fix: impl Into<String>,
    ) {
        self.add_as(lint, lint.severity, at, message, fix);
    }

    /// The same, worse or less bad than usual.
    fn add_as(
        &mut self,
        lint: &'static Lint,
        severity: Severity,
        (declared, field): (&world::Declared<'_>, &str),
        message: String,
        fix: impl Into<String>,
    ) {
        let Some(places) = declared.places else {
            return;
        };
        self.findings.push(Finding {
            lint,
            severity,
            file: declared.object.origin.file.clone(),
            line: places.line(field),
            object: Some(declared.object.title()),
            field: (!field.is_empty()).then(|| field.to_owned()),
            message,
            fix: Some(fix.into()),
            depends_on: Vec::new(),
        });
    }

    /// Says that lints did not look at everything.
    fn stopped(&mut self, lints: &[&'static Lint], because: &'static str) {
        self.not_checked.push(NotChecked {
            lints: lints.iter().map(|lint| lint.id).collect(),
            because,
        });
    }
}
