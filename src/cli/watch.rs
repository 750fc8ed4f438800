//! `refit watch SPEC [STAGE…]`: bring a pipeline up to date again whenever the spec or a file that it reads changes.
//!
//! After a change the spec is read anew. A run goes on as long as what runs still has the key that it was begun with; else it
//! is stopped, and what is new begins. A spec that is broken is told of once, and stops nothing.
//!
//! Deliberately absent: hub repositories and addresses, which are read once (`refit run --update` asks anew).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use super::progress::Terminal;
use super::remote::{RemoteArguments, finish};
use super::run::{INTERRUPTED, checkpoints, device, listen_for_interrupts, provenance, summary};
use super::{
    Answer, Exit, Failure, Resolved, SpecArguments, StoreArguments, fetch, resolve, store_of_spec,
    table, tell,
};
use crate::fingerprint::Key;
use crate::hub;
use crate::outcome::Reason;
use crate::plan::{Plan, Step};
use crate::run::judge::{Foreseen, assess};
use crate::run::{Observer, Options, RunError, run};
use crate::spec::{Pipeline, folder_of};
use crate::stage::Progress;
use crate::store::{StepRecord, Store};
use crate::track::Tracker;
use crate::watch::{Wake, Watcher};

/// How often it is looked whether the user asked to stop.
const TICK: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// Only these stages, and what they depend on.
    stages: Vec<String>,
    /// How many independent stages may run side by side. Default: `[run] jobs`.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Where tensors live: auto, or one or several of flex, ndarray, cuda, cuda:N, cuda:all, ws://HOST:PORT (a worker) with commas
    /// between. Default: `[run] device`.
    #[arg(long, value_parser = device)]
    device: Option<String>,
    /// After how many steps a training writes down how far it is; 0 never does. Default: `[run] checkpoint`.
    #[arg(long, value_name = "STEPS")]
    checkpoint_every: Option<u32>,
    /// Let stages start the programs, and send rows to the services, that the spec names. It holds for whatever the spec says
    /// later on, too.
    #[arg(long)]
    allow_commands: bool,
    #[command(flatten)]
    remote: RemoteArguments,
    #[command(flatten)]
    store: StoreArguments,
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    listen_for_interrupts();
    let mut watch = Watch {
        arguments,
        watcher: Watcher::new(),
        files: [arguments.spec.spec.clone()].into(),
        told: String::new(),
    };
    // A first reading that finds no file is a slip of the command line; a later one, an editor's way of saving.
    if !arguments.spec.spec.exists() {
        Pipeline::read(&arguments.spec.spec, &[]).map_err(Failure::unusable)?;
    }
    watch.follow();
    while !INTERRUPTED.load(Ordering::Relaxed) {
        let again = match watch.look() {
            Some(resolved) => watch.bring_up_to_date(resolved)?,
            None => false,
        };
        if !again {
            tell("watching for changes; Ctrl-C ends it\n");
            loop {
                let wake = watch.watcher.wait(TICK);
                if wake == Wake::Changed || INTERRUPTED.load(Ordering::Relaxed) {
                    break;
                }
            }
            watch.follow();
        }
    }
    Ok(Exit::Interrupted)
}

struct Watch<'a> {
    arguments: &'a Arguments,
    watcher: Watcher,
    /// What the pipeline reads, as far as that is known.
    files: BTreeSet<PathBuf>,
    /// What was said last of a spec that cannot be used.
    told: String,
}

impl Watch<'_> {
    fn follow(&mut self) {
        let root = folder_of(&self.arguments.spec.spec);
        self.watcher.follow(root, &self.files);
    }

    /// The pipeline as it is now, with its files followed; nothing where it cannot be used, which is told once.
    fn look(&mut self) -> Option<Resolved> {
        match resolve(&self.arguments.spec, &self.arguments.store, false) {
            Ok(resolved) => {
                self.told.clear();
                let before = std::mem::replace(&mut self.files, files_of(&resolved));
                if before == self.files {
                    return Some(resolved);
                }
                self.follow();
                // What happened before these were followed was not seen.
                let again = resolve(&self.arguments.spec, &self.arguments.store, false);
                again.ok().or(Some(resolved))
            }
            Err(failure) => {
                if failure.text != self.told {
                    tell(&failure.text);
                    self.told = failure.text;
                }
                None
            }
        }
    }

    /// Runs what is to be run, and whether to look again at once. Files that change meanwhile may stop it.
    fn bring_up_to_date(&mut self, resolved: Resolved) -> Result<bool, Failure> {
        let arguments = self.arguments;
        let fetched = resolved
            .plan
            .select(&arguments.stages)
            .map_err(Failure::unusable)
            .and_then(|selected| {
                let all = fetch::everything(resolved, &selected, false, &INTERRUPTED, false)?;
                // What was fetched may have brought steps along.
                let selected = all
                    .plan
                    .select(&arguments.stages)
                    .map_err(Failure::unusable)?;
                Ok((all, selected))
            });
        let (Resolved { pipeline, plan, .. }, selected) = match fetched {
            Ok(fetched) => fetched,
            Err(failure) => {
                tell(&failure.text);
                return Ok(false);
            }
        };
        let store = store_of_spec(&arguments.store, &pipeline)?;
        let (store, remote) = arguments.remote.attach(store, Some(&pipeline))?;
        if !announce(&plan, &selected, &store)? {
            return Ok(false);
        }
        let jobs = arguments.jobs.map_or(pipeline.run.jobs, usize::from);
        let device = arguments.device.clone();
        let device = device.unwrap_or(pipeline.run.device.clone());
        let stop = AtomicBool::new(false);
        let options = Options {
            selected,
            forced: BTreeSet::new(),
            jobs,
            keep_going: false,
            interrupted: &stop,
            checkpoint: checkpoints(&pipeline, arguments.checkpoint_every),
            provenance: provenance(&pipeline, &device, jobs),
            device,
            allow_commands: arguments.allow_commands,
            recorded: true,
        };
        let following = Following {
            inner: Terminal::new(&plan, &stop),
            running: Mutex::default(),
        };
        let tracker = Tracker::start(&pipeline, options.provenance.commit.as_deref());
        let tracked = tracker.observe(&following, &plan, &store, None);
        let mut again = false;
        let record = std::thread::scope(|scope| {
            let ended = self.watcher.waker();
            let (plan, store, options) = (&plan, &store, &options);
            let (following, tracked) = (&following, &tracked);
            let worker = scope.spawn(move || {
                let record = run(plan, store, options, tracked);
                ended();
                record
            });
            while !worker.is_finished() {
                if INTERRUPTED.load(Ordering::Relaxed) {
                    stop.store(true, Ordering::Relaxed);
                }
                if self.watcher.wait(TICK) == Wake::Changed {
                    again = true;
                    self.follow();
                    let stale = self
                        .look()
                        .and_then(|now| following.stale(&now.plan, store));
                    if let Some(stage) = stale.filter(|_| !stop.load(Ordering::Relaxed)) {
                        following
                            .inner
                            .line(&format!("{stage} is out of date: stopping it"));
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            }
            worker.join()
        });
        let record = match record {
            Ok(record) => record.map_err(Failure::failed)?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        drop(tracked);
        following.inner.warn_of(tracker);
        finish(&store, remote.as_ref(), &|text| {
            following.inner.warned(text)
        });
        let by_user = INTERRUPTED.load(Ordering::Relaxed);
        following.inner.line(&summary(&record, by_user));
        Ok(again)
    }
}

/// Shows what is to be run, and why; whether there is anything.
fn announce(plan: &Plan, selected: &BTreeSet<usize>, store: &Store) -> Result<bool, Failure> {
    let assessed = assess(plan, selected, &BTreeSet::new(), store).map_err(Failure::failed)?;
    store.save_memo();
    let due: Vec<_> = assessed
        .iter()
        .filter(|one| one.state != Foreseen::Fresh)
        .collect();
    if due.is_empty() {
        tell(&format!("{}: up to date\n", plan.pipeline));
        return Ok(false);
    }
    let mut rows = table(&["stage", "kind", "because"]);
    for one in due {
        let step = &plan.steps[one.step];
        rows.add_row([step.name.as_str(), step.kind, &one.reason.to_string()]);
    }
    tell(&format!("{}\n", rows.trim_fmt()));
    Ok(true)
}

/// All files that a pipeline reads: the spec, those that it extends, what its stages name, and the lock of what lies elsewhere.
fn files_of(resolved: &Resolved) -> BTreeSet<PathBuf> {
    let pipeline = &resolved.pipeline;
    let of_stages = resolved
        .plan
        .steps
        .iter()
        .flat_map(|step| step.files.values());
    let mut files: BTreeSet<PathBuf> = of_stages.cloned().collect();
    files.insert(pipeline.path.clone());
    files.insert(pipeline.folder().join(hub::LOCK));
    files.extend(pipeline.bases.iter().cloned());
    files
}

/// A terminal that knows what runs, and by which key.
struct Following<'i> {
    inner: Terminal<'i>,
    running: Mutex<BTreeMap<String, Key>>,
}

impl Following<'_> {
    fn ended(&self, step: &Step) {
        if let Ok(mut running) = self.running.lock() {
            running.remove(&step.name);
        }
    }

    /// A stage that runs and would get another key by this plan.
    fn stale(&self, plan: &Plan, store: &Store) -> Option<String> {
        let running = self.running.lock().ok()?.clone();
        let all = (0..plan.steps.len()).collect();
        // A file that is being written again will be looked at again.
        let assessed = assess(plan, &all, &BTreeSet::new(), store).ok()?;
        let key = |stage: &str| {
            let found = assessed
                .iter()
                .find(|one| plan.steps[one.step].name == stage);
            found.and_then(|one| one.key)
        };
        running
            .into_iter()
            .find_map(|(stage, begun)| (key(&stage) != Some(begun)).then_some(stage))
    }
}

impl Observer for Following<'_> {
    fn started<'a>(&'a self, step: &Step, key: Key, reason: &Reason) -> Box<dyn Progress + 'a> {
        if let Ok(mut running) = self.running.lock() {
            running.insert(step.name.clone(), key);
        }
        self.inner.started(step, key, reason)
    }

    fn waiting(&self, step: &Step) {
        self.inner.waiting(step);
    }

    fn waiting_for(&self, step: &Step, who: &str) {
        self.inner.waiting_for(step, who);
    }

    fn fetching<'a>(&'a self, step: &Step, place: &str) -> Box<dyn hub::Progress + Send + 'a> {
        self.inner.fetching(step, place)
    }

    fn finished(&self, step: &Step, record: &StepRecord) {
        self.ended(step);
        self.inner.finished(step, record);
    }

    fn failed(&self, step: &Step, error: &RunError) {
        self.ended(step);
        self.inner.failed(step, error);
    }

    fn placed(&self, step: &Step, to: &Path) {
        self.inner.placed(step, to);
    }

    fn uploading<'a>(&'a self, step: &Step) -> Box<dyn hub::Progress + 'a> {
        self.inner.uploading(step)
    }

    fn published(&self, step: &Step, address: Option<&str>) {
        self.inner.published(step, address);
    }

    fn warned(&self, text: &str) {
        self.inner.warned(text);
    }
}
