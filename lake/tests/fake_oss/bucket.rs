//! What lies in a bucket, and what each call does to it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use md5::{Digest, Md5};

use super::http::{Reply, Request, escape, http_date, unescape};

/// Headers that are stored with an object and given back.
const KEPT: [&str; 5] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
];

#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) bytes: Vec<u8>,
    pub(crate) e_tag: String,
    headers: Vec<(String, String)>,
    modified: DateTime<Utc>,
}

#[derive(Debug, Default)]
struct Upload {
    key: String,
    headers: Vec<(String, String)>,
    parts: BTreeMap<u32, Vec<u8>>,
}

#[derive(Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    count: u64,
    /// `Enabled`, `Suspended` or nothing.
    pub(crate) versioning: Option<&'static str>,
}

type Answer = Result<Reply, (u16, &'static str, String)>;

fn refuse(status: u16, code: &'static str) -> Answer {
    Err((status, code, format!("{code}.")))
}

impl Bucket {
    /// Carries out a call.
    pub(crate) fn answer(&mut self, request: &Request, bucket: &str, key: &str) -> Answer {
        let asked = request.parameters();
        let has = |name: &str| asked.contains_key(name);
        match (request.method.as_str(), key) {
            ("GET", "") if has("versioning") => {
                let status = self
                    .versioning
                    .map(|status| format!("<Status>{status}</Status>"));
                Ok(xml("VersioningConfiguration", &status.unwrap_or_default()))
            }
            ("GET", "") if asked.get("list-type").is_some_and(|kind| kind == "2") => {
                self.list(bucket, &asked)
            }
            ("POST", "") if has("delete") => self.delete_many(request),
            ("PUT", "") => Ok(Reply::new(200, "")),
            ("GET" | "HEAD", _) if !key.is_empty() => self.get(request, key),
            ("PUT", _) if has("uploadId") => self.put_part(request, &asked),
            ("PUT", _) => self.put(request, bucket, key),
            ("POST", _) if has("uploads") => self.begin(request, bucket, key),
            ("POST", _) if has("uploadId") => self.complete(request, bucket, key, &asked),
            ("DELETE", _) if has("uploadId") => {
                let gone = asked.get("uploadId").and_then(|id| self.uploads.remove(id));
                gone.map_or_else(|| refuse(404, "NoSuchUpload"), |_| Ok(Reply::new(204, "")))
            }
            ("DELETE", _) => {
                self.objects.remove(key);
                Ok(Reply::new(204, ""))
            }
            _ => refuse(405, "MethodNotAllowed"),
        }
    }

    /// On a bucket that has or had versions, nothing is forbidden.
    fn may_write(&self, request: &Request, key: &str) -> bool {
        let forbidden = request.header("x-oss-forbid-overwrite") == Some("true");
        !(forbidden && self.versioning.is_none() && self.objects.contains_key(key))
    }

    fn store(&mut self, key: &str, bytes: Vec<u8>, e_tag: String, headers: Vec<(String, String)>) {
        // The service counts in seconds.
        let modified = Utc::now().trunc_subsecs(0);
        let object = Object {
            bytes,
            e_tag,
            headers,
            modified,
        };
        self.objects.insert(key.to_string(), object);
    }

    fn put(&mut self, request: &Request, bucket: &str, key: &str) -> Answer {
        let source = request.header("x-oss-copy-source").map(unescape);
        let source = source.map(|source| {
            let key = source.strip_prefix(&format!("/{bucket}/"));
            key.and_then(|key| self.objects.get(key)).cloned()
        });
        if matches!(source, Some(None)) {
            return refuse(404, "NoSuchKey");
        }
        if !self.may_write(request, key) {
            return refuse(409, "FileAlreadyExists");
        }
        if let Some(Some(found)) = source {
            let body = format!("<ETag>{}</ETag>", found.e_tag);
            self.store(key, found.bytes, found.e_tag, found.headers);
            return Ok(xml("CopyObjectResult", &body));
        }
        if let Some(sum) = request.header("content-md5")
            && sum != STANDARD.encode(Md5::digest(&request.body))
        {
            return refuse(400, "InvalidDigest");
        }
        let tag = e_tag(&request.body);
        let sum = crc64(&request.body);
        self.store(key, request.body.clone(), tag.clone(), kept(request));
        Ok(Reply::new(200, "")
            .header("ETag", tag)
            .header("x-oss-hash-crc64ecma", sum))
    }

    fn get(&self, request: &Request, key: &str) -> Answer {
        let Some(object) = self.objects.get(key) else {
            return refuse(404, "NoSuchKey");
        };
        let time = |name| {
            let text = request.header(name)?;
            Some(DateTime::parse_from_rfc2822(text).ok()?.to_utc())
        };
        if let Some(tag) = request.header("if-match")
            && tag.trim_matches('"') != object.e_tag.trim_matches('"')
        {
            return refuse(412, "PreconditionFailed");
        }
        if time("if-unmodified-since").is_some_and(|time| object.modified > time) {
            return refuse(412, "PreconditionFailed");
        }
        let unchanged = match request.header("if-none-match") {
            Some(tag) => tag.trim_matches('"') == object.e_tag.trim_matches('"'),
            None => time("if-modified-since").is_some_and(|time| object.modified <= time),
        };
        if unchanged {
            return Ok(Reply::new(304, "").header("ETag", &object.e_tag));
        }
        let size = object.bytes.len();
        let standard = request.header("x-oss-range-behavior") == Some("standard");
        let range = match request
            .header("range")
            .map(|range| cut(range, size, standard))
        {
            Some(Cut::Unsatisfiable) => return refuse(416, "InvalidRange"),
            Some(Cut::Part(from, to)) => Some((from, to)),
            Some(Cut::Ignored) | None => None,
        };
        let (from, to) = range.unwrap_or((0, size));
        let status = if range.is_some() { 206 } else { 200 };
        let mut reply = Reply::new(status, object.bytes[from..to].to_vec())
            .header("Content-Length", to - from)
            .header("ETag", &object.e_tag)
            .header("Last-Modified", http_date(object.modified))
            .header("Accept-Ranges", "bytes")
            .header("x-oss-object-type", "Normal")
            .header("x-oss-hash-crc64ecma", crc64(&object.bytes));
        if range.is_some() {
            reply = reply.header("Content-Range", format!("bytes {from}-{}/{size}", to - 1));
        }
        for (name, value) in &object.headers {
            reply = reply.header(name, value);
        }
        Ok(reply)
    }

    fn list(&self, bucket: &str, asked: &BTreeMap<String, String>) -> Answer {
        let get = |name: &str| asked.get(name).map_or("", String::as_str);
        let (prefix, delimiter) = (get("prefix"), get("delimiter"));
        let max: usize = get("max-keys").parse().unwrap_or(100);
        if !(1..=1000).contains(&max) {
            return refuse(400, "InvalidArgument");
        }
        let token = STANDARD.decode(get("continuation-token")).ok();
        let token = token.and_then(|token| String::from_utf8(token).ok());
        let after = token
            .unwrap_or_default()
            .max(get("start-after").to_string());
        let url = get("encoding-type") == "url";
        let shown = |text: &str| match url {
            true => escape(text, ""),
            false => text.replace('&', "&amp;").replace('<', "&lt;"),
        };
        let (mut body, mut count, mut last, mut more) = (String::new(), 0, String::new(), false);
        for (key, object) in &self.objects {
            let Some(rest) = key.strip_prefix(prefix) else {
                continue;
            };
            let folder = match delimiter {
                "" => None,
                delimiter => rest
                    .find(delimiter)
                    .map(|at| key[..prefix.len() + at + delimiter.len()].to_string()),
            };
            let entry = folder.clone().unwrap_or_else(|| key.clone());
            // A folder that was listed stands for all its keys.
            if *key <= after || entry <= after || entry == last {
                continue;
            }
            if count == max {
                more = true;
                break;
            }
            count += 1;
            last = entry;
            body += &match folder {
                Some(folder) => {
                    format!(
                        "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>",
                        shown(&folder)
                    )
                }
                None => format!(
                    "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Type>Normal</Type>\
                     <Size>{}</Size><StorageClass>Standard</StorageClass></Contents>",
                    shown(key),
                    object.modified.to_rfc3339_opts(SecondsFormat::Millis, true),
                    object.e_tag.replace('"', "&quot;"),
                    object.bytes.len(),
                ),
            };
        }
        let mut head = format!(
            "<Name>{bucket}</Name><Prefix>{}</Prefix><MaxKeys>{max}</MaxKeys><Delimiter>{}</Delimiter>\
             <IsTruncated>{more}</IsTruncated><KeyCount>{count}</KeyCount>",
            shown(prefix),
            shown(delimiter),
        );
        if url {
            head += "<EncodingType>url</EncodingType>";
        }
        if more {
            let token = STANDARD.encode(&last);
            head += &format!("<NextContinuationToken>{token}</NextContinuationToken>");
        }
        Ok(xml("ListBucketResult", &(head + &body)))
    }

    fn delete_many(&mut self, request: &Request) -> Answer {
        if request.header("content-md5") != Some(&STANDARD.encode(Md5::digest(&request.body))) {
            return refuse(400, "MissingArgument");
        }
        let text = String::from_utf8_lossy(&request.body);
        let mut deleted = String::new();
        for key in between(&text, "<Key>", "</Key>") {
            self.objects.remove(&unescape_xml(key));
            deleted += &format!(
                "<Deleted><Key>{}</Key></Deleted>",
                escape(&unescape_xml(key), "")
            );
        }
        if text.contains("<Quiet>true</Quiet>") {
            deleted.clear();
        }
        Ok(xml(
            "DeleteResult",
            &format!("<EncodingType>url</EncodingType>{deleted}"),
        ))
    }

    fn begin(&mut self, request: &Request, bucket: &str, key: &str) -> Answer {
        if !self.may_write(request, key) {
            return refuse(409, "FileAlreadyExists");
        }
        self.count += 1;
        let id = format!("0004B9894A22E5B1888A1E29F823{:04}", self.count);
        let upload = Upload {
            key: key.to_string(),
            headers: kept(request),
            parts: BTreeMap::new(),
        };
        self.uploads.insert(id.clone(), upload);
        let key = escape(key, "");
        let body = format!("<Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>{id}</UploadId>");
        Ok(xml("InitiateMultipartUploadResult", &body))
    }

    fn put_part(&mut self, request: &Request, asked: &BTreeMap<String, String>) -> Answer {
        let number = asked
            .get("partNumber")
            .and_then(|number| number.parse().ok());
        let number = number.filter(|number| (1..=10_000).contains(number));
        let upload = asked
            .get("uploadId")
            .and_then(|id| self.uploads.get_mut(id));
        let (Some(number), Some(upload)) = (number, upload) else {
            return refuse(404, "NoSuchUpload");
        };
        upload.parts.insert(number, request.body.clone());
        Ok(Reply::new(200, "")
            .header("ETag", e_tag(&request.body))
            .header("x-oss-hash-crc64ecma", crc64(&request.body)))
    }

    fn complete(
        &mut self,
        request: &Request,
        bucket: &str,
        key: &str,
        asked: &BTreeMap<String, String>,
    ) -> Answer {
        let id = asked.get("uploadId").cloned().unwrap_or_default();
        let Some(upload) = self.uploads.get(&id).filter(|upload| upload.key == key) else {
            return refuse(404, "NoSuchUpload");
        };
        if !self.may_write(request, key) {
            return refuse(409, "FileAlreadyExists");
        }
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let mut bytes = Vec::new();
        let mut count = 0;
        let mut before = 0;
        for part in between(&text, "<Part>", "</Part>") {
            let number = between(part, "<PartNumber>", "</PartNumber>").next();
            let number: u32 = number.and_then(|number| number.parse().ok()).unwrap_or(0);
            let tag = between(part, "<ETag>", "</ETag>").next().map(unescape_xml);
            let stored = upload.parts.get(&number);
            let same = |stored: &&Vec<u8>| {
                tag.as_deref().map(|tag| tag.trim_matches('"').to_string())
                    == Some(e_tag(stored).trim_matches('"').to_string())
            };
            let Some(stored) = stored.filter(same) else {
                return refuse(400, "InvalidPart");
            };
            if number <= before {
                return refuse(400, "InvalidPartOrder");
            }
            (before, count) = (number, count + 1);
            bytes.extend_from_slice(stored);
        }
        if count == 0 {
            return refuse(400, "MalformedXML");
        }
        let tag = format!("\"{}-{count}\"", e_tag(&bytes).trim_matches('"'));
        let headers = upload.headers.clone();
        let sum = crc64(&bytes);
        self.uploads.remove(&id);
        self.store(key, bytes, tag.clone(), headers);
        let tag = tag.replace('"', "&quot;");
        let body = format!(
            "<Bucket>{bucket}</Bucket><Key>{}</Key><ETag>{tag}</ETag>",
            escape(key, "")
        );
        Ok(xml("CompleteMultipartUploadResult", &body).header("x-oss-hash-crc64ecma", sum))
    }

    /// Uploads that were neither completed nor dropped.
    pub(crate) fn open_uploads(&self) -> usize {
        self.uploads.len()
    }
}

enum Cut {
    Part(usize, usize),
    Ignored,
    Unsatisfiable,
}

/// What a range cuts out. Without the standard behaviour a range that does not fit is ignored.
fn cut(range: &str, size: usize, standard: bool) -> Cut {
    let Some((first, last)) = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Cut::Ignored;
    };
    let number = |text: &str| text.parse::<usize>().ok();
    let (from, to) = match (number(first), number(last)) {
        (Some(from), Some(last)) => (from, last + 1),
        (Some(from), None) => (from, size),
        (None, Some(length)) => (size.saturating_sub(length), size),
        (None, None) => return Cut::Ignored,
    };
    if from >= size || from >= to {
        return if standard {
            Cut::Unsatisfiable
        } else {
            Cut::Ignored
        };
    }
    if to > size && !standard {
        return Cut::Ignored;
    }
    Cut::Part(from, to.min(size))
}

fn kept(request: &Request) -> Vec<(String, String)> {
    let kept = |name: &str| KEPT.contains(&name) || name.starts_with("x-oss-meta-");
    let headers = request.headers.iter();
    headers
        .filter(|(name, _)| kept(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn e_tag(bytes: &[u8]) -> String {
    let sum: String = Md5::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    format!("\"{sum}\"")
}

pub(crate) fn xml(root: &str, body: &str) -> Reply {
    let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root}>{body}</{root}>");
    Reply::new(200, text).header("Content-Type", "application/xml")
}

fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(open)
        .skip(1)
        .filter_map(move |rest| rest.split(close).next())
}

fn unescape_xml(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

/// CRC-64/XZ, bit by bit into a table as its definition says.
pub(crate) fn crc64(bytes: &[u8]) -> u64 {
    static TABLE: LazyLock<[u64; 256]> = LazyLock::new(|| {
        std::array::from_fn(|n| {
            (0..8).fold(n as u64, |value, _| match value & 1 {
                1 => (value >> 1) ^ 0xc96c_5795_d787_0f42,
                _ => value >> 1,
            })
        })
    });
    let step = |sum: u64, byte: &u8| TABLE[((sum ^ u64::from(*byte)) & 0xff) as usize] ^ (sum >> 8);
    !bytes.iter().fold(!0, step)
}
