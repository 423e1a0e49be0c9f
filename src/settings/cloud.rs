//! Where the control plane of the cloud is: `cloud:` in the file.

use std::collections::BTreeMap;

use flowaudit_ingest::cloud::{Client, ClientSettings};
use flowaudit_lake::cloud::credentials::{Chain, Surroundings};
use serde::Deserialize;

use crate::failure::{Failure, Mistake};

/// Products that are asked.
const PRODUCTS: [&str; 5] = ["ecs", "vpc", "slb", "nlb", "alb"];

/// Where the control plane is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Cloud {
    /// The region.
    pub region: Option<String>,
    /// Whether we are inside a VPC of the region.
    pub internal: bool,
    /// Hosts by product, where they are not the usual ones.
    pub endpoints: BTreeMap<String, String>,
}

impl Cloud {
    /// The region, by the flag or the file.
    pub(crate) fn region(&self, flag: Option<&str>) -> Result<String, Failure> {
        let region = flag.or(self.region.as_deref());
        let Some(region) = region.filter(|region| !region.is_empty()) else {
            let help = "name it with `--region`, or as `region` under `cloud:` in the settings file, as in `cn-hangzhou`";
            let mistake = Mistake("the region is not set".to_owned());
            return Err(Failure::usage(mistake, Some(help.to_owned())));
        };
        // It becomes a part of host names.
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        match region.len() <= 64 && region.bytes().all(is_plain) {
            true => Ok(region.to_owned()),
            false => {
                let help = "regions are called like `cn-hangzhou`";
                let mistake = Mistake(format!("`{region}` is no region"));
                Err(Failure::usage(mistake, Some(help.to_owned())))
            }
        }
    }

    /// Who calls it. Nobody is asked yet.
    pub(crate) fn client(&self, region: &str, insecure: bool) -> Result<Client, Failure> {
        for (product, host) in &self.endpoints {
            if !PRODUCTS.contains(&product.as_str()) {
                let mistake = Mistake(format!("no product `{product}` is asked for anything"));
                let help = format!("`endpoints` are of {}", PRODUCTS.join(", "));
                return Err(Failure::usage(mistake, Some(help)));
            }
            if host.starts_with("http://") && !insecure {
                let mistake = Mistake(format!("the endpoint `{host}` of `{product}` is http"));
                let help = "use https, or `--insecure` on a network of your own";
                return Err(Failure::usage(mistake, Some(help.to_owned())));
            }
        }
        let surroundings = Surroundings::of_process();
        let clock = surroundings.clock.clone();
        let settings = ClientSettings {
            internal: self.internal,
            endpoints: self.endpoints.clone(),
            ..ClientSettings::new(region)
        };
        let client = Client::new(settings, Chain::new(surroundings), clock);
        client.map_err(|error| {
            let help = error.help();
            Failure::outside(error, help)
        })
    }
}
