//! An API server on loopback, by hand, so that faults can break it anywhere: discovery, lists with limit and continue, watches with
//! bookmarks, 410 as status and as event, tokens, rights, leases with conflicts. The same scenario runs against a real one
//! (`make test-kube`), so that it cannot be lenient in our favour.

mod answer;
#[path = "../fake/http.rs"]
mod http;
mod world;

use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::answer::Answer;
pub(crate) use self::world::World;

/// The token that is accepted.
pub(crate) const TOKEN: &str = "fake-t0ken-of-a-service-account";

/// A running fake. Its threads end with the process.
#[derive(Clone)]
pub(crate) struct FakeKube {
    pub(crate) address: SocketAddr,
    shared: Arc<(Mutex<World>, Condvar)>,
}

impl FakeKube {
    /// Starts with nothing in it, on any free port.
    pub(crate) fn start() -> FakeKube {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fake = FakeKube {
            address: listener.local_addr().unwrap(),
            shared: Arc::new((Mutex::new(World::new(TOKEN)), Condvar::new())),
        };
        let serving = fake.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serving.lock().connections += 1;
                let fake = serving.clone();
                std::thread::spawn(move || fake.serve(stream));
            }
        });
        fake
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it holds; watches hear of what is done to it.
    pub(crate) fn world(&self) -> Locked<'_> {
        Locked {
            world: self.lock(),
            changed: &self.shared.1,
        }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let Ok(mut writing) = stream.try_clone() else {
            return;
        };
        let mut reading = BufReader::new(stream);
        while let Ok(Some(request)) = http::read(&mut reading) {
            if self.lock().faults.away {
                break;
            }
            let is_html = self.lock().faults.html;
            let answered = match is_html {
                true => Answer::Whole(page()),
                false => self.world().answer(&request),
            };
            let date = self.lock().faults.date();
            let goes_on = match answered {
                Answer::Whole(response) => {
                    http::write(&mut writing, &response.with("date", date)).unwrap_or(false)
                }
                Answer::Watch(watch) => self.stream(&mut writing, watch).unwrap_or(false),
            };
            if !goes_on {
                break;
            }
        }
        let _ = writing.shutdown(Shutdown::Both);
    }

    /// Sends what happens until the watch is over; whether the connection can be used again.
    fn stream(&self, stream: &mut TcpStream, watch: answer::Watch) -> std::io::Result<bool> {
        // As one: whoever sets the clock and cuts all watches means this one as well.
        let (date, cuts) = {
            let world = self.lock();
            (world.faults.date(), world.cuts)
        };
        let head = format!(
            "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ndate: {date}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        let mut chunk = |text: &str| -> std::io::Result<()> {
            let chunk = format!("{:x}\r\n{text}\n\r\n", text.len() + 1);
            stream.write_all(chunk.as_bytes())
        };
        let begun = Instant::now();
        let mut version = watch.version;
        let mut bookmark = Instant::now();
        let mut world = self.lock();
        loop {
            if world.cuts != cuts || world.faults.away {
                return Ok(false);
            }
            if world.faults.silent {
                world = self.wait(world, Duration::from_millis(20));
                continue;
            }
            if version < world.compacted {
                drop(world);
                chunk(&answer::gone_event())?;
                stream.write_all(b"0\r\n\r\n")?;
                return Ok(true);
            }
            let events = world.events(&watch, version);
            let now = world.version();
            let interval = world.bookmark_pause;
            drop(world);
            for (at, line) in &events {
                chunk(line)?;
                version = *at;
            }
            if begun.elapsed() >= watch.length {
                stream.write_all(b"0\r\n\r\n")?;
                return Ok(true);
            }
            if watch.bookmarks && bookmark.elapsed() >= interval {
                bookmark = Instant::now();
                // All up to now was sent, if nothing happened meanwhile.
                version = version.max(now);
                chunk(&answer::bookmark(&watch, version))?;
            }
            world = self.lock();
            if world.version() == now {
                world = self.wait(world, Duration::from_millis(20));
            }
        }
    }

    fn wait<'w>(&self, world: MutexGuard<'w, World>, most: Duration) -> MutexGuard<'w, World> {
        let waited = self.shared.1.wait_timeout(world, most);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What a proxy shows to whoever has not logged in to it.
fn page() -> http::Response {
    let page = http::Response::new(200, "<!doctype html><title>Please log in</title>");
    page.with("content-type", "text/html; charset=utf-8")
}

/// The world while it is changed.
pub(crate) struct Locked<'w> {
    world: MutexGuard<'w, World>,
    changed: &'w Condvar,
}

impl std::ops::Deref for Locked<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl std::ops::DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.changed.notify_all();
    }
}
