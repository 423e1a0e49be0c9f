//! Manifests, as a GitOps repository holds them: what is wanted from a time on. Pure.
//!
//! A manifest has no uid and no status: it declares policies and their kin, and says nothing of addresses. It was not wanted before its
//! time. What the cluster was seen to have stays as it was seen; where a directory is said to be all there is, what else was wanted
//! of its kinds is wanted no longer.

use std::collections::BTreeMap;

use super::history::{By, Facts};
use super::ledger::{Coverage, Covered};
use super::read::{Content, Part};
use super::rows::Known;
use super::{Declared, Moment, sighting};

/// What the files want from `from` on, microseconds since the epoch.
pub(super) fn moments(
    parts: &[Part],
    from: i64,
    coverage: Coverage,
) -> BTreeMap<Option<i64>, Moment> {
    let mut moment = Moment::default();
    for part in parts {
        let Content::Snapshot(manifest) = &part.content else {
            continue;
        };
        for object in &manifest.objects {
            let Some((spec, _)) = sighting::declared(object) else {
                continue;
            };
            let subject = sighting::subject(object);
            moment
                .covered
                .add([&subject].into_iter(), false, Coverage::Partial);
            if coverage == Coverage::Complete && !part.left_out.may_hold(&subject.kind) {
                moment
                    .only
                    .insert((subject.group.clone(), subject.kind.clone()));
            }
            moment.declared.push(Declared {
                subject,
                spec,
                origin: object.origin.to_string(),
                facts: Facts {
                    not_before: Some(from),
                    ..Facts::default()
                },
                by: By::Snapshot,
                at: Some(from),
            });
        }
    }
    [(Some(from), moment)].into()
}

/// What a moment covers: of what is wanted only what was wanted before, for the cluster may have more.
pub(super) fn covered(known: &Known, moment: &Moment) -> Covered {
    let mut covered = moment.covered.clone();
    let is_meant =
        |group: &String, kind: &String| moment.only.contains(&(group.clone(), kind.clone()));
    let wanted = known.objects.keys();
    let wanted =
        wanted.filter(|subject| subject.uid.is_empty() && is_meant(&subject.group, &subject.kind));
    covered.add(wanted, false, Coverage::Partial);
    covered
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use flowaudit_rules::kubernetes;

    use super::super::learn;
    use super::super::read::LeftOut;
    use super::*;

    const S: i64 = 1_000_000;

    fn manifest(names: RangeInclusive<char>, role: &str) -> Part {
        let policy = |name: char| {
            format!(
                "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}, namespace: shop}}, spec: {{podSelector: {{matchLabels: {{role: {role}}}}}}}}}"
            )
        };
        let text: Vec<String> = names.map(policy).collect();
        let manifest = kubernetes::read("policies.yaml", &text.join("\n---\n"));
        assert_eq!(manifest.issues, []);
        Part {
            content: Content::Snapshot(manifest),
            at: Some(0),
            left_out: LeftOut::default(),
        }
    }

    fn import(known: &mut Known, part: Part, from: i64, coverage: Coverage) -> Vec<String> {
        for (at, moment) in moments(&[part], from * S, coverage) {
            learn(known, at, &moment);
        }
        let rows = known.to_rows("c");
        // As the next import finds it.
        *known = Known::from_rows(&rows.endpoints, &rows.objects);
        assert_eq!(known.to_rows("c"), rows);
        let told = rows
            .objects
            .iter()
            .filter(|row| row.kind == "NetworkPolicy")
            .map(|row| {
                let times = (
                    row.valid_from_us / S,
                    row.valid_to_us.unwrap() / S,
                    row.from_slack_ms,
                    row.to_slack_ms,
                );
                format!(
                    "{}{} {times:?}",
                    row.name,
                    row.uid.as_deref().unwrap_or_default()
                )
            });
        told.collect()
    }

    #[test]
    fn what_is_wanted_holds_from_its_time_until_it_changes_or_goes() {
        let mut known = Known::default();
        // The cluster has one that nobody wants.
        let mut seen = manifest('b'..='b', "x");
        if let Content::Snapshot(manifest) = &mut seen.content {
            manifest.objects[0].uid = "-seen".to_owned();
        }
        for (at, moment) in super::super::moments(
            &[Part {
                at: Some(5 * S),
                ..seen
            }],
            Coverage::Detect,
        ) {
            learn(&mut known, at, &moment);
        }
        let first = import(&mut known, manifest('c'..='e', "x"), 10, Coverage::Detect);
        assert_eq!(
            first,
            [
                "b-seen (5, 5, None, None)",
                "c (10, 10, Some(0), None)",
                "d (10, 10, Some(0), None)",
                "e (10, 10, Some(0), None)",
            ]
        );
        // Another directory says nothing of the first.
        let same = import(&mut known, manifest('a'..='a', "x"), 20, Coverage::Detect);
        assert_eq!(same[2..], first[1..]);
        let then = import(&mut known, manifest('c'..='c', "y"), 30, Coverage::Complete);
        assert_eq!(
            then,
            [
                "a (20, 20, Some(0), Some(10000))",
                "b-seen (5, 5, None, None)",
                "c (10, 10, Some(0), Some(20000))",
                "c (30, 30, Some(0), None)",
                "d (10, 10, Some(0), Some(20000))",
                "e (10, 10, Some(0), Some(20000))",
            ]
        );
        assert_eq!(
            import(&mut known, manifest('c'..='c', "y"), 30, Coverage::Complete),
            then
        );
    }
}
