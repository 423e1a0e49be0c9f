//! `gaps`: one stretch that was not seen.

table! {
    /// One stretch that was not seen: the log skipped data, had none, a cursor expired, or an interface stayed silent.
    Gaps: GapRow {
        /// The interface that was not seen.
        eni_id: Key or "the gap concerns the whole source",
        /// The first instant not seen.
        from_us: Time as "from",
        /// The first instant seen again.
        to_us: Time as "to",
        /// `skipdata`, `nodata`, `inventory` or `cursor-expired`.
        reason: Key,
        /// Which configured source reported it.
        source: Key,
        /// Where in the source it was reported.
        source_position: Count,
    }
}
