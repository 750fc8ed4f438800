"""Training steps on a GPU: refit against PyTorch, eager and compiled.

BERT-base at 32 x 128 and 16 x 512, MiniLM-L6 at 64 x 128, all rows of full length, weights drawn by chance (only the
sizes matter). The recipe and the programs are those of `step`; bf16 is autocast with float32 weights, and PyTorch may
use TF32 where float32 is asked for. The clock runs over all timed steps of a process, so that neither side waits for
each.

Before the table come, for each side, the tokens a second and the share of the 790 TFLOP/s that an H200 was seen to give
in bf16. A step's model FLOPs are 6 x (the layers' parameters) x tokens, and 12 x layers x hidden x length x tokens for
attention. Of the table, eager PyTorch counts for the last line: in bf16, or in fp32 where only that is measured. A
precision that this refit does not train in is left out, and the output says so.

Needs a refit built with `--features cuda`, and a PyTorch that finds the same GPU. This script has not been run on a GPU
yet.
"""

import json
import statistics
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import step
from common import PYTHON, Command, Row, UsageError, binary, in_turn, need

PARTS = ("bf16", "fp32")
TIMED_STEPS = 40
PEAK_FLOPS = 790e12
VOCABULARY = 30522


@dataclass(frozen=True)
class Sizes:
    """An encoder's sizes, by their names in `config.json`."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int

    def write(self, folder: Path) -> None:
        others = {
            "model_type": "bert",
            "vocab_size": VOCABULARY,
            "max_position_embeddings": 512,
            "type_vocab_size": 2,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
            "initializer_range": 0.02,
            "layer_norm_eps": 1e-12,
            "pad_token_id": 0,
        }
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(others | asdict(self)))

    def flops(self, batch: int, length: int) -> float:
        """Of one training step."""
        hidden, inner, layers = self.hidden_size, self.intermediate_size, self.num_hidden_layers
        weights = layers * (4 * hidden * hidden + 2 * hidden * inner)
        biases_and_norms = layers * (9 * hidden + inner)
        tokens = batch * length
        return 6 * (weights + biases_and_norms) * tokens + 12 * layers * hidden * length * tokens


BERT_BASE = Sizes(768, 12, 12, 3072)
MINILM_L6 = Sizes(384, 6, 12, 1536)
SHAPES = (("BERT-base", BERT_BASE, 32, 128), ("BERT-base", BERT_BASE, 16, 512), ("MiniLM-L6", MINILM_L6, 64, 128))


def compare(words: list[str], repetitions: int | None) -> list[Row]:
    need("torch")
    _need_cuda()
    asked = [precision for precision in PARTS if precision in words] or list(PARTS)
    precisions = [precision for precision in asked if _trains_in(precision)]
    if not precisions:
        raise UsageError(f"this refit does not train in {asked[0]}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model, sizes, batch, length in SHAPES:
            encoder, data = folder / model, folder / f"{batch}x{length}"
            sizes.write(encoder)
            step.full_rows(data, batch * (step.WARM_STEPS + TIMED_STEPS), length)
            for precision in precisions:
                what = f"{model} {batch}x{length} {precision}"
                found = _measure(what, encoder, data, batch, precision, repetitions or 3)
                rows += _rows(what, found, counts=precision == precisions[0])
                _print_throughput(what, found, sizes, batch, length)
    return rows


def _measure(
    what: str, encoder: Path, data: Path, batch: int, precision: str, repetitions: int
) -> dict[str, list[step.Steps]]:
    options = ["--device", "cuda", "--precision", precision]
    sides = {
        f"{what}, refit": lambda _: step.ours(encoder, data, batch, *options),
        f"{what}, PyTorch eager": lambda _: step.theirs(encoder, data, batch, *options),
        f"{what}, PyTorch compiled": lambda _: step.theirs(encoder, data, batch, *options, "--compile"),
    }
    found = in_turn(sides, repetitions)
    return dict(zip(("refit", "PyTorch eager", "PyTorch compiled"), found.values(), strict=True))


def _milliseconds(side: list[step.Steps]) -> list[float]:
    """The mean step of each process."""
    return [1000 * statistics.fmean(steps.seconds) for steps in side]


def _rows(what: str, found: dict[str, list[step.Steps]], counts: bool) -> list[Row]:
    mine = found["refit"]
    return [
        Row(
            what,
            name,
            _milliseconds(mine),
            _milliseconds(side),
            "ms/step",
            counts=counts and name == "PyTorch eager",
            peak_bytes=step.memory(mine, side),
        )
        for name, side in found.items()
        if side is not mine
    ]


def _print_throughput(what: str, found: dict[str, list[step.Steps]], sizes: Sizes, batch: int, length: int) -> None:
    for name, side in found.items():
        seconds = statistics.median(_milliseconds(side)) / 1000
        tokens, share = batch * length / seconds, sizes.flops(batch, length) / seconds / PEAK_FLOPS
        print(f"{what}: {name} {tokens:,.0f} tokens/s, {share:.1%} of {PEAK_FLOPS / 1e12:.0f} TFLOP/s")


def _need_cuda() -> None:
    finds = [PYTHON, "-c", "import torch, sys; sys.exit(not torch.cuda.is_available())"]
    if subprocess.run(finds, check=False).returncode != 0:
        raise UsageError("PyTorch finds no CUDA device here, so there is nothing to compare")
    complaint = _complaint()
    if complaint:
        raise UsageError(f"refit cannot use a GPU here: {complaint}")


def _trains_in(precision: str) -> bool:
    complaint = _complaint("--precision", precision)
    if complaint:
        print(f"{precision} is left out: {complaint}")
    return not complaint


def _complaint(*options: str) -> str:
    """What refit says against the GPU with these options; nothing where it can be had."""
    command: Command = [binary("measure"), "device", "cuda", *options]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.stderr.strip() if asked.returncode else ""
