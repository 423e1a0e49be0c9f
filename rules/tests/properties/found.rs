//! What evaluators do not agree on becomes a case folder: a world that anyone can read, and that `cases.rs` asks from then on.

use std::fs;
use std::path::{Path, PathBuf};

use flowaudit_rules::cluster::{Cluster, Labels};
use flowaudit_rules::evaluate::{Connection, Engine, evaluate};
use flowaudit_rules::kubernetes::{Body, Object, Origin};
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::verdict::{Judgement, Verdict};
use proptest::prelude::*;

use crate::case::{line, party};
use crate::worlds::{End, World};

/// A world as manifests, and one question to it.
pub(crate) struct Case {
    pub(crate) cluster: Vec<Object>,
    pub(crate) policies: Vec<Object>,
    pub(crate) client: String,
    pub(crate) server: String,
    pub(crate) protocol: String,
    pub(crate) port: String,
    pub(crate) engine: Engine,
}

/// An evaluator that is held against the plain one.
pub(crate) type Other<'o> = &'o dyn Fn(&PolicySet, &Cluster, Engine, &Connection<'_>) -> Judgement;

/// Where cases are.
pub(crate) fn cases() -> PathBuf {
    PathBuf::from("tests/cases")
}

impl Case {
    /// The question of `world`, its policies others.
    pub(crate) fn new(world: &World, policies: Vec<Object>) -> Self {
        let name = |end: &End| match end {
            End::Pod(index) => index.get(world.cluster.pods()).key(),
            End::Address(address) => (*address).to_owned(),
        };
        Self {
            cluster: objects(&world.cluster),
            policies,
            client: name(&world.client),
            server: name(&world.server),
            protocol: world.protocol.to_string(),
            port: world.port.to_string(),
            engine: world.engine,
        }
    }

    /// Fails when `other` says anything else than the plain evaluator, and leaves the case in a folder of `cases` called
    /// after `property`. Of what proptest finds on the way to the smallest case, the last is kept.
    pub(crate) fn check(
        &self,
        cases: &Path,
        property: &str,
        other: Other<'_>,
    ) -> Result<(), TestCaseError> {
        let (plain, judgement) = self.ask(other);
        if judgement == Judgement::from(&plain) {
            return Ok(());
        }
        let folder = cases.join(format!("found-{property}"));
        self.save(&folder, &plain);
        let expected = Judgement::from(&plain);
        let reason = format!(
            "saved as {}\nplain {expected:?}\nother {judgement:?}",
            folder.display()
        );
        Err(TestCaseError::fail(reason))
    }

    fn ask(&self, other: Other<'_>) -> (Verdict, Judgement) {
        let objects: Vec<Object> = self.cluster.iter().chain(&self.policies).cloned().collect();
        let (cluster, _) = Cluster::from_objects(&objects);
        let (policies, _) = PolicySet::from_objects(&objects);
        let connection = Connection {
            client: party(&self.client, &cluster),
            server: party(&self.server, &cluster),
            port: self.port.parse().unwrap(),
            protocol: self.protocol.parse().unwrap(),
        };
        let plain = evaluate(&policies, &cluster, self.engine, &connection);
        (plain, other(&policies, &cluster, self.engine, &connection))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a case is left on disk for a person to look at"
    )]
    fn save(&self, folder: &Path, plain: &Verdict) {
        fs::create_dir_all(folder).unwrap();
        let documents = |objects: &[Object]| {
            let documents: Vec<String> = objects.iter().map(Object::to_json).collect();
            documents.join("\n---\n") + "\n"
        };
        let line = line(
            &self.client,
            &self.server,
            &self.protocol,
            &self.port,
            plain,
        );
        let expected = format!(
            "# Evaluators disagreed here.\nengine {}\n{line}\n",
            self.engine
        );
        for (name, text) in [
            ("cluster.yaml", documents(&self.cluster)),
            ("policies.yaml", documents(&self.policies)),
            ("expect.txt", expected),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
    }
}

/// An object of the core group.
fn object(kind: &str, namespace: Option<&str>, name: &str, labels: &Labels, body: Body) -> Object {
    Object {
        group: String::new(),
        version: "v1".into(),
        kind: kind.into(),
        namespace: namespace.map(String::from),
        name: name.into(),
        uid: String::new(),
        generation: None,
        resource_version: None,
        created: None,
        deletion: None,
        labels: labels.clone(),
        origin: Origin::default(),
        body,
    }
}

/// A cluster as the objects that describe it.
fn objects(cluster: &Cluster) -> Vec<Object> {
    let namespaces = cluster.namespaces().values().map(|of| {
        object(
            "Namespace",
            None,
            &of.name,
            &of.labels,
            Body::Namespace(of.clone()),
        )
    });
    let nodes = cluster
        .nodes()
        .iter()
        .map(|of| object("Node", None, &of.name, &of.labels, Body::Node(of.clone())));
    let pods = cluster.pods().iter().map(|of| {
        object(
            "Pod",
            Some(&of.namespace),
            &of.name,
            &of.labels,
            Body::Pod(of.clone()),
        )
    });
    let services = cluster.services().iter().map(|of| {
        let body = Body::Service(of.clone());
        object(
            "Service",
            Some(&of.namespace),
            &of.name,
            &Labels::new(),
            body,
        )
    });
    namespaces
        .chain(nodes)
        .chain(pods)
        .chain(services)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::env;

    use flowaudit_rules::kubernetes::read;
    use flowaudit_rules::verdict::Outcome;
    use proptest::test_runner::{Config, TestError, TestRunner};

    use super::*;
    use crate::worlds::world;

    /// An evaluator that knows no policies.
    fn without_policies(
        _: &PolicySet,
        cluster: &Cluster,
        engine: Engine,
        connection: &Connection<'_>,
    ) -> Judgement {
        Judgement::from(&evaluate(
            &PolicySet::default(),
            cluster,
            engine,
            connection,
        ))
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "looks at what was left on disk")]
    fn a_difference_is_left_as_a_case_that_shows_it() {
        let cases = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cases");
        let folder = cases.join("found-example");
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        let mut runner = TestRunner::new(Config {
            failure_persistence: None,
            ..Config::default()
        });
        let found = runner.run(&world(), |world| {
            let policies = world.kept().into_iter().map(crate::object).collect();
            Case::new(&world, policies).check(&cases, "example", &without_policies)
        });
        let Err(TestError::Fail(reason, world)) = found else {
            unreachable!("an evaluator without policies was right about everything: {found:?}");
        };
        assert!(reason.to_string().contains("found-example"), "{reason}");

        // What lies there is the smallest world that was found, and reads back as it was.
        let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let mut objects = Vec::new();
        for name in ["cluster.yaml", "policies.yaml"] {
            let manifest = read(name, &text(name));
            assert_eq!(manifest.issues, []);
            objects.extend(manifest.objects);
        }
        let (cluster, _) = Cluster::from_objects(&objects);
        let (policies, _) = PolicySet::from_objects(&objects);
        assert_eq!(cluster.pods().len(), world.cluster.pods().len());
        assert_eq!(policies, PolicySet::new(world.policies.clone()));
        let expected = text("expect.txt");
        let lines: Vec<&str> = expected.lines().collect();
        let [_, engine, line] = lines.as_slice() else {
            unreachable!("not a case: {expected}");
        };
        let engine: Engine = engine.strip_prefix("engine ").unwrap().parse().unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let connection = Connection {
            client: party(words[0], &cluster),
            server: party(words[2], &cluster),
            port: words[4].parse().unwrap(),
            protocol: words[3].parse().unwrap(),
        };
        let plain = evaluate(&policies, &cluster, engine, &connection);
        assert_eq!(words[5], plain.outcome.to_string());
        assert_ne!(plain.outcome, Outcome::Allowed);
        let other = without_policies(&policies, &cluster, engine, &connection);
        assert_ne!(other, Judgement::from(&plain));
    }
}
