//! Keeps credentials and refreshes them in time, one refresh at a time.
//!
//! | time left | what happens |
//! |---|---|
//! | more than a quarter of the life, 15 minutes at most | they are used |
//! | less | whoever comes first refreshes; all others, and everybody if that fails, go on with the old ones |
//! | 30 seconds | everybody waits for the refresh, and its failure is an error |
//!
//! A quarter, because a role may be assumed for as little as 15 minutes and would always be stale otherwise.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Mutex as AsyncMutex;

use super::chain::{Attempt, CredentialsError, Source, fetch, profile};
use super::http::Http;
use super::profile::Profile;
use super::{Credentials, Surroundings};

const STALE_SECONDS_MAX: i64 = 15 * 60;
const UNUSABLE_SECONDS: i64 = 30;
/// After a refresh that failed while the old ones still hold.
const PAUSE_SECONDS: i64 = 60;

/// The credential chain with what it found. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct Chain {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    surroundings: Surroundings,
    held: Mutex<Held>,
    /// Locked while somebody refreshes.
    refreshing: AsyncMutex<Refresher>,
}

#[derive(Debug, Default)]
struct Held {
    source: Option<Source>,
    credentials: Option<Arc<Credentials>>,
    fetched_at: i64,
    /// Before this nobody tries again, as long as what is held can be used.
    try_again_at: i64,
}

#[derive(Debug, Default)]
struct Refresher {
    http: Option<Http>,
    /// The source that worked first, kept for good.
    chosen: Option<(Source, Profile)>,
}

enum State {
    Fresh(Arc<Credentials>),
    Stale(Arc<Credentials>),
    Unusable,
}

impl Chain {
    /// The default chain. Asks nobody yet.
    pub fn new(surroundings: Surroundings) -> Self {
        Self::with(surroundings, Held::default(), Refresher::default())
    }

    /// Credentials that the caller has.
    pub fn given(credentials: Credentials, surroundings: Surroundings) -> Self {
        let held = Held {
            source: Some(Source::Given),
            credentials: Some(Arc::new(credentials.clone())),
            ..Held::default()
        };
        let refresher = Refresher {
            http: None,
            chosen: Some((Source::Given, Profile::Keys(credentials))),
        };
        Self::with(surroundings, held, refresher)
    }

    fn with(surroundings: Surroundings, held: Held, refresher: Refresher) -> Self {
        Self {
            shared: Arc::new(Shared {
                surroundings,
                held: Mutex::new(held),
                refreshing: AsyncMutex::new(refresher),
            }),
        }
    }

    /// Which source was used; `None` before the first [`get`](Self::get).
    pub fn source(&self) -> Option<Source> {
        self.held().source
    }

    /// Credentials to sign with now.
    pub async fn get(&self) -> Result<Arc<Credentials>, CredentialsError> {
        let stale = match self.state() {
            State::Fresh(credentials) => return Ok(credentials),
            State::Stale(credentials) => Some(credentials),
            State::Unusable => None,
        };
        let mut refresher = match (&stale, self.shared.refreshing.try_lock()) {
            (_, Ok(refresher)) => refresher,
            (Some(stale), Err(_)) => return Ok(stale.clone()),
            (None, Err(_)) => self.shared.refreshing.lock().await,
        };
        // Whoever had it before may have refreshed meanwhile.
        match self.state() {
            State::Fresh(credentials) => return Ok(credentials),
            State::Stale(credentials) if stale.is_none() => return Ok(credentials),
            State::Stale(_) | State::Unusable => {}
        }
        match (self.refresh(&mut refresher).await, stale) {
            (Ok(credentials), _) => Ok(credentials),
            (Err(_), Some(stale)) => {
                self.held().try_again_at = self.now() + PAUSE_SECONDS;
                Ok(stale)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Says that the service refused these credentials: the next [`get`](Self::get) fetches others, unless somebody
    /// has done so already.
    pub fn reject(&self, refused: &Arc<Credentials>) {
        let mut held = self.held();
        let same = |ours: &Arc<Credentials>| Arc::ptr_eq(ours, refused);
        if held.credentials.as_ref().is_some_and(same) {
            held.credentials = None;
        }
    }

    async fn refresh(
        &self,
        refresher: &mut Refresher,
    ) -> Result<Arc<Credentials>, CredentialsError> {
        let surroundings = &self.shared.surroundings;
        let http = match &refresher.http {
            Some(http) => http.clone(),
            None => {
                let made = Http::new().map_err(|error| CredentialsError {
                    attempts: vec![Attempt {
                        source: Source::Environment,
                        reason: Some(error.to_string()),
                    }],
                })?;
                refresher.http.insert(made).clone()
            }
        };
        if let Some((source, profile)) = &refresher.chosen {
            // Files may have changed since; what is in the environment cannot.
            let again = super::chain::profile(*source, surroundings).ok().flatten();
            let profile = again.as_ref().unwrap_or(profile);
            let fetched = fetch(profile, &http, surroundings).await;
            return match fetched {
                Ok(credentials) => Ok(self.keep(*source, credentials)),
                Err(error) => Err(CredentialsError {
                    attempts: vec![Attempt {
                        source: *source,
                        reason: Some(error.to_string()),
                    }],
                }),
            };
        }
        let mut attempts = Vec::new();
        for source in Source::CHAIN {
            let reason = match profile(source, surroundings) {
                Ok(None) => None,
                Err(error) => Some(error.to_string()),
                Ok(Some(profile)) => match fetch(&profile, &http, surroundings).await {
                    Ok(credentials) => {
                        refresher.chosen = Some((source, profile));
                        return Ok(self.keep(source, credentials));
                    }
                    Err(error) => Some(error.to_string()),
                },
            };
            attempts.push(Attempt { source, reason });
        }
        Err(CredentialsError { attempts })
    }

    fn keep(&self, source: Source, credentials: Credentials) -> Arc<Credentials> {
        let credentials = Arc::new(credentials);
        let now = self.now();
        *self.held() = Held {
            source: Some(source),
            credentials: Some(credentials.clone()),
            fetched_at: now,
            try_again_at: now,
        };
        credentials
    }

    fn state(&self) -> State {
        let now = self.now();
        let held = self.held();
        let Some(credentials) = held.credentials.clone() else {
            return State::Unusable;
        };
        let Some(expires_at) = credentials.expires_at else {
            return State::Fresh(credentials);
        };
        let left = expires_at.saturating_sub(now);
        let life = expires_at.saturating_sub(held.fetched_at).max(0);
        if left <= UNUSABLE_SECONDS {
            State::Unusable
        } else if left > STALE_SECONDS_MAX.min(life / 4) || now < held.try_again_at {
            State::Fresh(credentials)
        } else {
            State::Stale(credentials)
        }
    }

    fn now(&self) -> i64 {
        self.shared.surroundings.clock.now()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // What is held is replaced as a whole.
        let held = self.shared.held.lock();
        held.unwrap_or_else(PoisonError::into_inner)
    }
}
