//! Devices: from the name in a spec or on the command line to the burn devices that compute.
//!
//! This is the file that knows which backends were built in; only `kernels` knows one of them by its type. It hands out plain devices; whoever trains asks for
//! autodiff. Devices that other machines lend are in `workers`. Deliberately absent: any silent change of device. A device that
//! was asked for by name and is not there is an error; only `auto` chooses.

mod workers;

use burn::tensor::Device;

pub use workers::{ServeError, TOKEN, can_serve, in_words, serve, worker};

/// The devices that compute, and what to call them.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// Without autodiff. Of several the first, which does alone what cannot be shared.
    pub device: Device,
    /// The others; only a training shares its work with them.
    pub beside: Vec<Device>,
    /// `flex`, `ndarray`, `cuda:0`, …; several with commas between.
    pub name: String,
    /// What equal results can be expected of: `flex`, `cuda`, `cuda x2`, `worker`, ….
    pub kind: String,
    /// Whether the first computes on this machine's CPU.
    pub cpu: bool,
    /// Whether `auto` chose it. With `cpu`, that is worth one warning.
    pub automatic: bool,
}

/// A device that cannot be had.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum DeviceError {
    #[error("there is no device called {asked:?}")]
    #[diagnostic(help(
        "known names are auto, cuda, cuda:N, cuda:all, flex, ndarray, ws://HOST:PORT for a worker, and several of them with commas between; available here: {available}"
    ))]
    Unknown { asked: String, available: String },
    #[error("this program was built without the device {asked:?}")]
    #[diagnostic(help(
        "build it with `--features {feature}`, or choose one that is available here: {available}"
    ))]
    NotBuiltIn {
        asked: String,
        feature: &'static str,
        available: String,
    },
    #[error("the device {asked:?} is not there")]
    #[diagnostic(help("available here: {available}; CUDA devices also need NVIDIA's driver"))]
    NotThere { asked: String, available: String },
    #[error("the device {device:?} is asked for twice in {asked:?}")]
    #[diagnostic(help("name each device once"))]
    Twice { asked: String, device: String },
    #[error("there is no token for the worker {worker}")]
    #[diagnostic(help(
        "set the environment variable {TOKEN} to what it is where the worker was started"
    ))]
    NoToken { worker: String },
    #[error("the worker {worker} refused the token")]
    #[diagnostic(help(
        "the environment variable {TOKEN} must be the same here and where the worker was started"
    ))]
    Refused { worker: String },
    #[error("the worker {worker} cannot be reached: {reason}")]
    #[diagnostic(help(
        "check that `refit worker` runs there, that it listens where it can be reached from here (`--bind`), and that no firewall is between"
    ))]
    Unreachable { worker: String, reason: String },
    #[error("the worker {worker} speaks another protocol: {reason}")]
    #[diagnostic(help("run the same version of refit here and there"))]
    OtherVersion { worker: String, reason: String },
}

/// The devices behind `asked`: `auto` (CUDA when it is built in and there, else `flex`), or one or several, with commas between,
/// of `flex`, `ndarray`, `cuda` (the first), `cuda:N`, `cuda:N,M`, `cuda:all` and `ws://HOST:PORT`, which is every device that
/// the worker there lends. A worker is asked for up to 16 seconds, since it may just be starting.
///
/// # Errors
/// An unknown name, a backend that was not built in, a CUDA device that is not there; each names those that are. A device named
/// twice. A worker that is not there, or does not take the token.
pub fn choose(asked: &str) -> Result<Chosen, DeviceError> {
    if asked == "auto" {
        let one = cuda(0).unwrap_or_else(flex);
        return Ok(Chosen {
            automatic: true,
            ..together(vec![one])
        });
    }
    let mut found: Vec<One> = Vec::new();
    for name in names(asked)? {
        for one in named(&name)? {
            if found.iter().any(|other| other.device == one.device) {
                return Err(twice(asked, one.name));
            }
            found.push(one);
        }
    }
    Ok(together(found))
}

/// The name of each device in `asked`, as [`choose`] reads it, whether or not it is there: `cuda:0,1` are `cuda:0` and `cuda:1`, and
/// `auto`, `cuda:all` and a worker stay what they are.
///
/// # Errors
/// An unknown name; a device named twice, as far as names tell.
pub fn names(asked: &str) -> Result<Vec<String>, DeviceError> {
    if asked == "auto" {
        return Ok(vec![asked.to_owned()]);
    }
    let mut found: Vec<(String, Stated)> = Vec::new();
    for name in asked.split(',') {
        let numbers = matches!(found.last(), Some((_, Stated::Cuda(Some(_)))));
        let continued = numbers && !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
        let full = match continued {
            true => format!("cuda:{name}"),
            false => name.to_owned(),
        };
        let stated = Stated::of(&full).ok_or_else(|| unknown(&full))?;
        if found.iter().any(|(_, other)| other.overlaps(&stated)) {
            return Err(twice(asked, full));
        }
        found.push((full, stated));
    }
    Ok(found.into_iter().map(|(name, _)| name).collect())
}

/// The devices in `asked` one by one, for whoever gives each to somebody else: `cuda:all` is one name for each of them, and a
/// worker one name for all that it lends. What is not there stays, so that whoever computes on it says so.
///
/// # Errors
/// Those of [`names`].
pub fn apart(asked: &str) -> Result<Vec<String>, DeviceError> {
    let names = names(asked)?.into_iter().flat_map(|name| {
        let all = (name == "cuda:all")
            .then(cuda_devices)
            .filter(|all| *all > 0);
        match all {
            Some(all) => (0..all).map(|number| format!("cuda:{number}")).collect(),
            None => vec![name],
        }
    });
    Ok(names.collect())
}

/// What a name says.
#[derive(PartialEq, Eq)]
enum Stated {
    Flex,
    Ndarray,
    /// One of the GPUs, by which number; `None` in `cuda`, which is the first.
    Cuda(Option<usize>),
    AllCuda,
    /// What a worker lends at a host, in small letters, and a port.
    Worker(String, u32),
}

impl Stated {
    fn of(name: &str) -> Option<Stated> {
        match name {
            "flex" => Some(Stated::Flex),
            "ndarray" => Some(Stated::Ndarray),
            "cuda" => Some(Stated::Cuda(None)),
            "cuda:all" => Some(Stated::AllCuda),
            _ if name.starts_with("ws:") => {
                let (host, port) = workers::place(name)?;
                Some(Stated::Worker(host.to_ascii_lowercase(), port))
            }
            _ => {
                let number = name.strip_prefix("cuda:")?;
                // `parse` would take a sign.
                let digits = number.bytes().all(|byte| byte.is_ascii_digit());
                let number = digits.then(|| number.parse().ok()).flatten()?;
                Some(Stated::Cuda(Some(number)))
            }
        }
    }

    fn overlaps(&self, other: &Stated) -> bool {
        match (self, other) {
            (Stated::Cuda(one), Stated::Cuda(another)) => {
                one.unwrap_or_default() == another.unwrap_or_default()
            }
            (Stated::Cuda(_), Stated::AllCuda) | (Stated::AllCuda, Stated::Cuda(_)) => true,
            _ => self == other,
        }
    }
}

fn twice(asked: &str, device: String) -> DeviceError {
    DeviceError::Twice {
        asked: asked.to_owned(),
        device,
    }
}

fn unknown(asked: &str) -> DeviceError {
    DeviceError::Unknown {
        asked: asked.to_owned(),
        available: available().join(", "),
    }
}

/// One device.
struct One {
    device: Device,
    name: String,
    cpu: bool,
}

/// Several as what computes. There is at least one.
fn together(devices: Vec<One>) -> Chosen {
    let kind_of = |one: &One| match one.name.split(':').next() {
        // It does not tell what it computes on.
        Some("ws") => "worker".to_owned(),
        kind => kind.unwrap_or_default().to_owned(),
    };
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for one in &devices {
        let kind = kind_of(one);
        match kinds.last_mut() {
            // Of others between them the sum would be another.
            Some((last, count)) if *last == kind => *count += 1,
            _ => kinds.push((kind, 1)),
        }
    }
    let kinds = kinds.into_iter().map(|(kind, count)| match count {
        1 => kind,
        _ => format!("{kind} x{count}"),
    });
    let names: Vec<&str> = devices.iter().map(|one| one.name.as_str()).collect();
    Chosen {
        name: names.join(", "),
        kind: kinds.collect::<Vec<_>>().join(" + "),
        cpu: devices[0].cpu,
        automatic: false,
        device: devices[0].device.clone(),
        beside: devices[1..].iter().map(|one| one.device.clone()).collect(),
    }
}

/// The devices behind one name, at least one.
fn named(name: &str) -> Result<Vec<One>, DeviceError> {
    match Stated::of(name).ok_or_else(|| unknown(name))? {
        Stated::Flex => Ok(vec![flex()]),
        Stated::Ndarray => {
            let one = ndarray().ok_or_else(|| not_built_in(name, "ndarray"))?;
            Ok(vec![one])
        }
        Stated::Cuda(number) => Ok(vec![numbered(name, number.unwrap_or_default())?]),
        Stated::AllCuda => {
            let first = numbered(name, 0)?;
            let others = (1..cuda_devices()).filter_map(cuda);
            Ok(std::iter::once(first).chain(others).collect())
        }
        Stated::Worker(..) => {
            let one = |device| One {
                device,
                name: name.to_owned(),
                cpu: false,
            };
            Ok(workers::connect(name)?.into_iter().map(one).collect())
        }
    }
}

/// What `device` is called; that of a worker by where the worker is.
pub fn name(device: &Device) -> String {
    if let Some(worker) = worker(device) {
        return worker;
    }
    let plain = device.clone().without_autodiff();
    let mut all = [Some(flex()), ndarray()]
        .into_iter()
        .flatten()
        .chain((0..cuda_devices()).filter_map(cuda));
    let found = all.find(|one| one.device == plain);
    found.map_or_else(|| format!("{plain:?}"), |one| one.name)
}

/// Whether `device` computes on this machine's CPU.
pub fn is_cpu(device: &Device) -> bool {
    let plain = device.clone().without_autodiff();
    [Some(flex()), ndarray()]
        .into_iter()
        .flatten()
        .any(|cpu| cpu.device == plain)
}

/// Whether several devices copy from each other and add up by collectives: CUDA's, on one machine.
pub fn have_collectives(devices: &[Device]) -> bool {
    let cuda: Vec<Device> = (0..cuda_devices())
        .filter_map(cuda)
        .map(|one| one.device)
        .collect();
    let is_one = |device: &Device| cuda.contains(&device.clone().without_autodiff());
    devices.len() > 1 && devices.iter().all(is_one)
}

/// Whether what a device told on failing means that its memory did not suffice. cubecl, which computes on a GPU, leaves the
/// device usable then, and says it in words alone once a number is asked for.
pub fn is_out_of_memory(told: &str) -> bool {
    let told = told.to_lowercase();
    [
        "out of memory",
        "out of device memory",
        "can't allocate buffer",
    ]
    .iter()
    .any(|words| told.contains(words))
}

/// The bytes that this program holds of a device's memory, where the device tells; a CPU's memory is the process's own.
pub fn memory_held(device: &Device) -> Option<u64> {
    let usage = device.memory_pool_usage()?;
    Some(usage.bytes_reserved)
}

/// The names of all devices of this machine that this program can use, the one `auto` takes first.
pub fn available() -> Vec<String> {
    let cuda = (0..cuda_devices()).map(|number| format!("cuda:{number}"));
    let cpu = [Some(flex()), ndarray()]
        .into_iter()
        .flatten()
        .map(|one| one.name);
    cuda.chain(cpu).collect()
}

fn numbered(asked: &str, number: usize) -> Result<One, DeviceError> {
    match cuda(number) {
        Some(one) => Ok(one),
        None if !cfg!(feature = "cuda") => Err(not_built_in(asked, "cuda")),
        None => Err(DeviceError::NotThere {
            asked: asked.to_owned(),
            available: available().join(", "),
        }),
    }
}

fn not_built_in(asked: &str, feature: &'static str) -> DeviceError {
    DeviceError::NotBuiltIn {
        asked: asked.to_owned(),
        feature,
        available: available().join(", "),
    }
}

fn flex() -> One {
    One {
        device: Device::flex(),
        name: "flex".to_owned(),
        cpu: true,
    }
}

#[cfg(feature = "ndarray")]
#[expect(
    deprecated,
    reason = "upstream deprecated the backend in 0.22; it stays for those who asked for it"
)]
fn ndarray() -> Option<One> {
    Some(One {
        device: Device::ndarray(),
        name: "ndarray".to_owned(),
        cpu: true,
    })
}

#[cfg(not(feature = "ndarray"))]
fn ndarray() -> Option<One> {
    None
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Option<One> {
    (number < cuda_devices()).then(|| One {
        device: Device::cuda(number),
        name: format!("cuda:{number}"),
        cpu: false,
    })
}

#[cfg(not(feature = "cuda"))]
fn cuda(_number: usize) -> Option<One> {
    None
}

/// How many CUDA devices the driver reports. Without a driver the question itself can panic in foreign code, and then
/// the answer is none.
#[cfg(feature = "cuda")]
fn cuda_devices() -> usize {
    std::panic::catch_unwind(|| Device::enumerate(burn::tensor::DeviceType::Cuda).len())
        .unwrap_or(0)
}

#[cfg(not(feature = "cuda"))]
fn cuda_devices() -> usize {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_names_what_it_took() {
        let chosen = choose("auto").unwrap();
        assert_eq!(chosen.name, available()[0]);
        assert!(chosen.automatic);
    }

    #[test]
    fn a_device_asked_for_by_name_is_not_automatic() {
        let chosen = choose("flex").unwrap();
        assert!(chosen.cpu && !chosen.automatic);
        assert!(!chosen.device.is_autodiff());
    }

    #[test]
    fn an_unknown_device_is_an_error_that_names_those_there_are() {
        use miette::Diagnostic;
        for asked in [
            "gpu",
            "cuda:",
            "cuda:x",
            "cuda:-1",
            "cuda:+1",
            "cuda,1",
            "cuda:all,1",
            "",
            "Flex",
            "flex,",
            ",flex",
            "flex,1",
            "auto,flex",
            "ws://",
            "ws://host",
            "ws://host:",
            "ws://host:123456",
            "ws://:4000",
            "ws://host:4000/path",
            "ws://name:word@host:4000",
            "ws://host:4000,1",
            "wss://host:4000",
        ] {
            let error = choose(asked).unwrap_err();
            assert!(
                matches!(error, DeviceError::Unknown { .. }),
                "{asked:?}: {error}"
            );
            assert!(
                error.help().unwrap().to_string().contains("flex"),
                "{asked:?}"
            );
        }
    }

    #[test]
    fn a_cuda_device_that_is_not_there_is_an_error_and_no_panic() {
        let error = choose("cuda:4096").unwrap_err();
        assert!(matches!(
            error,
            DeviceError::NotThere { .. } | DeviceError::NotBuiltIn { .. }
        ));
    }

    #[test]
    fn several_devices_are_one_kind_with_a_count() {
        let one = |name: &str| One {
            device: Device::flex(),
            name: name.to_owned(),
            cpu: false,
        };
        let kind = |names: &[&str]| together(names.iter().map(|name| one(name)).collect()).kind;
        assert_eq!(kind(&["cuda:3"]), "cuda");
        assert_eq!(kind(&["cuda:0", "cuda:1"]), "cuda x2");
        assert_eq!(kind(&["flex", "cuda:0", "cuda:1"]), "flex + cuda x2");
        assert_eq!(kind(&["ws://a:1", "ws://a:1", "ws://b:1"]), "worker x3");
        assert_eq!(
            kind(&["cuda:0", "flex", "cuda:1"]),
            "cuda + flex + cuda",
            "sums are made in the order of the devices"
        );
    }

    #[test]
    fn the_first_of_several_devices_leads() {
        let chosen = choose("flex").unwrap();
        assert_eq!((chosen.kind.as_str(), chosen.beside.len()), ("flex", 0));
        if cfg!(feature = "ndarray") {
            let chosen = choose("ndarray,flex").unwrap();
            assert_eq!(chosen.name, "ndarray, flex");
            assert_eq!(chosen.kind, "ndarray + flex");
            assert_eq!(chosen.beside, [Device::flex()]);
            assert!(is_cpu(&chosen.device) && chosen.device != Device::flex());
        }
    }

    #[test]
    fn a_device_named_twice_is_an_error() {
        for (asked, twice) in [
            ("flex,flex", "flex"),
            ("cuda:0,1,0", "cuda:0"),
            ("cuda,cuda:0", "cuda:0"),
            ("cuda:1,cuda:01", "cuda:01"),
            ("cuda:all,cuda:3", "cuda:3"),
            ("cuda:3,flex,cuda:all", "cuda:all"),
            ("ws://gpu:4000,ws://GPU:04000", "ws://GPU:04000"),
        ] {
            let error = choose(asked).unwrap_err();
            assert!(
                matches!(&error, DeviceError::Twice { device, .. } if device == twice),
                "{asked}: {error}"
            );
        }
    }

    #[test]
    fn a_list_is_one_name_for_each_device() {
        let names = |asked| names(asked).unwrap();
        assert_eq!(names("auto"), ["auto"]);
        assert_eq!(names("cuda:0,1,flex"), ["cuda:0", "cuda:1", "flex"]);
        assert_eq!(names("flex,cuda,cuda:12"), ["flex", "cuda", "cuda:12"]);
        assert_eq!(
            names("ws://gpu1:4000,ws://[::1]:4000"),
            ["ws://gpu1:4000", "ws://[::1]:4000"]
        );
        let all = apart("flex,cuda:all").unwrap();
        match cuda_devices() {
            0 => assert_eq!(all, ["flex", "cuda:all"]),
            there => assert_eq!(all.len(), 1 + there),
        }
    }

    #[test]
    fn a_device_has_the_name_that_it_was_chosen_by() {
        for asked in available() {
            let device = choose(&asked).unwrap().device;
            assert_eq!(name(&device), asked);
            assert_eq!(name(&device.autodiff()), asked);
        }
    }

    #[test]
    fn processors_of_one_machine_have_no_collectives() {
        assert!(!have_collectives(&[Device::flex(), Device::flex()]));
    }
}
