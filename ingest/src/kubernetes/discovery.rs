//! Which of the kinds a cluster serves, and in which version.

use serde::Deserialize;

use super::api::{Api, Refusal};
use super::kinds::{KINDS, Kind};
use crate::inventory::live::KindId;

/// What discovery says is not longer.
const BYTES_MAX: usize = 16 << 20;

/// A kind that the cluster serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) kind: &'static Kind,
    pub(super) version: &'static str,
}

impl Served {
    pub(super) fn id(&self) -> KindId {
        KindId::new(self.kind.group, self.kind.kind)
    }

    /// Where its objects say that they come from.
    pub(super) fn origin(&self) -> String {
        self.kind
            .path(self.version)
            .trim_start_matches('/')
            .to_owned()
    }
}

/// What a cluster serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offer {
    /// In the order of the list.
    pub(super) served: Vec<Served>,
    /// Kinds of the list that are served in other versions only: the kind, and these.
    pub(super) unread: Vec<(&'static Kind, Vec<String>)>,
}

#[derive(Deserialize)]
struct Groups {
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    kind: String,
    #[serde(default)]
    verbs: Vec<String>,
}

/// Asks what is served. A group that does not answer (its API server is away) is left out and comes with the next discovery.
pub(super) async fn discover(api: &Api) -> Result<Offer, Refusal> {
    let groups: Groups = json(&api.get("/apis", BYTES_MAX).await?)?;
    let versions_of = |group: &str| -> Vec<String> {
        let found = groups.groups.iter().find(|found| found.name == group);
        found.map_or(Vec::new(), |group| {
            let versions = group.versions.iter();
            versions.map(|version| version.version.clone()).collect()
        })
    };
    let mut offer = Offer::default();
    let mut asked: Vec<(String, Option<Resources>)> = Vec::new();
    for kind in KINDS {
        let versions = match kind.group {
            "" => vec!["v1".to_owned()],
            group => versions_of(group),
        };
        let mut others = Vec::new();
        let mut found = None;
        for version in &versions {
            let root = match kind.group {
                "" => format!("/api/{version}"),
                group => format!("/apis/{group}/{version}"),
            };
            let at = match asked.iter().position(|(path, _)| *path == root) {
                Some(at) => at,
                None => {
                    let resources = resources(api, &root, kind.group.is_empty()).await?;
                    asked.push((root, resources));
                    asked.len() - 1
                }
            };
            let Some((_, Some(resources))) = asked.get(at) else {
                continue;
            };
            let is_there = resources.resources.iter().any(|resource| {
                resource.name == kind.resource
                    && resource.kind == kind.kind
                    && ["list", "watch"]
                        .iter()
                        .all(|verb| resource.verbs.iter().any(|known| known == verb))
            });
            match kind.versions.iter().position(|read| read == version) {
                Some(rank) if is_there && found.is_none_or(|best| rank < best) => {
                    found = Some(rank);
                }
                None if is_there => others.push(version.clone()),
                _ => {}
            }
        }
        match found.and_then(|rank| kind.versions.get(rank)) {
            Some(version) => offer.served.push(Served { kind, version }),
            None if !others.is_empty() => offer.unread.push((kind, others)),
            None => {}
        }
    }
    let all = offer.served.clone();
    offer
        .served
        .retain(|served| !all.iter().any(|other| served.kind.is_shown_by(other.kind)));
    Ok(offer)
}

/// The resources of one version of a group; `None` where that group does not answer. The core group must.
async fn resources(api: &Api, root: &str, must: bool) -> Result<Option<Resources>, Refusal> {
    match api.get(root, BYTES_MAX).await {
        Ok(body) => json(&body).map(Some),
        Err(
            Refusal::NotFound | Refusal::Busy(..) | Refusal::Status(..) | Refusal::Forbidden(_),
        ) if !must => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

fn json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|_| Refusal::Broken("what it says is served cannot be read".to_owned()))
}
