//! Why a holder is not named.

/// Why a holder is not named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Doubt {
    /// The window touches the times of two holders.
    TwoHolders,
    /// One holder possibly held the address, but surely at no instant of the window.
    OutsideCore,
    /// One holder held the address when it was last looked at, and that was before the window.
    LastSeenBefore,
    /// Nobody watched for a part of the window that no holder's core covers.
    InGap,
    /// The record was made on another node or interface than that of whoever held the address.
    OtherNode,
    /// The record does not say of which VPC it is, and clusters of several have addresses near it.
    SeveralVpcs,
    /// The address belongs to the cluster, but nobody is known to have held it then.
    NoHolder,
    /// The same, and its last holder had given it back.
    Terminated,
    /// The same, and nobody watched for a part of the window.
    NoHolderInGap,
}

impl Doubt {
    /// The word in `client_identified_by` and in coverage.
    pub fn as_str(self) -> &'static str {
        match self {
            Doubt::TwoHolders => "ambiguous-two-holders",
            Doubt::OutsideCore => "ambiguous-outside-core",
            Doubt::LastSeenBefore => "ambiguous-last-seen-before",
            Doubt::InGap => "ambiguous-inventory-gap",
            Doubt::OtherNode => "ambiguous-eni",
            Doubt::SeveralVpcs => "ambiguous-vpc",
            Doubt::NoHolder => "unidentified",
            Doubt::Terminated => "unidentified-terminated",
            Doubt::NoHolderInGap => "unidentified-inventory-gap",
        }
    }

    /// The same as a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Doubt::TwoHolders => {
                "two holders had it, or may have, so near to that time that it cannot be told to one"
            }
            Doubt::OutsideCore => "one holder may have had it, but not surely",
            Doubt::LastSeenBefore => {
                "one holder had it when it was last looked at, which was before that time"
            }
            Doubt::InGap => "nobody watched the cluster then, and others may have had it meanwhile",
            Doubt::OtherNode => {
                "one holder had it, and the record was made on another node or interface than that holder's"
            }
            Doubt::SeveralVpcs => {
                "it is not said of which VPC it is, and clusters of several have addresses near it"
            }
            Doubt::NoHolder => "it is an address of a cluster, and nobody is known to have had it",
            Doubt::Terminated => {
                "its last known holder had given it back, and nobody is known to have had it since"
            }
            Doubt::NoHolderInGap => {
                "it is an address of a cluster, and nobody watched the cluster then"
            }
        }
    }

    /// The word for what the party is: `ambiguous` where there are candidates, else `unidentified`.
    pub fn kind(self) -> &'static str {
        match self {
            Doubt::TwoHolders
            | Doubt::OutsideCore
            | Doubt::LastSeenBefore
            | Doubt::InGap
            | Doubt::OtherNode
            | Doubt::SeveralVpcs => "ambiguous",
            Doubt::NoHolder | Doubt::Terminated | Doubt::NoHolderInGap => "unidentified",
        }
    }
}
