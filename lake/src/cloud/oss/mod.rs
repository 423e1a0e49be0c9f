//! Alibaba Cloud OSS behind the trait of `object_store`.
//!
//! Signed with version 4, which no other crate does behind that trait. Of the trait everything is here but
//! [`PutMode::Update`](object_store::PutMode::Update): OSS can create an object only if it is absent
//! (`x-oss-forbid-overwrite`), not replace only what one has seen.
//!
//! Requests are tried again with growing waits. After a lost answer to "create if absent" what is there is read and
//! compared, so that a writer is not refused because of itself. A body that breaks off is continued with a range on the
//! same ETag. What was read or written whole is held against the service's CRC-64. A page that a proxy puts in place of an
//! answer, or a listing that lacks keys it counts, is asked for again.

mod address;
mod client;
mod error;
mod get;
mod list;
mod meta;
mod put;
mod sign;

pub(super) use self::address::host_name;
pub use self::address::{Address, AddressError, Style};
pub use self::client::Retries;
pub use self::error::{Class, OssError, Refusal};
pub use self::list::{ListQuery, Listed, Page, parse_page};
pub use self::put::Versioning;
pub use self::sign::{Signable, v1, v4};

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt, try_unfold};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};

use self::client::Client;
use crate::cloud::credentials::{Chain, Clock};

/// One bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Oss {
    client: Client,
}

impl Oss {
    /// The bucket at an address. Asks nobody yet.
    pub fn new(
        address: Address,
        chain: Chain,
        clock: Clock,
        retries: Retries,
    ) -> Result<Self, OssError> {
        let client = Client::new(address, chain, clock, retries)?;
        Ok(Self { client })
    }

    /// Where the bucket is.
    pub fn address(&self) -> &Address {
        self.client.address()
    }

    /// How often and how patiently requests are tried again.
    pub fn retries(&self) -> &Retries {
        self.client.retries()
    }

    /// One page of a listing, with whatever keys the bucket has: the trait's listings refuse those it cannot name.
    pub async fn list_page(&self, query: &ListQuery) -> Result<Page, OssError> {
        self.client.list_page(query).await
    }

    /// Whether the bucket keeps old versions. There "create only if absent" has no effect.
    pub async fn versioning(&self) -> Result<Versioning, OssError> {
        put::versioning(&self.client).await
    }

    fn pages(&self, query: ListQuery) -> BoxStream<'static, Result<Page>> {
        let client = self.client.clone();
        try_unfold(Some(query), move |query| {
            let client = client.clone();
            async move {
                let Some(query) = query else { return Ok(None) };
                let page = client.list_page(&query).await;
                let page = page.map_err(|error| error.for_object(&query.prefix))?;
                let next = page.next.clone().map(|token| ListQuery {
                    continuation_token: Some(token),
                    ..query
                });
                Ok(Some((page, next)))
            }
        })
        .boxed()
    }
}

impl fmt::Display for Oss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oss://{}", self.address().bucket())
    }
}

/// What lies below a path: everything with a slash after it.
fn folder(prefix: Option<&Path>) -> String {
    match prefix.map(AsRef::<str>::as_ref).unwrap_or_default() {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    }
}

fn object(listed: Listed) -> Result<ObjectMeta> {
    Ok(ObjectMeta {
        location: Path::parse(&listed.key)?,
        last_modified: listed.last_modified,
        size: listed.size,
        e_tag: listed.e_tag,
        version: None,
    })
}

fn listing(page: Page) -> Result<ListResult> {
    let prefixes = page.common_prefixes.iter();
    let objects = page.objects.into_iter().map(object);
    Ok(ListResult {
        common_prefixes: prefixes
            .map(|key| Ok(Path::parse(key)?))
            .collect::<Result<_>>()?,
        objects: objects.collect::<Result<_>>()?,
    })
}

#[async_trait]
impl ObjectStore for Oss {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        put::put(&self.client, location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let id = put::begin(&self.client, location.as_ref(), &opts.attributes).await?;
        Ok(Box::new(Upload {
            client: self.client.clone(),
            key: location.to_string(),
            id,
            begun: 0,
            parts: Arc::default(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        get::get(&self.client, location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        put::delete(self.client.clone(), locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = folder(prefix);
        self.objects(ListQuery {
            prefix,
            ..ListQuery::default()
        })
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = folder(prefix);
        self.objects(ListQuery {
            prefix,
            start_after: Some(offset.to_string()),
            ..ListQuery::default()
        })
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let query = ListQuery {
            prefix: folder(prefix),
            delimiter: Some("/".to_string()),
            ..ListQuery::default()
        };
        let mut pages = self.pages(query);
        let mut all = ListResult {
            common_prefixes: Vec::new(),
            objects: Vec::new(),
        };
        while let Some(page) = pages.try_next().await? {
            let page = listing(page)?;
            all.common_prefixes.extend(page.common_prefixes);
            all.objects.extend(page.objects);
        }
        Ok(all)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        put::copy(&self.client, from, to, options).await
    }
}

impl Oss {
    fn objects(&self, query: ListQuery) -> BoxStream<'static, Result<ObjectMeta>> {
        let objects = |page: Page| futures_util::stream::iter(page.objects.into_iter().map(object));
        self.pages(query).map_ok(objects).try_flatten().boxed()
    }
}

#[async_trait]
impl MultipartStore for Oss {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        put::begin(&self.client, path.as_ref(), &Default::default()).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        put::put_part(&self.client, path.as_ref(), id, part_idx, data).await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        put::complete(&self.client, path.as_ref(), id, parts).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        put::abort(&self.client, path.as_ref(), id).await
    }
}

#[async_trait]
impl PaginatedListStore for Oss {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        opts: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        let query = ListQuery {
            prefix: prefix.unwrap_or_default().to_string(),
            start_after: opts.offset,
            delimiter: opts.delimiter.map(|delimiter| delimiter.into_owned()),
            max_keys: opts.max_keys,
            continuation_token: opts.page_token,
        };
        let page = self.client.list_page(&query).await;
        let mut page = page.map_err(|error| error.for_object(&query.prefix))?;
        let page_token = page.next.take();
        let result = listing(page)?;
        Ok(PaginatedListResult { result, page_token })
    }
}

/// An upload in parts.
#[derive(Debug)]
struct Upload {
    client: Client,
    key: String,
    id: MultipartId,
    /// Parts that were begun.
    begun: usize,
    /// Those that are stored, by number.
    parts: Arc<Mutex<Vec<(usize, PartId)>>>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let n = self.begun;
        self.begun += 1;
        let (client, key, id) = (self.client.clone(), self.key.clone(), self.id.clone());
        let parts = Arc::clone(&self.parts);
        Box::pin(async move {
            let part = put::put_part(&client, &key, &id, n, data).await?;
            let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
            parts.push((n, part));
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let mut parts = {
            let parts = self.parts.lock();
            parts.unwrap_or_else(PoisonError::into_inner).clone()
        };
        parts.sort_unstable_by_key(|(n, _)| *n);
        if parts.len() != self.begun {
            return Err(Error::Generic {
                store: "OSS",
                source: format!("{} of {} parts are stored", parts.len(), self.begun).into(),
            });
        }
        let parts: Vec<PartId> = parts.into_iter().map(|(_, part)| part).collect();
        put::complete(&self.client, &self.key, &self.id, parts).await
    }

    async fn abort(&mut self) -> Result<()> {
        put::abort(&self.client, &self.key, &self.id).await
    }
}
