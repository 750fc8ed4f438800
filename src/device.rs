//! Devices: from the name in a spec or on the command line to the burn device that computes.
//!
//! This is the file that knows which backends were built in; only `kernels` knows one of them by its type. It hands out plain devices; whoever trains asks for
//! autodiff. Deliberately absent: any silent change of device. A device that was asked for by name and is not there is
//! an error; only `auto` chooses.

use burn::tensor::Device;

/// The device that computes, and what to call it.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// Without autodiff.
    pub device: Device,
    /// `flex`, `ndarray`, `cuda:0`, ….
    pub name: String,
    /// Whether it computes on the CPU.
    pub cpu: bool,
    /// Whether `auto` chose it. With `cpu`, that is worth one warning.
    pub automatic: bool,
}

/// A device that cannot be had.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum DeviceError {
    #[error("there is no device called {asked:?}")]
    #[diagnostic(help(
        "known names are auto, cuda, cuda:N, flex, ndarray; available here: {available}"
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
}

/// The device behind `asked`: `auto` (CUDA when it is built in and there, else `flex`), `flex`, `ndarray`, `cuda` (the
/// first) or `cuda:N`.
///
/// # Errors
/// An unknown name, a backend that was not built in, a CUDA device that is not there; each names those that are.
pub fn choose(asked: &str) -> Result<Chosen, DeviceError> {
    match asked {
        "auto" => Ok(Chosen {
            automatic: true,
            ..cuda(0).unwrap_or_else(flex)
        }),
        "flex" => Ok(flex()),
        "ndarray" => ndarray().ok_or_else(|| not_built_in(asked, "ndarray")),
        "cuda" => numbered(asked, 0),
        _ => match asked.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(number)) => numbered(asked, number),
            _ => Err(DeviceError::Unknown {
                asked: asked.to_owned(),
                available: available().join(", "),
            }),
        },
    }
}

/// Whether `device` computes on the CPU.
pub fn is_cpu(device: &Device) -> bool {
    let plain = device.clone().without_autodiff();
    [Some(flex()), ndarray()]
        .into_iter()
        .flatten()
        .any(|cpu| cpu.device == plain)
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
        .map(|chosen| chosen.name);
    cuda.chain(cpu).collect()
}

fn numbered(asked: &str, number: usize) -> Result<Chosen, DeviceError> {
    match cuda(number) {
        Some(chosen) => Ok(chosen),
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

fn flex() -> Chosen {
    Chosen {
        device: Device::flex(),
        name: "flex".to_owned(),
        cpu: true,
        automatic: false,
    }
}

#[cfg(feature = "ndarray")]
#[expect(
    deprecated,
    reason = "upstream deprecated the backend in 0.22; it stays for those who asked for it"
)]
fn ndarray() -> Option<Chosen> {
    Some(Chosen {
        device: Device::ndarray(),
        name: "ndarray".to_owned(),
        cpu: true,
        automatic: false,
    })
}

#[cfg(not(feature = "ndarray"))]
fn ndarray() -> Option<Chosen> {
    None
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Option<Chosen> {
    (number < cuda_devices()).then(|| Chosen {
        device: Device::cuda(number),
        name: format!("cuda:{number}"),
        cpu: false,
        automatic: false,
    })
}

#[cfg(not(feature = "cuda"))]
fn cuda(_number: usize) -> Option<Chosen> {
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
        for asked in ["gpu", "cuda:", "cuda:x", "cuda:-1", "", "Flex"] {
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
}
