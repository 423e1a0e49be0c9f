//! Directories that are not what is applied: Kustomize and Helm make manifests of what lies in them. Nothing is rendered here, and a
//! manifest that a patch changes later, or that is half a template, must not be taken for what is wanted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flowaudit_rules::kubernetes::{Cause, Manifest};

use super::sighting;
use crate::source::input::Located;
use crate::source::{Input, Problem};

/// What makes manifests of a directory, by the files that say so.
const MAKERS: [(&str, &str, &str); 4] = [
    ("kustomization.yaml", "kustomization", "kubectl kustomize"),
    ("kustomization.yml", "kustomization", "kubectl kustomize"),
    ("Kustomization", "kustomization", "kubectl kustomize"),
    ("Chart.yaml", "Helm chart", "helm template"),
];

/// The files without those in such directories, and what is told of each of these. A file that was named itself is always taken.
pub(super) fn apart(inputs: &[Input], located: Vec<Located>) -> (Vec<Located>, Vec<Problem>) {
    let named = inputs.iter().filter_map(|input| match input {
        Input::Named(name) => fs::canonicalize(name).ok(),
        Input::Stdin => None,
    });
    let named: Vec<PathBuf> = named.collect();
    let mut made: BTreeMap<PathBuf, Option<Problem>> = BTreeMap::new();
    let kept = located.into_iter().filter(|located| {
        let Located::File(path) = located else {
            return true;
        };
        if named.contains(path) {
            return true;
        }
        let root = named.iter().find(|root| path.starts_with(root));
        // Of what a pattern matched, the directory it lies in.
        let Some(root) = root.map(PathBuf::as_path).or(path.parent()) else {
            return true;
        };
        let above = path
            .ancestors()
            .skip(1)
            .take_while(|above| above.starts_with(root));
        // The outermost stands for all within.
        let maker = above.filter(|above| {
            let known = made.entry(above.to_path_buf());
            known.or_insert_with(|| problem(above)).is_some()
        });
        maker.count() == 0
    });
    let kept = kept.collect();
    let mut problems: Vec<Problem> = Vec::new();
    let mut outermost: Option<PathBuf> = None;
    for (directory, problem) in made {
        let is_within = outermost
            .as_ref()
            .is_some_and(|outer| directory.starts_with(outer));
        if let (Some(problem), false) = (problem, is_within) {
            problems.push(problem);
            outermost = Some(directory);
        }
    }
    (kept, problems)
}

fn problem(directory: &Path) -> Option<Problem> {
    let (_, what, command) = MAKERS
        .iter()
        .find(|(file, ..)| directory.join(file).is_file())?;
    let name = directory.to_string_lossy();
    Some(Problem::failed(
        name.as_ref(),
        format!(
            "is a {what}: what is applied is made of its files, and is not what stands in them"
        ),
        format!(
            "import what comes of it: `{command} {name} | flowaudit inventory import - …`; nothing of it was read"
        ),
    ))
}

/// What is told of a file that is half a template; nothing of one that is none.
pub(super) fn template(name: &str, text: &str, manifest: &Manifest) -> Option<Problem> {
    const BEGIN: &str = "{{";
    if !text.contains(BEGIN) {
        return None;
    }
    let is_broken = manifest.issues.iter().any(|issue| {
        let object = issue.object.as_deref().unwrap_or_default();
        issue.cause == Cause::Unreadable || issue.message.contains(BEGIN) || object.contains(BEGIN)
    });
    // Other objects may well hold texts that somebody else fills in.
    let mut declared = manifest.objects.iter().filter_map(sighting::declared);
    (is_broken || declared.any(|(content, _)| content.contains(BEGIN))).then(|| {
        Problem::failed(
            name,
            "is a template: what it declares is known only when it is rendered",
            "render it first, with `helm template` for instance, and import what comes of it; nothing of it was used",
        )
    })
}
