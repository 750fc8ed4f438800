//! refit: declarative fine-tuning of BERT-family encoders (the crate document is written last).

pub mod artifact;
pub mod cli;
pub mod device;
pub mod fingerprint;
pub mod learn;
pub mod metrics;
pub mod model;
pub mod outcome;
pub mod plan;
pub mod run;
pub mod spec;
pub mod stage;
pub mod store;
pub mod table;
pub mod text;
