//! In which VPC an address is meant: that of the interface where a record was made.

use std::net::IpAddr;

use super::candidate::Candidate;
use super::{Book, Site, neighbourhood};

impl Book {
    /// Whether a holder's address is not surely one of another VPC.
    pub(super) fn same_vpc(&self, candidate: &Candidate, vpc: Option<&str>) -> bool {
        match (self.row(candidate.row).vpc_id.as_deref(), vpc) {
            (Some(held), Some(asked)) => held == asked,
            _ => true,
        }
    }

    /// Whether an address may be meant in another VPC than its holder's: several are known near it, and nothing tells that
    /// the record was made where the holder is.
    pub(super) fn is_of_several_vpcs(&self, address: IpAddr, holder: &Candidate, on: Site) -> bool {
        let near = self.neighbourhoods.get(&neighbourhood(address));
        let known = near.into_iter().flatten();
        let mut vpcs = known.chain([&self.row(holder.row).vpc_id]).flatten();
        let first = vpcs.next();
        !holder.site.is_known_to_be(on) && vpcs.any(|vpc| Some(vpc) != first)
    }
}
