//! Listings: ListObjectsV2, page by page.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::Deserialize;

use super::client::{Call, Client};
use super::error::{OssError, unread};

/// Keys of one page; the most the service gives.
pub(super) const PAGE_KEYS: usize = 1000;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Only keys after this one, in byte order.
    pub start_after: Option<String>,
    /// Keys with this after the prefix are folded into their common beginning.
    pub delimiter: Option<String>,
    /// Keys and folders of a page at most; 1000 when it is `None`.
    pub max_keys: Option<usize>,
    /// Where the page before ended.
    pub continuation_token: Option<String>,
}

/// One page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Objects in byte order of their keys.
    pub objects: Vec<Listed>,
    /// Beginnings that keys share up to the delimiter.
    pub common_prefixes: Vec<String>,
    /// What asks for the next page; `None` at the end.
    pub next: Option<String>,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key.
    pub key: String,
    /// Quoted, as the service prints it: an identity, not an MD5.
    pub e_tag: Option<String>,
    /// Size in bytes.
    pub size: u64,
    /// When it was written.
    pub last_modified: DateTime<Utc>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    encoding_type: Option<String>,
    is_truncated: bool,
    #[serde(default)]
    key_count: Option<usize>,
    #[serde(default)]
    next_continuation_token: Option<String>,
    #[serde(default)]
    contents: Vec<Contents>,
    #[serde(default)]
    common_prefixes: Vec<CommonPrefix>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    #[serde(rename = "ETag", default)]
    e_tag: Option<String>,
    size: u64,
    last_modified: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CommonPrefix {
    prefix: String,
}

impl Client {
    /// One page of a listing.
    pub(super) async fn list_page(&self, query: &ListQuery) -> Result<Page, OssError> {
        let max_keys = query.max_keys.unwrap_or(PAGE_KEYS).clamp(1, PAGE_KEYS);
        let mut call = Call::new(Method::GET, None)
            .query("list-type", "2")
            .query("encoding-type", "url")
            .query("max-keys", max_keys.to_string());
        for (name, value) in [
            ("prefix", Some(&query.prefix)),
            ("start-after", query.start_after.as_ref()),
            ("delimiter", query.delimiter.as_ref()),
            ("continuation-token", query.continuation_token.as_ref()),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                call = call.query(name, value);
            }
        }
        let retries = *self.retries();
        let mut attempt = 0;
        loop {
            let (_, body) = self.fetch(&call).await?;
            let page = parse_page(&body).and_then(|page| page.answering(query, max_keys));
            attempt += 1;
            match page {
                // A page of a proxy, or one that was damaged on its way.
                Err(OssError::Garbage(_)) if attempt < retries.attempts => {
                    tokio::time::sleep(retries.wait(attempt)).await;
                }
                page => return page,
            }
        }
    }
}

impl Page {
    /// The page, if it can be the answer to the question: what it lacks would never be asked for again.
    fn answering(self, query: &ListQuery, max_keys: usize) -> Result<Self, OssError> {
        let keys = self.objects.iter().map(|object| &object.key);
        let after = query.start_after.as_deref().unwrap_or_default();
        let is_listed = |key: &String| key.starts_with(&query.prefix) && key.as_str() > after;
        let what = match () {
            () if self.objects.len() + self.common_prefixes.len() > max_keys => {
                "more keys than were asked for"
            }
            () if !keys.clone().all(is_listed) => "keys that were not asked for",
            () if !keys.is_sorted_by(|a, b| a < b) => "keys that are not in order",
            () if self.next.is_some() && self.next == query.continuation_token => {
                "a next page that is this one"
            }
            () => return Ok(self),
        };
        Err(OssError::Garbage(format!("listing: it has {what}")))
    }
}

/// Reads the XML of a page.
pub fn parse_page(body: &[u8]) -> Result<Page, OssError> {
    let garbage = |text: String| OssError::Garbage(format!("listing: {text}"));
    let text = std::str::from_utf8(body).map_err(|error| garbage(error.to_string()))?;
    let answer: Answer =
        quick_xml::de::from_str(text).map_err(|error| garbage(unread(&error).to_string()))?;
    let found = answer.contents.len() + answer.common_prefixes.len();
    if let Some(announced) = answer.key_count.filter(|count| *count != found) {
        return Err(garbage(format!(
            "it says it has {announced} keys and has {found}"
        )));
    }
    let encoded = answer.encoding_type.as_deref() == Some("url");
    let decoded = |text: String| match encoded {
        true => decode(&text).ok_or_else(|| garbage("a key is not UTF-8".to_string())),
        false => Ok(text),
    };
    let mut page = Page::default();
    for contents in answer.contents {
        let time = DateTime::parse_from_rfc3339(&contents.last_modified);
        let time = time.map_err(|_| garbage("`LastModified` is no time".to_string()))?;
        page.objects.push(Listed {
            key: decoded(contents.key)?,
            e_tag: contents.e_tag.filter(|tag| !tag.is_empty()),
            size: contents.size,
            last_modified: time.to_utc(),
        });
    }
    for prefix in answer.common_prefixes {
        page.common_prefixes.push(decoded(prefix.prefix)?);
    }
    page.next = answer
        .next_continuation_token
        .filter(|token| answer.is_truncated && !token.is_empty());
    if answer.is_truncated && page.next.is_none() {
        return Err(garbage(
            "it says that there is more, and not how to get it".to_string(),
        ));
    }
    Ok(page)
}

/// Undoes percent-encoding. A plus sign is a space: what is encoded has its own plus signs as `%2B`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_as_the_service_prints_it() {
        let body = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult>
  <Name>flow-bucket</Name><Prefix>a%2F</Prefix><MaxKeys>2</MaxKeys><EncodingType>url</EncodingType>
  <IsTruncated>true</IsTruncated><NextContinuationToken>CgJiYw--</NextContinuationToken>
  <Contents><Key>a%2Fb%20c%2B1</Key><LastModified>2025-08-01T08:30:00.000Z</LastModified>
    <ETag>"5B3C1A2E053D763E1B002CC607C5A0FE"</ETag><Type>Normal</Type><Size>344606</Size>
    <StorageClass>Standard</StorageClass><Owner><ID>1</ID><DisplayName>1</DisplayName></Owner></Contents>
  <CommonPrefixes><Prefix>a%2F%E6%97%A5%2F</Prefix></CommonPrefixes>
  <Contents><Key>a%2Fz</Key><LastModified>2025-08-01T08:31:00.000Z</LastModified><ETag></ETag><Size>0</Size></Contents>
  <KeyCount>3</KeyCount>
</ListBucketResult>"#;
        let page = parse_page(body.as_bytes()).unwrap();
        assert_eq!(page.next.as_deref(), Some("CgJiYw--"));
        assert_eq!(page.common_prefixes, ["a/日/"]);
        assert_eq!(page.objects[0].key, "a/b c+1");
        assert_eq!(page.objects[0].size, 344_606);
        assert_eq!(
            page.objects[0].e_tag.as_deref(),
            Some("\"5B3C1A2E053D763E1B002CC607C5A0FE\"")
        );
        assert_eq!(page.objects[1].e_tag, None);
    }

    #[test]
    fn what_is_no_page() {
        for body in [
            "",
            "<html>",
            "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>1</KeyCount></ListBucketResult>",
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>1</Size>\
             <LastModified>2025-08-01T08:30:00Z</LastModified></Contents>",
            "<ListBucketResult></ListBucketResult>",
            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
            "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated><Contents><Key>%zz</Key>\
             <Size>1</Size><LastModified>2025-08-01T08:30:00Z</LastModified></Contents></ListBucketResult>",
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>-1</Size>\
             <LastModified>2025-08-01T08:30:00Z</LastModified></Contents></ListBucketResult>",
        ] {
            assert!(parse_page(body.as_bytes()).is_err(), "{body}");
        }
        // What was sent may come back anywhere, and is not repeated.
        for body in [
            "<ListBucketResult><IsTruncated>CAIStoken</IsTruncated></ListBucketResult>",
            "<CAIStoken><IsTruncated>false</CAIStoken>",
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>CAIStoken</Size>\
             <LastModified>2025-08-01T08:30:00Z</LastModified></Contents></ListBucketResult>",
        ] {
            let said = parse_page(body.as_bytes()).unwrap_err().to_string();
            assert!(!said.contains("CAIS"), "{said}");
        }
        assert!(parse_page(&[0xff]).is_err());
    }
}
