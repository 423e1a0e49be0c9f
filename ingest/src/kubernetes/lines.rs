//! A watch's body cut into its events: one line each, of bounded length.

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use kube::client::Body;
use memchr::memchr;
use tokio::time::timeout;

use super::api::{Refusal, error_of};
use super::login::words;

/// No object in etcd is longer than 1.5 MiB.
const LINE_BYTES_MAX: usize = 8 << 20;

/// The lines of a body, as they come.
pub(super) struct EventLines {
    body: Body,
    waiting: BytesMut,
    /// How much of what waits is known to hold no line break.
    searched: usize,
    idle: Duration,
    /// When the last bytes came.
    last: Instant,
}

impl EventLines {
    /// Without a byte for as long as `idle` the connection counts as dead: bookmarks come more often.
    pub(super) fn new(body: Body, idle: Duration) -> Self {
        EventLines {
            body,
            waiting: BytesMut::new(),
            searched: 0,
            idle,
            last: Instant::now(),
        }
    }

    /// The next whole line; `None` when the server has ended the watch. What breaks off in the middle of a line was not said. Nothing is lost
    /// if this is given up and called again.
    pub(super) async fn next(&mut self) -> Result<Option<BytesMut>, Refusal> {
        loop {
            let fresh = self.waiting.get(self.searched..).unwrap_or_default();
            if let Some(at) = memchr(b'\n', fresh) {
                let line = self.waiting.split_to(self.searched + at);
                self.waiting.advance(1);
                self.searched = 0;
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Some(line));
            }
            self.searched = self.waiting.len();
            if self.searched > LINE_BYTES_MAX {
                return Err(Refusal::TooLong);
            }
            let left = self.idle.saturating_sub(self.last.elapsed());
            let frame = timeout(left, self.body.frame()).await.map_err(|_| {
                Refusal::Broken(format!("silent for {} s", self.idle.as_secs_f32()))
            })?;
            self.last = Instant::now();
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(Refusal::Broken(words(&error_of(error)))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.waiting.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines_of(text: &[u8]) -> Vec<String> {
        let mut lines = EventLines::new(Body::from(text.to_vec()), Duration::from_secs(1));
        let mut found = Vec::new();
        while let Ok(Some(line)) = lines.next().await {
            found.push(String::from_utf8(line.to_vec()).unwrap());
        }
        found
    }

    #[tokio::test]
    async fn only_whole_lines_are_events() {
        let found = lines_of(b"{\"a\":1}\n\n  \r\n{\"b\":2}\n{\"cut").await;
        assert_eq!(found, ["{\"a\":1}", "{\"b\":2}"]);
    }

    #[tokio::test]
    async fn a_line_without_end_is_not_collected_for_ever() {
        let endless = vec![b'x'; LINE_BYTES_MAX + 1];
        let mut lines = EventLines::new(Body::from(endless), Duration::from_secs(1));
        assert_eq!(lines.next().await, Err(Refusal::TooLong));
    }
}
