//! Files that torch and transformers wrote, against their safetensors twins; files made to do harm; and no file at all.

use std::fs;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints")
}

fn form_of(path: &Path) -> WeightsForm {
    let name = path.file_name().unwrap().to_str().unwrap();
    match (name.contains("safetensors"), name.ends_with("json")) {
        (true, false) => WeightsForm::Safetensors,
        (true, true) => WeightsForm::SafetensorsIndex,
        (false, false) => WeightsForm::Pytorch,
        (false, true) => WeightsForm::PytorchIndex,
    }
}

fn open(path: &Path) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::open(&EncoderFiles {
        config: PathBuf::new(),
        weights: path.to_owned(),
        form: form_of(path),
        shards: BTreeMap::new(),
    })
}

/// What `bytes` hold, under a name.
fn opened(name: &str, bytes: &[u8]) -> Result<Contents, CheckpointError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    open(&path).map(|checkpoint| contents(&checkpoint))
}

/// Why `bytes` are refused, at once.
fn refused(name: &str, bytes: &[u8]) -> String {
    let begin = Instant::now();
    let error = opened(name, bytes).unwrap_err().to_string();
    assert!(begin.elapsed() < Duration::from_secs(5), "{error}");
    error
}

type Contents = BTreeMap<String, (Dtype, Vec<usize>, Option<Vec<u32>>)>;

/// Types, shapes and, for weights, the bits of the values.
fn contents(checkpoint: &Checkpoint) -> Contents {
    let bits = |tensor: &StoredTensor| {
        let values = checkpoint.read(tensor).unwrap();
        assert_eq!(values.len(), tensor.shape.iter().product::<usize>());
        values.into_iter().map(f32::to_bits).collect()
    };
    checkpoint
        .tensors()
        .iter()
        .map(|tensor| {
            let values = tensor.is_float().then(|| bits(tensor));
            (
                tensor.name.clone(),
                (tensor.dtype, tensor.shape.clone(), values),
            )
        })
        .collect()
}

#[test]
fn what_torch_saved_reads_as_its_safetensors_twin() {
    let pairs = [
        ("zip_f16.bin", "f16.safetensors"),
        ("zip_bf16.bin", "bf16.safetensors"),
        ("zip_f32.bin", "f32.safetensors"),
        ("zip_f64.bin", "f64.safetensors"),
        ("zip_views.bin", "views.safetensors"),
        ("zip_protocol_4.bin", "views.safetensors"),
        ("legacy_f16.bin", "f16.safetensors"),
        ("legacy_bf16.bin", "bf16.safetensors"),
        ("legacy_f32.bin", "f32.safetensors"),
        ("legacy_f64.bin", "f64.safetensors"),
        ("legacy_views.bin", "views.safetensors"),
    ];
    for (file, twin) in pairs {
        let found = contents(&open(&fixtures().join(file)).unwrap());
        let wanted = contents(&open(&fixtures().join(twin)).unwrap());
        assert!(found.len() >= 4);
        assert_eq!(found, wanted, "{file}");
    }
}

#[test]
fn shards_read_as_the_whole_and_say_where_each_tensor_is() {
    let whole = contents(&open(&fixtures().join("whole/model.safetensors")).unwrap());
    let sharded = open(&fixtures().join("sharded/model.safetensors.index.json")).unwrap();
    assert_eq!(contents(&sharded), whole);
    let file = |name: &str| {
        let tensor = sharded
            .tensors()
            .iter()
            .find(|tensor| tensor.name == name)
            .unwrap();
        sharded
            .file(tensor)
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        file("bert.embeddings.LayerNorm.bias"),
        "model-00001-of-00003.safetensors"
    );
    assert_eq!(
        file("cls.seq_relationship.bias"),
        "model-00003-of-00003.safetensors"
    );

    let whole = contents(&open(&fixtures().join("pytorch/pytorch_model.bin")).unwrap());
    let index = fixtures().join("pytorch_sharded/pytorch_model.bin.index.json");
    assert_eq!(contents(&open(&index).unwrap()), whole);
}

#[cfg(unix)]
#[test]
fn a_folder_of_links_reads_as_the_files_themselves() {
    let cache = tempfile::tempdir().unwrap();
    let snapshot = cache.path().join("snapshots/abc");
    fs::create_dir_all(&snapshot).unwrap();
    for (number, entry) in fs::read_dir(fixtures().join("sharded"))
        .unwrap()
        .enumerate()
    {
        let entry = entry.unwrap();
        let blob = cache.path().join(number.to_string());
        fs::copy(entry.path(), &blob).unwrap();
        std::os::unix::fs::symlink(&blob, snapshot.join(entry.file_name())).unwrap();
    }
    let files = EncoderFiles::find(&snapshot).unwrap();
    assert_eq!(files.named().len(), 5);
    let linked = contents(&Checkpoint::open(&files).unwrap());
    let whole = contents(&open(&fixtures().join("whole/model.safetensors")).unwrap());
    assert_eq!(linked, whole);
}

#[test]
fn files_are_found_by_name_wherever_they_lie() {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut files = BTreeMap::new();
    for (number, entry) in fs::read_dir(fixtures().join("sharded"))
        .unwrap()
        .enumerate()
    {
        let entry = entry.unwrap();
        let blob = elsewhere.path().join(number.to_string());
        fs::copy(entry.path(), &blob).unwrap();
        files.insert(entry.file_name().into_string().unwrap(), blob);
    }
    let found = EncoderFiles::among(&files).unwrap();
    assert_eq!(found.form, WeightsForm::SafetensorsIndex);
    let scattered = contents(&Checkpoint::open(&found).unwrap());
    let whole = contents(&open(&fixtures().join("whole/model.safetensors")).unwrap());
    assert_eq!(scattered, whole);
}

#[test]
fn a_file_that_shrinks_after_it_was_opened_is_an_error() {
    for name in ["zip_views.bin", "views.safetensors"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::copy(fixtures().join(name), &path).unwrap();
        let checkpoint = open(&path).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(100).unwrap();
        let tensor = checkpoint
            .tensors()
            .iter()
            .find(|tensor| tensor.name == "whole")
            .unwrap();
        let error = checkpoint.read(tensor).unwrap_err();
        assert!(
            matches!(error, CheckpointError::Unreadable { .. }),
            "{error:?}"
        );
    }
}

#[test]
fn integers_are_listed_and_not_read_as_weights() {
    let checkpoint = open(&fixtures().join("zip_views.bin")).unwrap();
    let tensor = checkpoint
        .tensors()
        .iter()
        .find(|tensor| tensor.name == "flags")
        .unwrap();
    assert_eq!(tensor.dtype, Dtype::BOOL);
    let error = checkpoint.read(tensor).unwrap_err().to_string();
    assert!(error.contains("holds BOOL"), "{error}");
}

/// A file in a zip file, with what its directory says of it.
#[derive(Clone)]
struct Part {
    name: &'static str,
    bytes: Vec<u8>,
    method: u16,
    packed: u32,
    size: u32,
    /// Where the directory says it is; `None` for where it is.
    header: Option<u32>,
}

fn part(name: &'static str, bytes: &[u8]) -> Part {
    Part {
        name,
        bytes: bytes.to_owned(),
        method: 0,
        packed: bytes.len() as u32,
        size: bytes.len() as u32,
        header: None,
    }
}

fn zipped(parts: &[Part]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for part in parts {
        let header = part.header.unwrap_or(file.len() as u32);
        let common = |out: &mut Vec<u8>| {
            out.extend([20, 0, 0, 0]);
            out.extend(part.method.to_le_bytes());
            out.extend([0; 8]);
            out.extend(part.packed.to_le_bytes());
            out.extend(part.size.to_le_bytes());
            out.extend((part.name.len() as u16).to_le_bytes());
            out.extend([0; 2]);
        };
        file.extend(archive::LOCAL);
        common(&mut file);
        file.extend(part.name.bytes());
        file.extend(&part.bytes);
        directory.extend(b"PK\x01\x02\x14\0");
        common(&mut directory);
        directory.extend([0; 10]);
        directory.extend(header.to_le_bytes());
        directory.extend(part.name.bytes());
    }
    let (start, size) = (file.len() as u32, directory.len() as u32);
    let count = (parts.len() as u16).to_le_bytes();
    file.extend(directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend(count);
    file.extend(count);
    file.extend(size.to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0; 2]);
    file
}

/// A zip file with this pickle, and a storage of four F32 values.
fn with_pickle(pickle: &[u8]) -> Vec<u8> {
    zipped(&[part("m/data.pkl", pickle), part("m/data/0", &[0; 16])])
}

/// The same in the form of torch before 1.6.
fn in_sequence(pickle: &[u8]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    file.extend(b"\x80\x02M\xe9\x03.");
    file.extend(b"\x80\x02}X\x0d\0\0\0little_endian\x88s.");
    file.extend(pickle);
    file.extend(b"\x80\x02]X\x01\0\0\x000a.");
    file.extend(4u64.to_le_bytes());
    file.extend([0; 16]);
    file
}

/// A dict of one tensor `a` in a storage `0` of F32 values.
fn one_tensor(count: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let long = |number: i64| [&[0x8a, 8][..], &number.to_le_bytes()].concat();
    let tuple = |numbers: &[i64]| {
        let numbers: Vec<u8> = numbers.iter().flat_map(|&number| long(number)).collect();
        [b"(", &numbers[..], b"t"].concat()
    };
    [
        b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n(",
        &b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu"[..],
        &long(count),
        b"tQ",
        &long(offset),
        &tuple(shape),
        &tuple(strides),
        b"\x89}tRs.",
    ]
    .concat()
}

#[test]
fn a_file_made_by_hand_is_read() {
    let pickle = one_tensor(4, 0, &[2, 2], &[2, 1]);
    for file in [with_pickle(&pickle), in_sequence(&pickle)] {
        let found = opened("pytorch_model.bin", &file).unwrap();
        let wanted = (Dtype::F32, vec![2, 2], Some(vec![0; 4]));
        assert_eq!(found["a"], wanted);
    }
}

#[test]
fn code_in_a_pickle_is_named_and_never_run() {
    let mark = tempfile::tempdir().unwrap();
    let touched = mark.path().join("touched");
    let command = format!("touch {}", touched.display());
    let text = [
        &b"X"[..],
        &(command.len() as u32).to_le_bytes(),
        command.as_bytes(),
    ]
    .concat();
    let call = |function: &[u8]| [function, &text, b"\x85R."].concat();
    let cases: [(Vec<u8>, &str); 13] = [
        (call(b"\x80\x02cposix\nsystem\n"), "posix.system"),
        (call(b"\x80\x02c__builtin__\neval\n"), "__builtin__.eval"),
        (
            call(b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93"),
            "builtins.exec",
        ),
        (call(b"\x80\x02ctorch\nload\n"), "torch.load"),
        (
            call(b"ctorch._utils\n_rebuild_wrapper_subclass\n"),
            "_rebuild_wrapper_subclass",
        ),
        (call(b"ctorch\nFloatStorage\n"), "a storage to be made"),
        ([b"(", &text[..], b"ios\nsystem\n."].concat(), "os.system"),
        ([b"(cos\nsystem\n", &text[..], b"o."].concat(), "os.system"),
        (
            b"ccollections\nOrderedDict\n)\x81.".to_vec(),
            "an object to be made",
        ),
        (
            b"ccollections\nOrderedDict\n}b.".to_vec(),
            "the state of an object",
        ),
        (b"\x80\x02\x82\x01.".to_vec(), "an extension"),
        (b"\x80\x02Pevil\n.".to_vec(), "something outside of it"),
        (
            b"(X\x06\0\0\0moduleNNNtQ.".to_vec(),
            "the source code of a module",
        ),
    ];
    for (pickle, asked) in cases {
        // Behind an honest tensor too.
        let mut behind = one_tensor(4, 0, &[4], &[1]);
        behind.truncate(behind.len() - 1);
        behind.extend(pickle.strip_prefix(b"\x80\x02").unwrap_or(&pickle));
        for file in [
            with_pickle(&pickle),
            with_pickle(&behind),
            in_sequence(&pickle),
        ] {
            let error = refused("pytorch_model.bin", &file);
            assert!(error.contains(asked), "{asked}: {error}");
            assert!(error.contains("pytorch_model.bin"), "{error}");
        }
    }
    let error = refused("pytorch_model.bin", &call(b"\x80\x02cposix\nsystem\n"));
    assert!(error.contains("posix.system"), "{error}");
    assert!(!touched.exists());
}

#[test]
fn names_from_a_pickle_cannot_write_to_the_terminal() {
    let error = refused("pytorch_model.bin", &with_pickle(b"c\x1b[31mred\nx\n."));
    assert!(
        !error.contains('\x1b') && error.contains("31mred"),
        "{error}"
    );
    let mut named = one_tensor(4, 0, &[4], &[1]);
    let place = named.windows(2).position(|pair| pair == b"ac").unwrap();
    named[place] = b'\x07';
    let error = refused("pytorch_model.bin", &with_pickle(&named));
    assert!(error.contains("no tensor's name"), "{error}");
}

#[test]
fn a_pickle_that_wants_much_of_memory_or_time_gets_neither() {
    let many = 2_000_000;
    let rebuilt = {
        // A list of pairs that is made into a dict again and again.
        let mut pickle = b"]q\0(".to_vec();
        pickle.extend(b"NN\x86".repeat(200_000));
        pickle.extend(b"eccollections\nOrderedDict\nq\x01");
        pickle.extend(b"h\x01h\0\x85R0".repeat(100_000));
        pickle.push(b'.');
        pickle
    };
    let shapes = {
        let mut pickle = b"(".to_vec();
        pickle.extend(b"K\x01".repeat(500_000));
        pickle.extend(b"tq\x050");
        let tensor = one_tensor(4, 0, &[4], &[1]);
        let start = tensor
            .windows(9)
            .position(|w| w == b"\x8a\x08\x04\0\0\0\0\0\0")
            .unwrap();
        pickle.extend(&tensor[..start]);
        pickle.extend(b"\x8a\x01\x04tQK\0h\x05h\x05\x89}tRs.");
        pickle
    };
    let cases: [(&str, Vec<u8>); 13] = [
        (
            "text of 2^63 bytes",
            b"\x80\x04\x8d\0\0\0\0\0\0\0\x80x.".to_vec(),
        ),
        ("text of 2^32 bytes", b"X\xff\xff\xff\xffx.".to_vec()),
        (
            "bytes of 2^64 bytes",
            b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xffx.".to_vec(),
        ),
        ("number of 2^31 bytes", b"\x8b\xff\xff\xff\x7fx.".to_vec()),
        ("lists", b"]".repeat(many)),
        (
            "lists in lists",
            [b"]".repeat(many), b"a".repeat(many / 2)].concat(),
        ),
        (
            "tuples in tuples",
            [b"N".to_vec(), b"\x85".repeat(many), b".".to_vec()].concat(),
        ),
        ("marks", b"(".repeat(many)),
        (
            "marks and tuples",
            [b"(".repeat(many / 2), b"t".repeat(many / 2)].concat(),
        ),
        ("copies", [b"N".to_vec(), b"2".repeat(many)].concat()),
        ("memo", [b"N".to_vec(), b"\x94".repeat(many)].concat()),
        ("dicts from one list", rebuilt),
        ("tensors of many dimensions", shapes),
    ];
    for (what, pickle) in cases {
        for file in [with_pickle(&pickle), in_sequence(&pickle)] {
            let error = refused("pytorch_model.bin", &file);
            assert!(error.contains("its pickle"), "{what}: {error}");
        }
    }
    let error = refused("pytorch_model.bin", &with_pickle(&b"N0".repeat(9 << 20)));
    assert!(error.contains("too large"), "{error}");
}

#[test]
fn a_tensor_outside_of_its_storage_is_refused() {
    let cases: [(i64, &[i64], &[i64]); 11] = [
        (1, &[2, 2], &[2, 1]),
        (-1, &[2, 2], &[2, 1]),
        (0, &[2, 3], &[3, 1]),
        (0, &[2, 2], &[3, 1]),
        (3, &[2], &[-1]),
        (0, &[-2], &[1]),
        (0, &[2, 2], &[1]),
        (i64::MAX, &[1], &[1]),
        (0, &[i64::MAX, i64::MAX, i64::MAX], &[1, 1, 1]),
        (0, &[2, 2], &[i64::MAX, i64::MAX]),
        // A few values that claim to be a million million.
        (0, &[1 << 20, 1 << 20], &[0, 0]),
    ];
    for (offset, shape, strides) in cases {
        let pickle = one_tensor(4, offset, shape, strides);
        for file in [with_pickle(&pickle), in_sequence(&pickle)] {
            let error = refused("pytorch_model.bin", &file);
            assert!(
                error.contains("its tensor a does not lie within"),
                "{offset} {shape:?} {strides:?}: {error}"
            );
        }
    }
    let whole = one_tensor(4, 0, &[1, 4, 1], &[i64::MAX, 1, i64::MAX]);
    let found = opened("pytorch_model.bin", &with_pickle(&whole)).unwrap();
    assert_eq!(found["a"].1, [1, 4, 1]);
}

#[test]
fn a_storage_of_another_size_than_its_file_is_refused() {
    for count in [0, 3, 5, i64::MAX, -1] {
        let pickle = one_tensor(count, 0, &[1], &[1]);
        let error = refused("pytorch_model.bin", &with_pickle(&pickle));
        assert!(error.contains("its storage 0 has"), "{count}: {error}");
        let error = refused("pytorch_model.bin", &in_sequence(&pickle));
        assert!(error.contains("its storage 0 has"), "{count}: {error}");
    }
    let mut long = in_sequence(&one_tensor(1 << 60, 0, &[1], &[1]));
    let place = long.len() - 24;
    long[place..place + 8].copy_from_slice(&(1u64 << 60).to_le_bytes());
    let error = refused("pytorch_model.bin", &long);
    assert!(error.contains("cut off in storage 0"), "{error}");
    let error = refused(
        "pytorch_model.bin",
        &zipped(&[part("m/data.pkl", &one_tensor(4, 0, &[4], &[1]))]),
    );
    assert!(error.contains("its storage 0 is missing"), "{error}");
}

#[test]
fn only_a_plain_zip_file_is_read() {
    let pickle = part("m/data.pkl", &one_tensor(4, 0, &[4], &[1]));
    let storage = part("m/data/0", &[0; 16]);
    let changed = |change: &dyn Fn(&mut Part)| {
        let mut storage = storage.clone();
        change(&mut storage);
        zipped(&[pickle.clone(), storage])
    };
    let honest = changed(&|_| {});
    assert!(opened("pytorch_model.bin", &honest).is_ok());
    let within = pickle.bytes.len() as u32;
    // Inside the pickle's bytes lies the header of another member.
    let nested = {
        let inner = zipped(&[part("m/data/0", &[0; 16])]);
        let mut file = pickle.clone();
        file.bytes.extend(&inner[..30 + 8 + 16]);
        (file.packed, file.size) = (file.bytes.len() as u32, file.bytes.len() as u32);
        let header = 30 + pickle.name.len() as u32 + within;
        zipped(&[
            file,
            Part {
                header: Some(header),
                ..storage.clone()
            },
        ])
    };
    let cases = [
        ("compressed", changed(&|part| part.method = 8)),
        ("compressed", changed(&|part| part.size = u32::MAX - 1)),
        ("compressed", changed(&|part| part.packed = 8)),
        (
            "lies outside",
            changed(&|part| (part.size, part.packed) = (17, 17)),
        ),
        (
            "lies outside",
            changed(&|part| (part.size, part.packed) = (1 << 30, 1 << 30)),
        ),
        (
            "lies outside",
            changed(&|part| part.header = Some(u32::MAX - 1)),
        ),
        (
            "lies outside",
            changed(&|part| part.header = Some(u32::MAX)),
        ),
        ("has no header", changed(&|part| part.header = Some(1))),
        ("overlap", nested),
        (
            "two members",
            zipped(&[pickle.clone(), storage.clone(), storage.clone()]),
        ),
        ("no `data.pkl`", zipped(std::slice::from_ref(&storage))),
        (
            "or several",
            zipped(&[pickle.clone(), part("n/data.pkl", b"N.")]),
        ),
        (
            "big-endian",
            zipped(&[pickle.clone(), storage.clone(), part("m/byteorder", b"big")]),
        ),
        ("no dict of tensors", with_pickle(b"N.")),
        ("no dict of tensors", with_pickle(b"}.")),
        ("directory is missing", [&honest[..], b"x"].concat()),
    ];
    for (reason, file) in cases {
        let error = refused("pytorch_model.bin", &file);
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn a_directory_that_claims_millions_of_members_costs_nothing() {
    let honest = with_pickle(&one_tensor(4, 0, &[4], &[1]));
    let end = honest.len() - 22;
    let claimed = |count: u64, size: u64, start: u64| {
        let mut file = honest[..end].to_vec();
        let place = file.len() as u64;
        file.extend(b"PK\x06\x06");
        file.extend(44u64.to_le_bytes());
        file.extend([0; 12]);
        for number in [count, count, size, start] {
            file.extend(number.to_le_bytes());
        }
        file.extend(b"PK\x06\x07\0\0\0\0");
        file.extend(place.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        file.extend(b"PK\x05\x06\0\0\0\0");
        file.extend([0xff; 12]);
        file.extend([0; 2]);
        file
    };
    let size = u64::from(u32::from_le_bytes(
        *honest[end + 12..].first_chunk().unwrap(),
    ));
    let start = u64::from(u32::from_le_bytes(
        *honest[end + 16..].first_chunk().unwrap(),
    ));
    assert!(opened("pytorch_model.bin", &claimed(2, size, start)).is_ok());
    let cases = [
        (1 << 40, size, start, "cut off"),
        (u64::MAX, size, start, "cut off"),
        (1, size, start, "more members than it says"),
        (2, u64::MAX, start, "directory lies outside"),
        (2, size, u64::MAX, "directory lies outside"),
        (2, size + 1, start, "directory lies outside"),
    ];
    for (count, size, start, reason) in cases {
        let error = refused("pytorch_model.bin", &claimed(count, size, start));
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn a_file_that_ends_early_is_refused_wherever_it_ends() {
    for name in [
        "zip_f32.bin",
        "legacy_f32.bin",
        "legacy_views.bin",
        "f32.safetensors",
    ] {
        let whole = fs::read(fixtures().join(name)).unwrap();
        for length in 0..whole.len() {
            let error = opened(name, &whole[..length]).unwrap_err();
            assert!(
                matches!(
                    error,
                    CheckpointError::NotPytorch { .. } | CheckpointError::NotSafetensors { .. }
                ),
                "{name}, {length}: {error:?}"
            );
        }
    }
}

#[test]
fn pointers_and_foreign_files_are_named() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
    for name in [
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ] {
        let error = refused(name, pointer);
        assert!(error.contains("Git LFS pointer"), "{error}");
        refused(name, b"");
        refused(name, b"<!DOCTYPE html><html><body>Not found</body></html>");
    }
    assert!(refused("pytorch_model.bin", b"").contains("it is empty"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pytorch_model.bin");
    fs::create_dir(&path).unwrap();
    assert!(matches!(
        open(&path),
        Err(CheckpointError::Unreadable { .. })
    ));
}

/// A safetensors file with this header.
fn headed(header: &str, data: usize) -> Vec<u8> {
    [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        &vec![0; data],
    ]
    .concat()
}

#[test]
fn a_safetensors_header_that_does_not_hold_is_refused() {
    let tensor = |name: &str, dtype: &str, shape: &str, from: &str, to: &str| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let of = |tensors: &[String]| format!("{{{}}}", tensors.join(","));
    let a = tensor("a", "F32", "[2]", "0", "8");
    assert!(
        opened(
            "model.safetensors",
            &headed(&of(std::slice::from_ref(&a)), 8)
        )
        .is_ok()
    );
    let huge = (1u64 << 61).to_string();
    let halves: Vec<String> = (0..16u64)
        .map(|part| {
            let (from, to) = (u128::from(part) << 60, u128::from(part + 1) << 60);
            let to = to.min(u128::from(u64::MAX));
            let count = (to - from).to_string();
            tensor(
                &part.to_string(),
                "U8",
                &format!("[{count}]"),
                &from.to_string(),
                &to.to_string(),
            )
        })
        .collect();
    let deep = format!(r#"{{"a":{}"#, "[".repeat(1_000_000));
    let cases: [(&str, String); 12] = [
        (
            "invalid offset",
            of(&[a.clone(), tensor("b", "F32", "[2]", "4", "12")]),
        ),
        (
            "invalid offset",
            of(&[a.clone(), tensor("b", "F32", "[2]", "0", "8")]),
        ),
        (
            "invalid offset",
            of(&[a.clone(), tensor("b", "F32", "[2]", "12", "20")]),
        ),
        ("invalid offset", of(&[tensor("a", "F32", "[2]", "8", "0")])),
        (
            "invalid shape",
            of(&[tensor("a", "F32", "[2]", "0", &huge)]),
        ),
        (
            "not fully covered",
            of(&[tensor("a", "F32", "[4]", "0", "16")]),
        ),
        (
            "not fully covered",
            of(&[tensor("a", "F32", "[1]", "0", "4")]),
        ),
        ("not fully covered", of(&halves)),
        (
            "overflow",
            of(&[tensor("a", "F32", &format!("[{huge},{huge}]"), "0", "8")]),
        ),
        (
            "unknown variant `F1000`",
            of(&[tensor("a", "F1000", "[2]", "0", "8")]),
        ),
        ("recursion limit", deep),
        ("invalid JSON", "{".to_owned()),
    ];
    for (reason, header) in cases {
        let error = refused("model.safetensors", &headed(&header, 8));
        assert!(error.contains(reason), "{reason}: {error}");
    }
    let claims: [(&str, u64); 4] = [
        ("header too large", u64::MAX),
        ("header too large", 1 << 40),
        // A thousand million tensors would need more.
        ("header too large", MOST_HEADER_BYTES + 1),
        ("invalid header length", MOST_HEADER_BYTES),
    ];
    for (reason, length) in claims {
        let mut file = headed(&of(std::slice::from_ref(&a)), 8);
        file[..8].copy_from_slice(&length.to_le_bytes());
        assert!(refused("model.safetensors", &file).contains(reason));
    }
}

#[test]
fn an_index_that_leads_astray_is_refused() {
    let outside = [
        "../model.safetensors",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a/b.safetensors",
        "./b.safetensors",
        "b/",
        "C:\\b.safetensors",
        "..\\b.safetensors",
        "b\0.safetensors",
    ];
    for shard in outside {
        let index = serde_json::json!({ "weight_map": { "a": shard } }).to_string();
        let error = refused("model.safetensors.index.json", index.as_bytes());
        assert!(error.contains("no file beside it"), "{shard}: {error}");
    }
    let deep = format!(r#"{{"metadata":{}"#, "[".repeat(1_000_000));
    let deep_map = format!(r#"{{"weight_map":{}"#, r#"{"a":"#.repeat(1_000_000));
    let large = format!(r#"{{"metadata":"{}"}}"#, "x".repeat(17 << 20));
    let cases = [
        ("it names no tensors", r#"{"weight_map": {}}"#),
        ("missing field `weight_map`", "{}"),
        ("invalid type", r#"{"weight_map": {"a": 1}}"#),
        ("EOF", &deep),
        ("invalid type", &deep_map),
        ("too large", &large),
    ];
    for (reason, index) in cases {
        let error = refused("model.safetensors.index.json", index.as_bytes());
        assert!(error.contains(reason), "{reason}: {error}");
        assert!(error.contains("is not an index of weights"), "{error}");
    }
}

#[test]
fn shards_that_are_missing_or_lack_a_tensor_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("model.safetensors.index.json");
    let write = |map: serde_json::Value| {
        fs::write(&index, serde_json::json!({ "weight_map": map }).to_string()).unwrap();
    };
    let shard = folder.path().join("one.safetensors");
    fs::copy(fixtures().join("f32.safetensors"), &shard).unwrap();
    write(serde_json::json!({ "a.bias": "one.safetensors", "b": "two.safetensors" }));
    let error = open(&index).unwrap_err().to_string();
    assert!(error.contains("two.safetensors"), "{error}");
    let errors = EncoderFiles::find(folder.path()).unwrap_err();
    assert!(errors[0].to_string().contains("config.json"), "{errors:?}");
    fs::write(folder.path().join("config.json"), "{}").unwrap();
    let errors = EncoderFiles::find(folder.path()).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().contains("two.safetensors"));

    write(serde_json::json!({ "a.bias": "one.safetensors", "b": "one.safetensors" }));
    let error = open(&index).unwrap_err().to_string();
    assert!(
        error.contains("says that one.safetensors holds b, and it does not"),
        "{error}"
    );

    write(serde_json::json!({ "a.bias": "one.safetensors" }));
    let checkpoint = open(&index).unwrap();
    assert_eq!(checkpoint.tensors().len(), 1);
}

const GOOD: [&str; 6] = [
    "zip_views.bin",
    "zip_protocol_4.bin",
    "zip_f16.bin",
    "legacy_views.bin",
    "legacy_f64.bin",
    "views.safetensors",
];

/// Opens the bytes, and reads what they hold if they hold anything.
fn survives(name: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let Ok(checkpoint) = open(&path) else {
        return;
    };
    for tensor in checkpoint.tensors() {
        let count: usize = tensor.shape.iter().product();
        assert!(count <= bytes.len());
        if tensor.is_float() {
            assert_eq!(checkpoint.read(tensor).unwrap().len(), count);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for name in ["pytorch_model.bin", "model.safetensors", "model.safetensors.index.json"] {
            survives(name, &bytes);
        }
        _ = pickle::run(&bytes);
        survives("pytorch_model.bin", &with_pickle(&bytes));
        survives("pytorch_model.bin", &in_sequence(&bytes));
    }

    #[test]
    fn no_sequence_of_operations_makes_the_pickle_machine_panic(
        operations in proptest::collection::vec(
            proptest::sample::select(b"(0123.NJKMGXUTCB)t]lae}dsuqrhjcRbQ\x80\x85\x86\x87\x88\x89\x8a\x8c\x93\x94\x00\x01\x02".to_vec()),
            0..300,
        ),
    ) {
        _ = pickle::run(&operations);
        let behind = [&one_tensor(4, 0, &[4], &[1])[..50], &operations].concat();
        _ = pickle::run(&behind);
    }

    #[test]
    fn no_change_to_a_good_file_makes_it_panic(
        file in 0..GOOD.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..6),
    ) {
        let name = GOOD[file];
        let mut bytes = fs::read(fixtures().join(name)).unwrap();
        for (place, byte, kind) in changes {
            let place = place.index(bytes.len());
            match kind {
                0 => bytes[place] = byte,
                1 => bytes[place] ^= 1 << (byte % 8),
                2 => bytes.insert(place, byte),
                _ => _ = bytes.remove(place),
            }
        }
        survives(name, &bytes);
    }

    /// Every order of dimensions, against places computed one by one.
    #[test]
    fn strided_tensors_are_gathered_row_by_row(
        sizes in proptest::collection::vec(1..4usize, 1..5),
        seed in any::<u64>(),
    ) {
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.sort_by_key(|&dimension| seed.rotate_left(7 * dimension as u32) % 97);
        let mut strides = vec![0; sizes.len()];
        let mut below = 1;
        for &dimension in &order {
            strides[dimension] = below;
            below *= sizes[dimension];
        }
        let values: Vec<f32> = (0..below).map(|value| value as f32).collect();
        let gathered = gather(&values, &sizes, &strides).unwrap();
        for (number, value) in gathered.into_iter().enumerate() {
            let mut rest = number;
            let mut place = 0;
            for (size, stride) in sizes.iter().zip(&strides).rev() {
                place += rest % size * stride;
                rest /= size;
            }
            prop_assert_eq!(value, place as f32);
        }
    }
}
