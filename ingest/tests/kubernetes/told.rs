//! The story, told to the fake.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::common::Place;
use crate::scenario::{Cluster, tell};

struct Fake {
    place: Place,
    kubeconfig: PathBuf,
}

impl Cluster for Fake {
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.place.fake.world().direct(method, path, body)
    }

    fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    fn restart_compacted(&mut self, meanwhile: &dyn Fn(&dyn Cluster)) {
        {
            let mut world = self.place.fake.world();
            world.faults.away = true;
            world.cut();
        }
        meanwhile(self);
        let mut world = self.place.fake.world();
        world.compact();
        world.faults.away = false;
    }

    fn serve(&mut self, definition: &Value) {
        let spec = &definition["spec"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (group, version) = (text(&spec["group"]), text(&spec["versions"][0]["name"]));
        let names = &spec["names"];
        self.place.fake.world().serve(
            &format!("{group}/{version}"),
            &text(&names["kind"]),
            &text(&names["plural"]),
            spec["scope"] == "Namespaced",
        );
    }

    fn bookmark_within(&self) -> Duration {
        Duration::from_secs(30)
    }
}

#[test]
fn the_story_against_the_fake() {
    let place = Place::new();
    let kubeconfig = place.kubeconfig();
    tell(&mut Fake { place, kubeconfig });
}

#[test]
fn the_lake_says_what_was_done_to_the_fake() {
    let place = Place::new();
    let kubeconfig = place.kubeconfig();
    crate::history::tell(&mut Fake { place, kubeconfig });
}
