//! Where the parts of an object stand in its text, for messages about what only shows when objects are held together.

use super::text::Lines;
use super::tree::Value;

/// The lines on which an object and the fields in it begin. Kept apart from the object: two objects that say the same
/// are equal wherever they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    line: u32,
    keys: Vec<(String, Places)>,
    items: Vec<Places>,
}

impl Places {
    /// An object of which only the beginning is known.
    pub(crate) fn at(line: u32) -> Self {
        Self {
            line,
            ..Self::default()
        }
    }

    /// The places of everything in `value`, which begins at `line`.
    pub(crate) fn of(value: &Value<'_>, lines: &Lines<'_>, line: u32) -> Self {
        let mut places = Self::at(line);
        match value {
            Value::Map(entries) => {
                places.keys = entries
                    .iter()
                    .map(|(key, value)| {
                        let line = lines.of(key).unwrap_or(line);
                        (key.clone().into_owned(), Self::of(value, lines, line))
                    })
                    .collect();
            }
            Value::List(items) => {
                places.items = items
                    .iter()
                    .map(|item| {
                        let line = lines.of_value(item).unwrap_or(line);
                        Self::of(item, lines, line)
                    })
                    .collect();
            }
            _ => {}
        }
        places
    }

    /// The line, counted from 1, of a field written as in [`Issue::field`](super::Issue::field):
    /// `spec.ingress[0].from[1].ipBlock`. Where it is not there, the line of what it would stand in.
    pub fn line(&self, field: &str) -> u32 {
        let mut at = self;
        for step in steps(field) {
            match at.step(step) {
                Some(next) => at = next,
                None => break,
            }
        }
        at.line
    }

    /// How many items the list in `field` has; 0 where there is no list.
    pub fn count(&self, field: &str) -> usize {
        let mut steps = steps(field);
        let found = steps.try_fold(self, |at, step| at.step(step));
        found.map_or(0, |list| list.items.len())
    }

    fn step(&self, step: Step<'_>) -> Option<&Self> {
        match step {
            Step::Key(key) => {
                let (_, places) = self.keys.iter().find(|(k, _)| k == key)?;
                Some(places)
            }
            Step::Item(index) => self.items.get(index),
        }
    }
}

#[derive(Clone, Copy)]
enum Step<'f> {
    Key(&'f str),
    Item(usize),
}

/// The steps of a path; the keys of our fields have neither dots nor brackets.
fn steps(field: &str) -> impl Iterator<Item = Step<'_>> {
    let parts = field.split(['.', '[']).filter(|part| !part.is_empty());
    parts.map(|part| match part.strip_suffix(']') {
        Some(index) => Step::Item(index.parse().unwrap_or(usize::MAX)),
        None => Step::Key(part),
    })
}

#[cfg(test)]
mod tests {
    use super::super::read_with_places;

    #[test]
    fn lines_of_fields_in_every_style() {
        let text = "\
# a comment
kind: NetworkPolicyList
apiVersion: networking.k8s.io/v1
items:
- metadata: {name: p, namespace: shop}
  spec:
    podSelector: {}
    ingress:
    - from:
      - podSelector: {matchLabels: {app: web}}
      - ipBlock:
          cidr: 10.0.0.0/8
          except:
          - 10.1.0.0/16
          - 10.2.0.0/16
    -
      ports:
      - port: 80
";
        let (manifest, places) = read_with_places("p.yaml", text);
        assert_eq!(manifest.objects.len(), 1);
        let [places] = &places[..] else {
            panic!("one object, one set of places");
        };
        for (field, line) in [
            ("", 5),
            ("spec", 6),
            ("spec.ingress", 8),
            ("spec.ingress[0]", 9),
            ("spec.ingress[0].from[0].podSelector", 10),
            ("spec.ingress[0].from[1]", 11),
            ("spec.ingress[0].from[1].ipBlock.except[1]", 15),
            ("spec.ingress[1].ports[0].port", 18),
            // What is not there stands where it would be.
            ("spec.ingress[1].from[0]", 17),
            ("spec.egress", 6),
        ] {
            assert_eq!(places.line(field), line, "{field}");
        }
        assert_eq!(places.count("spec.ingress"), 2);
        assert_eq!(places.count("spec.ingress[0].from"), 2);
        assert_eq!(places.count("spec.egress"), 0);
    }

    #[test]
    fn every_object_has_its_places_and_json_too() {
        let text = r#"{"kind":"List","items":[
{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}},
{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy",
 "metadata":{"name":"p"},
 "spec":{"podSelector":{},
  "egress":[{}]}}]}"#;
        let (manifest, places) = read_with_places("p.json", text);
        assert_eq!(manifest.objects.len(), places.len());
        assert_eq!(places[0].line("spec"), 2);
        assert_eq!(places[1].line("spec.egress[0]"), 6);
    }
}
