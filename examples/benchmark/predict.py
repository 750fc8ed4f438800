"""Answering: refit's library against transformers' pipeline and against ONNX Runtime.

The first 2,000 articles of AG News' test set, cut to 128 tokens, asked of one model: all-MiniLM-L6-v2, trained for 30
steps by refit and exported. Timed is tokenizing and answering, after everything is loaded and a few texts have gone
through.

- `transformers`: the pipeline, 32 texts a batch, in the given order: what its documentation shows.
- `onnxruntime`: a careful user's set-up. The model is exported with dynamic axes and plain attention, which ONNX
  Runtime fuses (a tenth faster than the export of scaled dot-product attention); all graph optimisations; texts
  tokenized by the fast tokenizer, sorted by length, and padded in batches of 32.

All must give the same labels, but for one text in a thousand.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common import (
    THREADS,
    Command,
    Finished,
    Row,
    UsageError,
    articles,
    asset,
    binary,
    finish,
    in_turn,
    need,
    peaks,
    reference,
)

PARTS = ("transformers", "onnxruntime")
TEXTS = 2000
MAX_LENGTH = 128
AGREEMENT = 0.999

SPEC = """version = 1
name = "predict"
seed = 13

[load.news]
train = "{data}/train.parquet"

[tokenize.tokens]
input = "news"
tokenizer = "{encoder}"
max_length = {max_length}

[train.classifier]
input = "tokens"
encoder = "{encoder}"
max_steps = 30
batch = {{ size = 16 }}

[export.bundle]
model = "classifier"
to = "bundle"
"""


@dataclass(frozen=True)
class Answered:
    """What one process answered, and how long it took."""

    seconds: float
    labels: list[int]
    process: Finished


def compare(words: list[str], repetitions: int | None) -> list[Row]:
    parts = words or list(PARTS)
    for package in ("torch", *parts):
        need(package)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        artifact, bundle = _train(folder)
        texts = folder / "texts.json"
        texts.write_text(json.dumps([text for text, _ in articles("test")[:TEXTS]]), encoding="utf-8")
        sides: dict[str, Callable[[int], Answered]] = {
            "refit": lambda _: _ask([binary("measure"), "predict", artifact, texts, "--device", "flex"])
        }
        options: list[str | Path] = [texts, "--threads", str(THREADS), "--max-length", str(MAX_LENGTH)]
        if "transformers" in parts:
            sides["transformers"] = lambda _: _ask([*reference("predict_transformers"), bundle, *options])
        if "onnxruntime" in parts:
            onnx = folder / "model.onnx"
            finish([*reference("export_onnx"), bundle, onnx])
            ask = [*reference("predict_onnxruntime"), bundle, *options, "--model", onnx]
            sides["onnxruntime"] = lambda _: _ask(ask)
        mine, *others = in_turn(sides, repetitions or 3).values()
    return [_row(part, mine, other) for part, other in zip(list(sides)[1:], others, strict=True)]


def _row(part: str, mine: list[Answered], other: list[Answered]) -> Row:
    pairs = list(zip(mine[0].labels, other[0].labels, strict=True))
    agreement = sum(ours == theirs for ours, theirs in pairs) / len(pairs)
    print(f"{part}: {agreement:.2%} of the labels agree", file=sys.stderr)
    if agreement < AGREEMENT:
        raise UsageError(f"refit and {part} agree on {agreement:.2%} of the labels only: these times compare nothing")
    return Row(
        f"predict {TEXTS} texts ({agreement:.2%} agree)",
        part,
        [answered.seconds for answered in mine],
        [answered.seconds for answered in other],
        "s",
        peak_bytes=peaks((answered.process for answered in mine), (answered.process for answered in other)),
    )


def _ask(command: Command) -> Answered:
    finished = finish(command)
    answer = finished.answer()
    return Answered(answer["seconds"], answer["labels"], finished)


def _train(folder: Path) -> tuple[Path, Path]:
    """A model as refit keeps it, and as transformers loads it."""
    spec, store = folder / "predict.toml", folder / "store"
    encoder = asset("models/all-MiniLM-L6-v2")
    spec.write_text(SPEC.format(data=asset("data/ag_news"), encoder=encoder, max_length=MAX_LENGTH))
    finish([binary("refit"), "run", spec, "--device", "flex", "--store", store])
    path = finish([binary("refit"), "path", spec, "classifier", "--store", store]).stdout.strip()
    return Path(path), folder / "bundle"
