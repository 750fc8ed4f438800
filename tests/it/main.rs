//! Tests of the whole program. Nearly all drive the real binary from a folder of their own.
//!
//! `REFIT_TEST_ASSETS` names a folder with real models and data; a test that needs it says loudly when it skips.

mod authoring;
mod broken;
#[cfg(unix)]
mod cluster;
mod commands;
mod compare;
mod compressed;
mod crash;
mod data;
mod devices;
mod editors;
mod elsewhere;
mod explain;
#[cfg(unix)]
mod faults;
mod freezing;
mod golden;
mod hub;
mod init;
mod keys;
mod layering;
mod lsp;
mod memory;
mod newcomer;
mod objects;
mod page;
mod predict;
mod pretrain;
mod project;
mod real;
mod remote;
mod report;
mod resume;
mod schema;
#[cfg(unix)]
mod serve;
#[cfg(unix)]
mod slurm;
mod stages;
#[cfg(unix)]
mod storm;
mod sweep;
mod tasks;
mod track;
mod versions;
mod watch;
mod workers;
