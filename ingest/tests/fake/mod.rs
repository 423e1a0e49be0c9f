//! A log service on loopback that is as strict as the real one: it checks signatures, keeps shards and consumer groups,
//! and breaks on demand. The official Python SDK is run against it too, so that it cannot be lenient in our favour.
//!
//! Requests reach it as to a proxy (`http_proxy=http://127.0.0.1:PORT`): host and signature are those of production.

mod answer;
mod http;
pub(crate) mod records;
mod spl;
pub(crate) mod verify;
pub(crate) mod world;

use std::io::BufReader;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::verify::Account;
use self::world::World;

/// A running fake. Its threads end with the process.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    world: Arc<Mutex<World>>,
}

/// The account that may call.
pub(crate) fn account() -> Account {
    Account {
        id: "LTAI5tFakeKeyId0000001".to_owned(),
        secret: "fakeSecret00000000000000000000".to_owned(),
        token: None,
        region: "cn-hangzhou".to_owned(),
    }
}

/// The endpoint that a client names; requests for it are sent to the fake as a proxy.
pub(crate) const ENDPOINT: &str = "http://cn-hangzhou.log.aliyuncs.com";
pub(crate) const PROJECT: &str = "flow-proj";
pub(crate) const LOGSTORE: &str = "vpc-flow";

impl Fake {
    /// Starts with so many empty shards, on any free port.
    pub(crate) fn start(shards: u32) -> Fake {
        Fake::start_at(0, shards)
    }

    /// Starts on a port.
    pub(crate) fn start_at(port: u16, shards: u32) -> Fake {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let world = World::new(account(), PROJECT, LOGSTORE, shards);
        let fake = Fake {
            address: listener.local_addr().unwrap(),
            world: Arc::new(Mutex::new(world)),
        };
        let serving = fake.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let fake = serving.clone();
                std::thread::spawn(move || fake.serve(stream));
            }
        });
        fake
    }

    /// The URL of the fake as a proxy.
    pub(crate) fn proxy(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it holds.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let Ok(mut writing) = stream.try_clone() else {
            return;
        };
        let mut reading = BufReader::new(stream);
        while let Ok(Some(request)) = http::read(&mut reading) {
            let Some(response) = answer::answer(self, &request) else {
                break;
            };
            if !http::write(&mut writing, &response).unwrap_or(false) {
                break;
            }
        }
        let _ = writing.shutdown(std::net::Shutdown::Both);
    }
}
