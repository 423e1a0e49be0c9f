//! Reading objects: ranges, conditions, and going on where a connection broke off.

use std::ops::Range;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::{BoxStream, StreamExt, try_unfold};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta, Result};
use reqwest::{Method, Response, StatusCode};

use super::client::{Call, Client, Pace, header};
use super::error::{Class, OssError};
use super::meta::read_attributes;

/// Answers a `get_opts` of the trait.
pub(super) async fn get(
    client: &Client,
    location: &Path,
    options: GetOptions,
) -> Result<GetResult> {
    let key = location.as_ref();
    let method = match options.head {
        true => Method::HEAD,
        false => Method::GET,
    };
    let mut call = Call::new(method, Some(key));
    let time = |at: DateTime<Utc>| at.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (name, value) in [
        ("if-match", options.if_match),
        ("if-none-match", options.if_none_match),
        ("if-modified-since", options.if_modified_since.map(time)),
        ("if-unmodified-since", options.if_unmodified_since.map(time)),
    ] {
        if let Some(value) = value {
            call = call.header(name, value);
        }
    }
    if let Some(version) = options.version {
        call = call.query("versionId", version);
    }
    if let Some(range) = &options.range {
        // Without the second header a range that reaches past the end is answered with the whole object.
        call = call
            .header("range", shown(range, key)?)
            .header("x-oss-range-behavior", "standard");
    }
    let retries = *client.retries();
    let mut attempt = 0;
    loop {
        attempt += 1;
        match ask(client, &call, location, options.range.is_some()).await {
            // A page of a proxy is no object.
            Err(Error::Generic { source, .. })
                if attempt < retries.attempts
                    && matches!(source.downcast_ref(), Some(OssError::Garbage(_))) =>
            {
                tokio::time::sleep(retries.wait(attempt)).await;
            }
            answer => return answer,
        }
    }
}

/// Asks, and looks at the head of the answer.
async fn ask(client: &Client, call: &Call, location: &Path, ranged: bool) -> Result<GetResult> {
    let key = location.as_ref();
    let head = call.method == Method::HEAD;
    let response = client.send(call).await;
    let response = response.map_err(|error| error.for_object(key))?;
    let garbage = |text: &str| OssError::Garbage(text.to_string()).for_object(key);
    let partial = response.status() == StatusCode::PARTIAL_CONTENT;
    if ranged && !head && !partial {
        return Err(garbage("a range was asked for and the whole object came"));
    }
    let length: u64 = header(&response, "content-length")
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| garbage("it has no `Content-Length`"))?;
    let (range, size) = match partial {
        true => header(&response, "content-range")
            .and_then(parse_content_range)
            .filter(|(range, _)| range.end - range.start == length)
            .ok_or_else(|| garbage("its `Content-Range` does not fit"))?,
        false => (0..length, length),
    };
    let meta = meta(&response, location, size).ok_or_else(|| garbage("it has no time"))?;
    let wanted = call
        .headers
        .get("if-match")
        .map(|tag| tag.trim_matches('"'));
    let found = meta.e_tag.as_deref().map(|tag| tag.trim_matches('"'));
    if wanted.is_some_and(|wanted| !wanted.contains([',', '*']) && Some(wanted) != found) {
        return Err(garbage("it is not of the object that was asked for"));
    }
    let attributes = read_attributes(response.headers());
    let payload = match head {
        true => futures_util::stream::empty().boxed(),
        false => body(client, response, key, range.clone(), &meta),
    };
    Ok(GetResult {
        payload: GetResultPayload::Stream(payload),
        meta,
        range,
        attributes,
    })
}

fn meta(response: &Response, location: &Path, size: u64) -> Option<ObjectMeta> {
    let modified = header(response, "last-modified")?;
    Some(ObjectMeta {
        location: location.clone(),
        last_modified: DateTime::parse_from_rfc2822(modified).ok()?.to_utc(),
        size,
        e_tag: header(response, "etag").map(str::to_string),
        version: header(response, "x-oss-version-id").map(str::to_string),
    })
}

fn shown(range: &GetRange, key: &str) -> Result<String> {
    match range {
        GetRange::Bounded(range) if range.start >= range.end => Err(Error::Generic {
            store: "OSS",
            source: format!("range {range:?} of `{key}` holds nothing").into(),
        }),
        GetRange::Bounded(range) => Ok(format!("bytes={}-{}", range.start, range.end - 1)),
        GetRange::Offset(start) => Ok(format!("bytes={start}-")),
        GetRange::Suffix(length) => Ok(format!("bytes=-{length}")),
    }
}

/// `bytes 0-9/100`: the range, half-open, and the size of the object.
fn parse_content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size): (u64, u64, u64) =
        (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    let end = last.checked_add(1)?;
    (first < end && end <= size).then_some((first..end, size))
}

/// A body being read.
struct Body {
    client: Client,
    key: String,
    e_tag: Option<String>,
    version: Option<String>,
    /// What is still to come.
    left: Range<u64>,
    response: Option<Response>,
    attempt: u32,
    /// Of this connection.
    pace: Pace,
    /// Only while the whole object is read from its beginning.
    checksum: Option<(crc_fast::Digest, u64)>,
}

fn body(
    client: &Client,
    response: Response,
    key: &str,
    range: Range<u64>,
    meta: &ObjectMeta,
) -> BoxStream<'static, Result<Bytes>> {
    let expected = header(&response, "x-oss-hash-crc64ecma").and_then(|text| text.parse().ok());
    let whole = range == (0..meta.size);
    let body = Body {
        client: client.clone(),
        key: key.to_string(),
        e_tag: meta.e_tag.clone(),
        version: meta.version.clone(),
        left: range,
        response: Some(response),
        attempt: 0,
        pace: Pace::default(),
        checksum: expected.filter(|_| whole).map(|expected| {
            let digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Xz);
            (digest, expected)
        }),
    };
    try_unfold(body, |mut body| async move {
        let piece = body.next().await;
        let piece = piece.map_err(|error| error.for_object(&body.key))?;
        Ok(piece.map(|piece| (piece, body)))
    })
    .boxed()
}

impl Body {
    /// The next piece; a connection that breaks is made again for the rest, of the same object.
    async fn next(&mut self) -> Result<Option<Bytes>, OssError> {
        let retries = *self.client.retries();
        loop {
            if self.left.is_empty() {
                return self.end().map(|()| None);
            }
            let failed = match &mut self.response {
                None => match self.ask_again().await {
                    Ok(response) => {
                        self.response = Some(response);
                        self.pace = Pace::default();
                        continue;
                    }
                    Err(error) => error,
                },
                Some(response) => match self.pace.next(response, retries.silence).await {
                    Ok(Some(piece)) if piece.is_empty() => continue,
                    Ok(Some(piece)) => {
                        let length = piece.len() as u64;
                        if length > self.left.end - self.left.start {
                            let text = "more came than was announced".to_string();
                            return Err(OssError::Garbage(text));
                        }
                        self.left.start += length;
                        if self.pace.is_good() {
                            self.attempt = 0;
                        }
                        if let Some((digest, _)) = &mut self.checksum {
                            digest.update(&piece);
                        }
                        return Ok(Some(piece));
                    }
                    Ok(None) => OssError::Connection("the body ended early".to_string()),
                    Err(error) => error,
                },
            };
            self.response = None;
            self.attempt += 1;
            if failed.class() != Class::Retry || self.attempt >= retries.attempts {
                return Err(failed);
            }
            tokio::time::sleep(retries.wait(self.attempt)).await;
        }
    }

    async fn ask_again(&self) -> Result<Response, OssError> {
        let range = format!("bytes={}-{}", self.left.start, self.left.end - 1);
        let mut call = Call::new(Method::GET, Some(&self.key))
            .header("range", range)
            .header("x-oss-range-behavior", "standard");
        if let Some(tag) = &self.e_tag {
            call = call.header("if-match", tag.clone());
        }
        if let Some(version) = &self.version {
            call = call.query("versionId", version.clone());
        }
        let response = self.client.send(&call).await?;
        let range = header(&response, "content-range").and_then(parse_content_range);
        match range {
            Some((range, _)) if range == self.left => Ok(response),
            _ => Err(OssError::Garbage(
                "another range came than was asked for".to_string(),
            )),
        }
    }

    fn end(&mut self) -> Result<(), OssError> {
        match self.checksum.take() {
            Some((digest, expected)) if digest.finalize() != expected => Err(OssError::Checksum {
                found: digest.finalize(),
                expected,
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(parse_content_range("bytes 0-9/100"), Some((0..10, 100)));
        for text in [
            "bytes 0-9/9",
            "bytes 9-0/100",
            "bytes */100",
            "0-9/100",
            "bytes 0-18446744073709551615/1",
        ] {
            assert_eq!(parse_content_range(text), None, "{text}");
        }
    }
}
