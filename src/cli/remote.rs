//! The shared store of a command: which one, and the end of what is sent to it.
//!
//! A flag wins over REFIT_REMOTE, and that over `[run] remote`.
//!
//! Deliberately absent: what is fetched and sent, which is the run's.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;

use super::fetch::Transfers;
use super::run::INTERRUPTED;
use super::{Failure, tell};
use crate::hub::{Environment, Progress};
use crate::remote::{Outcome, Place, Remote, RemoteError, Sent, VARIABLE};
use crate::spec::Pipeline;
use crate::store::{Store, Upstream};

/// How often it is looked at what went out.
const TICK: Duration = Duration::from_millis(50);

#[derive(Debug, Default, Args)]
pub(super) struct RemoteArguments {
    /// Share results with other machines there: s3://BUCKET/FOLDER, gs://…, az://… or a folder. Default: `REFIT_REMOTE`, else
    /// `[run] remote`.
    #[arg(long, value_name = "URL")]
    pub(super) remote: Option<String>,
    /// Fetch no results and send none.
    #[arg(long, conflicts_with = "remote")]
    pub(super) no_remote: bool,
}

impl RemoteArguments {
    /// Where results are shared, and whether any are sent.
    fn place(&self, pipeline: Option<&Pipeline>) -> Result<Option<(Place, bool)>, Failure> {
        if self.no_remote {
            return Ok(None);
        }
        let named = std::env::var(VARIABLE).ok();
        let named = self
            .remote
            .clone()
            .or(named.filter(|text| !text.trim().is_empty()));
        let place = match (named, pipeline) {
            (Some(text), _) => Place::parse(&text, Path::new(".")).map(|place| (place, true)),
            (None, Some(pipeline)) => match &pipeline.run.remote {
                Some(settings) => Place::parse(&settings.url, pipeline.folder())
                    .map(|place| (place, settings.write)),
                None => return Ok(None),
            },
            (None, None) => return Ok(None),
        };
        place.map(Some).map_err(Failure::unusable)
    }

    /// The store with the shared one behind it, where there is one.
    pub(super) fn attach(
        &self,
        store: Store,
        pipeline: Option<&Pipeline>,
    ) -> Result<(Store, Option<Arc<Remote>>), Failure> {
        let Some((place, may_write)) = self.place(pipeline)? else {
            return Ok((store, None));
        };
        let environment = Environment::of_process();
        let remote = Remote::open(&place, may_write, &store, &environment);
        let remote = Arc::new(remote.map_err(Failure::unusable)?);
        let store = store.with_upstream(Arc::clone(&remote) as Arc<dyn Upstream>);
        Ok((store, Some(remote)))
    }

    /// The same, where nothing can be done without a shared store.
    pub(super) fn attach_some(
        &self,
        store: Store,
        pipeline: Option<&Pipeline>,
    ) -> Result<(Store, Arc<Remote>), Failure> {
        match self.attach(store, pipeline)? {
            (store, Some(remote)) => Ok((store, remote)),
            _ => Err(Failure::unusable(RemoteError::NoPlace)),
        }
    }
}

/// Waits until everything is sent, or the user asked to stop; what became of it.
pub(super) fn wait(store: &Store, remote: &Remote) -> Vec<Sent> {
    let (pending, done, all) = remote.sending();
    if pending > 0 {
        // What is sent must not be collected meanwhile; where it cannot be kept from that, its upload fails.
        let _hold = store.hold(&mut |_| std::ops::ControlFlow::Break(()));
        let voice = Transfers::sending(&INTERRUPTED);
        voice.start(
            &format!("results to {}", remote.name()),
            all.saturating_sub(done),
        );
        let mut shown = done;
        while !INTERRUPTED.load(Ordering::Relaxed) {
            let (pending, done, _) = remote.sending();
            voice.advance(done.saturating_sub(shown));
            shown = shown.max(done);
            if pending == 0 {
                break;
            }
            std::thread::sleep(TICK);
        }
        if remote.sending().0 > 0 {
            remote.let_go();
        }
    }
    remote.ended()
}

/// Waits for what a run sends, and says what did not go out.
pub(super) fn finish(store: &Store, remote: Option<&Arc<Remote>>, say: &dyn Fn(&str)) {
    let Some(remote) = remote else { return };
    let ended = wait(store, remote);
    store.news().iter().for_each(|text| say(text));
    let (pending, ..) = remote.sending();
    let failed = ended.iter().filter(|one| one.outcome == Outcome::Failed);
    let unsent = failed.count() + pending;
    if unsent > 0 {
        let results = if unsent == 1 {
            "result was"
        } else {
            "results were"
        };
        say(&format!(
            "{unsent} {results} not sent to {}; `refit cache push` sends what is lacking there",
            remote.name()
        ));
    }
}

/// Says what is to be known of the shared store, where no run does.
pub(super) fn tell_news(store: &Store) {
    for text in store.news() {
        tell(&format!(" warning  {text}\n"));
    }
}
