//! A fake of OSS on loopback: one region, buckets in memory, both signatures verified, faults on demand.
//!
//! It is held honest by the official SDKs (`tests/oss_sdks.rs`): what they can do against it, ours does alike.

pub(crate) mod bucket;
pub(crate) mod http;
pub(crate) mod verify;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use chrono::{SecondsFormat, TimeDelta, Utc};

use self::bucket::Bucket;
use self::http::{Delivery, Reply, Request, Server, unescape};
use self::verify::Key;

pub(crate) const REGION: &str = "cn-hangzhou";
pub(crate) const KEY_ID: &str = "LTAI5tFakeKeyId000000001";
pub(crate) const SECRET: &str = "fakeSecret00000000000000000000";

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Refused before anything is done.
    Refused(u16, &'static str),
    /// The connection is closed before anything is done.
    Reset,
    /// It is done, and the connection is closed instead of an answer.
    AnswerLost,
    /// It is done, and the answer is a failure all the same.
    DoneAndRefused(u16),
    /// The body of the answer breaks off.
    CutAfter(usize),
    /// The body of the answer pauses.
    Slow(Duration),
    /// One bit of the body of the answer is another.
    Flipped,
    /// The body of the answer comes byte by byte.
    Trickle(Duration),
    /// The page of a proxy.
    Html(u16),
    /// Half of the body, with a length that fits.
    Halved,
}

/// A fault for some requests.
struct Plan {
    applies: Box<dyn Fn(&Request) -> bool + Send>,
    fault: Fault,
    /// How many requests are spared first, and how many are struck then.
    spared: u64,
    struck: u64,
}

#[derive(Default)]
struct State {
    buckets: BTreeMap<String, Bucket>,
    keys: Vec<Key>,
    plans: Vec<Plan>,
    /// The clock of the service against ours.
    ahead: TimeDelta,
    /// Buckets and keys that nobody may touch.
    denied: Vec<String>,
    log: Vec<String>,
}

/// A running fake.
pub(crate) struct FakeOss {
    pub(crate) endpoint: String,
    state: Arc<Mutex<State>>,
    _server: Server,
}

impl FakeOss {
    pub(crate) fn start() -> Self {
        let state = State {
            keys: vec![Key {
                id: KEY_ID.to_string(),
                secret: SECRET.to_string(),
                token: None,
                expired: false,
            }],
            ..State::default()
        };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| answer(&shared, &request));
        Self {
            endpoint: server.endpoint.clone(),
            state,
            _server: server,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn make_bucket(&self, name: &str) {
        self.state().buckets.entry(name.to_string()).or_default();
    }

    /// Looks into a bucket or changes it.
    pub(crate) fn bucket<T>(&self, name: &str, with: impl FnOnce(&mut Bucket) -> T) -> T {
        with(self.state().buckets.entry(name.to_string()).or_default())
    }

    pub(crate) fn add_key(&self, id: &str, secret: &str, token: Option<&str>) {
        self.state().keys.push(Key {
            id: id.to_string(),
            secret: secret.to_string(),
            token: token.map(str::to_string),
            expired: false,
        });
    }

    pub(crate) fn expire_key(&self, id: &str) {
        for key in self.state().keys.iter_mut().filter(|key| key.id == id) {
            key.expired = true;
        }
    }

    /// Sets the clock of the service.
    pub(crate) fn set_ahead(&self, ahead: TimeDelta) {
        self.state().ahead = ahead;
    }

    pub(crate) fn deny(&self, prefix: &str) {
        self.state().denied.push(prefix.to_string());
    }

    /// Strikes `struck` requests of those that apply, after `spared` were let through.
    pub(crate) fn fail(
        &self,
        fault: Fault,
        spared: u64,
        struck: u64,
        applies: impl Fn(&Request) -> bool + Send + 'static,
    ) {
        self.state().plans.push(Plan {
            applies: Box::new(applies),
            fault,
            spared,
            struck,
        });
    }

    /// Ends all plans; how many strikes were left.
    pub(crate) fn calm(&self) -> u64 {
        let plans = std::mem::take(&mut self.state().plans);
        plans.iter().map(|plan| plan.struck).sum()
    }

    /// Method and path of the requests so far.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }
}

fn answer(state: &Mutex<State>, request: &Request) -> Reply {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Utc::now() + state.ahead;
    let path = request.path.strip_prefix('/').unwrap_or_default();
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let (bucket, key) = (unescape(bucket), unescape(key));
    state.log.push(format!(
        "{} {}?{}",
        request.method, request.path, request.query
    ));
    let fault = strike(&mut state, request);
    let turned_away = match fault {
        Some(Fault::Refused(status, code)) => Some((status, code, format!("{code}."))),
        Some(Fault::Reset) => {
            return Reply {
                delivery: Delivery::Never,
                ..Reply::default()
            };
        }
        Some(Fault::Html(status)) => {
            return Reply::new(status, "<html><body>Please log in</body></html>")
                .header("Content-Type", "text/html")
                .header("Last-Modified", http::http_date(now));
        }
        _ => None,
    };
    let done = turned_away
        .map_or(Ok(()), Err)
        .and_then(|()| verify::check(request, &state.keys, &bucket, &key, REGION, now))
        .and_then(|()| {
            let place = format!("{bucket}/{key}");
            match state.denied.iter().any(|prefix| place.starts_with(prefix)) {
                true => Err((
                    403,
                    "AccessDenied",
                    "You have no right to access.".to_string(),
                )),
                false => Ok(()),
            }
        })
        .and_then(|()| match state.buckets.get_mut(&bucket) {
            Some(found) => found.answer(request, &bucket, &key),
            None => Err((
                404,
                "NoSuchBucket",
                "The specified bucket does not exist.".to_string(),
            )),
        });
    let id = format!("5C3D9175B6FC201293AD{:04}", state.log.len() % 10_000);
    let mut reply = done.unwrap_or_else(|(status, code, message)| {
        let time = now.to_rfc3339_opts(SecondsFormat::Millis, true);
        let message = message.replace('&', "&amp;").replace('<', "&lt;");
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
             <RequestId>{id}</RequestId><HostId>127.0.0.1</HostId><ServerTime>{time}</ServerTime></Error>"
        );
        let reply = Reply::new(status, if request.method == "HEAD" { "" } else { &body });
        let encoded = base64::engine::general_purpose::STANDARD.encode(&body);
        reply
            .header("Content-Type", "application/xml")
            .header("x-oss-err", encoded)
    });
    reply = reply
        .header("x-oss-request-id", id)
        .header("Server", "AliyunOSS")
        .header("Date", http::http_date(now));
    match fault {
        Some(Fault::AnswerLost) => reply.delivery = Delivery::Never,
        Some(Fault::DoneAndRefused(status)) => return Reply::new(status, ""),
        Some(Fault::CutAfter(bytes)) => reply.delivery = Delivery::CutAfter(bytes),
        Some(Fault::Slow(pause)) => reply.delivery = Delivery::Slowly(pause),
        Some(Fault::Trickle(pause)) => reply.delivery = Delivery::Trickling(pause),
        Some(Fault::Halved) => reply.body.truncate(reply.body.len() / 2),
        Some(Fault::Flipped) => {
            if let Some(byte) = reply.body.first_mut() {
                *byte ^= 1;
            }
        }
        _ => {}
    }
    reply
}

fn strike(state: &mut State, request: &Request) -> Option<Fault> {
    let plan = state
        .plans
        .iter_mut()
        .find(|plan| plan.struck > 0 && (plan.applies)(request))?;
    if plan.spared > 0 {
        plan.spared -= 1;
        return None;
    }
    plan.struck -= 1;
    Some(plan.fault)
}
