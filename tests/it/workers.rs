//! Workers on the loopback interface, each a process of the real program, as the devices of a training.

use crate::project::Project;

const SPEC: &str = "pipeline.toml";
const TOKEN: &str = "REFIT_WORKER_TOKEN";

#[cfg(not(feature = "remote"))]
#[test]
fn a_program_without_workers_says_how_to_build_one_with_them() {
    let project = Project::tiny();
    let said = project.refit(&["worker"]).exits(2);
    let lists = project
        .refit(&["run", SPEC, "--device", "flex,ws://127.0.0.1:4000"])
        .exits(1);
    for said in [said, lists] {
        assert!(said.stderr.contains("--features remote"), "{}", said.stderr);
    }
}

#[test]
fn a_worker_lends_devices_of_its_own_machine_of_one_kind() {
    let project = Project::empty();
    for devices in ["ws://127.0.0.1:4000", "flex,ndarray", "flex,cuda:all"] {
        let mut command = project.command(&["worker", "--device", devices]);
        let said = command.env(TOKEN, "a token").output().unwrap();
        let said = crate::project::Said::from(said).exits(2);
        assert!(
            said.stderr.contains("all of one kind"),
            "{devices}: {}",
            said.stderr
        );
    }
}

#[cfg(feature = "remote")]
mod lent {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpStream;
    use std::path::{Path, PathBuf};
    use std::process::{Child, ChildStderr, Stdio};
    use std::time::{Duration, Instant};

    use super::{SPEC, TOKEN};
    use crate::project::{Project, Said, digests};

    const SECRET: &str = "a token of this test";

    /// A worker, gone when dropped.
    struct Worker {
        child: Child,
        address: String,
        stderr: Option<ChildStderr>,
    }

    impl Worker {
        fn start(project: &Project) -> Worker {
            Worker::at(project, "127.0.0.1:0")
        }

        fn at(project: &Project, address: &str) -> Worker {
            let mut child = project
                .command(&["worker", "--bind", address, "--device", "flex"])
                .env(TOKEN, SECRET)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut address = String::new();
            let mut stdout = BufReader::new(child.stdout.take().unwrap());
            stdout.read_line(&mut address).unwrap();
            let address = address.trim().to_owned();
            let stderr = child.stderr.take();
            assert!(address.starts_with("ws://127.0.0.1:"), "{address:?}");
            Worker {
                child,
                address,
                stderr,
            }
        }

        fn signal(&self, signal: libc::c_int) {
            let pid = i32::try_from(self.child.id()).unwrap();
            // SAFETY: it is a child of ours that nobody has waited for.
            unsafe { libc::kill(pid, signal) };
        }

        /// What it said on stderr, once it has ended.
        fn said(&mut self) -> String {
            let mut said = String::new();
            let mut stderr = self.stderr.take().unwrap();
            stderr.read_to_string(&mut said).unwrap();
            said
        }
    }

    impl Drop for Worker {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    fn both(workers: &[Worker; 2]) -> String {
        let devices = workers.each_ref().map(|worker| worker.address.as_str());
        devices.join(",")
    }

    /// The tiny pipeline with a training of so many steps, and dropout.
    fn project(steps: u32) -> Project {
        let project = Project::tiny();
        project.replace(SPEC, "epochs = 2", &format!("max_steps = {steps}"));
        project
    }

    fn losses(project: &Project) -> Vec<f64> {
        project.losses(SPEC, "classifier")
    }

    fn run_on(project: &Project, devices: &str, more: &[&str]) -> Said {
        let arguments = ["run", SPEC, "--device", devices, "--json"];
        let mut command = project.command(&[&arguments, more].concat());
        command.env(TOKEN, SECRET).output().unwrap().into()
    }

    /// By how much losses differ at most, in parts of themselves.
    fn largest_difference(found: &[f64], wanted: &[f64]) -> f64 {
        assert_eq!((found.len(), wanted.len()), (30, 30));
        let off = found.iter().zip(wanted).map(|(a, b)| (a - b).abs() / b);
        let largest = off.fold(0.0, f64::max);
        println!("the largest difference is {largest:e} of a loss");
        largest
    }

    /// Without dropout, since what is dropped follows how rows are laid out, and only this machine's processor takes them without padding.
    #[test]
    fn thirty_steps_on_two_workers_have_the_losses_of_one_device() {
        let without_dropout = || {
            let project = project(30);
            project.replace(SPEC, "batch =", "head = { dropout = 0.0 }\nbatch =");
            let positions = "max_positions = 24";
            project.replace(SPEC, positions, &format!("{positions}, dropout = 0.0"));
            project
        };
        let (alone, shared) = (without_dropout(), without_dropout());
        alone.run(&[SPEC, "--device", "flex"]);
        let workers = [Worker::start(&shared), Worker::start(&shared)];
        let said = run_on(&shared, &both(&workers), &[]).success();
        let devices = both(&workers).replace(',', ", ");
        let wanted = format!("training on {devices}");
        assert!(said.stderr.contains(&wanted), "{}", said.stderr);
        let (alone, shared) = (losses(&alone), losses(&shared));
        assert!(largest_difference(&shared, &alone) < 1e-5);
        assert_ne!(alone, shared, "it was computed here");
    }

    #[test]
    fn with_dropout_two_workers_have_the_losses_of_one() {
        let (alone, shared, mixed) = (project(30), project(30), project(30));
        let workers = [Worker::start(&alone), Worker::start(&alone)];
        run_on(&alone, &workers[0].address, &[]).success();
        run_on(&shared, &both(&workers), &[]).success();
        run_on(&mixed, &format!("flex,{}", workers[1].address), &[]).success();
        let alone = losses(&alone);
        for shared in [losses(&shared), losses(&mixed)] {
            assert!(largest_difference(&shared, &alone) < 1e-5);
            assert_ne!(alone, shared, "one device did it all");
        }
    }

    /// Every file in a folder, whatever is inside.
    fn files_in(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let of = |entry: std::fs::DirEntry| match entry.path() {
            folder if folder.is_dir() => files_in(&folder),
            file => vec![file],
        };
        entries.flat_map(of).collect()
    }

    fn checkpoints(project: &Project) -> Vec<PathBuf> {
        let all = files_in(&project.path(".refit/checkpoints"));
        let is_whole = |file: &PathBuf| {
            let folder = file.parent().and_then(Path::file_name);
            folder.is_some_and(|name| name.to_string_lossy().starts_with("step-"))
        };
        all.into_iter().filter(is_whole).collect()
    }

    fn some_steps_are_told(project: &Project) -> bool {
        let files = files_in(&project.path("told")).into_iter();
        let mut told = files.filter_map(|file| std::fs::read(file).ok());
        told.any(|bytes| bytes.windows(10).any(|word| word == b"train/loss"))
    }

    /// The first is killed where there is a checkpoint, and the run goes on from it. The second is asked to end where there is none: it
    /// is written then.
    #[test]
    fn a_worker_that_dies_ends_the_run_with_an_error_and_the_next_run_goes_on() {
        let whole = project(60);
        let workers = [Worker::start(&whole), Worker::start(&whole)];
        let wanted = digests(&run_on(&whole, &both(&workers), &[]).success().json());
        for dies in 0..2 {
            let every = ["--checkpoint-every", ["5", "100000"][dies]];
            let told = ["--set", "run.track.tensorboard=told"];
            let more = [every, told].concat();
            let project = project(60);
            let mut workers = [Worker::start(&project), Worker::start(&project)];
            let child = project
                .command(&[&["run", SPEC, "--device", &both(&workers)], &more[..]].concat())
                .env(TOKEN, SECRET)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn();
            let mut child = child.unwrap();
            let until = Instant::now() + Duration::from_secs(240);
            let ripe = || match dies {
                0 => !checkpoints(&project).is_empty(),
                _ => some_steps_are_told(&project),
            };
            while !ripe() {
                if child.try_wait().unwrap().is_some() {
                    let said = Said::from(child.wait_with_output().unwrap());
                    panic!("it ended before a worker did: {said:?}");
                }
                assert!(Instant::now() < until, "it takes no step");
                std::thread::sleep(Duration::from_millis(5));
            }
            workers[dies].signal([libc::SIGKILL, libc::SIGTERM][dies]);
            let said = Said::from(child.wait_with_output().unwrap()).exits(1);
            let lost = format!(
                "the worker {} failed while training: it ended, or the connection to it broke",
                workers[dies].address
            );
            assert!(said.stderr.contains(&lost), "{}", said.stderr);
            assert!(said.stderr.contains("start it again"), "{}", said.stderr);
            assert!(!checkpoints(&project).is_empty(), "{}", said.stderr);
            let address = workers[dies].address.clone();
            workers[dies].child.wait().unwrap();
            let place = address.strip_prefix("ws://").unwrap();
            workers[dies] = Worker::at(&project, place);
            let run = run_on(&project, &both(&workers), &more).success().json();
            let steps = run["steps"].as_array().unwrap();
            let of = steps.iter().find(|step| step["stage"] == "classifier");
            assert!(of.unwrap()["resumed_from_step"].as_u64() > Some(0), "{run}");
            assert_eq!(digests(&run), wanted);
        }
    }

    #[test]
    fn a_worker_needs_a_token_and_takes_no_other() {
        let project = project(2);
        for nothing in [None, Some("")] {
            let mut bare = project.command(&["worker"]);
            match nothing {
                Some(token) => bare.env(TOKEN, token),
                None => bare.env_remove(TOKEN),
            };
            let said = Said::from(bare.output().unwrap()).exits(2);
            assert!(said.stderr.contains(TOKEN), "{}", said.stderr);
        }
        let mut worker = Worker::start(&project);
        let run = || project.command(&["run", SPEC, "--device", &worker.address]);
        let without = run().env_remove(TOKEN).output().unwrap();
        let said = Said::from(without).exits(1);
        assert!(said.stderr.contains("there is no token"), "{}", said.stderr);
        let wrong = run().env(TOKEN, "mistaken").output().unwrap();
        let said = Said::from(wrong).exits(1);
        assert!(said.stderr.contains("refused the token"), "{}", said.stderr);
        assert!(!said.stderr.contains("mistaken"), "{}", said.stderr);
        run_on(&project, &worker.address, &[]).success();
        worker.signal(libc::SIGTERM);
        let said = worker.said();
        assert!(
            !said.contains(SECRET) && !said.contains("mistaken"),
            "{said}"
        );
    }

    #[test]
    fn a_worker_that_is_not_there_is_an_error_that_says_where() {
        let project = project(2);
        let address = Worker::start(&project).address.clone();
        let said = run_on(&project, &address, &[]).exits(1);
        let wanted = format!("the worker {address} cannot be reached");
        assert!(said.stderr.contains(&wanted), "{}", said.stderr);
    }

    #[test]
    fn two_workers_cannot_have_one_address() {
        let project = project(2);
        let worker = Worker::start(&project);
        let place = worker.address.strip_prefix("ws://").unwrap();
        let mut second = project.command(&["worker", "--bind", place]);
        let said = Said::from(second.env(TOKEN, SECRET).output().unwrap()).exits(1);
        let wanted = format!("cannot listen on {place}");
        assert!(said.stderr.contains(&wanted), "{}", said.stderr);
        assert_eq!(said.stdout, "");
    }

    /// Even while somebody is connected who says nothing.
    #[test]
    fn a_worker_ends_when_it_is_asked_to() {
        let project = project(2);
        for signal in [libc::SIGTERM, libc::SIGINT] {
            let mut worker = Worker::start(&project);
            let place = worker.address.strip_prefix("ws://").unwrap();
            let connect = || TcpStream::connect(place).unwrap();
            let _silent = connect();
            let mut answered = connect();
            // What it answers says that it listens to signals, too.
            let asked = "GET / HTTP/1.1\r\nHost: worker\r\n\r\n";
            answered.write_all(asked.as_bytes()).unwrap();
            answered.read_exact(&mut [0; 12]).unwrap();
            worker.signal(signal);
            assert_eq!(worker.child.wait().unwrap().code(), Some(0));
        }
    }
}
