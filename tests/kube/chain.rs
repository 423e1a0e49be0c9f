//! What is done to pods that have one address after the other, by dice.

use std::ops::Range;
use std::time::Duration;

use serde_json::{Value, json};

use crate::lives::{End, Ending, Life, S, now};
use crate::scenario::{Cluster, PODS};
use crate::server::Server;

/// splitmix64: a seed makes the same choices each time; how long the server takes is its own.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    pub(crate) fn one_in(&mut self, number: u64) -> bool {
        self.below(number) == 0
    }

    fn choose<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    /// Up to this.
    pub(crate) fn ms(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.below(most + 1))
    }

    pub(crate) fn within(&mut self, from: i64, to: i64) -> i64 {
        from + (self.roll() >> 1) as i64 % (to - from).max(1)
    }
}

/// As Kubernetes writes times: cut to the second.
fn text(us: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(us).unwrap();
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// Asks for a change; from before the request to after its answer.
pub(crate) fn asked(server: &Server, method: &str, path: &str, body: &Value) -> Range<i64> {
    let before = now();
    server.call(method, path, body);
    before..now()
}

fn state_of_container(state: &Value, restarts: u32) -> Value {
    json!([{"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": restarts, "state": state}])
}

/// One address that goes from pod to pod.
pub(crate) struct Chain<'s> {
    server: &'s Server,
    dice: Dice,
    number: u64,
    lives: Vec<Life>,
    /// What the API server is to be told of the last one that let go of the address, and when.
    owed: Option<Owed>,
}

/// An end that a kubelet has not written yet.
struct Owed {
    life: usize,
    due: i64,
    end: End,
    status: Option<Value>,
    node: Option<String>,
    goes: bool,
}

impl<'s> Chain<'s> {
    pub(crate) fn new(server: &'s Server, dice: Dice, number: u64) -> Chain<'s> {
        Chain {
            server,
            dice,
            number,
            lives: Vec::new(),
            owed: None,
        }
    }

    /// Tells of one pod after the other; what was so.
    pub(crate) fn run(mut self, until: i64) -> Vec<Life> {
        while self.live(until) {}
        self.pay(i64::MAX);
        self.lives
    }

    /// Waits, and tells what is due.
    fn wait(&mut self, most_ms: u64) {
        std::thread::sleep(self.dice.ms(most_ms));
        self.pay(now());
    }

    /// One pod; false when the story is over.
    fn live(&mut self, until: i64) -> bool {
        let server = self.server;
        let name = format!("p{}-{}", self.number, self.lives.len());
        let addr = format!("10.8.1.{}", self.number);
        let ending = self.dice.choose(&Ending::ALL);
        let node = match ending {
            Ending::Lost => {
                let node = format!("of-{name}");
                let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node},
                    "spec": {"providerID": format!("cn-hangzhou.i-{name}")}});
                server.call("POST", "/api/v1/nodes", &object);
                node
            }
            _ => "n1".to_owned(),
        };
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop", "labels": {"v": "0"}},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}});
        let created = asked(server, "POST", PODS, &pod);
        self.wait(300);
        let start = now();
        // A kubelet takes its time to tell.
        let lag = self.dice.choose(&[50, 50, 1_500, 5_000]);
        self.wait(lag);
        let mut conditions = vec![
            json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": text(created.start)}),
        ];
        if self.dice.one_in(2) {
            conditions.push(json!({"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": text(start)}));
        }
        let mut status = json!({"phase": "Running", "podIP": addr, "podIPs": [{"ip": addr}], "conditions": conditions});
        let running = json!({"running": {"startedAt": text(start)}});
        if self.dice.below(10) < 7 {
            status["containerStatuses"] = state_of_container(&running, 0);
        }
        let path = format!("{PODS}/{name}");
        let shown = asked(
            server,
            "PATCH",
            &format!("{path}/status"),
            &json!({"status": status}),
        );
        let mut life = Life {
            name,
            addr,
            labels: vec![(created, "0".to_owned())],
            start,
            shown: shown.end,
            end: None,
        };
        let lengths: &[i64] = match self.is_calm() {
            true => &[25, 40, 60],
            false => &[1, 1, 8, 25, 40],
        };
        let length = self.dice.choose(lengths) * S;
        let over = now() + self.dice.within(length / 2, length);
        let mut restarts = 0;
        while now() < over.min(until) {
            let left = u64::try_from(over.min(until) - now()).unwrap_or(0) / 1000;
            self.wait(left.min(3_000));
            if self.dice.one_in(4) {
                let label = life.labels.len().to_string();
                let labels = json!({"metadata": {"labels": {"v": label}}});
                let within = asked(server, "PATCH", &path, &labels);
                life.labels.push((within, label));
            }
            if self.dice.one_in(10) {
                restarts += 1;
                let running = json!({"running": {"startedAt": text(now())}});
                let status = json!({"status": {"containerStatuses": state_of_container(&running, restarts)}});
                server.call("PATCH", &format!("{path}/status"), &status);
            }
        }
        self.pay(i64::MAX);
        if now() >= until {
            self.lives.push(life);
            return false;
        }
        self.end(life, ending, (&path, &node));
        if self.is_calm() {
            std::thread::sleep(Duration::from_secs(9));
        }
        let pause = self.dice.choose(&[20, 20, 6_000]);
        self.wait(pause);
        true
    }

    /// Whether nobody gets the address soon after another had it.
    fn is_calm(&self) -> bool {
        self.number.is_multiple_of(2)
    }

    /// It lets go of its address, and the API server hears of it at once or later.
    fn end(&mut self, life: Life, ending: Ending, (path, node): (&str, &str)) {
        let server = self.server;
        let graceful =
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 30});
        let mut end = End {
            ending,
            release: i64::MAX,
            told: 0..0,
            known: i64::MAX,
        };
        let (mut status, mut goes, mut lost) = (None, true, None);
        match ending {
            Ending::Deleted | Ending::Done => {
                if ending == Ending::Deleted {
                    server.call("DELETE", path, &graceful);
                    self.wait(2_000);
                }
                let finished = now();
                end.release = finished;
                end.known = finished / S * S;
                let terminated = json!({"terminated": {"exitCode": 0, "startedAt": text(life.start), "finishedAt": text(finished)}});
                // Before 1.27 the phase of a pod that is deleted stays as it was.
                let phases: &[&str] = match ending {
                    Ending::Deleted => &["Running", "Succeeded", "Failed"],
                    _ => &["Succeeded", "Failed"],
                };
                let phase = self.dice.choose(phases);
                let containers = state_of_container(&terminated, 0);
                status = Some(json!({"phase": phase, "containerStatuses": containers}));
                goes = ending == Ending::Deleted || self.dice.one_in(2);
            }
            Ending::Evicted => {
                end.release = now();
                end.known = end.release;
                status = Some(json!({"phase": "Failed", "reason": "Evicted"}));
                goes = self.dice.one_in(2);
            }
            Ending::Forced => {
                end.known = now();
                end.told = asked(server, "DELETE", path, &at_once());
                self.lives.push(life);
                self.wait(4_000);
                end.release = now();
                if let Some(life) = self.lives.last_mut() {
                    life.end = Some(end);
                }
                return;
            }
            Ending::Lost => {
                // Nobody runs on a machine that is gone.
                end.release = now();
                end.known = end.release;
                lost = Some(node.to_owned());
            }
        }
        let life_number = self.lives.len();
        self.lives.push(life);
        let lag = self.dice.choose(&[0, 0, 1_000, 5_000]);
        let due = now() + i64::try_from(self.dice.ms(lag).as_micros()).unwrap_or(0);
        self.owed = Some(Owed {
            life: life_number,
            due,
            end,
            status,
            node: lost,
            goes,
        });
        self.pay(now());
    }

    /// Tells of the end that is owed, if that is due.
    fn pay(&mut self, at: i64) {
        let Some(owed) = self.owed.take_if(|owed| owed.due <= at) else {
            return;
        };
        let server = self.server;
        let path = format!("{PODS}/{}", self.lives[owed.life].name);
        let mut end = owed.end;
        end.told.start = now();
        if let Some(node) = owed.node {
            server.call("DELETE", &format!("/api/v1/nodes/{node}"), &at_once());
            std::thread::sleep(self.dice.ms(1_000));
        }
        let is_said = owed.status.is_some();
        if let Some(status) = owed.status {
            let status = json!({"status": status});
            server.call("PATCH", &format!("{path}/status"), &status);
            end.told.end = now();
            std::thread::sleep(self.dice.ms(500));
        }
        if owed.goes {
            server.call("DELETE", &path, &at_once());
        }
        if !is_said {
            end.told.end = now();
        }
        self.lives[owed.life].end = Some(end);
    }
}

fn at_once() -> Value {
    json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0})
}
