//! A small HTTP/1.1 server on loopback, one thread for each connection, that can also misbehave.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A request as it came over the wire.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Still percent-encoded.
    pub(crate) path: String,
    /// Still percent-encoded.
    pub(crate) query: String,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Query parameters, decoded.
    pub(crate) fn parameters(&self) -> BTreeMap<String, String> {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (unescape(key), unescape(value))
            })
            .collect()
    }
}

/// How an answer is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Delivery {
    #[default]
    Whole,
    /// The connection is closed before a byte of the answer.
    Never,
    /// The connection is closed after so many bytes of the body.
    CutAfter(usize),
    /// A pause in the middle of the body.
    Slowly(Duration),
    /// The body byte by byte, with a pause after each.
    Trickling(Duration),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) delivery: Delivery,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self {
            status,
            body,
            ..Self::default()
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_string(), value.to_string()));
        self
    }
}

/// A running server; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) endpoint: String,
    port: u16,
    ended: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ended = Arc::new(AtomicBool::new(false));
        let (answer, stop) = (Arc::new(answer), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let answer = Arc::clone(&answer);
                // What breaks is one connection.
                std::thread::spawn(move || stream.map(|stream| serve(stream, answer.as_ref())));
            }
        });
        let endpoint = format!("http://127.0.0.1:{port}");
        Self {
            endpoint,
            port,
            ended,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the listener up.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: TcpStream, answer: &(impl Fn(Request) -> Reply + ?Sized)) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let request = read_request(&mut reader, &stream)?;
        let head = request.method == "HEAD";
        let reply = answer(request);
        write_reply(&stream, &reply, head)?;
    }
}

fn read_request(reader: &mut BufReader<TcpStream>, mut stream: &TcpStream) -> Option<Request> {
    let line = read_line(reader)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_string(), words.next()?);
    // A proxy is asked for the whole address.
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.to_string(), query.to_string());
    let mut headers = BTreeMap::new();
    loop {
        let line = read_line(reader)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_string());
    }
    if headers.contains_key("expect") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length") {
        body.resize(length.parse().ok()?, 0);
        reader.read_exact(&mut body).ok()?;
    } else if headers.contains_key("transfer-encoding") {
        loop {
            let length = usize::from_str_radix(read_line(reader)?.trim(), 16).ok()?;
            let start = body.len();
            body.resize(start + length, 0);
            reader.read_exact(&mut body[start..]).ok()?;
            read_line(reader)?;
            if length == 0 {
                break;
            }
        }
    }
    Some(Request {
        method,
        path,
        query,
        headers,
        body,
    })
}

fn read_line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let read = reader.read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_string())
}

fn write_reply(mut stream: &TcpStream, reply: &Reply, head: bool) -> Option<()> {
    if reply.delivery == Delivery::Never {
        let _ = stream.shutdown(Shutdown::Both);
        return None;
    }
    let mut text = format!("HTTP/1.1 {} -\r\n", reply.status);
    for (name, value) in &reply.headers {
        text += &format!("{name}: {value}\r\n");
    }
    let named = |wanted: &str| {
        let mut names = reply.headers.iter().map(|(name, _)| name);
        names.any(|name| name.eq_ignore_ascii_case(wanted))
    };
    if !named("content-length") && reply.status != 204 && reply.status != 304 {
        text += &format!("Content-Length: {}\r\n", reply.body.len());
    }
    if !named("date") {
        text += &format!("Date: {}\r\n", http_date(chrono::Utc::now()));
    }
    stream.write_all((text + "\r\n").as_bytes()).ok()?;
    if head {
        return Some(());
    }
    match reply.delivery {
        Delivery::CutAfter(bytes) if bytes < reply.body.len() => {
            stream.write_all(&reply.body[..bytes]).ok()?;
            let _ = stream.shutdown(Shutdown::Both);
            return None;
        }
        Delivery::Slowly(pause) => {
            let (first, second) = reply.body.split_at(reply.body.len() / 2);
            stream.write_all(first).ok()?;
            std::thread::sleep(pause);
            stream.write_all(second).ok()?;
        }
        Delivery::Trickling(pause) => {
            for byte in &reply.body {
                stream.write_all(&[*byte]).ok()?;
                std::thread::sleep(pause);
            }
        }
        _ => stream.write_all(&reply.body).ok()?,
    }
    Some(())
}

pub(crate) fn http_date(at: chrono::DateTime<chrono::Utc>) -> String {
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Undoes percent-encoding.
pub(crate) fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| byte == b'%');
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) => {
                bytes.push(value);
                rest = &tail[2..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Percent-encodes for signatures and listings.
pub(crate) fn escape(text: &str, keep: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        let c = char::from(byte);
        if byte.is_ascii_alphanumeric() || "-._~".contains(c) || keep.contains(c) {
            escaped.push(c);
        } else {
            escaped += &format!("%{byte:02X}");
        }
    }
    escaped
}
