//! A machine for pickles that knows what `torch.save` writes of tensors, and nothing else.
//!
//! A pickle is a program for a small stack machine. Python's machine imports and calls whatever the program names; this one
//! has no such operation. It builds plain values, storages and tensors, from the few names in [`GLOBALS`], and stops at any
//! other name or operation with what was asked for. Opcodes and their order on the stack: `pickletools.py` of CPython;
//! what tensors are made of: `torch/_utils.py` and `torch/serialization.py`.
//!
//! Promise: no recursion, and at most [`MOST_STEPS`] operations, each of which makes at most one value, of things that
//! are already there. Texts and bytes are
//! borrowed from the pickle. So time and memory are bounded, however values are nested or shared.
//!
//! Deliberately absent: classes, objects and their states, sets, numbers too large for 64 bits, the opcodes of protocols 0
//! and 1 that write numbers as text, and extension codes.

use std::collections::HashMap;

use ::safetensors::Dtype;

use super::{Flaw, broken, shown};

/// What every pickle since protocol 2 begins with.
pub(super) const PROTOCOL: u8 = 0x80;

/// A state dict of a thousand tensors takes some fifty thousand.
const MOST_STEPS: usize = 1 << 20;
/// Dimensions of a tensor, as in torch.
const MOST_DIMENSIONS: usize = 64;
/// The longest name of a module or of something in it.
const MOST_GLOBAL_BYTES: usize = 256;

/// The names that a pickle may use.
const GLOBALS: &[(&str, &str, Global)] = &[
    ("collections", "OrderedDict", Global::OrderedDict),
    ("torch._utils", "_rebuild_tensor", Global::Tensor),
    ("torch._utils", "_rebuild_tensor_v2", Global::Tensor),
    ("torch._utils", "_rebuild_parameter", Global::Parameter),
    ("torch", "DoubleStorage", Global::Storage(Dtype::F64)),
    ("torch", "FloatStorage", Global::Storage(Dtype::F32)),
    ("torch", "HalfStorage", Global::Storage(Dtype::F16)),
    ("torch", "BFloat16Storage", Global::Storage(Dtype::BF16)),
    ("torch", "LongStorage", Global::Storage(Dtype::I64)),
    ("torch", "IntStorage", Global::Storage(Dtype::I32)),
    ("torch", "ShortStorage", Global::Storage(Dtype::I16)),
    ("torch", "CharStorage", Global::Storage(Dtype::I8)),
    ("torch", "ByteStorage", Global::Storage(Dtype::U8)),
    ("torch", "BoolStorage", Global::Storage(Dtype::BOOL)),
    ("torch", "ComplexFloatStorage", Global::Storage(Dtype::C64)),
    (
        "torch.storage",
        "UntypedStorage",
        Global::Storage(Dtype::U8),
    ),
    (
        "torch.storage",
        "_UntypedStorage",
        Global::Storage(Dtype::U8),
    ),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    Tensor,
    Parameter,
    Storage(Dtype),
}

/// What lies on the stack. Numbers in the last variants are places in the pickle's lists of such things.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// More than 64 bits, as the pickle has it.
    Big(&'a [u8]),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Global(Global),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
}

/// Memory that tensors lie in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Storage<'a> {
    /// What the file calls it.
    pub key: &'a str,
    pub dtype: Dtype,
    /// How many values it has.
    pub count: u64,
}

/// Part of a storage, not yet checked to lie within it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    /// Its place among the storages.
    pub storage: usize,
    /// The place of its first value in the storage.
    pub offset: i64,
    pub shape: Vec<i64>,
    pub strides: Vec<i64>,
}

/// What a pickle made.
#[derive(Debug)]
pub(super) struct Pickled<'a> {
    pub value: Value<'a>,
    /// How many bytes it took.
    pub length: usize,
    pub storages: Vec<Storage<'a>>,
    pub tensors: Vec<Tensor>,
    sequences: Vec<Vec<Value<'a>>>,
    dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
}

impl<'a> Pickled<'a> {
    /// The entries of a dict, in the order in which they were set; a key may be there more than once.
    pub(super) fn entries(&self, value: Value) -> Option<&[(Value<'a>, Value<'a>)]> {
        match value {
            Value::Dict(place) => self.dicts.get(place).map(Vec::as_slice),
            _ => None,
        }
    }

    /// The elements of a list or a tuple.
    pub(super) fn elements(&self, value: Value) -> Option<&[Value<'a>]> {
        match value {
            Value::List(place) | Value::Tuple(place) => {
                self.sequences.get(place).map(Vec::as_slice)
            }
            _ => None,
        }
    }
}

/// Runs the pickle at the start of `bytes`.
pub(super) fn run(bytes: &[u8]) -> Result<Pickled<'_>, Flaw> {
    let mut machine = Machine {
        rest: bytes,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        keys: HashMap::new(),
        copied: 0,
        made: Pickled {
            value: Value::None,
            length: 0,
            storages: Vec::new(),
            tensors: Vec::new(),
            sequences: Vec::new(),
            dicts: Vec::new(),
        },
    };
    for _ in 0..MOST_STEPS {
        if let Some(value) = machine.step()? {
            return Ok(Pickled {
                value,
                length: bytes.len() - machine.rest.len(),
                ..machine.made
            });
        }
    }
    too_long()
}

struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value<'a>>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    /// A storage's key → its place.
    keys: HashMap<&'a str, usize>,
    /// Entries of dicts that were made from lists.
    copied: usize,
    made: Pickled<'a>,
}

impl<'a> Machine<'a> {
    /// Does one operation; the pickle's value after the last one.
    fn step(&mut self) -> Result<Option<Value<'a>>, Flaw> {
        let [opcode] = self.array()?;
        match opcode {
            PROTOCOL => {
                let [protocol] = self.array()?;
                if protocol > 5 {
                    return broken(format!("its pickle is of protocol {protocol}"));
                }
            }
            // FRAME
            0x95 => _ = self.take(8)?,
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => _ = self.pop()?,
            b'1' => _ = self.pop_mark()?,
            b'2' => {
                let top = self.pop()?;
                self.stack.extend([top, top]);
            }
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            // BININT, BININT1, BININT2
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(number.into()));
            }
            b'K' => {
                let number = u8::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(number.into()));
            }
            // LONG1, LONG4
            0x8a => {
                let length = self.length1()?;
                self.long(length)?;
            }
            0x8b => {
                let length = self.length4()?;
                self.long(length)?;
            }
            b'G' => {
                let number = f64::from_be_bytes(self.array()?);
                self.stack.push(Value::Float(number));
            }
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8c => {
                let length = self.length1()?;
                self.text(length)?;
            }
            b'X' => {
                let length = self.length4()?;
                self.text(length)?;
            }
            0x8d => {
                let length = self.length8()?;
                self.text(length)?;
            }
            // SHORT_BINSTRING, BINSTRING: texts of Python 2
            b'U' => {
                let length = self.length1()?;
                self.text(length)?;
            }
            b'T' => {
                let length = self.length4()?;
                self.text(length)?;
            }
            // SHORT_BINBYTES, BINBYTES, BINBYTES8
            b'C' => {
                let length = self.length1()?;
                self.bytes(length)?;
            }
            b'B' => {
                let length = self.length4()?;
                self.bytes(length)?;
            }
            0x8e => {
                let length = self.length8()?;
                self.bytes(length)?;
            }
            // EMPTY_TUPLE, TUPLE, TUPLE1, TUPLE2, TUPLE3
            b')' => self.tuple(Vec::new()),
            b't' => {
                let elements = self.pop_mark()?;
                self.tuple(elements);
            }
            0x85 => {
                let elements = self.pops::<1>()?;
                self.tuple(elements.to_vec());
            }
            0x86 => {
                let elements = self.pops::<2>()?;
                self.tuple(elements.to_vec());
            }
            0x87 => {
                let elements = self.pops::<3>()?;
                self.tuple(elements.to_vec());
            }
            // EMPTY_LIST, LIST, APPEND, APPENDS
            b']' => self.list(Vec::new()),
            b'l' => {
                let elements = self.pop_mark()?;
                self.list(elements);
            }
            b'a' => {
                let element = self.pop()?;
                self.append(vec![element])?;
            }
            b'e' => {
                let elements = self.pop_mark()?;
                self.append(elements)?;
            }
            // EMPTY_DICT, DICT, SETITEM, SETITEMS
            b'}' => self.dict(Vec::new()),
            b'd' => {
                let items = self.pop_mark()?;
                let items = pairs(&items)?;
                self.dict(items);
            }
            b's' => {
                let item = self.pops::<2>()?;
                self.set_items(&item)?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set_items(&items)?;
            }
            // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
            b'q' => {
                let place = u8::from_le_bytes(self.array()?);
                self.put(place.into())?;
            }
            b'r' => {
                let place = u32::from_le_bytes(self.array()?);
                self.put(place)?;
            }
            0x94 => {
                let place = u32::try_from(self.memo.len()).unwrap_or(u32::MAX);
                self.put(place)?;
            }
            b'h' => {
                let place = u8::from_le_bytes(self.array()?);
                self.get(place.into())?;
            }
            b'j' => {
                let place = u32::from_le_bytes(self.array()?);
                self.get(place)?;
            }
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => match self.pops::<2>()? {
                [Value::Text(module), Value::Text(name)] => self.global(module, name)?,
                _ => return garbled(),
            },
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            b'Q' => self.storage()?,
            // What only objects and older protocols need.
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                return asks_for_global(module, name);
            }
            0x81 | 0x92 | b'o' => return asks("an object to be made"),
            0x82..=0x84 => return asks("an extension of Python"),
            b'P' => return asks("something outside of it"),
            0x97 | 0x98 => return asks("a buffer outside of it"),
            0x8f..=0x91 => return asks("a set"),
            other => {
                return broken(format!(
                    "its pickle has the operation {other:#04x}, which torch.save does not write"
                ));
            }
        }
        Ok(None)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Flaw> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => broken("its pickle is cut off"),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let taken = self.take(N)?;
        Ok(taken.first_chunk().copied().unwrap_or([0; N]))
    }

    fn length1(&mut self) -> Result<usize, Flaw> {
        self.array().map(u8::from_le_bytes).map(usize::from)
    }

    fn length4(&mut self) -> Result<usize, Flaw> {
        let length = u32::from_le_bytes(self.array()?);
        Ok(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn length8(&mut self) -> Result<usize, Flaw> {
        let length = u64::from_le_bytes(self.array()?);
        Ok(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn line(&mut self) -> Result<&'a str, Flaw> {
        let most = self.rest.len().min(MOST_GLOBAL_BYTES);
        let start = self.rest.get(..most).unwrap_or_default();
        let Some(length) = start.iter().position(|&byte| byte == b'\n') else {
            return garbled();
        };
        let line = self.take(length)?;
        self.take(1)?;
        std::str::from_utf8(line).or_else(|_| garbled())
    }

    fn text(&mut self, length: usize) -> Result<(), Flaw> {
        let text = std::str::from_utf8(self.take(length)?).or_else(|_| garbled())?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    fn bytes(&mut self, length: usize) -> Result<(), Flaw> {
        let bytes = self.take(length)?;
        self.stack.push(Value::Bytes(bytes));
        Ok(())
    }

    /// A number in two's complement, the lowest byte first.
    fn long(&mut self, length: usize) -> Result<(), Flaw> {
        let bytes = self.take(length)?;
        let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        self.stack.push(match wide.get_mut(..length) {
            Some(low) => {
                low.copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(wide))
            }
            None => Value::Big(bytes),
        });
        Ok(())
    }

    /// The top of the stack, which must lie above the last mark.
    fn pop(&mut self) -> Result<Value<'a>, Flaw> {
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return garbled();
        }
        self.stack.pop().map_or_else(garbled, Ok)
    }

    fn pops<const N: usize>(&mut self) -> Result<[Value<'a>; N], Flaw> {
        let mut values = [Value::None; N];
        for value in values.iter_mut().rev() {
            *value = self.pop()?;
        }
        Ok(values)
    }

    /// All that lies above the last mark, and the mark.
    fn pop_mark(&mut self) -> Result<Vec<Value<'a>>, Flaw> {
        match self.marks.pop() {
            Some(height) if height <= self.stack.len() => Ok(self.stack.split_off(height)),
            _ => garbled(),
        }
    }

    fn tuple(&mut self, elements: Vec<Value<'a>>) {
        self.stack.push(Value::Tuple(self.made.sequences.len()));
        self.made.sequences.push(elements);
    }

    fn list(&mut self, elements: Vec<Value<'a>>) {
        self.stack.push(Value::List(self.made.sequences.len()));
        self.made.sequences.push(elements);
    }

    fn dict(&mut self, items: Vec<(Value<'a>, Value<'a>)>) {
        self.stack.push(Value::Dict(self.made.dicts.len()));
        self.made.dicts.push(items);
    }

    fn append(&mut self, elements: Vec<Value<'a>>) -> Result<(), Flaw> {
        match self.stack.last() {
            Some(&Value::List(place)) => match self.made.sequences.get_mut(place) {
                Some(list) => list.extend(elements),
                None => return garbled(),
            },
            _ => return garbled(),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Value<'a>]) -> Result<(), Flaw> {
        let items = pairs(items)?;
        match self.stack.last() {
            Some(&Value::Dict(place)) => match self.made.dicts.get_mut(place) {
                Some(dict) => dict.extend(items),
                None => return garbled(),
            },
            _ => return garbled(),
        }
        Ok(())
    }

    fn put(&mut self, place: u32) -> Result<(), Flaw> {
        match self.stack.last() {
            Some(&top) => _ = self.memo.insert(place, top),
            None => return garbled(),
        }
        Ok(())
    }

    fn get(&mut self, place: u32) -> Result<(), Flaw> {
        match self.memo.get(&place) {
            Some(&value) => self.stack.push(value),
            None => return garbled(),
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), Flaw> {
        let known = GLOBALS
            .iter()
            .find(|(known, of, _)| (*known, *of) == (module, name));
        match known {
            Some(&(_, _, global)) => self.stack.push(Value::Global(global)),
            None => return asks_for_global(module, name),
        }
        Ok(())
    }

    /// A call of one of the known names.
    fn reduce(&mut self) -> Result<(), Flaw> {
        let [called, arguments] = self.pops()?;
        let Some(arguments) = self.made.elements(arguments) else {
            return garbled();
        };
        match (called, arguments) {
            (Value::Global(Global::OrderedDict), []) => self.dict(Vec::new()),
            (Value::Global(Global::OrderedDict), &[items]) => {
                let items = self.made.elements(items).map_or_else(garbled, Ok)?;
                // The only copy of something that can be asked for again and again.
                self.copied += items.len();
                if self.copied > MOST_STEPS {
                    return too_long();
                }
                let pair = |&item: &Value<'a>| match self.made.elements(item) {
                    Some(&[key, value]) => Ok((key, value)),
                    _ => garbled(),
                };
                let items = items.iter().map(pair).collect::<Result<_, _>>()?;
                self.dict(items);
            }
            (
                Value::Global(Global::Tensor),
                &[
                    Value::Storage(storage),
                    Value::Int(offset),
                    shape,
                    strides,
                    ..,
                ],
            ) => {
                let tensor = Tensor {
                    storage,
                    offset,
                    shape: self.numbers(shape)?,
                    strides: self.numbers(strides)?,
                };
                self.stack.push(Value::Tensor(self.made.tensors.len()));
                self.made.tensors.push(tensor);
            }
            (Value::Global(Global::Parameter), &[tensor @ Value::Tensor(_), ..]) => {
                self.stack.push(tensor);
            }
            (Value::Global(Global::Storage(_)), _) => return asks("a storage to be made"),
            (Value::Global(_), _) => return garbled(),
            _ => return asks("a call of something that is no function"),
        }
        Ok(())
    }

    fn numbers(&self, tuple: Value) -> Result<Vec<i64>, Flaw> {
        let numbers = self.made.elements(tuple).map_or_else(garbled, Ok)?;
        if numbers.len() > MOST_DIMENSIONS {
            return garbled();
        }
        numbers
            .iter()
            .map(|number| match number {
                Value::Int(number) => Ok(*number),
                _ => garbled(),
            })
            .collect()
    }

    /// The state of an object. A module's state dict has one, `_metadata`, which says nothing of its tensors.
    fn build(&mut self) -> Result<(), Flaw> {
        self.pop()?;
        match self.stack.last() {
            Some(Value::Dict(_)) => Ok(()),
            _ => asks("the state of an object to be set"),
        }
    }

    /// A persistent id: `("storage", type, key, device, count)`, with a sixth element in files of torch before 1.6.
    fn storage(&mut self) -> Result<(), Flaw> {
        let id = self.pop()?;
        let id = self.made.elements(id).map_or_else(garbled, Ok)?;
        let (dtype, key, count) = match *id {
            [Value::Text("module"), ..] => return asks("the source code of a module"),
            [Value::Text("storage"), _, _, _, _, Value::Tuple(_)] => {
                return broken("it has views of storages, as only torch before 0.4 wrote them");
            }
            [
                Value::Text("storage"),
                Value::Global(Global::Storage(dtype)),
                Value::Text(key),
                _,
                Value::Int(count),
                ..,
            ] => (dtype, key, count),
            _ => return garbled(),
        };
        let Ok(count) = u64::try_from(count) else {
            return broken(format!("its storage {} has {count} values", shown(key)));
        };
        let storage = Storage { key, dtype, count };
        let next = self.made.storages.len();
        let place = *self.keys.entry(key).or_insert(next);
        if place == next {
            self.made.storages.push(storage);
        }
        if self.made.storages.get(place) != Some(&storage) {
            return broken(format!("its storage {} is two things", shown(key)));
        }
        self.stack.push(Value::Storage(place));
        Ok(())
    }
}

fn pairs<'a>(items: &[Value<'a>]) -> Result<Vec<(Value<'a>, Value<'a>)>, Flaw> {
    let (pairs, []) = items.as_chunks::<2>() else {
        return garbled();
    };
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
}

fn garbled<T>() -> Result<T, Flaw> {
    broken("its pickle is garbled")
}

fn too_long<T>() -> Result<T, Flaw> {
    broken("its pickle does more than a list of tensors needs")
}

fn asks<T>(what: &str) -> Result<T, Flaw> {
    Err(Flaw::Asks(what.to_owned()))
}

fn asks_for_global<T>(module: &str, name: &str) -> Result<T, Flaw> {
    Err(Flaw::Asks(format!("{}.{}", shown(module), shown(name))))
}
