"""Loading and tokenizing: `refit run SPEC tokens` against datasets.

The 67,349 rows of SST-2's training file, cut to 64 tokens, from an empty store against an empty cache (the files
themselves are in the system's cache by then). datasets reads them with `load_dataset("csv")` and maps the fast
tokenizer over them in batches, in one process and in one for each core; the faster of the two counts.

The harder comparison: refit's time is that of its whole process, the other's begins after Python's imports. A second
row of the table has whole processes on both sides.
"""

import functools
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common import THREADS, Finished, Row, asset, binary, finish, in_turn, need, peaks, reference

MAX_LENGTH = 64

SPEC = """version = 1
name = "data"

[load.reviews]
train = "{train}"
quote = ""
columns = {{ text = "sentence", label = "label" }}

[tokenize.tokens]
input = "reviews"
tokenizer = "{encoder}"
max_length = {max_length}
"""


@dataclass(frozen=True)
class Tokenized:
    """What one process took after its start, and as a whole."""

    seconds: float
    process: Finished


def compare(_words: list[str], repetitions: int | None) -> list[Row]:
    for package in ("datasets", "transformers"):
        need(package)
    encoder, train = asset("models/all-MiniLM-L6-v2"), asset("data/sst2/train.tsv")
    with tempfile.TemporaryDirectory() as name:
        spec = Path(name) / "data.toml"
        spec.write_text(SPEC.format(train=train, encoder=encoder, max_length=MAX_LENGTH))
        sides: dict[str, Callable[[int], Tokenized]] = {"refit": lambda _: _ours(spec)}
        for processes in sorted({1, THREADS}):
            sides[f"datasets, {processes} processes"] = functools.partial(_theirs, encoder, train, processes)
        mine, *others = in_turn(sides, repetitions or 5).values()
    name, other = min(
        zip(list(sides)[1:], others, strict=True),
        key=lambda side: statistics.median(tokenized.seconds for tokenized in side[1]),
    )
    whole = [tokenized.process.seconds for tokenized in mine]
    memory = peaks((tokenized.process for tokenized in mine), (tokenized.process for tokenized in other))
    after_imports = [tokenized.seconds for tokenized in other]
    with_imports = [tokenized.process.seconds for tokenized in other]
    what = "load and tokenize SST-2"
    return [
        Row(what, f"{name}, imports left out", whole, after_imports, "s", peak_bytes=memory),
        Row(what, f"{name}, whole process", whole, with_imports, "s", counts=False),
    ]


def _ours(spec: Path) -> Tokenized:
    with tempfile.TemporaryDirectory() as store:
        finished = finish([binary("refit"), "run", spec, "tokens", "--store", store])
    return Tokenized(finished.seconds, finished)


def _theirs(encoder: Path, train: Path, processes: int, _repetition: int) -> Tokenized:
    with tempfile.TemporaryDirectory() as cache:
        command = [*reference("data"), encoder, train, str(MAX_LENGTH), "--processes", str(processes)]
        finished = finish(command, extra={"HF_DATASETS_CACHE": cache})
    return Tokenized(finished.answer()["seconds"], finished)
