//! `coverage`: what was and was not seen.

table! {
    /// What was and was not seen: the records of one hour by outcome of one step; the outcomes of a step add up to all records it was given.
    Coverage: CoverageRow {
        /// Start of the hour; not `hour`, which is the partition's name and would hide it.
        hour_us: Time as "hour_start",
        /// `ingest`, `identify`, `orient`, `judge`, `observe` or `classify`.
        step: Key,
        /// What became of the records in this step.
        outcome: Key,
        /// How many records.
        records: Count in "records",
    }
}
