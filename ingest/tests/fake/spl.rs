//! As much of SPL as flow logs are filtered by: `* | where a = 'x' and b != 'y' | project c, d`. Anything else is refused,
//! as the service refuses what it does not understand.

/// The pairs of a record, by key and value.
type Pairs = [(String, String)];

#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Each of these holds: key, whether it is equal, value.
    Where(Vec<(String, bool, String)>),
    Project(Vec<String>),
}

/// A statement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spl(Vec<Step>);

impl Spl {
    /// Nothing where it is not of that form.
    pub(crate) fn parse(text: &str) -> Option<Spl> {
        let mut parts = text.split('|').map(str::trim);
        if parts.next() != Some("*") {
            return None;
        }
        parts.map(step).collect::<Option<Vec<_>>>().map(Spl)
    }

    /// What is left of a record, if anything.
    pub(crate) fn apply(&self, record: &Pairs) -> Option<Vec<(String, String)>> {
        let mut record = record.to_vec();
        for step in &self.0 {
            match step {
                Step::Where(conditions) => {
                    let holds = |(key, equal, value): &(String, bool, String)| {
                        let found = record.iter().find(|(name, _)| name == key);
                        found.is_some_and(|(_, found)| (found == value) == *equal)
                    };
                    if !conditions.iter().all(holds) {
                        return None;
                    }
                }
                Step::Project(keys) => record.retain(|(name, _)| keys.contains(name)),
            }
        }
        Some(record)
    }
}

fn step(text: &str) -> Option<Step> {
    let name = |text: &str| {
        let text = text.trim();
        // Keys with a dash are quoted, as in SQL.
        let bare = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'));
        let plain = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_');
        bare.or(plain.then_some(text)).map(str::to_owned)
    };
    if let Some(conditions) = text.strip_prefix("where ") {
        let condition = |text: &str| {
            let (key, equal, value) = match text.split_once("!=") {
                Some((key, value)) => (key, false, value),
                None => text
                    .split_once('=')
                    .map(|(key, value)| (key, true, value))?,
            };
            let value = value.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            Some((name(key)?, equal, value.to_owned()))
        };
        let conditions = conditions.split(" and ").map(condition);
        return conditions.collect::<Option<Vec<_>>>().map(Step::Where);
    }
    let keys = text.strip_prefix("project ")?.split(',').map(name);
    keys.collect::<Option<Vec<_>>>().map(Step::Project)
}
