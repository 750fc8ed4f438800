//! Weights from safetensors files, under any of the names that BERT checkpoints use.
//!
//! Accepts names with and without the `bert.` prefix, `gamma`/`beta` for LayerNorm, and F16, BF16, F32 or F64 values.
//! What does not fit is listed in whole, not tensor by tensor. Nothing is read from a file whose header does not hold:
//! the safetensors crate checks lengths and offsets first.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::Path;

use burn::module::Param;
use burn::tensor::Tensor;
use memmap2::Mmap;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::parameters::{
    self, MapParameters, Parameter, VisitParameters, map_parameters, named_parameters,
};
use super::{Classifier, ModelError};

/// What became of a checkpoint's tensors and of the parameters it had none for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadReport {
    /// Parameters that took their values from the file.
    pub loaded: usize,
    /// Parameters that were drawn at random, by name.
    pub initialised: Vec<String>,
    /// Tensors of the file that this model does not use, by the names they have there.
    pub ignored: Vec<String>,
}

impl LoadReport {
    /// What a user should know, a line each. A new head and unused buffers are expected, and not said.
    pub fn warnings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.initialised.iter().any(|name| name.starts_with(POOLER)) {
            lines.push(
                "the checkpoint has no pooler, so one with random weights was added; \
                 pooling = \"mean\" or \"cls\" does without"
                    .to_owned(),
            );
        }
        let unused: Vec<&String> = self
            .ignored
            .iter()
            .filter(|name| !is_buffer(name) && !canonical(name).starts_with(POOLER))
            .collect();
        if let Some(first) = unused.first() {
            let rest = match unused.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            lines.push(format!(
                "the checkpoint's {first}{rest} belong to another head and were ignored"
            ));
        }
        lines
    }
}

/// A tensor that a file should have otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    Missing {
        name: String,
        wanted: Vec<usize>,
    },
    Unexpected {
        name: String,
        found: Vec<usize>,
    },
    Shape {
        name: String,
        found: Vec<usize>,
        wanted: Vec<usize>,
    },
    Type {
        name: String,
        found: String,
    },
    Twice {
        name: String,
        other: String,
    },
    NotFinite {
        name: String,
    },
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::Missing { name, wanted } => {
                write!(f, "{name} is missing, wanted with shape {wanted:?}")
            }
            Misfit::Unexpected { name, found } => {
                write!(f, "{name} of shape {found:?} has no place in the encoder")
            }
            Misfit::Shape {
                name,
                found,
                wanted,
            } => write!(f, "{name} has shape {found:?}, wanted {wanted:?}"),
            Misfit::Type { name, found } => {
                write!(f, "{name} holds {found}, wanted F32, F16, BF16 or F64")
            }
            Misfit::Twice { name, other } => write!(f, "{name} and {other} are the same tensor"),
            Misfit::NotFinite { name } => {
                write!(f, "{name} holds values that are no finite numbers")
            }
        }
    }
}

/// All misfits of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfits(pub Vec<Misfit>);

impl fmt::Display for Misfits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 20;
        for misfit in self.0.iter().take(SHOWN) {
            write!(f, "\n  {misfit}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// Where the parameters come from that a file need not have.
pub(super) enum Rest<'a> {
    /// The file must have all of them.
    None,
    /// The head, and the pooler when the file has none, come from here: name and shape → values.
    Drawn(&'a dyn Fn(&str, &[usize]) -> Vec<f32>),
}

const POOLER: &str = "bert.pooler.";
const HEADS: [&str; 3] = ["classifier.", "qa_outputs.", parameters::CRF];

/// Sets the parameters of `classifier` from the safetensors file at `path`.
///
/// # Errors
/// A file that cannot be read or is no safetensors file; every tensor that is missing, unexpected within the encoder,
/// misshapen, of a type that holds no weights, or not finite.
pub(super) fn load(
    classifier: Classifier,
    path: &Path,
    rest: Rest,
) -> Result<(Classifier, LoadReport), ModelError> {
    let map = open(path)?;
    let file = parse(path, map.as_deref().unwrap_or_default())?;
    let mut misfits = Vec::new();
    let mut found = by_canonical_name(&file, &mut misfits);
    let mut report = LoadReport::default();

    let pooler_absent = !found.keys().any(|name| name.starts_with(POOLER));
    let mut taken = BTreeMap::new();
    let mut to_draw = Vec::new();
    for Parameter { name, shape, .. } in named_parameters(&classifier) {
        let drawn = HEADS.iter().any(|head| name.starts_with(head))
            || (name.starts_with(POOLER) && pooler_absent);
        match (&rest, found.get(&name)) {
            (Rest::Drawn(_), _) if drawn => to_draw.push((name, shape)),
            (_, None) => misfits.push(Misfit::Missing {
                name,
                wanted: shape,
            }),
            (_, Some((original, view))) => {
                match values(original, view, &shape) {
                    Ok(values) => _ = taken.insert(name.clone(), values),
                    Err(misfit) => misfits.push(misfit),
                }
                found.remove(&name);
                report.loaded += 1;
            }
        }
    }
    let pooler_unused = classifier.encoder.pooler.is_none();
    for (name, (original, view)) in &found {
        let unused = !name.starts_with("bert.")
            || is_buffer(name)
            || (name.starts_with(POOLER) && pooler_unused);
        match unused {
            true => report.ignored.push((*original).to_owned()),
            false => misfits.push(Misfit::Unexpected {
                name: (*original).to_owned(),
                found: view.shape().to_owned(),
            }),
        }
    }
    if !misfits.is_empty() {
        return Err(ModelError::WeightsDoNotFit {
            path: path.to_owned(),
            misfits: Misfits(misfits),
        });
    }
    // Only now: a config.json that does not fit its weights may ask for more than there is memory.
    if let Rest::Drawn(draw) = &rest {
        for (name, shape) in to_draw {
            taken.insert(name.clone(), draw(&name, &shape));
            report.initialised.push(name);
        }
    }
    Ok((set_all(classifier, taken), report))
}

/// Sets the parameters named in `tensors`, whose values lie as in a checkpoint; the others stay.
///
/// # Errors
/// A name that the classifier does not have, or a wrong number of values.
pub fn set_tensors(
    classifier: Classifier,
    tensors: BTreeMap<String, Vec<f32>>,
) -> Result<Classifier, ModelError> {
    let wanted: BTreeMap<String, Vec<usize>> = named_parameters(&classifier)
        .into_iter()
        .map(|parameter| (parameter.name, parameter.shape))
        .collect();
    for (name, values) in &tensors {
        match wanted.get(name) {
            None => return Err(ModelError::NoSuchTensor { name: name.clone() }),
            Some(shape) if shape.iter().product::<usize>() != values.len() => {
                return Err(ModelError::WrongLength {
                    name: name.clone(),
                    found: values.len(),
                    wanted: shape.clone(),
                });
            }
            Some(_) => {}
        }
    }
    Ok(set_all(classifier, tensors))
}

/// The whole classifier as the bytes of a safetensors file: F32, Hugging Face names, the mark that transformers expects.
///
/// # Errors
/// Values that the device could not hand over.
pub(super) fn serialise(classifier: &Classifier) -> Result<Vec<u8>, ModelError> {
    struct Collect(Vec<Result<(String, Vec<f32>), ModelError>>);
    impl VisitParameters for Collect {
        fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<D>>) {
            self.0
                .push(parameters::get(name, parameter).map(|values| (name.to_owned(), values)));
        }
    }
    let mut collect = Collect(Vec::new());
    parameters::visit_parameters(classifier, &mut collect);
    let values = collect.0.into_iter().collect::<Result<Vec<_>, _>>()?;
    let written = |(parameter, (name, values)): (&Parameter, &(String, Vec<f32>))| {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        (
            name.clone(),
            Stored {
                shape: parameter.shape.clone(),
                bytes,
            },
        )
    };
    let shapes = named_parameters(classifier);
    let tensors = shapes.iter().zip(&values).map(written);
    let mark = [("format".to_owned(), "pt".to_owned())]
        .into_iter()
        .collect();
    safetensors::serialize(tensors, Some(mark)).map_err(|e| ModelError::ReadBack {
        name: "model.safetensors".to_owned(),
        reason: e.to_string(),
    })
}

/// A tensor on its way into a file.
struct Stored {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl safetensors::View for Stored {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        (&self.bytes).into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The file's bytes; `None` for an empty file, which cannot be mapped.
fn open(path: &Path) -> Result<Option<Mmap>, ModelError> {
    let unreadable = |source| ModelError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.len() == 0 {
        return Ok(None);
    }
    // SAFETY: the map is only read, and only while weights are copied out; a file that another program truncates
    // meanwhile ends this program, as it would any program that maps its weights.
    unsafe { Mmap::map(&file) }.map(Some).map_err(unreadable)
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<SafeTensors<'a>, ModelError> {
    SafeTensors::deserialize(bytes).map_err(|e| {
        let reason = if bytes.starts_with(b"version https://git-lfs") {
            "it is a Git LFS pointer, not the file itself".to_owned()
        } else {
            e.to_string()
        };
        ModelError::NotSafetensors {
            path: path.to_owned(),
            bytes: bytes.len(),
            reason,
        }
    })
}

fn by_canonical_name<'a>(
    file: &'a SafeTensors<'a>,
    misfits: &mut Vec<Misfit>,
) -> BTreeMap<String, (&'a str, TensorView<'a>)> {
    let mut views: Vec<(&str, TensorView)> = file.iter().collect();
    views.sort_by_key(|(name, _)| *name);
    let mut found = BTreeMap::new();
    for (original, view) in views {
        if let Some((other, _)) = found.insert(canonical(original), (original, view)) {
            misfits.push(Misfit::Twice {
                name: original.to_owned(),
                other: other.to_owned(),
            });
        }
    }
    found
}

/// The name that the `BertFor…` classes of transformers have for a tensor.
fn canonical(name: &str) -> String {
    let name = match name.rsplit_once("LayerNorm.") {
        Some((before, "gamma")) => format!("{before}LayerNorm.weight"),
        Some((before, "beta")) => format!("{before}LayerNorm.bias"),
        _ => name.to_owned(),
    };
    match ["embeddings.", "encoder.", "pooler."]
        .iter()
        .any(|root| name.starts_with(root))
    {
        true => format!("bert.{name}"),
        false => name,
    }
}

/// Index tables that old versions of transformers stored beside the weights.
fn is_buffer(name: &str) -> bool {
    name.ends_with("embeddings.position_ids") || name.ends_with("embeddings.token_type_ids")
}

fn values(name: &str, view: &TensorView, wanted: &[usize]) -> Result<Vec<f32>, Misfit> {
    if view.shape() != wanted {
        return Err(Misfit::Shape {
            name: name.to_owned(),
            found: view.shape().to_owned(),
            wanted: wanted.to_owned(),
        });
    }
    fn each<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes
            .as_chunks::<N>()
            .0
            .iter()
            .map(|&value| read(value))
            .collect()
    }
    let bytes = view.data();
    let values = match view.dtype() {
        Dtype::F32 => each(bytes, f32::from_le_bytes),
        Dtype::F16 => each(bytes, |value| half::f16::from_le_bytes(value).to_f32()),
        Dtype::BF16 => each(bytes, |value| half::bf16::from_le_bytes(value).to_f32()),
        Dtype::F64 => each(bytes, |value| f64::from_le_bytes(value) as f32),
        other => {
            return Err(Misfit::Type {
                name: name.to_owned(),
                found: other.to_string(),
            });
        }
    };
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(Misfit::NotFinite {
            name: name.to_owned(),
        }),
    }
}

/// Gives every parameter named in `tensors` its values. Their lengths were checked.
pub(super) fn set_all(classifier: Classifier, tensors: BTreeMap<String, Vec<f32>>) -> Classifier {
    struct Set(BTreeMap<String, Vec<f32>>);
    impl MapParameters for Set {
        fn map<const D: usize>(
            &mut self,
            name: &str,
            parameter: Param<Tensor<D>>,
        ) -> Param<Tensor<D>> {
            match self.0.remove(name) {
                Some(values) => parameters::set(name, parameter, values),
                None => parameter,
            }
        }
    }
    map_parameters(classifier, &mut Set(tensors))
}
