//! Samples of what is wrong with specs, the store, runs, sweeps, the hub and commands.

use std::path::Path;

use super::super::cache::NoAge;
use super::super::init::Refused;
use super::super::inspect::NotInspected;
use super::super::jobs::Nowhere;
use super::super::path::NoArtifact;
use super::super::preview::Nothing;
use super::super::report::ReportUse;
use super::super::schema::NotWritten;
use super::super::sweep::SweepUse;
use super::{Sample, absent, denied, sample, within};
use crate::artifact::{Digest, NotADigest, Unreadable};
use crate::compare::CompareError;
use crate::executor::ExecutorError;
use crate::hub::uri::UriError;
use crate::hub::{DatasetError, Fetched, HubError, RepositoryKind};
use crate::init::InitError;
use crate::plan::Plan;
use crate::remote::RemoteError;
use crate::report::gather::ReportError;
use crate::run::RunError;
use crate::run::place::PlaceError;
use crate::spec::{Pipeline, SpecError};
use crate::store::StoreError;
use crate::sweep::SweepError;

pub(super) fn samples() -> Vec<Sample> {
    let mut samples = specs();
    samples.extend(stores());
    samples.extend(shared_stores());
    samples.extend(runs());
    samples.extend(sweeps());
    samples.extend(executors());
    samples.extend(reports());
    samples.extend(repositories());
    samples.extend(objects());
    samples.extend(data_sets());
    samples.extend(addresses());
    samples.extend(commands());
    samples.extend(beginnings());
    samples
}

const SPEC: &str = "pipelines/news.toml";

/// A spec with one stage, which loads what is elsewhere, and with a setting that is none.
const TEXT: &str =
    "version = 1\n\n[load.news]\ntrain = [\"https://example.org/train.csv\"]\nfomat = \"csv\"\n";

fn read(text: &str) -> (Pipeline, Vec<crate::spec::Problem>) {
    Pipeline::parse(Path::new(SPEC), text, &[], &|_| None)
}

fn specs() -> Vec<Sample> {
    let (pipeline, problems) = read(TEXT);
    let drawn = problems[0].draw(&pipeline.sources);
    let (pipeline, _) = read(&TEXT.replace("fomat", "format"));
    let plan = Plan::resolve(&pipeline, &Fetched::default()).expect("the spec is sound");
    let unknown = plan.named(&["nwes".to_owned()]).unwrap_err();
    vec![
        sample(drawn),
        sample(unknown),
        sample(SpecError::Unreadable {
            path: SPEC.into(),
            source: absent(),
        }),
        sample(SpecError::Unwritable {
            path: SPEC.into(),
            source: denied(),
        }),
        sample(SpecError::NotText {
            path: SPEC.into(),
            line: 4,
            byte: 61,
        }),
    ]
}

fn stores() -> Vec<Sample> {
    let store = || "/project/.refit".into();
    let not_a_digest: NotADigest = "7f3a".parse::<Digest>().unwrap_err();
    let errors = [
        StoreError::Write {
            path: "/project/.refit/keys/7f3a.json".into(),
            source: denied(),
            help: "check the owner and the permissions of the store's folder, or name a store elsewhere with --store or REFIT_STORE".into(),
        },
        StoreError::Read {
            path: "/project/.refit/keys/7f3a.json".into(),
            source: denied(),
            help: "check the owner and the permissions of the store's folder, or name a store elsewhere with --store or REFIT_STORE".into(),
        },
        StoreError::Format {
            path: store(),
            found: "2".into(),
            expected: "1",
        },
        StoreError::NotAStore { path: store() },
        StoreError::NotAFolder { path: store() },
        StoreError::Lock {
            path: "/project/.refit/lock".into(),
            source: std::io::Error::from_raw_os_error(95),
        },
        StoreError::Busy { path: store() },
        StoreError::NoRun {
            address: "9".into(),
            store: store(),
        },
        StoreError::SeveralRuns {
            address: "7f3a".into(),
            store: store(),
        },
        StoreError::NoScope,
        StoreError::Taken {
            path: "/project/.refit/drafts/7f3a-09c1".into(),
        },
        StoreError::Reserved {
            path: "/project/.refit/drafts/7f3a/manifest.json".into(),
        },
    ];
    let mut samples: Vec<Sample> = errors.into_iter().map(sample).collect();
    samples.push(sample(Unreadable::new(
        Path::new("data/train.csv"),
        absent(),
    )));
    // As where a record is read that is nobody's work.
    samples.push(within(not_a_digest, |inner| {
        miette::MietteDiagnostic::new(inner.to_string())
    }));
    samples
}

fn shared_stores() -> Vec<Sample> {
    let name = || "s3://results/team".to_owned();
    let errors = [
        RemoteError::NoPlace,
        RemoteError::Scheme {
            scheme: "https".to_owned(),
        },
        RemoteError::Address {
            scheme: "s3".to_owned(),
            reason: "its bucket has no name that a bucket can have",
        },
        RemoteError::Folder {
            path: "/srv/results".into(),
            source: denied(),
        },
        RemoteError::NoThreads {
            reason: "too many open files".to_owned(),
        },
        RemoteError::Lost {
            name: name(),
            reason: "there is no such bucket".to_owned(),
        },
        RemoteError::ReadOnly { name: name() },
    ];
    errors.into_iter().map(sample).collect()
}

fn runs() -> Vec<Sample> {
    let to = || "dist/news".into();
    let stage = || "bundle".to_owned();
    let placing = [
        PlaceError::Edited {
            to: to(),
            file: "README.md".into(),
            stage: stage(),
        },
        PlaceError::Foreign {
            to: to(),
            stage: stage(),
        },
        PlaceError::Store { to: to() },
        PlaceError::Write {
            path: "dist/news/model.safetensors".into(),
            source: denied(),
        },
        PlaceError::Stranded {
            path: "dist/news".into(),
            kept: "dist/.refit-kept-7f3a/old/news".into(),
            source: denied(),
        },
    ];
    let running = [
        RunError::Refused {
            message: "dist/news was edited or is not refit's; `--force` replaces it".into(),
        },
        RunError::NotAllowed {
            deed: "run the program ./translate.py".into(),
        },
        RunError::ChangedMeanwhile {
            path: "data/train.csv".into(),
        },
        RunError::CollectedMeanwhile {
            path: "/project/.refit/objects/7f3a".into(),
        },
        RunError::InJob {
            message: "row 7 has no label".into(),
            log: "/project/.refit/jobs/refit-classifier-7f3a/0.log".into(),
        },
        RunError::Internal("a step has no key".into()),
    ];
    let comparing = [
        CompareError::NothingInCommon {
            a: "a.toml".into(),
            b: "b.toml".into(),
        },
        CompareError::NoSuchMetric {
            metric: "f1".into(),
            a: "@1".into(),
            b: "@2".into(),
            known: vec!["accuracy".into(), "f1_macro".into()],
        },
    ];
    let mut samples: Vec<Sample> = placing.into_iter().map(sample).collect();
    samples.extend(running.into_iter().map(sample));
    samples.extend(comparing.into_iter().map(sample));
    samples
}

fn executors() -> Vec<Sample> {
    let stage = || "classifier".to_owned();
    let errors = [
        ExecutorError::Missing {
            program: "sbatch",
            source: absent(),
        },
        ExecutorError::Refused {
            stage: stage(),
            said: "Invalid partition name specified".into(),
        },
        ExecutorError::Unanswered {
            program: "squeue",
            said: "Unable to contact slurm controller (connect failure)".into(),
        },
        ExecutorError::Start {
            stage: stage(),
            source: denied(),
        },
        ExecutorError::Undescribed {
            path: "/project/.refit/jobs/refit-classifier-7f3a/tasks.jsonl".into(),
            source: absent(),
        },
        ExecutorError::Unwritable {
            path: "/project/.refit/jobs/refit-classifier-7f3a/3.ended.json".into(),
            source: denied(),
        },
        ExecutorError::ChangedSince { stage: stage() },
        ExecutorError::NotThere {
            stage: "tokens".into(),
            store: "/project/.refit".into(),
        },
        ExecutorError::NotFetched {
            stage: stage(),
            what: "bert-base-uncased".into(),
        },
        ExecutorError::TooLittleTime { stage: stage() },
    ];
    let mut samples: Vec<Sample> = errors.into_iter().map(sample).collect();
    samples.push(sample(Nowhere {
        what: "the current folder",
        source: absent(),
    }));
    samples
}

fn sweeps() -> Vec<Sample> {
    let spec = || SPEC.into();
    let sweeping = [
        SweepError::Large {
            size: 250000,
            most: 100000,
        },
        SweepError::Foreign {
            path: "pipelines/news.best.toml".into(),
        },
    ];
    let using = [
        SweepUse::None { spec: spec() },
        SweepUse::NoTrial {
            spec: spec(),
            number: 12,
            known: 9,
        },
        SweepUse::NoColumn {
            column: "rate".into(),
            known: "train.classifier.optimizer.learning_rate".into(),
        },
        SweepUse::Ending {
            path: "trials.xlsx".into(),
        },
        SweepUse::Write {
            path: "out/trials.csv".into(),
            source: absent(),
        },
    ];
    let sweeping = sweeping.into_iter().map(sample);
    sweeping.chain(using.into_iter().map(sample)).collect()
}

fn reports() -> Vec<Sample> {
    let spec = || SPEC.into();
    let using = [
        ReportUse::NoEvaluation { spec: spec() },
        ReportUse::NotAnEvaluation {
            stage: "classifier".into(),
            kind: "train".into(),
            known: "scores, more_scores".into(),
        },
        ReportUse::NotBuilt {
            spec: spec(),
            stage: "scores".into(),
            reason: "behind classifier".into(),
        },
        ReportUse::Unwritten {
            path: "out/news.html".into(),
            source: absent(),
        },
    ];
    let damaged = ReportError::Damaged {
        path: ".refit/objects/7f3a/scores.json".into(),
        problem: "expected value at line 1 column 1".into(),
    };
    let using = using.into_iter().map(sample);
    using.chain([sample(damaged)]).collect()
}

fn repositories() -> Vec<Sample> {
    let lock = || "pipelines/refit.lock".into();
    let cached = || "/home/ada/.cache/huggingface/hub/models--bert-base-uncased/refs/main".into();
    let what = || "config.json of google-bert/bert-base-uncased".to_owned();
    let endpoint = || "https://huggingface.co".to_owned();
    [
        HubError::LockUnreadable {
            path: lock(),
            source: denied(),
        },
        HubError::LockBroken {
            path: lock(),
            reason: "expected `=` at line 4".into(),
        },
        HubError::Write {
            path: cached(),
            source: denied(),
        },
        HubError::Read {
            path: cached(),
            source: denied(),
        },
        HubError::NoPlainFile {
            path: "dist/news/model.safetensors".into(),
        },
        HubError::LinkLeadsOut { path: cached() },
        HubError::Interrupted,
        HubError::Offline {
            what: what(),
            looked: "/home/ada/.cache/huggingface/hub".into(),
        },
        HubError::OfflineUpload {
            what: "ada/news".into(),
        },
        HubError::NoRepository {
            kind: RepositoryKind::Dataset,
            id: "fancyzhx/ag_nwes".into(),
            endpoint: endpoint(),
        },
        HubError::NoRevision {
            id: "google-bert/bert-base-uncased".into(),
            revision: "v2".into(),
        },
        HubError::NoFile { what: what() },
        HubError::Lacks {
            repository: "ada/news".into(),
            lacks: "no weights".into(),
            there: "README.md".into(),
        },
        HubError::Unauthorised {
            what: "ada/secret".into(),
            with_token: false,
        },
        HubError::Forbidden {
            what: "ada/gated".into(),
            message: "access is restricted".into(),
        },
        HubError::ReadOnly {
            what: "ada/news".into(),
            message: "the token may only read".into(),
        },
        HubError::Refused {
            address: endpoint(),
            reason: "503 Service Unavailable".into(),
        },
        HubError::Unreachable {
            address: endpoint(),
            reason: "connection refused".into(),
        },
        HubError::OtherContent {
            what: what(),
            found: "12 bytes".into(),
            wanted: "570 bytes".into(),
        },
        HubError::ChangedSince {
            what: "https://example.org/train.csv".into(),
            lock: lock(),
            found: "digest 7f3a".into(),
            wanted: "digest 5b1c".into(),
        },
        HubError::BrokenIndex {
            path: "/home/ada/.cache/model.safetensors.index.json".into(),
            reason: "it has no `weight_map`".into(),
        },
    ]
    .into_iter()
    .map(sample)
    .collect()
}

fn objects() -> Vec<Sample> {
    let bucket = || "s3://news".to_owned();
    let what = || "s3://news/train.csv".to_owned();
    [
        HubError::NoBucket { bucket: bucket() },
        HubError::NoObject {
            address: what(),
            near: "; there is s3://news/Train.csv".into(),
        },
        HubError::ObjectDenied {
            what: what(),
            said: "AccessDenied".into(),
            signed: false,
            credentials: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        },
        HubError::OtherRegion {
            bucket: bucket(),
            region: "eu-central-1".into(),
        },
        HubError::StoreSettings {
            bucket: "az://news".into(),
            reason: "there is no account".into(),
        },
        HubError::StoreRefused {
            what: what(),
            reason: "400 Bad Request".into(),
        },
        HubError::Address {
            address: "http://example.org/train.csv".into(),
            reason: "it is not encrypted".into(),
        },
    ]
    .into_iter()
    .map(sample)
    .collect()
}

fn data_sets() -> Vec<Sample> {
    let of_hub = |fault| HubError::Dataset {
        repository: "nyu-mll/glue".into(),
        fault,
    };
    let faults = [
        DatasetError::NoFiles,
        DatasetError::SeveralConfigs {
            known: vec!["cola".into(), "sst2".into()],
        },
        DatasetError::SeveralDefaults {
            first: "cola".into(),
            second: "sst2".into(),
        },
        DatasetError::NoConfig {
            asked: "sst".into(),
            known: vec!["cola".into(), "sst2".into()],
        },
        DatasetError::NoMatch {
            split: "train".into(),
            patterns: "data/train-*.parquet".into(),
        },
        DatasetError::SeveralKinds {
            first: "train.csv".into(),
            other: "test.parquet".into(),
        },
        DatasetError::NoSplitName {
            name: "my split".into(),
        },
        DatasetError::WrongCard {
            reason: "`configs` is no list".into(),
        },
    ];
    let shown = sample(of_hub(DatasetError::NoFiles));
    let faults = faults.into_iter().map(|fault| within(fault, of_hub));
    faults.chain([shown]).collect()
}

fn addresses() -> Vec<Sample> {
    [
        UriError::Scheme {
            scheme: "ftp".into(),
        },
        UriError::Repository {
            text: "hf://datasets/glue".into(),
            reason: "no path follows OWNER/NAME",
        },
        UriError::Object {
            scheme: "s3".into(),
            reason: "no key follows the bucket",
        },
        UriError::Address {
            message: "http://example.org/train.csv is no address that can be fetched: it is not encrypted".into(),
        },
    ]
    .into_iter()
    .map(sample)
    .collect()
}

fn commands() -> Vec<Sample> {
    vec![
        sample(NoAge("a week".into())),
        sample(NoArtifact {
            stage: "classifier".into(),
            reason: "never built".into(),
            help: format!("`refit run {SPEC} classifier` makes it"),
        }),
        sample(Nothing::NoRows {
            stage: "classifier".into(),
            kind: "train",
        }),
        sample(Nothing::NoSplit {
            stage: "news".into(),
            split: "tset".into(),
            there: "test, train".into(),
        }),
        sample(NotInspected::NoTable {
            stage: "classifier".into(),
            kind: "train",
        }),
        sample(NotInspected::NoLoad),
        sample(NotWritten {
            path: "elsewhere/pipeline.schema.json".into(),
            error: absent(),
            help: "make the folder first, or name another",
        }),
    ]
}

fn beginnings() -> Vec<Sample> {
    let data = || "data/reviews".into();
    let seen = || "`stars` (5), `note` (\"it was a fine day\")".to_owned();
    let refused = [
        Refused::Nothing,
        Refused::Exists {
            path: "pipeline.toml".into(),
        },
        Refused::NoData { path: data() },
        Refused::NotUtf8 {
            path: "data/caf\u{fffd}.csv".into(),
        },
        Refused::NoEncoder {
            encoder: "./models/none".into(),
        },
    ];
    let guessed = [
        InitError::Unreadable {
            path: data(),
            source: denied(),
        },
        InitError::NoFiles { folder: data() },
        InitError::NoTraining {
            folder: data(),
            found: "test.csv".into(),
        },
        InitError::SeveralFiles {
            folder: data(),
            found: "may.csv, june.csv".into(),
        },
        InitError::NoText { seen: seen() },
        InitError::NoLabel { seen: seen() },
        InitError::SeveralLabels {
            candidates: "`stars` and `kind`".into(),
            seen: seen(),
        },
        InitError::NoColumn {
            called: "label".into(),
            option: "--label",
            seen: seen(),
        },
        InitError::UnfitLabel {
            column: "`note`".into(),
            example: "it was a fine day".into(),
            wanted: "a number",
            seen: seen(),
        },
        InitError::NoTags { seen: seen() },
        InitError::NoQuestions { seen: seen() },
        InitError::OtherTask {
            asked: "regression",
            found: "classification",
            seen: seen(),
        },
    ];
    let refused = refused.into_iter().map(sample);
    refused.chain(guessed.into_iter().map(sample)).collect()
}
