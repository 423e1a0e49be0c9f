//! Where a record was made: the node, and the interface where that is a pod's own.

/// Where a record was made, or where a holder is, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Site {
    /// Number of the node.
    pub node: u32,
    /// Number of the interface that is one holder's own.
    pub eni: u32,
}

impl Site {
    /// Not known.
    pub const ANYWHERE: Site = Site { node: 0, eni: 0 };
    /// Elsewhere than any place that is known.
    pub const ELSEWHERE: Site = Site {
        node: u32::MAX,
        eni: u32::MAX,
    };

    /// Whether the two surely are one place.
    pub fn is_known_to_be(self, other: Site) -> bool {
        let same = |one: u32, other: u32| one != 0 && one == other;
        same(self.node, other.node) || same(self.eni, other.eni)
    }

    /// Whether what is known of the two cannot be one place.
    #[inline]
    pub fn is_other_than(self, other: Site) -> bool {
        let differ = |one: u32, other: u32| one != 0 && other != 0 && one != other;
        differ(self.node, other.node) || differ(self.eni, other.eni)
    }
}
