//! A Slurm cluster of one node, started for a test and stopped with it.
//!
//! Without accounting, as many clusters are, and with short memory: what is over is forgotten after two seconds.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::project::skipped;

pub(crate) struct Cluster {
    folder: TempDir,
    daemons: Vec<Child>,
}

/// Where Debian puts daemons is in few people's `PATH`.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn word(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command)
        .args(arguments)
        .output()
        .expect(command);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

impl Cluster {
    /// A cluster, or the reason why there is none, told loudly.
    pub(crate) fn start(test: &str) -> Option<Cluster> {
        let programs = [
            "munged",
            "slurmctld",
            "slurmd",
            "sbatch",
            "squeue",
            "scancel",
            "scontrol",
        ];
        if std::env::var_os("REFIT_TEST_NO_SLURM").is_some() {
            return said(test, "REFIT_TEST_NO_SLURM is set");
        }
        if let Some(missing) = programs.iter().find(|name| program(name).is_none()) {
            return said(
                test,
                &format!(
                    "`{missing}` is not installed (Debian: slurmctld slurmd slurm-client munge)"
                ),
            );
        }
        let folder = tempfile::Builder::new()
            .prefix("refit-slurm-")
            .tempdir()
            .expect("a folder");
        let mut cluster = Cluster {
            folder,
            daemons: Vec::new(),
        };
        match cluster.begin() {
            Ok(()) => Some(cluster),
            Err(why) => {
                let logs = ["munged.log", "slurmctld.log", "slurmd.log"].map(|name| {
                    let text = std::fs::read_to_string(cluster.path(name)).unwrap_or_default();
                    let last: Vec<&str> = text.lines().rev().take(5).collect();
                    format!("{name}: {}", last.join(" / "))
                });
                said(
                    test,
                    &format!("the cluster does not start: {why}; {}", logs.join("; ")),
                )
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where its programs look for their configuration.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.path("slurm.conf")
    }

    /// Runs one of Slurm's programs against it.
    pub(crate) fn ask(&self, name: &str, arguments: &[&str]) -> Output {
        let program = program(name).expect("it was there");
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("SLURM_CONF", self.configuration());
        command.output().expect("it starts")
    }

    /// The jobs that it has under way.
    pub(crate) fn queue(&self) -> String {
        let output = self.ask("squeue", &["--noheader", "--array", "--format=%i %T %r %j"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Stops the daemon that decides, which writes down what it knows; jobs that run go on.
    pub(crate) fn stop_controller(&mut self) {
        let mut controller = self.daemons.remove(1);
        // SAFETY: it is a child of ours that nobody has waited for.
        unsafe {
            libc::kill(
                i32::try_from(controller.id()).expect("a process id"),
                libc::SIGTERM,
            )
        };
        let _ = controller.wait();
    }

    /// Starts it again, with what it had written down.
    pub(crate) fn start_controller(&mut self) {
        let controller = self
            .daemon("slurmctld", &["-D".into()])
            .expect("it started before");
        self.daemons.insert(1, controller);
    }

    fn daemon(&self, name: &str, arguments: &[String]) -> Result<Child, String> {
        let program = program(name).ok_or("it is gone")?;
        let log =
            std::fs::File::create(self.path(&format!("{name}.out"))).map_err(|e| e.to_string())?;
        let beside = log.try_clone().map_err(|e| e.to_string())?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(beside);
        command.env("SLURM_CONF", self.configuration());
        command.spawn().map_err(|error| format!("{name}: {error}"))
    }

    fn begin(&mut self) -> Result<(), String> {
        let root = self.folder.path().display().to_string();
        let host = word("hostname", &["-s"]);
        let user = word("id", &["-un"]);
        let (control, node) = (free_port(), free_port());
        for name in ["state", "spool"] {
            std::fs::create_dir(self.path(name)).map_err(|e| e.to_string())?;
        }
        // munged takes a key of this length from a file that is its owner's alone, and wants a folder that others can enter.
        let key: Vec<u8> = (0..128_u8).collect();
        std::fs::write(self.path("munge.key"), key).map_err(|e| e.to_string())?;
        only_mine(&self.path("munge.key"), 0o400)?;
        only_mine(self.folder.path(), 0o755)?;
        let text = format!(
            "ClusterName=refit\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser={user}\nSlurmdUser={user}\n\
             AuthType=auth/munge\nAuthInfo=socket={root}/munge.socket,cred_expire=5\nCredType=cred/munge\n\
             SlurmctldPort={control}\nSlurmdPort={node}\nStateSaveLocation={root}/state\nSlurmdSpoolDir={root}/spool\n\
             SlurmctldPidFile={root}/slurmctld.pid\nSlurmdPidFile={root}/slurmd.pid\n\
             SlurmctldLogFile={root}/slurmctld.log\nSlurmdLogFile={root}/slurmd.log\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSchedulerType=sched/builtin\n\
             SchedulerParameters=sched_interval=1,batch_sched_delay=0\nSelectType=select/cons_tres\n\
             SelectTypeParameters=CR_Core\nAccountingStorageType=accounting_storage/none\n\
             JobAcctGatherType=jobacct_gather/none\nMpiDefault=none\nSwitchType=switch/none\nReturnToService=2\n\
             JobRequeue=1\nMinJobAge=2\nKillWait=5\nMessageTimeout=3\nSlurmdParameters=config_overrides\n\
             NodeName={host} NodeAddr=127.0.0.1 CPUs=4 Boards=1 Sockets=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=4000 State=UNKNOWN\n\
             PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP\n"
        );
        std::fs::write(self.configuration(), text).map_err(|e| e.to_string())?;
        let of = |option: &str, name: &str| format!("--{option}={root}/{name}");
        let munge = self.daemon(
            "munged",
            &[
                "--foreground".into(),
                "--force".into(),
                of("key-file", "munge.key"),
                of("socket", "munge.socket"),
                of("pid-file", "munged.pid"),
                of("log-file", "munged.log"),
                of("seed-file", "munge.seed"),
            ],
        )?;
        self.daemons.push(munge);
        wait("munged does not listen", || {
            self.path("munge.socket").exists()
        })?;
        let controller = self.daemon("slurmctld", &["-D".into(), "-c".into()])?;
        self.daemons.push(controller);
        let node = self.daemon("slurmd", &["-D".into()])?;
        self.daemons.push(node);
        wait("no node is idle", || {
            let output = self.ask("sinfo", &["--noheader", "--format=%T"]);
            String::from_utf8_lossy(&output.stdout).trim() == "idle"
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.ask("scancel", &["--me", "--signal=KILL", "--full"]);
        let _ = self.ask("scancel", &["--me"]);
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn said(test: &str, why: &str) -> Option<Cluster> {
    // Where a machine cannot have a cluster, `.ci/run` has said so.
    match std::env::var_os("REFIT_TEST_NO_SLURM") {
        Some(_) => {
            eprintln!("{test} needs a Slurm cluster: {why}");
            None
        }
        None => skipped(&format!("{test} needs a Slurm cluster: {why}")),
    }
}

fn only_mine(path: &Path, mode: u32) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, mode).map_err(|e| e.to_string())
}

fn wait(otherwise: &str, mut ready: impl FnMut() -> bool) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs(30);
    while !ready() {
        if Instant::now() > until {
            return Err(otherwise.to_owned());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
