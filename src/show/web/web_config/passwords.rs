//! Passwords against bcrypt hashes, at a price that no client can drive up.
//!
//! One check of the usual cost takes a core some 70 ms. So one is made at a time, beside the
//! thread that answers; a wrong one is followed by a pause; few may wait; and what was found
//! is remembered, as in the toolkit. A client that is known by now never waits for others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::file::Users;

/// Checks that may wait for their turn; the rest is told to come back.
const MOST_WAITING: usize = 16;
/// How long one waits: shorter than a scrape may take.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The pause after a wrong password, in times of the check itself: a quarter of a core goes
/// into them, and more where a check takes longer than two thirds of a second (cost 14 on).
const PAUSE: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Verdicts of each kind that are kept, as many as in the toolkit. They are kept apart:
/// those who guess cannot push out those who know.
const MOST_KEPT: usize = 100;

/// What an unknown user's password is checked against, with the cost of the dearest user's:
/// where all have the same cost the time tells nobody which names exist. The digest is made
/// up: no password is known that has it.
const NOBODY: &str = "QOauhQNbBCuQDKes6eFzPeNobodyHasAPasswordWithThisHash.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Right,
    Wrong,
    /// Too many are being checked; nothing is known.
    Busy,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: Vec<u8>,
}

pub struct Passwords {
    /// Drawn at the start, so that no digest in memory can be held against a list of words.
    key: hmac::Key,
    kept: Arc<Mutex<Kept>>,
    places: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

type Digest = [u8; 32];

#[derive(Debug, Default)]
struct Kept {
    right: VecDeque<Digest>,
    wrong: VecDeque<Digest>,
}

impl Kept {
    fn verdict(&self, digest: &Digest) -> Option<Verdict> {
        // Digests are keyed: how long a comparison takes tells nothing of a password.
        match (self.right.contains(digest), self.wrong.contains(digest)) {
            (true, _) => Some(Verdict::Right),
            (_, true) => Some(Verdict::Wrong),
            _ => None,
        }
    }

    fn keep(&mut self, digest: Digest, is_right: bool) {
        let kept = match is_right {
            true => &mut self.right,
            false => &mut self.wrong,
        };
        if kept.len() == MOST_KEPT {
            kept.pop_front();
        }
        kept.push_back(digest);
    }
}

impl Passwords {
    /// # Errors
    /// When the kernel has no random numbers.
    pub fn new() -> Result<Self, ring::error::Unspecified> {
        Ok(Self {
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?,
            kept: Arc::default(),
            places: Arc::new(Semaphore::new(MOST_WAITING)),
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    pub async fn check(&self, users: &Users, said: &Credentials) -> Verdict {
        let (hash, is_known) = match users.get(&said.user) {
            Some(hash) => (hash.clone(), true),
            None => (nobody(users), false),
        };
        let digest = self.digest(said, &hash);
        if let Some(verdict) = self.kept(&digest) {
            return verdict;
        }
        let Ok(_place) = self.places.try_acquire() else {
            return Verdict::Busy;
        };
        let turn = timeout(LONGEST_WAIT, Arc::clone(&self.turn).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Verdict::Busy;
        };
        // The same may have been checked meanwhile.
        if let Some(verdict) = self.kept(&digest) {
            return verdict;
        }
        let check = Check {
            password: said.password.clone(),
            hash,
            is_known,
            digest,
            kept: Arc::clone(&self.kept),
        };
        let (tell, told) = oneshot::channel();
        spawn_blocking(move || check.make(tell, turn));
        told.await.unwrap_or(Verdict::Busy)
    }

    fn kept(&self, digest: &Digest) -> Option<Verdict> {
        let kept = self.kept.lock();
        kept.unwrap_or_else(PoisonError::into_inner).verdict(digest)
    }

    /// Of the three together: a new hash makes a new check.
    fn digest(&self, said: &Credentials, hash: &str) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [said.user.as_bytes(), hash.as_bytes(), &said.password] {
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        let mut digest = Digest::default();
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }
}

/// A hash that costs as much as the dearest of the users'.
fn nobody(users: &Users) -> String {
    let costs = users.values().filter_map(|hash| hash.get(4..6));
    format!("$2y${}${NOBODY}", costs.max().unwrap_or("10"))
}

/// One check, in a thread that may take its time.
struct Check {
    password: Vec<u8>,
    hash: String,
    is_known: bool,
    digest: Digest,
    kept: Arc<Mutex<Kept>>,
}

impl Check {
    /// Nobody else has a turn until the pause is over. It is made and remembered even if the
    /// client is gone: it may be back.
    fn make(self, tell: oneshot::Sender<Verdict>, _turn: OwnedSemaphorePermit) {
        let start = Instant::now();
        let matches = bcrypt::verify(&self.password, &self.hash).unwrap_or(false);
        let is_right = matches && self.is_known;
        let took = start.elapsed();
        let kept = self.kept.lock();
        kept.unwrap_or_else(PoisonError::into_inner)
            .keep(self.digest, is_right);
        // The client may be gone.
        let _ = tell.send(match is_right {
            true => Verdict::Right,
            false => Verdict::Wrong,
        });
        if !is_right {
            std::thread::sleep((took * PAUSE).min(LONGEST_PAUSE));
        }
    }
}

#[cfg(test)]
mod tests;
