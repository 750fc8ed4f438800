//! The parameters of a classifier from a checkpoint, under any of the names that checkpoints use, and into a file.
//!
//! Accepts names with and without the encoder's prefix, `gamma`/`beta` for LayerNorm (see `names`), and F16, BF16, F32 or F64 values.
//! Names, types and shapes are compared first, from what the checkpoint lists; what does not fit is listed in whole. Then
//! each parameter is read, turned and put onto the device before the next one, so that beside the model no more than one
//! tensor is in memory, twice; and written the same way.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use burn::module::Param;
use burn::tensor::Tensor;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::family::Family;
use super::names::{belongs, canonical, is_head, is_left_over, is_of_pretraining, is_pooler};
use super::parameters::{
    self, MapParameters, Parameter, VisitParameters, map_parameters, named_parameters,
};
use super::{Checkpoint, Classifier, ModelError, StoredTensor};

/// What became of a checkpoint's tensors and of the parameters it had none for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadReport {
    /// Parameters that took their values from the file.
    pub loaded: usize,
    /// Parameters that were drawn at random, by name.
    pub initialised: Vec<String>,
    /// Tensors of the file that this model does not use, by the names they have there.
    pub ignored: Vec<String>,
    /// What the names are told apart by.
    pub family: Family,
}

impl LoadReport {
    /// What a user should know, a line each. A new head in place of that of pretraining, and unused buffers, are expected and
    /// not said.
    pub fn warnings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let is_pooler = |name: &str| is_pooler(self.family, name);
        if self.initialised.iter().any(|name| is_pooler(name)) {
            lines.push(
                "the checkpoint has no pooler, so one with random weights was added; \
                 pooling = \"mean\" or \"cls\" does without"
                    .to_owned(),
            );
        }
        let unused: Vec<&String> = self
            .ignored
            .iter()
            .filter(|name| {
                !is_left_over(self.family, name)
                    && !is_of_pretraining(name)
                    && !is_pooler(&canonical(self.family, name))
            })
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

/// Sets the parameters of `classifier` from `checkpoint`.
///
/// # Errors
/// A file that cannot be read; every tensor that is missing, unexpected within the encoder, misshapen, of a type that holds
/// no weights, or not finite.
pub(super) fn load(
    classifier: Classifier,
    checkpoint: &Checkpoint,
    rest: Rest,
) -> Result<(Classifier, LoadReport), ModelError> {
    let do_not_fit = |misfits: Vec<Misfit>| ModelError::WeightsDoNotFit {
        path: checkpoint.path().to_owned(),
        misfits: Misfits(misfits),
    };
    let mut misfits = Vec::new();
    let family = classifier.family();
    let mut found = by_canonical_name(family, checkpoint, &mut misfits);
    let masked = classifier.names.masked;
    let mut masked_absent = false;
    if let Some(head) = classifier.head.masked() {
        masked.settle(&mut found, head.has_own_matrix());
        // Half a head is none: what was learned with the other half says nothing.
        masked_absent = named_parameters(&classifier)
            .iter()
            .any(|Parameter { name, .. }| masked.has(name) && !found.contains_key(name));
    }
    let mut report = LoadReport {
        family,
        ..LoadReport::default()
    };

    let pooler_absent = !found.keys().any(|name| is_pooler(family, name));
    let mut taken = BTreeMap::new();
    for Parameter { name, shape, .. } in named_parameters(&classifier) {
        let drawn = match classifier.head.masked() {
            Some(_) => masked_absent && masked.has(&name),
            None => is_head(family, &name) || (is_pooler(family, &name) && pooler_absent),
        };
        match (&rest, found.get(&name).copied()) {
            (Rest::Drawn(_), _) if drawn => report.initialised.push(name),
            (_, None) => misfits.push(Misfit::Missing {
                name,
                wanted: shape,
            }),
            (_, Some(tensor)) => {
                found.remove(&name);
                report.loaded += 1;
                match misfit(tensor, &shape) {
                    Some(misfit) => misfits.push(misfit),
                    None => _ = taken.insert(name, tensor),
                }
            }
        }
    }
    let pooler_unused = classifier.encoder.pooler().is_none();
    for (name, tensor) in &found {
        let unused = !belongs(family, name)
            || is_left_over(family, name)
            || (is_pooler(family, name) && pooler_unused);
        match unused {
            true => report.ignored.push(tensor.name.clone()),
            false => misfits.push(Misfit::Unexpected {
                name: tensor.name.clone(),
                found: tensor.shape.clone(),
            }),
        }
    }
    if !misfits.is_empty() {
        for tensor in taken.values() {
            read(checkpoint, tensor, &mut misfits)?;
        }
        return Err(do_not_fit(misfits));
    }
    // Only now: a config.json that does not fit its weights may ask for more than there is memory.
    let classifier = set_each(classifier, |name, shape| match (taken.get(name), &rest) {
        (Some(tensor), _) => read(checkpoint, tensor, &mut misfits).map(Some),
        (None, Rest::Drawn(draw)) => Ok(Some(draw(name, shape))),
        (None, Rest::None) => Ok(None),
    })?;
    match misfits.is_empty() {
        true => Ok((classifier, report)),
        false => Err(do_not_fit(misfits)),
    }
}

/// The tensor's values; among `misfits` too when one of them is no finite number.
pub(super) fn read(
    checkpoint: &Checkpoint,
    tensor: &StoredTensor,
    misfits: &mut Vec<Misfit>,
) -> Result<Vec<f32>, ModelError> {
    let values = checkpoint.read(tensor)?;
    if !values.iter().all(|value| value.is_finite()) {
        misfits.push(Misfit::NotFinite {
            name: tensor.name.clone(),
        });
    }
    Ok(values)
}

pub(super) fn misfit(tensor: &StoredTensor, wanted: &[usize]) -> Option<Misfit> {
    let name = tensor.name.clone();
    if tensor.shape != wanted {
        Some(Misfit::Shape {
            name,
            found: tensor.shape.clone(),
            wanted: wanted.to_owned(),
        })
    } else if !tensor.is_float() {
        Some(Misfit::Type {
            name,
            found: tensor.dtype.to_string(),
        })
    } else {
        None
    }
}

/// Sets the parameters named in `tensors`, whose values lie as in a checkpoint; the others stay.
///
/// # Errors
/// A name that the classifier does not have, or a wrong number of values.
pub fn set_tensors(
    classifier: Classifier,
    mut tensors: BTreeMap<String, Vec<f32>>,
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
    set_each(classifier, |name, _| Ok(tensors.remove(name)))
}

/// Writes the whole classifier into a safetensors file: F32, Hugging Face names, the mark that transformers expects, and the
/// tensors in the order of their names, as the safetensors crate lays them.
///
/// # Errors
/// A file that cannot be written, or values that the device could not hand over.
pub(super) fn write(classifier: &Classifier, path: &Path) -> Result<(), ModelError> {
    let own_matrix = classifier
        .head
        .masked()
        .filter(|head| head.has_own_matrix());
    let twice = own_matrix.and_then(|_| classifier.names.masked.second_bias());
    let names = |name: &str| {
        let again = twice.filter(|(first, _)| *first == name);
        let again = again.map(|(_, second)| second.to_owned());
        std::iter::once(name.to_owned()).chain(again).collect()
    };
    write_some(classifier, &names, path)
}

/// The same of those parameters alone for which `named` has a name, or several, which is what they are called in the file.
pub(super) fn write_some(
    classifier: &Classifier,
    named: &dyn Fn(&str) -> Vec<String>,
    path: &Path,
) -> Result<(), ModelError> {
    /// A parameter's values are fetched when it is its turn.
    type Fetch = Box<dyn Fn() -> Result<Vec<f32>, ModelError>>;
    struct Collect<'a> {
        named: &'a dyn Fn(&str) -> Vec<String>,
        found: BTreeMap<String, (Vec<usize>, Fetch)>,
    }
    impl VisitParameters for Collect<'_> {
        fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<D>>) {
            for called in (self.named)(name) {
                let shape = parameters::shape(name, parameter);
                let (owned, parameter) = (name.to_owned(), parameter.clone());
                let fetch = Box::new(move || parameters::get(&owned, &parameter));
                self.found.insert(called, (shape, fetch));
            }
        }
    }
    let mut collect = Collect {
        named,
        found: BTreeMap::new(),
    };
    parameters::visit_parameters(classifier, &mut collect);

    let mut end = 0;
    let info = |(name, (shape, _)): (&String, &(Vec<usize>, Fetch))| {
        let start = end;
        end += shape.iter().product::<usize>() * size_of::<f32>();
        let info = TensorInfo {
            dtype: Dtype::F32,
            shape: shape.clone(),
            data_offsets: (start, end),
        };
        (name.clone(), info)
    };
    let infos = collect.found.iter().map(info).collect();
    let mark = [("format".to_owned(), "pt".to_owned())];
    let mut header = Metadata::new(Some(mark.into_iter().collect()), infos)
        .map_err(|e| e.to_string())
        .and_then(|header| serde_json::to_vec(&header).map_err(|e| e.to_string()))
        .map_err(|reason| ModelError::ReadBack {
            name: "model.safetensors".to_owned(),
            reason,
        })?;
    header.resize(header.len().next_multiple_of(size_of::<u64>()), b' ');

    let failed = |source| ModelError::Write {
        path: path.to_owned(),
        source,
    };
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    let length = (header.len() as u64).to_le_bytes();
    file.write_all(&length).map_err(failed)?;
    file.write_all(&header).map_err(failed)?;
    for (_, fetch) in collect.found.into_values() {
        for values in fetch()?.chunks(1024) {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            file.write_all(&bytes.collect::<Vec<u8>>())
                .map_err(failed)?;
        }
    }
    file.flush().map_err(failed)
}

pub(super) fn by_canonical_name<'a>(
    family: Family,
    checkpoint: &'a Checkpoint,
    misfits: &mut Vec<Misfit>,
) -> BTreeMap<String, &'a StoredTensor> {
    let mut found: BTreeMap<String, &StoredTensor> = BTreeMap::new();
    for tensor in checkpoint.tensors() {
        if let Some(other) = found.insert(canonical(family, &tensor.name), tensor) {
            misfits.push(Misfit::Twice {
                name: tensor.name.clone(),
                other: other.name.clone(),
            });
        }
    }
    found
}

/// Gives each parameter the values that `values` has for its name and its shape, both as in a checkpoint; the others stay.
/// There must be as many values as the shape says.
///
/// # Errors
/// The first one that `values` gives, which is not asked again.
pub(super) fn set_each(
    classifier: Classifier,
    values: impl FnMut(&str, &[usize]) -> Result<Option<Vec<f32>>, ModelError>,
) -> Result<Classifier, ModelError> {
    struct Set<F> {
        values: F,
        error: Option<ModelError>,
    }
    impl<F: FnMut(&str, &[usize]) -> Result<Option<Vec<f32>>, ModelError>> MapParameters for Set<F> {
        fn map<const D: usize>(
            &mut self,
            name: &str,
            parameter: Param<Tensor<D>>,
        ) -> Param<Tensor<D>> {
            if self.error.is_some() {
                return parameter;
            }
            match (self.values)(name, &parameters::shape(name, &parameter)) {
                Ok(Some(values)) => parameters::set(name, parameter, values),
                Ok(None) => parameter,
                Err(error) => {
                    self.error = Some(error);
                    parameter
                }
            }
        }
    }
    let mut set = Set {
        values,
        error: None,
    };
    let classifier = map_parameters(classifier, &mut set);
    match set.error {
        None => Ok(classifier),
        Some(error) => Err(error),
    }
}
