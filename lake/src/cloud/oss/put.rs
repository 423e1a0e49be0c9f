//! Writing objects: whole, in parts, by copying; and removing them.
//!
//! "Create if absent" after a lost answer may be refused because of the object that it made itself. So it is tried again,
//! and where that is refused, what is there is read and compared: the same bytes are ours.

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use md5::{Digest, Md5};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Error, MultipartId, PutMode, PutOptions, PutPayload,
    PutResult, Result,
};
use quick_xml::escape::escape;
use reqwest::{Method, Response};
use serde::Deserialize;

use super::client::{Call, Client, header};
use super::error::{Class, OssError, unread};
use super::list::PAGE_KEYS;
use super::meta::attribute_headers;
use super::sign::encode;

/// Creates the object only if none has its key. Without effect on buckets with versioning.
const FORBID_OVERWRITE: &str = "x-oss-forbid-overwrite";

/// Answers a `put_opts` of the trait.
pub(super) async fn put(
    client: &Client,
    location: &Path,
    payload: PutPayload,
    options: PutOptions,
) -> Result<PutResult> {
    let key = location.as_ref();
    let mut call = Call::new(Method::PUT, Some(key)).body(Bytes::from(payload));
    for (name, value) in attribute_headers(&options.attributes)? {
        call = call.header(&name, value);
    }
    match options.mode {
        PutMode::Overwrite => {}
        PutMode::Create => {
            call = call.header(FORBID_OVERWRITE, "true");
            call.once = true;
        }
        PutMode::Update(_) => {
            return Err(Error::NotImplemented {
                operation: "replacing one version of an object".to_string(),
                implementer: "OSS".to_string(),
            });
        }
    }
    if !options.tags.encoded().is_empty() {
        call = call.header("x-oss-tagging", options.tags.encoded());
    }
    let stored = match call.once {
        true => create(client, &call, key).await,
        false => store(client, &call).await,
    };
    stored.map_err(|error| error.for_object(key))
}

/// Stores an object where none has its key, and knows its own after a lost answer.
async fn create(client: &Client, call: &Call, key: &str) -> Result<PutResult, OssError> {
    let retries = *client.retries();
    let mut attempt = 0;
    loop {
        let error = match store(client, call).await {
            Ok(stored) => return Ok(stored),
            Err(error) => error,
        };
        let exists = |refusal: &super::error::Refusal| refusal.code == "FileAlreadyExists";
        let refused = error.refusal().is_some_and(exists);
        let again = !refused && error.class() == Class::Retry;
        let over = attempt + 1 >= retries.attempts;
        if attempt > 0 && (refused || again && over) {
            // One of the tries before may have made it.
            match stored_already(client, key, &call.body).await {
                Ok(Some(stored)) => return Ok(stored),
                Err(unknown) if refused => return Err(unknown),
                Ok(None) | Err(_) => return Err(error),
            }
        }
        if !again || over {
            return Err(error);
        }
        attempt += 1;
        tokio::time::sleep(retries.wait(attempt)).await;
    }
}

/// Whether the object has these bytes.
async fn stored_already(
    client: &Client,
    key: &str,
    bytes: &[u8],
) -> Result<Option<PutResult>, OssError> {
    let call = Call::new(Method::GET, Some(key));
    match client.fetch(&call).await {
        Ok((response, found)) => Ok((found == bytes).then(|| result(&response))),
        // Removed since, by somebody who had the right to: what was there is not known.
        Err(error) if error.refusal().is_some_and(|refusal| refusal.status == 404) => Ok(None),
        // Larger than any answer is read whole: another one.
        Err(OssError::Garbage(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends a body and holds what the service says it got against it.
async fn store(client: &Client, call: &Call) -> Result<PutResult, OssError> {
    let (response, _) = client.fetch(call).await?;
    let expected = header(&response, "x-oss-hash-crc64ecma").and_then(|text| text.parse().ok());
    if let Some(expected) = expected {
        let found = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Xz, &call.body);
        if found != expected {
            return Err(OssError::Checksum { found, expected });
        }
    }
    Ok(result(&response))
}

fn result(response: &Response) -> PutResult {
    PutResult {
        e_tag: header(response, "etag").map(str::to_string),
        version: header(response, "x-oss-version-id").map(str::to_string),
    }
}

/// Answers a `copy_opts` of the trait.
pub(super) async fn copy(
    client: &Client,
    from: &Path,
    to: &Path,
    options: CopyOptions,
) -> Result<()> {
    let bucket = client.address().bucket();
    let source = format!("/{bucket}/{}", encode(from.as_ref(), true));
    let mut call = Call::new(Method::PUT, Some(to.as_ref())).header("x-oss-copy-source", source);
    if options.mode == CopyMode::Create {
        call = call.header(FORBID_OVERWRITE, "true");
        call.repeatable = false;
    }
    let copied = client.fetch(&call).await;
    copied.map(drop).map_err(|error| {
        // What is missing is what was to be copied.
        let missing = error.refusal().is_some_and(|refusal| refusal.status == 404);
        let key = if missing { from } else { to };
        error.for_object(key.as_ref())
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Initiated {
    upload_id: String,
}

#[derive(Deserialize)]
struct Completed {
    #[serde(rename = "ETag")]
    e_tag: String,
}

/// Begins an upload in parts.
pub(super) async fn begin(
    client: &Client,
    key: &str,
    attributes: &Attributes,
) -> Result<MultipartId> {
    let mut call = Call::new(Method::POST, Some(key)).query("uploads", "");
    for (name, value) in attribute_headers(attributes)? {
        call = call.header(&name, value);
    }
    let begun = client.fetch(&call).await;
    let (_, body) = begun.map_err(|error| error.for_object(key))?;
    let initiated: Initiated = parse(&body).map_err(|error| error.for_object(key))?;
    Ok(initiated.upload_id)
}

/// Uploads part `n`, counted from 0.
pub(super) async fn put_part(
    client: &Client,
    key: &str,
    id: &str,
    n: usize,
    payload: PutPayload,
) -> Result<PartId> {
    let call = Call::new(Method::PUT, Some(key))
        .query("partNumber", (n + 1).to_string())
        .query("uploadId", id)
        .body(Bytes::from(payload));
    let stored = store(client, &call).await;
    let stored = stored.map_err(|error| error.for_object(key))?;
    let lacks = || OssError::Garbage("the part has no ETag".to_string()).for_object(key);
    Ok(PartId {
        content_id: stored.e_tag.ok_or_else(lacks)?,
    })
}

/// Makes an object of the parts.
pub(super) async fn complete(
    client: &Client,
    key: &str,
    id: &str,
    mut parts: Vec<PartId>,
) -> Result<PutResult> {
    if parts.is_empty() {
        // There are no objects of no parts.
        parts.push(put_part(client, key, id, 0, PutPayload::new()).await?);
    }
    let mut body = String::from("<CompleteMultipartUpload>");
    for (n, part) in (1..).zip(&parts) {
        let tag = escape(&part.content_id);
        body += &format!("<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>");
    }
    body += "</CompleteMultipartUpload>";
    let mut call = Call::new(Method::POST, Some(key))
        .query("uploadId", id)
        .header("content-type", "application/xml")
        .body(Bytes::from(body));
    call.once = true;
    let completed = complete_once(client, &call, key, parts.len()).await;
    completed.map_err(|error| error.for_object(key))
}

/// After a lost answer the upload may be unknown because it was completed: then the object is there, of so many parts.
async fn complete_once(
    client: &Client,
    call: &Call,
    key: &str,
    parts: usize,
) -> Result<PutResult, OssError> {
    let retries = *client.retries();
    let mut attempt = 0;
    loop {
        let error = match client.fetch(call).await {
            Ok((response, body)) => {
                let completed: Completed = parse(&body)?;
                return Ok(PutResult {
                    e_tag: Some(completed.e_tag),
                    version: header(&response, "x-oss-version-id").map(str::to_string),
                });
            }
            Err(error) => error,
        };
        let gone = error.refusal().is_some_and(|refusal| refusal.status == 404);
        if gone && attempt > 0 {
            let head = client.send(&Call::new(Method::HEAD, Some(key))).await?;
            let made = result(&head);
            let ours = format!("-{parts}");
            let tag = made.e_tag.as_deref().map(|tag| tag.trim_matches('"'));
            return match tag.is_some_and(|tag| tag.ends_with(&ours)) {
                true => Ok(made),
                false => Err(error),
            };
        }
        attempt += 1;
        if error.class() != Class::Retry || attempt >= retries.attempts {
            return Err(error);
        }
        tokio::time::sleep(retries.wait(attempt)).await;
    }
}

/// Drops the parts of an upload.
pub(super) async fn abort(client: &Client, key: &str, id: &str) -> Result<()> {
    let call = Call::new(Method::DELETE, Some(key)).query("uploadId", id);
    let aborted = client.fetch(&call).await;
    aborted.map(drop).map_err(|error| error.for_object(key))
}

#[derive(Deserialize)]
struct Status {
    #[serde(rename = "Status", default)]
    status: Option<String>,
}

/// Whether a bucket keeps old versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versioning {
    /// It never did.
    Off,
    /// It does.
    Enabled,
    /// It did once.
    Suspended,
}

/// Asks whether the bucket keeps old versions.
pub(super) async fn versioning(client: &Client) -> Result<Versioning, OssError> {
    let call = Call::new(Method::GET, None).query("versioning", "");
    let (_, body) = client.fetch(&call).await?;
    let status: Status = parse(&body)?;
    match status.status.as_deref() {
        None | Some("") => Ok(Versioning::Off),
        Some("Enabled") => Ok(Versioning::Enabled),
        Some("Suspended") => Ok(Versioning::Suspended),
        Some(other) => {
            let text = format!(
                "versioning is `{}`",
                other.chars().take(50).collect::<String>()
            );
            Err(OssError::Garbage(text))
        }
    }
}

/// Answers a `delete_stream` of the trait: up to a thousand at once. What was absent is reported as removed.
pub(super) fn delete(
    client: Client,
    locations: BoxStream<'static, Result<Path>>,
) -> BoxStream<'static, Result<Path>> {
    locations
        .ready_chunks(PAGE_KEYS)
        .then(move |chunk| {
            let client = client.clone();
            async move {
                let paths: Vec<Path> = chunk.iter().flatten().cloned().collect();
                let done = delete_many(&client, &paths).await;
                let mut paths = paths.into_iter();
                let answers = chunk.into_iter().map(|asked| match (asked, &done) {
                    (Err(error), _) => Err(error),
                    (Ok(path), Ok(())) => Ok(paths.next().unwrap_or(path)),
                    (Ok(path), Err(error)) => Err(again(error, path.as_ref())),
                });
                futures_util::stream::iter(answers.collect::<Vec<_>>())
            }
        })
        .flatten()
        .boxed()
}

/// The failure of a request, once more for each of its objects.
fn again(error: &OssError, key: &str) -> Error {
    let copy = match error {
        OssError::Refused(refusal) => OssError::Refused(refusal.clone()),
        OssError::Credentials(error) => OssError::Credentials(error.clone()),
        other => OssError::Connection(other.to_string()),
    };
    copy.for_object(key)
}

async fn delete_many(client: &Client, paths: &[Path]) -> Result<(), OssError> {
    use base64::Engine;
    if let [only] = paths {
        let call = Call::new(Method::DELETE, Some(only.as_ref()));
        return client.fetch(&call).await.map(drop);
    }
    let mut body = String::from("<Delete><Quiet>true</Quiet>");
    for path in paths {
        body += &format!("<Object><Key>{}</Key></Object>", escape(path.as_ref()));
    }
    body += "</Delete>";
    let sum = base64::engine::general_purpose::STANDARD.encode(Md5::digest(&body));
    let call = Call::new(Method::POST, None)
        .query("delete", "")
        .header("content-type", "application/xml")
        .header("content-md5", sum)
        .body(Bytes::from(body));
    client.fetch(&call).await.map(drop)
}

fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, OssError> {
    let text = std::str::from_utf8(body).map_err(|error| OssError::Garbage(error.to_string()))?;
    quick_xml::de::from_str(text).map_err(|error| OssError::Garbage(unread(&error).to_string()))
}
