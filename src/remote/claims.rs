//! Claims: who builds what has a key, so that others wait for it instead of building it too.
//!
//! A claim is a small file that is made on the condition that there is none. Its holder writes it anew now and then, and
//! takes it away when the record is there, or when nothing came of it. Whoever finds one waits as long as its content changes,
//! by its own clock: no two machines need agree on the time. One that stays as it was is a dead holder's, and is taken over on
//! the condition that it still is as it was.
//!
//! A claim saves work and protects nothing: two holders at once build the same content under the same name.
//!
//! Deliberately absent: locks between the processes of one store, which that store has itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::{PutMode, PutResult, UpdateVersion};

use super::heard::{Claim, LARGEST_CLAIM};
use super::{Failed, Shared};
use crate::artifact::Digest;
use crate::fingerprint::Key;
use crate::store::{Claimed, OnOther, Record};

/// How often a claim is written anew and looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) renew: Duration,
    pub(super) look: Duration,
    /// One that did not change for so long is a dead holder's.
    pub(super) stale: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            renew: Duration::from_secs(10),
            look: Duration::from_secs(1),
            stale: Duration::from_secs(60),
        }
    }
}

/// How often it is asked whether to stop.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// A claim of this process.
#[derive(Debug, Clone)]
pub(super) struct Held {
    claim: Claim,
    tag: Option<String>,
}

/// What came of one attempt.
enum Attempt {
    Ours,
    Built(Box<Record>),
    /// Somebody else's, as it is now.
    Theirs(Claim, Option<String>),
    /// It went away meanwhile.
    Again,
}

/// Claims a key, or waits for who has it.
pub(super) fn claim(
    shared: &Arc<Shared>,
    runtime: &tokio::runtime::Runtime,
    key: &Key,
    on_other: OnOther,
) -> Claimed {
    let ours = Claim {
        token: token(key),
        host: host(),
        pid: std::process::id(),
        beat: 0,
    };
    let began = Instant::now();
    let mut seen: Option<(Claim, Instant)> = None;
    let mut pause = HEARTBEAT.min(shared.pace.look);
    loop {
        let (theirs, tag) = match runtime.block_on(shared.try_claim(key, &ours, seen.is_some())) {
            Attempt::Ours => {
                renew(shared, runtime);
                return Claimed::Ours;
            }
            Attempt::Built(record) => return Claimed::Built(record),
            Attempt::Again => continue,
            Attempt::Theirs(claim, tag) => (claim, tag),
        };
        let since = match &seen {
            Some((before, since)) if *before == theirs => *since,
            _ => Instant::now(),
        };
        let holder = theirs.holder();
        let dead = theirs.host == ours.host && is_gone(theirs.pid);
        if dead || since.elapsed() >= shared.pace.stale {
            tracing::info!(%key, holder, "its claim is taken over");
            match runtime.block_on(shared.take_over(key, &ours, tag)) {
                Attempt::Ours => {
                    renew(shared, runtime);
                    return Claimed::Ours;
                }
                Attempt::Built(record) => return Claimed::Built(record),
                Attempt::Again | Attempt::Theirs(..) => {}
            }
        }
        seen = Some((theirs, since));
        let next = Instant::now() + pause;
        pause = (pause * 2).min(shared.pace.look);
        while Instant::now() < next {
            if on_other(&holder, began.elapsed()).is_break() {
                return Claimed::GaveUp;
            }
            std::thread::sleep(HEARTBEAT.min(shared.pace.look));
        }
    }
}

/// Sees to it that the claims of this process stay fresh as long as it lives.
fn renew(shared: &Arc<Shared>, runtime: &tokio::runtime::Runtime) {
    if std::mem::replace(&mut shared.state().renewing, true) {
        return;
    }
    let weak = Arc::downgrade(shared);
    let pause = shared.pace.renew;
    runtime.spawn(async move {
        loop {
            tokio::time::sleep(pause).await;
            let Some(shared) = weak.upgrade() else { return };
            let keys: Vec<Key> = shared.state().held.keys().copied().collect();
            for key in keys {
                shared.renew_one(&key).await;
            }
        }
    });
}

impl Shared {
    fn may_claim(&self) -> bool {
        let state = self.state();
        self.may_write && state.gone.is_none() && state.closed.is_none() && !state.claimless
    }

    async fn try_claim(&self, key: &Key, ours: &Claim, waiting: bool) -> Attempt {
        // That it is not built was just asked; while one waits, it may be at any moment.
        if waiting && let Some(record) = self.sound_record(*key).await {
            return Attempt::Built(Box::new(record));
        }
        self.contact().await;
        if !self.may_claim() {
            return Attempt::Ours;
        }
        let at = self.at("claims", &key.to_string());
        match self.put(&at, &text(ours), PutMode::Create).await {
            Ok(put) => self.won(key, ours, put).await,
            Err(Failed::Taken) => match self.read(&at, LARGEST_CLAIM).await {
                Ok(Some((bytes, tag))) => match Claim::read(&bytes) {
                    // The answer to an earlier attempt was lost.
                    Some(claim) if claim.token == ours.token => {
                        self.hold(key, ours, tag);
                        Attempt::Ours
                    }
                    Some(claim) => Attempt::Theirs(claim, tag),
                    None => Attempt::Theirs(unreadable(), tag),
                },
                Ok(None) => Attempt::Theirs(unreadable(), None),
                Err(Failed::Absent) => Attempt::Again,
                Err(_) => Attempt::Ours,
            },
            Err(Failed::Denied(reason)) => {
                self.close(&reason);
                Attempt::Ours
            }
            Err(Failed::Unable | Failed::Changed) => {
                self.state().claimless = true;
                Attempt::Ours
            }
            // The bucket itself may be what is absent; what is sent will say so.
            Err(Failed::Gone | Failed::Absent) => Attempt::Ours,
        }
    }

    async fn take_over(&self, key: &Key, ours: &Claim, tag: Option<String>) -> Attempt {
        let at = self.at("claims", &key.to_string());
        let version = UpdateVersion {
            e_tag: tag,
            version: None,
        };
        match self.put(&at, &text(ours), PutMode::Update(version)).await {
            Ok(put) => self.won(key, ours, put).await,
            Err(Failed::Unable) => {
                // Where nothing can be replaced on a condition, as in a folder, it goes first.
                let _ = self.delete(&at).await;
                Attempt::Again
            }
            Err(_) => Attempt::Again,
        }
    }

    async fn won(&self, key: &Key, ours: &Claim, put: PutResult) -> Attempt {
        self.hold(key, ours, put.e_tag);
        match self.sound_record(*key).await {
            Some(record) => {
                self.release(key).await;
                Attempt::Built(Box::new(record))
            }
            None => Attempt::Ours,
        }
    }

    fn hold(&self, key: &Key, ours: &Claim, tag: Option<String>) {
        let held = Held {
            claim: ours.clone(),
            tag,
        };
        self.state().held.insert(*key, held);
    }

    async fn renew_one(&self, key: &Key) {
        let _turn = self.claiming.lock().await;
        let Some(Held { mut claim, tag }) = self.state().held.get(key).cloned() else {
            return;
        };
        claim.beat += 1;
        let at = self.at("claims", &key.to_string());
        let update = PutMode::Update(UpdateVersion {
            e_tag: tag,
            version: None,
        });
        let put = match self.put(&at, &text(&claim), update).await {
            Err(Failed::Unable) => self.put(&at, &text(&claim), PutMode::Overwrite).await,
            put => put,
        };
        let mut state = self.state();
        match put {
            Ok(put) => {
                let tag = put.e_tag;
                state.held.insert(*key, Held { claim, tag });
            }
            // Another took it over: it is that one's now.
            Err(Failed::Changed | Failed::Absent) => {
                state.held.remove(key);
            }
            Err(_) => {}
        }
    }

    /// Ends a claim. One that is just being renewed is waited for, so that it does not come back.
    pub(super) async fn release(&self, key: &Key) {
        let _turn = self.claiming.lock().await;
        let held = self.state().held.remove(key);
        if held.is_some() {
            let _ = self.delete(&self.at("claims", &key.to_string())).await;
        }
    }

    /// Ends all claims of this process.
    pub(super) async fn release_all(&self) {
        let keys: Vec<Key> = self.state().held.keys().copied().collect();
        for key in keys {
            self.release(&key).await;
        }
    }
}

fn text(claim: &Claim) -> Vec<u8> {
    serde_json::to_vec(claim).unwrap_or_default()
}

/// One that cannot be read is waited for as any other.
fn unreadable() -> Claim {
    Claim {
        token: String::new(),
        host: String::new(),
        pid: 0,
        beat: 0,
    }
}

/// What no other claim has.
fn token(key: &Key) -> String {
    let now = jiff::Timestamp::now().as_nanosecond();
    let text = format!("{} {} {now} {key}", host(), std::process::id());
    Digest::of(text.as_bytes()).short()
}

/// What this machine is called.
#[cfg(unix)]
fn host() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: it writes at most so many bytes there.
    let failed = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) };
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(0);
    match failed {
        0 => String::from_utf8_lossy(&name[..end]).into_owned(),
        _ => String::new(),
    }
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// Whether this machine has no such process.
#[cfg(unix)]
fn is_gone(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return false;
    };
    // SAFETY: signal 0 is only a question.
    let asked = unsafe { libc::kill(pid, 0) };
    pid > 0 && asked == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
}

#[cfg(not(unix))]
fn is_gone(_: u32) -> bool {
    false
}
