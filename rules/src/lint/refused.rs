//! What the reader of manifests complains about: objects that no cluster can hold, fields that mean nothing.

use super::world::World;
use super::{Finding, Found, Lint, Needs, Severity};
use crate::kubernetes::{Cause, Issue};

pub(super) const UNREADABLE: Lint = Lint {
    id: "unreadable",
    severity: Severity::High,
    finds: "A document that is no Kubernetes object, or cannot be read at all.",
    matters: "Nothing in it takes effect, and nothing in it was checked.",
    wrong: "The file is a template that is filled in later, or no manifest: leave it out.",
    fix: "Correct the syntax at the line named, or check the rendered manifests.",
    needs: Needs::Policies,
};

pub(super) const REFUSED: Lint = Lint {
    id: "refused",
    severity: Severity::High,
    finds: "An object that the API server would refuse.",
    matters: "It will never be in the cluster: what it should protect is as open as before.",
    wrong: "Hardly ever; the rules are those of the API server's own validation.",
    fix: "Correct the field named; the message says what is accepted.",
    needs: Needs::Policies,
};

pub(super) const UNKNOWN_FIELD: Lint = Lint {
    id: "unknown-field",
    severity: Severity::High,
    finds: "A field that the kind does not have: usually a misspelt or wrongly indented one.",
    matters: "The API server drops it, with or without a warning. A selector that is dropped selects everything.",
    wrong: "The field is newer than this program.",
    fix: "Write it as the message lists the fields, or move it to where it belongs.",
    needs: Needs::Policies,
};

pub(super) const WITHOUT_EFFECT: Lint = Lint {
    id: "section-without-effect",
    severity: Severity::High,
    finds: "Rules in a section that `policyTypes` does not list.",
    matters: "They isolate nothing and admit nothing: the direction stays as open as without the policy.",
    wrong: "The section is kept for later.",
    fix: "Add the direction to `policyTypes`, or remove the rules.",
    needs: Needs::Policies,
};

pub(super) const REPEATED: Lint = Lint {
    id: "repeated-object",
    severity: Severity::Medium,
    finds: "Two objects of one kind, namespace and name.",
    matters: "The cluster holds one of them: whichever was applied last.",
    wrong: "The files belong to different clusters: check them apart.",
    fix: "Remove the one that is out of date, or give it a name of its own.",
    needs: Needs::Policies,
};

pub(super) const NOT_EVALUATED: Lint = Lint {
    id: "not-evaluated",
    severity: Severity::Low,
    finds: "A policy, or a part of one, whose meaning this program does not know.",
    matters: "Verdicts that it would change are wrong or open.",
    wrong: "It says something about this program, not about the policy.",
    fix: "Judge the connections it concerns by hand.",
    needs: Needs::Policies,
};

pub(super) const ODD: Lint = Lint {
    id: "odd-value",
    severity: Severity::Low,
    finds: "Anything else that is accepted and odd: an address or a time that is none.",
    matters: "What cannot be read counts as absent.",
    wrong: "The value is read by another program.",
    fix: "Correct the value; the message says what is expected.",
    needs: Needs::Policies,
};

pub(super) fn find(world: &World<'_>, found: &mut Found) {
    let repeated = world.input.repeated();
    for issue in world.input.issues.iter().chain(&repeated) {
        found.findings.push(finding(issue));
    }
}

fn finding(issue: &Issue) -> Finding {
    let lint = match issue.cause {
        Cause::Unreadable => &UNREADABLE,
        Cause::Refused => &REFUSED,
        Cause::UnknownField => &UNKNOWN_FIELD,
        Cause::NoEffect => &WITHOUT_EFFECT,
        Cause::NotEvaluated => &NOT_EVALUATED,
        Cause::Repeated => &REPEATED,
        Cause::Odd => &ODD,
    };
    Finding {
        lint,
        severity: lint.severity,
        file: issue.file.clone(),
        line: issue.line.unwrap_or(1),
        object: issue.object.clone(),
        field: issue.field.clone(),
        message: issue.message.clone(),
        fix: issue.help.clone(),
        depends_on: Vec::new(),
    }
}
