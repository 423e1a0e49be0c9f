//! Attributes of objects: headers that are stored and given back.

use object_store::{Attribute, Attributes, Error, Result};
use reqwest::header::HeaderMap;

const META: &str = "x-oss-meta-";

/// What a write sends along for its attributes.
pub(super) fn attribute_headers(attributes: &Attributes) -> Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    for (attribute, value) in attributes {
        let name = match attribute {
            Attribute::CacheControl => "cache-control".to_string(),
            Attribute::ContentDisposition => "content-disposition".to_string(),
            Attribute::ContentEncoding => "content-encoding".to_string(),
            Attribute::ContentLanguage => "content-language".to_string(),
            Attribute::ContentType => "content-type".to_string(),
            Attribute::Metadata(name) => format!("{META}{}", name.to_ascii_lowercase()),
            other => {
                return Err(Error::NotImplemented {
                    operation: format!("attribute {other:?}"),
                    implementer: "OSS".to_string(),
                });
            }
        };
        headers.push((name, value.to_string()));
    }
    Ok(headers)
}

/// The attributes in an answer.
pub(super) fn read_attributes(headers: &HeaderMap) -> Attributes {
    let mut attributes = Attributes::new();
    for (name, value) in headers {
        let Ok(value) = value.to_str() else { continue };
        let attribute = match name.as_str() {
            "cache-control" => Attribute::CacheControl,
            "content-disposition" => Attribute::ContentDisposition,
            "content-encoding" => Attribute::ContentEncoding,
            "content-language" => Attribute::ContentLanguage,
            "content-type" => Attribute::ContentType,
            name => match name.strip_prefix(META) {
                Some(name) => Attribute::Metadata(name.to_string().into()),
                None => continue,
            },
        };
        attributes.insert(attribute, value.to_string().into());
    }
    attributes
}
