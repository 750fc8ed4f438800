//! `refit path SPEC STAGE`: where a stage's artifact lies.

use std::collections::BTreeSet;

use clap::Args;

use super::remote::{RemoteArguments, tell_news};
use super::{
    Answer, Exit, Failure, Resolved, SpecArguments, StoreArguments, print, resolve, store_of_spec,
};
use crate::run::judge::assess;
use crate::store::ObjectState;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// The stage.
    stage: String,
    #[command(flatten)]
    remote: RemoteArguments,
    #[command(flatten)]
    store: StoreArguments,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{stage}` has no artifact now: {reason}")]
pub(super) struct NoArtifact {
    pub(super) stage: String,
    pub(super) reason: String,
    #[help]
    pub(super) help: String,
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let Resolved { pipeline, plan, .. } = resolve(&arguments.spec, &arguments.store, false)?;
    let targets = [arguments.stage.clone()];
    let selected = plan.select(&targets).map_err(Failure::unusable)?;
    let index = plan.named(&targets).map_err(Failure::unusable)?[0];
    let store = store_of_spec(&arguments.store, &pipeline)?;
    let (store, _) = arguments.remote.attach(store, Some(&pipeline))?;
    let assessments =
        assess(&plan, &selected, &BTreeSet::new(), &store).map_err(Failure::failed)?;
    store.save_memo();
    tell_news(&store);
    let found = assessments.iter().find(|one| one.step == index);
    if let Some(digest) = found.and_then(|one| one.digest)
        && let ObjectState::Present(path) = store.object(&digest)
    {
        print(&format!("{}\n", path.display()));
        return Ok(Exit::Done);
    }
    let there = found.and_then(|one| one.digest);
    let there = there.is_some_and(|digest| store.can_bring(&digest));
    let verb = match there {
        true => "cache pull",
        false => "run",
    };
    let missing = NoArtifact {
        stage: arguments.stage.clone(),
        reason: found.map(|one| one.reason.to_string()).unwrap_or_default(),
        help: format!(
            "`refit {verb} {} {}` {} it",
            arguments.spec.spec.display(),
            arguments.stage,
            if there { "brings" } else { "makes" }
        ),
    };
    Err(Failure::new(Exit::Pending, &missing))
}
