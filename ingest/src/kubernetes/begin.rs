//! What comes before the first list: what the server serves, and whose lease it is.

use std::time::{Duration, Instant};

use tokio::sync::watch as latest;

use super::api::Refusal;
use super::discovery::{Offer, discover};
use super::error::KubernetesError;
use super::lease::Standing;
use super::pause::Backoff;
use super::told::Event;
use super::watch::Watching;
use crate::error::IngestError;

impl Watching<'_> {
    /// What the server serves; `None` if told to stop before it said so.
    pub(super) fn first_offer(&mut self) -> Result<Option<Offer>, IngestError> {
        let tuning = &self.settings.tuning;
        let mut backoff = Backoff::new(tuning.wait_first, tuning.wait_max);
        let begun = Instant::now();
        loop {
            let (api, stop) = (self.api, self.stop);
            let offer = self.runtime.block_on(async {
                tokio::select! {
                    offer = discover(api) => Some(offer),
                    () = stop.stopped() => None,
                }
            });
            let refusal = match offer {
                None => return Ok(None),
                Some(Ok(offer)) => {
                    self.summary.kinds = offer.served.len();
                    return Ok(Some(offer));
                }
                Some(Err(refusal)) => refusal,
            };
            let server = self.api.server().to_owned();
            let wait = match &refusal {
                Refusal::Busy(_, asked) => backoff.next_after(*asked),
                _ => backoff.next(),
            };
            let (max, error) = match refusal {
                Refusal::Unauthorized(reason) | Refusal::NoCredentials(reason) => (
                    tuning.login_max,
                    KubernetesError::Unauthorized { server, reason },
                ),
                refusal => {
                    let reason = refusal.to_string();
                    let error = KubernetesError::Unreachable { server, reason };
                    (tuning.outage_max, error)
                }
            };
            if begun.elapsed() >= max {
                return Err(error.into());
            }
            if backoff.tries() > 2 {
                self.waiting(&error.to_string());
            }
            let stopped = self
                .runtime
                .block_on(async { tokio::time::timeout(wait, stop.stopped()).await });
            if stopped.is_ok() {
                return Ok(None);
            }
        }
    }

    pub(super) fn unread(&mut self, offer: &Offer) {
        for (kind, versions) in &offer.unread {
            let right = kind.right();
            if self.told.insert(format!("{right} {versions:?}")) {
                (self.events)(Event::Unread { right, versions });
            }
        }
    }

    /// Waits until the lease is ours; `false` if told to stop before.
    pub(super) fn await_lease(
        &mut self,
        title: &str,
        stands: &mut latest::Receiver<Standing>,
    ) -> Result<bool, IngestError> {
        let begun = Instant::now();
        let mut standby: Option<String> = None;
        let mut forbidden: Option<Instant> = None;
        loop {
            let standing = stands.borrow_and_update().clone();
            let lease = title.to_owned();
            // A holder that was killed promised to renew for this long.
            let is_over = self.settings.once
                && self.settings.lease.as_ref().is_some_and(|settings| {
                    begun.elapsed() > settings.duration * 2 + settings.pause * 2
                });
            match standing {
                Standing::Ours(_) if standing.is_ours() => return Ok(true),
                Standing::Ours(_) | Standing::Unknown => {}
                Standing::Theirs(holder) => {
                    if is_over {
                        return Err(KubernetesError::LeaseHeld { lease, holder }.into());
                    }
                    if standby.as_ref() != Some(&holder) {
                        (self.events)(Event::Standby { holder: &holder });
                        standby = Some(holder);
                    }
                }
                Standing::Forbidden(reason) => {
                    let since = *forbidden.get_or_insert_with(Instant::now);
                    if since.elapsed() >= self.settings.tuning.forbidden_at_first {
                        return Err(KubernetesError::LeaseForbidden { lease, reason }.into());
                    }
                }
                Standing::Trouble(text) => {
                    if begun.elapsed() > self.settings.tuning.outage_max && standby.is_none() {
                        let server = self.api.server().to_owned();
                        let reason = text;
                        return Err(KubernetesError::Unreachable { server, reason }.into());
                    }
                    self.waiting(&format!("lease {title}: {text}"));
                }
            }
            let stop = self.stop;
            let is_stopped = self.runtime.block_on(async {
                tokio::select! {
                    () = stop.stopped() => true,
                    _ = stands.changed() => false,
                    () = tokio::time::sleep(Duration::from_millis(500)) => false,
                }
            });
            if is_stopped {
                return Ok(false);
            }
        }
    }
}
