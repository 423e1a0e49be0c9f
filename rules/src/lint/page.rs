//! The reference page of all lints, written from what each says of itself.

use std::fmt::Write as _;

use super::{LINTS, Needs};

/// `docs/policy-lint.md`.
pub fn page() -> String {
    let mut page = String::from(HEAD);
    page.push_str("\n| id | severity | finds |\n| --- | --- | --- |\n");
    for lint in LINTS {
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| [`{id}`](#{id}) | {} | {} |",
            lint.severity,
            lint.finds,
            id = lint.id
        );
    }
    for lint in LINTS {
        let needs = match lint.needs {
            Needs::Policies => "",
            Needs::Pods => " Needs pods in the input.",
            Needs::Namespaces => " Needs namespaces in the input.",
        };
        let _ = write!(
            page,
            "\n## {}\n\n**{}.** {}{needs}\n\n- **Why it matters.** {}\n- **When it is wrong.** {}\n- **What to do.** {}\n",
            lint.id,
            capital(lint.severity.as_str()),
            lint.finds,
            lint.matters,
            lint.wrong,
            lint.fix
        );
    }
    page
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

const HEAD: &str = "\
# What `flowaudit policy lint` looks for

Written by `UPDATE_EXPECT=1 cargo test -p flowaudit-rules --test lint` from `rules/src/lint/`; do not edit.

The ids stay. A severity is the usual one; a finding may be less bad where what is in the cluster says so. Checks that
need pods or namespaces run only when these are among the manifests or given with `--inventory`; the command says what
it did not look for.
";
