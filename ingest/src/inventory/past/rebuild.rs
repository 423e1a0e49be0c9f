//! The past of a cluster from logstores: read in stretches of time, told apart, merged with what is known.

use flowaudit_lake::Lake;

use super::super::{ImportSettings, ImportSummary, publish};
use super::Past;
use crate::error::IngestError;
use crate::sls::Client;
use crate::sls::entries::{Entries, EntriesRead};
use crate::sls::unpack::Packing;

/// Entries come late, and what the log service calls their time is not known: so much is read before and after.
const PAD_S: i64 = 15 * 60;
/// Shards are read side by side in stretches of this length.
const STRETCH_S: i64 = 3600;

/// What is rebuilt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuildSettings {
    /// Of which cluster and VPC.
    pub cluster: ImportSettings,
    /// What is read was received at this time or later, Unix seconds.
    pub from_s: i64,
    /// And before this one.
    pub to_s: i64,
    /// The present: nothing later is asked for.
    pub now_s: i64,
}

/// One logstore that tells of the past.
#[derive(Debug, Clone)]
pub struct Logstore {
    /// Its client.
    pub client: Client,
    /// An SPL statement that the service applies before it sends.
    pub query: Option<String>,
    /// How replies are packed.
    pub packing: Packing,
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebuildProgress {
    /// Everything received up to then is read, Unix seconds.
    pub reached_s: i64,
    /// Of all logstores.
    pub read: EntriesRead,
}

/// Reads the audit logstore and that of the event centre, in one go or several logstores of each, and merges what they tell with
/// what is known. Doing it again changes nothing.
pub fn rebuild(
    lake: &Lake,
    logstores: &[Logstore],
    settings: &RebuildSettings,
    tell: &mut dyn FnMut(RebuildProgress),
) -> Result<(ImportSummary, EntriesRead), IngestError> {
    let mut open = Vec::new();
    for logstore in logstores {
        let Logstore {
            client,
            query,
            packing,
        } = logstore.clone();
        open.push(Entries::open(
            client,
            settings.from_s - PAD_S,
            query,
            packing,
        )?);
    }
    let mut past = Past::default();
    let end_s = (settings.to_s + PAD_S).min(settings.now_s);
    let mut reached_s = settings.from_s - PAD_S;
    while reached_s < end_s {
        reached_s = (reached_s + STRETCH_S).min(end_s);
        for entries in &mut open {
            entries.until(reached_s, |members| past.entry(members))?;
        }
        past.advance((reached_s - PAD_S).saturating_mul(1_000_000));
        tell(RebuildProgress {
            reached_s,
            read: sum(&open),
        });
    }
    let mut summary = ImportSummary::default();
    let told = past.finish();
    summary.past = told.tally;
    let moments = [(None, told.moment)].into();
    publish(lake, &settings.cluster, &moments, &told.quiet, &mut summary)?;
    Ok((summary, sum(&open)))
}

fn sum(open: &[Entries]) -> EntriesRead {
    let mut read = EntriesRead::default();
    for entries in open {
        read.entries += entries.read.entries;
        read.packed_bytes += entries.read.packed_bytes;
        read.left_out += entries.read.left_out;
        read.missed += entries.read.missed;
    }
    read
}
