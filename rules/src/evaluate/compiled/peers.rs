//! Which classes the peers of a rule match: surely, perhaps, not at all.

use roaring::RoaringBitmap;

use super::classes::Classes;
use crate::cluster::Cluster;
use crate::policy::{Entity, Peer, Reach};

/// The classes a rule matches at one end. What is perhaps matched is for the plain evaluator to say: there the answer
/// depends on the engine, or on more than the class.
#[derive(Debug, Default)]
pub(super) struct Matched {
    pub(super) surely: RoaringBitmap,
    /// Those of `surely` included.
    pub(super) perhaps: RoaringBitmap,
}

impl Matched {
    fn exactly(classes: RoaringBitmap) -> Self {
        Self {
            perhaps: classes.clone(),
            surely: classes,
        }
    }

    /// Whether `class` is matched; `None` where the plain evaluator has to say.
    pub(super) fn matches(&self, class: u32) -> Option<bool> {
        match self.surely.contains(class) {
            true => Some(true),
            false if self.perhaps.contains(class) => None,
            false => Some(false),
        }
    }

    /// What a list of alternatives matches.
    pub(super) fn any(peers: &[Peer], classes: &Classes<'_>, cluster: &Cluster) -> Self {
        let mut matched = Self::default();
        for peer in peers {
            let one = Self::of(peer, classes, cluster);
            matched.surely |= one.surely;
            matched.perhaps |= one.perhaps;
        }
        matched
    }

    fn of(peer: &Peer, classes: &Classes<'_>, cluster: &Cluster) -> Self {
        match peer {
            Peer::Pods(pods) => Self::exactly(classes.select(pods)),
            Peer::Addresses { block, reach } => {
                let within = || classes.within(block);
                match reach {
                    Reach::Outside => Self::default(),
                    Reach::Everyone => {
                        let surely = within();
                        Self {
                            perhaps: &surely | classes.placeless(),
                            surely,
                        }
                    }
                    Reach::ByEngine => Self {
                        surely: RoaringBitmap::new(),
                        perhaps: within() | classes.placeless(),
                    },
                }
            }
            Peer::AddressSet(set) => {
                let mut surely = RoaringBitmap::new();
                for net in set.nets() {
                    surely |= classes.within_net(net);
                }
                Self {
                    perhaps: &surely | classes.placeless(),
                    surely,
                }
            }
            Peer::Entity(Entity::All | Entity::Cluster) => Self::exactly(classes.all().clone()),
            Peer::Nodes(_) | Peer::Entity(_) | Peer::Domains(_) => Self::default(),
            Peer::Service { namespace, name } => match cluster.service(namespace, name) {
                Some(service) => {
                    let (perhaps, surely) = classes.holding(cluster.backends(service));
                    Self { surely, perhaps }
                }
                None => Self::default(),
            },
            Peer::All(parts) => {
                let mut matched = Self::exactly(classes.all().clone());
                for part in parts {
                    let one = Self::of(part, classes, cluster);
                    matched.surely &= one.surely;
                    matched.perhaps &= one.perhaps;
                }
                matched
            }
            Peer::Any(parts) => Self::any(parts, classes, cluster),
            Peer::Not(part) => {
                let one = Self::of(part, classes, cluster);
                Self {
                    surely: classes.all() - one.perhaps,
                    perhaps: classes.all() - one.surely,
                }
            }
            Peer::Open(_) => Self {
                surely: RoaringBitmap::new(),
                perhaps: classes.all().clone(),
            },
        }
    }
}
