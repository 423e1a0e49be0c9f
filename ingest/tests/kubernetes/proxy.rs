//! An API server behind a proxy.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::Value;

use crate::common::{Listening, Place, short};
use crate::listening::KINDS;

/// Tunnels, as `CONNECT` asks for them; counts those that came with the right password.
fn proxy() -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://me:s3cr3t@{}", listener.local_addr().unwrap());
    let counted = Arc::new(AtomicU64::new(0));
    let counting = counted.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counting = counting.clone();
            thread::spawn(move || tunnel(stream, &counting));
        }
    });
    (url, counted)
}

/// One tunnel; it ends when either side does.
fn tunnel(mut client: TcpStream, counting: &AtomicU64) -> Option<()> {
    let mut reading = BufReader::new(client.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reading.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?;
    // `me:s3cr3t`
    if head
        .to_lowercase()
        .contains("proxy-authorization: basic bwu6cznjcjn0")
    {
        counting.fetch_add(1, Ordering::Relaxed);
    }
    let mut server = TcpStream::connect(target).ok()?;
    client.write_all(b"HTTP/1.1 200 X\r\n\r\n").ok()?;
    let mut back = server.try_clone().ok()?;
    let mut answers = client.try_clone().ok()?;
    thread::spawn(move || std::io::copy(&mut back, &mut answers));
    std::io::copy(&mut reading, &mut server).ok()?;
    Some(())
}

fn through(place: &Place, proxy: &str) {
    let text = std::fs::read_to_string(place.kubeconfig()).unwrap();
    let mut kubeconfig: Value = serde_json::from_str(&text).unwrap();
    kubeconfig["clusters"][0]["cluster"]["proxy-url"] = proxy.into();
    std::fs::write(place.kubeconfig(), kubeconfig.to_string()).unwrap();
}

#[test]
fn a_proxy_of_the_kubeconfig_is_gone_through() {
    let place = Place::new();
    place.pods(0..2);
    let (url, counted) = proxy();
    through(&place, &url);
    let listening = place.watch();
    listening.until_listed(KINDS);
    assert!(counted.load(Ordering::Relaxed) > 0);
    let (taken, ended) = listening.end();
    ended.unwrap();
    assert!(short(&taken, "Pod").contains(&"is web-1".to_owned()));
}

#[test]
fn a_proxy_that_cannot_be_used_is_told_without_its_password() {
    for url in [
        "socks5://me:s3cr3t@127.0.0.1:1",
        "http://me:s3cr3t@127.0.0.1:1",
    ] {
        let place = Place::new();
        through(&place, url);
        let mut settings = place.quick();
        settings.tuning.outage_max = std::time::Duration::from_millis(100);
        let (taken, ended) = Listening::start(settings).join();
        let error = ended.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap();
        let text = format!("{error}: {cause}; {error:?} {:?}", taken.told);
        assert!(!text.contains("s3cr3t"), "{text}");
        assert!(
            text.contains("proxy") || text.contains("cannot be asked"),
            "{text}"
        );
    }
}
