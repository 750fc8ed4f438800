"""Training steps: refit's own loop against a plain PyTorch loop.

all-MiniLM-L6-v2 with a new head over four labels, float32, dropout 0.1, AdamW (5e-5, decay 0.01 but for biases and
norms), gradients clipped to norm 1. PyTorch runs eagerly, with scaled dot-product attention (transformers' default) and
the fused AdamW (the Trainer's default, and the faster).

- `16x128`, `32x64`: rows of full length, so that both do the same padded work. The ratio is over the median step.
- `real`: AG News cut to 128 tokens, in batches of 16. Both take the same batches in the same order, and the ratio is
  over their total time. PyTorch pads to 128, and in a second row of the table to each batch's longest.

A time begins and ends with a whole step; the first steps of each process are not timed.
"""

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common import SEED, THREADS, Finished, Row, articles, asset, binary, finish, in_turn, need, peaks, reference

PARTS = ("16x128", "32x64", "real")
LABELS = 4
WARM_STEPS = 3
TIMED_STEPS = 8
REAL_STEPS = 16  # lengths vary, so more of them
REAL_SHAPE = (16, 128)

Tokens = list[int]


@dataclass(frozen=True)
class Steps:
    """What one process measured."""

    seconds: list[float]  # of each timed step
    order: list[int]  # in which refit took the rows
    process: Finished


def compare(words: list[str], repetitions: int | None) -> list[Row]:
    need("torch")
    encoder = asset("models/all-MiniLM-L6-v2")
    rows: list[Row] = []
    for part in words or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            if part == "real":
                rows += _real(encoder, Path(folder), repetitions or 5)
            else:
                rows.append(_padded(part, encoder, Path(folder), repetitions or 5))
    return rows


def full_rows(path: Path, rows: int, length: int) -> None:
    """Writes rows of one length, of words chosen by chance."""
    chance = random.Random(SEED)
    write_rows(path, [[chance.randrange(1000, 30000) for _ in range(length)] for _ in range(rows)])


def write_rows(path: Path, rows: list[Tokens]) -> None:
    """Writes one row a line: the label's number, then the ids."""
    path.write_text("".join(f"{number % LABELS} {' '.join(map(str, ids))}\n" for number, ids in enumerate(rows)))


def ours(encoder: Path, rows: Path, batch: int, *options: str) -> Steps:
    finished = finish([binary("measure"), "step", encoder, rows, str(batch), *options])
    answer = finished.answer()
    return Steps(answer["seconds"][WARM_STEPS:], answer["order"], finished)


def theirs(encoder: Path, rows: Path, batch: int, *options: str) -> Steps:
    command = [*reference("step"), encoder, rows, str(batch), "--threads", str(THREADS), "--warm", str(WARM_STEPS)]
    finished = finish([*command, *options])
    return Steps(finished.answer()["seconds"], [], finished)


def memory(mine: list[Steps], other: list[Steps]) -> tuple[int, int]:
    """The largest peak of either side."""
    return peaks((steps.process for steps in mine), (steps.process for steps in other))


def _padded(part: str, encoder: Path, folder: Path, repetitions: int) -> Row:
    batch, length = map(int, part.split("x"))
    rows = folder / "rows"
    full_rows(rows, batch * (WARM_STEPS + TIMED_STEPS), length)
    sides = {
        f"{part}, refit": lambda _: ours(encoder, rows, batch, "--device", "flex"),
        f"{part}, PyTorch": lambda _: theirs(encoder, rows, batch),
    }
    mine, other = in_turn(sides, repetitions).values()
    return Row(
        f"step {part}",
        "PyTorch eager",
        [seconds for steps in mine for seconds in steps.seconds],
        [seconds for steps in other for seconds in steps.seconds],
        "s/step",
        peak_bytes=memory(mine, other),
    )


def _real(encoder: Path, folder: Path, repetitions: int) -> list[Row]:
    batch, length = REAL_SHAPE
    tokens = _news(encoder, batch * (WARM_STEPS + REAL_STEPS), length)
    rows, ordered = folder / "rows", folder / "ordered"
    write_rows(rows, tokens)
    lines = rows.read_text().splitlines(keepends=True)

    def refit(_: int) -> Steps:
        steps = ours(encoder, rows, batch, "--device", "flex")
        ordered.write_text("".join(lines[row] for row in steps.order))
        return steps

    sides = {
        "real, refit": refit,
        "real, PyTorch padding to 128": lambda _: theirs(encoder, ordered, batch, "--pad-to", str(length)),
        "real, PyTorch padding to the longest": lambda _: theirs(encoder, ordered, batch),
    }
    mine, padded, dynamic = in_turn(sides, repetitions).values()
    share = sum(map(len, tokens)) / (len(tokens) * length)
    what = f"step real ({share:.0%} of 16x128 are real tokens)"
    references = {"padded to 128": padded, "padded to the longest": dynamic}
    return [
        Row(
            what,
            f"PyTorch eager, {name}",
            [sum(steps.seconds) for steps in mine],
            [sum(steps.seconds) for steps in side],
            f"s/{REAL_STEPS} steps",
            counts=side is padded,
            peak_bytes=memory(mine, side),
        )
        for name, side in references.items()
    ]


def _news(encoder: Path, rows: int, length: int) -> list[Tokens]:
    """The ids of articles of AG News, chosen by chance, without padding."""
    from tokenizers import Tokenizer  # not every comparison needs it

    tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    chosen = random.Random(SEED).sample(articles("train"), rows)
    return [row.ids for row in tokenizer.encode_batch([text for text, _ in chosen])]
