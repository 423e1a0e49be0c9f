//! `rejects`: one input that could not become a flow.

table! {
    /// One input that could not become a flow; kept, with its reason.
    Rejects: RejectRow {
        /// When the input was read.
        ingest_time_us: Time as "ingest_time",
        /// The input, at most 4 KiB of it, with what is not UTF-8 replaced.
        raw: Text,
        /// Why it could not become a flow.
        reason: Key,
        /// Which configured source brought it.
        source: Key,
        /// Where in the source it stood.
        source_position: Count,
    }
}
