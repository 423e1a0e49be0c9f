//! After the record: puts files in place, removes what is visible no longer, and does so for writers that died.

use crate::LakeError;
use crate::commit::CommitRecord;
use crate::lake::Lake;
use crate::layout::BatchId;
use crate::log::read_record;
use crate::store::Stage;

/// Settles the batches of writers that died.
///
/// Where a store cannot tell whether a writer is dead or asleep, the log decides: a record that gives its batch up comes
/// before anything is removed. If the sleeper's record came first, it is in the log and its batch is carried out.
pub(crate) fn sweep(lake: &Lake) -> Result<(), LakeError> {
    let orphans = lake.store().orphans()?;
    let mut unpublished = Vec::new();
    for stage in orphans {
        match record_of(lake, stage.batch())? {
            Some(record) => settle(lake, stage, &record)?,
            None => unpublished.push(stage),
        }
    }
    if !unpublished.is_empty() && !lake.store().knows_the_dead() {
        let mut batch = lake.batch("sweep")?;
        batch.abandon(unpublished.iter().map(|stage| stage.batch().clone()));
        batch.publish()?;
    }
    for stage in unpublished {
        match record_of(lake, stage.batch())? {
            Some(record) => settle(lake, stage, &record)?,
            None => stage.discard()?,
        }
    }
    Ok(())
}

/// Carries out a published record: files into place, then removed files away, then the stage.
///
/// Every step may have been done before. Another writer may have removed meanwhile what is put in place here; it
/// could not find those files then, so they are looked for again afterwards. Whichever comes last, the record that
/// removes or the file that appears, sees the other.
pub(crate) fn settle(
    lake: &Lake,
    mut stage: Box<dyn Stage>,
    record: &CommitRecord,
) -> Result<(), LakeError> {
    let staged = stage.keys()?;
    let ours = |key: &&String| record.added.iter().any(|entry| entry.path == **key);
    let head = lake.snapshot()?;
    let wanted: Vec<String> = staged
        .iter()
        .filter(ours)
        .filter(|key| head.state().holds(key))
        .cloned()
        .collect();
    stage.reveal(&wanted)?;
    let head = lake.snapshot()?;
    let gone = wanted
        .iter()
        .chain(&record.removed)
        .filter(|key| !head.state().holds(key));
    for key in gone {
        lake.store().delete(key)?;
    }
    stage.discard()?;
    Ok(())
}

/// The record of a batch, which can only come after the head the batch began on.
fn record_of(lake: &Lake, batch: &BatchId) -> Result<Option<CommitRecord>, LakeError> {
    let head = lake.snapshot()?.number;
    for number in batch.base().saturating_add(1)..=head {
        match read_record(lake.store(), number)? {
            Some(record) if record.batch == *batch => return Ok(Some(record)),
            _ => {}
        }
    }
    Ok(None)
}
