//! `refit cache`: list, verify, collect and share what the store holds.

pub(super) mod share;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use jiff::{Span, Timestamp, Zoned};
use serde_json::json;

use super::{
    Answer, Exit, Failure, Resolved, SpecArguments, StoreArguments, print, print_json, resolve,
    store_here, table, tell,
};
use crate::run::judge::recorded;
use crate::store::{Scope, Store, Used};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List every result, newest first, then the checkpoints of unfinished work and what services answered.
    List {
        #[command(flatten)]
        store: StoreArguments,
        /// Print a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Hash every object anew. The next run rebuilds a damaged one; exits 1 then.
    Verify {
        #[command(flatten)]
        store: StoreArguments,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Remove objects, and checkpoints that nobody goes on from. Needs a scope; with both, one must be in both. Keys are
    /// kept, so steps stay fresh; so is what services answered.
    Gc {
        /// Keep what these specs use now, remove the rest.
        #[arg(long, value_name = "SPEC", num_args = 1..)]
        unused_by: Vec<PathBuf>,
        /// Remove what was made longer ago than this: `7d`, `12h`, `2w`.
        #[arg(long, value_name = "AGE")]
        older_than: Option<String>,
        /// Only say what would be removed.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        store: StoreArguments,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Send results to a shared store that lacks them.
    Push(share::Push),
    /// Fetch results from a shared store: those that the steps to run need, or those of the named stages.
    Pull(share::Pull),
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`--older-than {0}` is no age")]
#[diagnostic(help("write a number and a unit: 7d, 12h, 2w, 30min"))]
pub(super) struct NoAge(pub(super) String);

pub(super) fn answer(arguments: &Arguments) -> Answer {
    match &arguments.command {
        Command::List { store, json } => list(&store_here(store)?, *json),
        Command::Verify { store, json } => verify(&store_here(store)?, *json),
        Command::Gc {
            unused_by,
            older_than,
            dry_run,
            store,
            json,
        } => {
            let store = store_here(store)?;
            let keep = if unused_by.is_empty() {
                None
            } else {
                Some(used_by(unused_by, &store)?)
            };
            let older_than = older_than.as_deref().map(moment).transpose()?;
            gc(&store, &Scope { keep, older_than }, *dry_run, *json)
        }
        Command::Push(arguments) => share::push(arguments),
        Command::Pull(arguments) => share::pull(arguments),
    }
}

fn list(store: &Store, as_json: bool) -> Answer {
    let listed = store.list().map_err(Failure::failed)?;
    if as_json {
        let rows: Vec<_> = listed
            .iter()
            .map(|one| {
                json!({
                    "key": one.key,
                    "kind": one.kind,
                    "artifact": one.artifact,
                    "digest": one.digest,
                    "bytes": one.bytes,
                    "created": one.created,
                    "collected": one.collected,
                })
            })
            .collect();
        print_json(&json!(rows));
        return Ok(Exit::Done);
    }
    let mut rows = table(&["key", "kind", "digest", "size", "created", ""]);
    for one in &listed {
        rows.add_row([
            one.key.short(),
            one.kind.clone(),
            one.digest.short(),
            HumanBytes(one.bytes).to_string(),
            local(one.created),
            if one.collected {
                "collected".to_owned()
            } else {
                String::new()
            },
        ]);
    }
    for one in store.unfinished().map_err(Failure::failed)? {
        rows.add_row([
            one.key.short(),
            "checkpoints".to_owned(),
            String::new(),
            HumanBytes(one.bytes).to_string(),
            local(one.written),
            if one.done { "left over" } else { "unfinished" }.to_owned(),
        ]);
    }
    if let Some(answers) = store.answers() {
        rows.add_row([
            String::new(),
            "answers".to_owned(),
            String::new(),
            HumanBytes(answers.bytes).to_string(),
            local(answers.written),
            format!("in {}", store.kept().display()),
        ]);
    }
    print(&format!("{}\n", rows.trim_fmt()));
    Ok(Exit::Done)
}

fn local(time: Timestamp) -> String {
    let zoned = time.to_zoned(jiff::tz::TimeZone::system());
    zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn verify(store: &Store, as_json: bool) -> Answer {
    let bar = indicatif::ProgressBar::new_spinner().with_message("objects verified");
    bar.set_style(
        indicatif::ProgressStyle::with_template("{spinner} {pos} {msg}")
            .unwrap_or_else(|_| indicatif::ProgressStyle::default_spinner()),
    );
    let verified = store.verify(&mut |_| bar.inc(1)).map_err(Failure::failed)?;
    bar.finish_and_clear();
    if as_json {
        let bad: Vec<_> = verified
            .bad
            .iter()
            .map(|one| json!({ "digest": one.digest, "problems": one.problems }))
            .collect();
        print_json(&json!({ "checked": verified.checked, "bytes": verified.bytes, "bad": bad }));
    } else {
        for one in &verified.bad {
            print(&format!(
                "damaged {}: {}\n",
                one.digest,
                one.problems.join("; ")
            ));
        }
        tell(&format!(
            "{} objects, {}, {} damaged\n",
            verified.checked,
            HumanBytes(verified.bytes),
            verified.bad.len()
        ));
        if !verified.bad.is_empty() {
            tell("`refit run` rebuilds what is damaged\n");
        }
    }
    Ok(if verified.bad.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn gc(store: &Store, scope: &Scope, dry_run: bool, as_json: bool) -> Answer {
    if scope.keep.is_none() && scope.older_than.is_none() {
        return Err(Failure::unusable(crate::store::StoreError::NoScope));
    }
    let collected = store.gc(scope, dry_run).map_err(Failure::failed)?;
    let unknown = scope.keep.as_ref().is_some_and(|keep| keep.unknown);
    if as_json {
        let objects: Vec<_> = collected
            .objects
            .iter()
            .map(|one| json!({ "digest": one.digest, "bytes": one.bytes }))
            .collect();
        print_json(&json!({
            "dry_run": dry_run,
            "removed": objects,
            "checkpoints": collected.checkpoints,
            "bytes": collected.bytes,
            "kept": collected.kept,
            "kept_checkpoints": collected.kept_checkpoints,
            "unknown_keys": unknown,
            "answers": store.answers(),
        }));
        return Ok(Exit::Done);
    }
    let verb = if dry_run { "would remove" } else { "removed" };
    for one in &collected.objects {
        print(&format!(
            "{verb} {} ({})\n",
            one.digest,
            HumanBytes(one.bytes)
        ));
    }
    for one in &collected.checkpoints {
        print(&format!(
            "{verb} the checkpoints of {} ({}), {}\n",
            one.key,
            HumanBytes(one.bytes),
            if one.done {
                "which is done"
            } else {
                "unfinished"
            }
        ));
    }
    tell(&format!(
        "{verb} {} objects, {}; {} kept\n",
        collected.objects.len(),
        HumanBytes(collected.bytes),
        collected.kept
    ));
    let kept: u64 = collected.kept_checkpoints.iter().map(|one| one.bytes).sum();
    if kept > 0 {
        tell(&format!(
            "the checkpoints of {} unfinished steps are kept, {}\n",
            collected.kept_checkpoints.len(),
            HumanBytes(kept)
        ));
        if unknown {
            tell(
                "(all of them, since not every step of the specs can be known now: a model or data set is not fetched, or a trial \
                 cannot be planned; `refit plan` says which)\n",
            );
        }
    }
    let uploads = std::fs::read_dir(store.uploads()).map_or(0, Iterator::count);
    if uploads > 0 {
        tell(&format!(
            "the uploads of {uploads} files to a shared store are half done; `refit cache push` goes on with them, or ends those \
             whose object is gone\n"
        ));
    }
    if let Some(answers) = store.answers() {
        tell(&format!(
            "answers of programs and services are kept, {}; to have everything asked anew, delete {}\n",
            HumanBytes(answers.bytes),
            store.kept().display()
        ));
    }
    Ok(Exit::Done)
}

/// What a run of these specs would use as it is.
fn used_by(specs: &[PathBuf], store: &Store) -> Result<Used, Failure> {
    let mut used = Used::default();
    for spec in specs {
        let spec = SpecArguments {
            spec: spec.clone(),
            set: Vec::new(),
        };
        let store_here = StoreArguments {
            store: Some(store.root().to_owned()),
        };
        let Resolved { pipeline, plan, .. } = resolve(&spec, &store_here, false)?;
        used.extend(recorded(&plan, store).map_err(Failure::failed)?);
        used.extend(super::sweep::used(&pipeline, &store_here, store)?);
    }
    Ok(used)
}

fn moment(age: &str) -> Result<Timestamp, Failure> {
    let span: Span = age
        .parse()
        .map_err(|_| Failure::unusable(NoAge(age.to_owned())))?;
    let moment = Zoned::now()
        .checked_sub(span.abs())
        .map_err(|_| Failure::unusable(NoAge(age.to_owned())))?;
    Ok(moment.timestamp())
}
