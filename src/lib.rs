//! refit fine-tunes BERT-family encoders from a TOML file, and runs again only what changed.
//!
//! This page is the map of the house: what lies where, in the order in which a reader meets it, and the rules that hold
//! everywhere. The design of the cache is the document of [`fingerprint`].
//!
//! # The life of a run
//!
//! ```text
//!             engine                       seam             work
//!  TOML ─ spec ─ plan ─ run ─ outcome      stage/*    task  table  text  model  learn  metrics  device  kernels
//!               │       │                    │        (polars, tokenizers, burn)
//!          fingerprint  store ── artifact ───┘
//! ```
//!
//! 1. [`spec`] reads the file: TOML with the place of every key, variables, the JSON Schema, the settings of each stage. The
//!    result is a [`spec::Pipeline`], the spec *as written*, and a list of every problem.
//! 2. [`hub`] finds, and before a run fetches, what the spec names that lies elsewhere: models, data sets, single files;
//!    `refit.lock` keeps what a name meant. [`plan`] resolves names to edges and paths to files. The result is a [`plan::Plan`]; it exists only without problems.
//! 3. [`run`] walks the plan. [`run::judge`] asks for each step whether its result is known: its [`fingerprint::Fingerprint`]
//!    (settings, digests of files and inputs) has a [`fingerprint::Key`], and [`store`] has a record of that key or not. A
//!    stale step gets a draft to write into, the [`stage::Stage`] does its work there, and the draft becomes an object of
//!    the store. [`run::place`] lays exports outside the store and never over somebody's work.
//!    [`remote`] is another store behind that one, in a bucket or a folder, which machines share.
//!    [`compare`] sets two results beside each other, whatever led to them.
//! 4. [`sweep`] does this for the same spec with other values in some of its fields, and keeps the best; [`watch`] tells when
//!    a file that a pipeline reads changes. [`executor`] lets other processes, or the jobs of a cluster, do the work of both.
//!    [`track`] tells TensorBoard and MLflow of it while it goes on.
//! 5. [`outcome`] says what happened to each step and why, as data; `cli` words it. [`report`] makes the pages of HTML.
//!
//! 6. [`bundle`] is an exported model in use: opened once, asked many times. [`serve`] lets it be asked over HTTP, several models by name.
//! 7. [`lsp`] tells editors the same while a spec is being written: its problems, its names, and what became of its stages.
//!
//! The work is done by modules that have never heard of a pipeline: [`table`] (rows; polars), [`text`] (tokens; Hugging
//! Face tokenizers), [`model`] (encoders, heads, weights; burn), [`learn`] (batches, optimizer, schedule, the training
//! loop), [`metrics`] (scores), [`task`] (how outputs become answers, and answers scores), [`device`] (which backend, here or lent by a worker),
//! [`inspect`] (what is wrong with rows), [`init`] (what a pipeline for some files would say), [`translate`] (texts that a program or a service words anew), [`kernels`] (the tensor operations in which a model spends its time, fused for a CPU). Engine and work meet in [`stage`]: one file for each kind of stage, with its settings, its
//! behaviour and its tests.
//!
//! # Invariants
//!
//! - **The engine has never heard of a tensor or a data frame; the work has never heard of a pipeline.** Who may name whom is
//!   a table in `tests/it/layering.rs`, which is a test.
//! - **A key depends on content alone**: no paths, names, times, hosts, thread counts or devices.
//! - **What has no manifest does not exist.** The manifest is written last, and the folder renamed into place.
//! - **Equal spec, seed, program and device kind give equal digests**, whatever the number of threads.
//! - **Every problem at once**, at its place, with what to do. Nothing panics on any input.
//! - **A spec is data**, so a stranger's is safe to run. The one stage that may start a program or send rows away, an `augment`
//!   stage that lets others translate, is refused without `--allow-commands`.
//!
//! # Deliberately absent
//!
//! A service that runs pipelines (`refit serve` answers with exported models and a worker lends devices, and neither has ever heard of a pipeline), a database, a configuration outside the spec, global
//! state (but the device's, and that memory which a model once needed is kept for its next step), and Python.

pub mod artifact;
pub mod bundle;
pub mod cli;
pub mod compare;
pub mod device;
pub mod executor;
pub mod fingerprint;
pub mod hub;
pub mod init;
pub mod inspect;
pub mod kernels;
pub mod learn;
pub mod lsp;
pub mod metrics;
pub mod model;
pub mod outcome;
pub mod plan;
pub mod remote;
pub mod report;
pub mod run;
pub mod serve;
pub mod spec;
pub mod stage;
pub mod store;
pub mod sweep;
pub mod table;
pub mod task;
pub mod text;
pub mod track;
pub mod translate;
pub mod watch;
