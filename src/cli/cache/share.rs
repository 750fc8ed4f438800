//! `refit cache push` and `refit cache pull`: results to a shared store, and from it.
//!
//! Deliberately absent: how they get there, which is `remote`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;

use super::super::fetch::Transfers;
use super::super::remote::{RemoteArguments, tell_news, wait};
use super::super::run::{INTERRUPTED, listen_for_interrupts};
use super::super::{
    Answer, Exit, Failure, Resolved, SpecArguments, StoreArguments, print, print_json, resolve,
    store_here, store_of_spec, tell,
};
use crate::artifact::Digest;
use crate::fingerprint::Key;
use crate::hub::Progress;
use crate::plan::Plan;
use crate::remote::{Outcome, Remote, RemoteError};
use crate::run::judge::{Assessment, Foreseen, assess};
use crate::store::{Brought, ObjectState, Record, Store, Upstream};

#[derive(Debug, Args)]
pub(super) struct Push {
    /// Only the results that this pipeline has now. Without it all of the store's.
    spec: Option<PathBuf>,
    /// Only these stages of it, and what they depend on.
    stages: Vec<String>,
    /// Lay a value over the spec: `--set train.classifier.epochs=1`.
    #[arg(long = "set", value_name = "PATH=VALUE", requires = "spec")]
    set: Vec<String>,
    /// Only say what would be sent.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    remote: RemoteArguments,
    #[command(flatten)]
    store: StoreArguments,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Pull {
    #[command(flatten)]
    spec: SpecArguments,
    /// The results of these stages. Without any, only those that the steps to run need.
    stages: Vec<String>,
    /// The results of every stage.
    #[arg(long, conflicts_with = "stages")]
    all: bool,
    /// Only say what would be fetched.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    remote: RemoteArguments,
    #[command(flatten)]
    store: StoreArguments,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// So many keys are asked for one by one; of more all names are listed.
const ASKED_ONE_BY_ONE: usize = 200;

pub(super) fn push(arguments: &Push) -> Answer {
    let (store, remote, keys) = match &arguments.spec {
        None => {
            let store = store_here(&arguments.store)?;
            let keys = store.keys().map_err(Failure::failed)?;
            let (store, remote) = arguments.remote.attach_some(store, None)?;
            (store, remote, keys)
        }
        Some(spec) => {
            let spec = SpecArguments {
                spec: spec.clone(),
                set: arguments.set.clone(),
            };
            let Resolved { pipeline, plan, .. } = resolve(&spec, &arguments.store, arguments.json)?;
            let selected = plan.select(&arguments.stages).map_err(Failure::unusable)?;
            // What is known here is what can be sent.
            let here = store_of_spec(&arguments.store, &pipeline)?;
            let assessed =
                assess(&plan, &selected, &BTreeSet::new(), &here).map_err(Failure::failed)?;
            let known = assessed.iter().filter(|one| one.digest.is_some());
            let keys: BTreeSet<Key> = known.filter_map(|one| one.key).collect();
            here.save_memo();
            let (store, remote) = arguments.remote.attach_some(here, Some(&pipeline))?;
            (store, remote, keys.into_iter().collect())
        }
    };
    if !remote.may_write() {
        let name = remote.name().to_owned();
        return Err(Failure::unusable(RemoteError::ReadOnly { name }));
    }
    listen_for_interrupts();
    let there = known_there(&remote, &keys)?;
    let (there, lacking): (Vec<Key>, Vec<Key>) =
        keys.into_iter().partition(|key| there.contains(key));
    let already = there.len();
    let lacking = lacking.iter().filter_map(|key| store.record(key));
    let lacking: Vec<Record> = lacking
        .filter(|record| store.is_there(&record.digest))
        .collect();
    // Nothing that is not what it was goes out in its name.
    let whole = |record: &Record| matches!(store.object(&record.digest), ObjectState::Present(_));
    let (lacking, damaged): (Vec<Record>, Vec<Record>) = lacking.into_iter().partition(whole);
    store.save_memo();
    if !arguments.dry_run {
        lacking.iter().for_each(|record| store.offer(record));
    }
    let ended = match arguments.dry_run {
        true => Vec::new(),
        false => {
            let ended = wait(&store, &remote);
            let kept = |digest: &Digest| store.is_there(digest);
            remote.forget_uploads(&kept);
            ended
        }
    };
    tell_news(&store);
    let of = |wanted: &[Outcome]| {
        let those = ended.iter().filter(|one| wanted.contains(&one.outcome));
        those.map(|one| one.key).collect::<BTreeSet<_>>()
    };
    let sent = match arguments.dry_run {
        true => lacking.iter().map(|record| record.key).collect(),
        false => of(&[Outcome::Sent]),
    };
    let other = of(&[Outcome::Other]);
    let already = already + of(&[Outcome::Already]).len();
    let bytes: u64 = lacking
        .iter()
        .filter(|record| sent.contains(&record.key))
        .map(|record| record.bytes)
        .sum();
    let failed = match arguments.dry_run {
        true => 0,
        false => lacking.len() - of(&[Outcome::Sent, Outcome::Other, Outcome::Already]).len(),
    };
    if arguments.json {
        let one = |record: &Record| json!({ "key": record.key, "kind": record.kind, "digest": record.digest, "bytes": record.bytes });
        let rows = lacking.iter().filter(|record| sent.contains(&record.key));
        print_json(&json!({
            "remote": remote.name(),
            "dry_run": arguments.dry_run,
            "sent": rows.map(one).collect::<Vec<_>>(),
            "bytes": bytes,
            "already": already,
            "other": other.len(),
            "damaged": damaged.iter().map(one).collect::<Vec<_>>(),
            "failed": failed,
        }));
    } else {
        let verb = if arguments.dry_run {
            "would send"
        } else {
            "sent"
        };
        for record in lacking.iter().filter(|record| sent.contains(&record.key)) {
            print(&format!(
                "{verb} {} {} ({})\n",
                record.kind,
                record.key.short(),
                HumanBytes(record.bytes)
            ));
        }
        tell(&format!(
            "{verb} {} results, {}; {} had {already}\n",
            sent.len(),
            HumanBytes(bytes),
            remote.name()
        ));
    }
    for record in &damaged {
        tell(&format!(
            " warning  the {} {} is damaged here and not sent; `refit run` builds it again\n",
            record.kind,
            record.key.short()
        ));
    }
    if INTERRUPTED.load(Ordering::Relaxed) {
        tell("interrupted; the same command goes on\n");
        return Ok(Exit::Interrupted);
    }
    if failed > 0 {
        if let Some(lost) = remote.lost() {
            return Err(Failure::failed(lost));
        }
        tell(&format!(
            "{failed} results were not sent; the same command goes on\n"
        ));
    }
    Ok(match failed + damaged.len() {
        0 => Exit::Done,
        _ => Exit::Failed,
    })
}

/// Which of these keys have their results in the shared store.
fn known_there(remote: &Remote, keys: &[Key]) -> Result<BTreeSet<Key>, Failure> {
    let there = if keys.len() > ASKED_ONE_BY_ONE {
        remote.keys().unwrap_or_default()
    } else {
        let found = remote.records(keys).into_iter();
        let whole = found.filter(|record| remote.has(&record.digest));
        whole.map(|record| record.key).collect()
    };
    match remote.lost() {
        Some(lost) => Err(Failure::failed(lost)),
        None => Ok(there),
    }
}

pub(super) fn pull(arguments: &Pull) -> Answer {
    let Resolved { pipeline, plan, .. } =
        resolve(&arguments.spec, &arguments.store, arguments.json)?;
    let selected = plan.select(&arguments.stages).map_err(Failure::unusable)?;
    let store = store_of_spec(&arguments.store, &pipeline)?;
    let (store, remote) = arguments.remote.attach_some(store, Some(&pipeline))?;
    listen_for_interrupts();
    let assessed = assess(&plan, &selected, &BTreeSet::new(), &store).map_err(Failure::failed)?;
    if let Some(lost) = remote.lost() {
        return Err(Failure::failed(lost));
    }
    let named: BTreeSet<usize> = match (arguments.all, arguments.stages.is_empty()) {
        (true, _) => selected,
        (false, true) => BTreeSet::new(),
        (false, false) => {
            let named = plan.named(&arguments.stages).map_err(Failure::unusable)?;
            named.into_iter().collect()
        }
    };
    let wanted = wanted(&plan, &assessed, &named);
    let mut records: BTreeMap<Digest, Record> = BTreeMap::new();
    for one in assessed.iter().filter(|one| wanted.contains(&one.step)) {
        let record = one.key.and_then(|key| store.record(&key));
        let absent =
            |record: &Record| !matches!(store.object(&record.digest), ObjectState::Present(_));
        if let Some(record) = record.filter(absent) {
            records.insert(record.digest, record);
        }
    }
    let mut fetched = Vec::new();
    let mut missing = Vec::new();
    for record in records.into_values() {
        if arguments.dry_run {
            match store.can_bring(&record.digest) {
                true => fetched.push(record),
                false => missing.push(record),
            }
            continue;
        }
        match bring(&store, &record)? {
            Brought::Here => fetched.push(record),
            Brought::Absent => missing.push(record),
            Brought::GaveUp => {
                tell("interrupted; the same command goes on\n");
                return Ok(Exit::Interrupted);
            }
        }
    }
    store.save_memo();
    tell_news(&store);
    if let Some(lost) = remote.lost() {
        return Err(Failure::failed(lost));
    }
    let known = assessed.iter().filter(|one| one.state == Foreseen::Fresh);
    let known = known.count();
    let bytes: u64 = fetched.iter().map(|record| record.bytes).sum();
    if arguments.json {
        let one = |record: &Record| json!({ "key": record.key, "kind": record.kind, "digest": record.digest, "bytes": record.bytes });
        print_json(&json!({
            "remote": remote.name(),
            "dry_run": arguments.dry_run,
            "fetched": fetched.iter().map(one).collect::<Vec<_>>(),
            "bytes": bytes,
            "missing": missing.iter().map(one).collect::<Vec<_>>(),
            "known": known,
            "stages": assessed.len(),
        }));
    } else {
        let verb = if arguments.dry_run {
            "would fetch"
        } else {
            "fetched"
        };
        for record in &fetched {
            print(&format!(
                "{verb} {} {} ({})\n",
                record.kind,
                record.key.short(),
                HumanBytes(record.bytes)
            ));
        }
        tell(&format!(
            "{known} of {} stages are known; {verb} {} results, {}\n",
            assessed.len(),
            fetched.len(),
            HumanBytes(bytes)
        ));
        for record in &missing {
            tell(&format!(
                "the {} {} is not to be had; `refit run` builds it\n",
                record.kind,
                record.key.short()
            ));
        }
    }
    Ok(match missing.is_empty() {
        true => Exit::Done,
        false => Exit::Failed,
    })
}

/// The steps whose artifacts are to be here: those that were named, those that others read which must run, and those that are
/// to be placed.
fn wanted(plan: &Plan, assessed: &[Assessment], named: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut wanted = named.clone();
    for one in assessed {
        match one.state {
            Foreseen::Fresh => {}
            Foreseen::Run if one.digest.is_some() => {
                wanted.insert(one.step);
            }
            Foreseen::Run | Foreseen::Pending => {
                wanted.extend(plan.steps[one.step].inputs.values());
            }
        }
    }
    wanted
}

/// Brings one object, with a bar.
pub(in crate::cli) fn bring(store: &Store, record: &Record) -> Result<Brought, Failure> {
    let voice = Mutex::new(Transfers::new(&INTERRUPTED));
    let told = AtomicBool::new(false);
    let what = format!("{} {}", record.kind, record.key.short());
    let on_bytes = |bytes: u64| {
        if bytes > 0
            && let Ok(voice) = voice.lock()
        {
            if !told.swap(true, Ordering::Relaxed) {
                voice.start(&what, record.bytes);
            }
            voice.advance(bytes);
        }
        stop()
    };
    store
        .bring(record, &on_bytes, &mut |_| stop())
        .map_err(Failure::failed)
}

fn stop() -> ControlFlow<()> {
    match INTERRUPTED.load(Ordering::Relaxed) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}
