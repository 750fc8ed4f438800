"""Fine-tuning as a whole: `refit run` against transformers' Trainer.

all-MiniLM-L6-v2 on 2,000 rows of AG News (cut to 128 tokens) or SST-2 (64), chosen by chance; one epoch, batches of 16,
AdamW 5e-5 falling linearly after 10 % of warm-up, decay 0.01. The Trainer pads each batch to its longest row, has its
defaults otherwise, and neither evaluates nor saves. `random` leaves the rows in random order in both, `grouped` puts
rows of similar length together in both (`train_sampling_strategy = "group_by_length"` there).

Timed is the training alone: the train stage's `seconds`, which also hold opening the encoder and storing the model, and
the Trainer's `train_runtime`, which holds neither. Each repetition has its own seed. Then both models answer the whole
test set (SST-2: the development set), and the table lists the median accuracy.
"""

import csv
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common import SEED, THREADS, Finished, Row, articles, asset, binary, finish, in_turn, need, peaks, reference

DATASETS = ("ag_news", "sst2")
ORDERS = ("random", "grouped")
PARTS = DATASETS + ORDERS
ROWS = 2000

SPEC = """version = 1
name = "finetune"
seed = {seed}

[load.rows]
train = "{train}"
test = "{test}"
quote = ""
columns = {{ text = "text", label = "label" }}

[tokenize.tokens]
input = "rows"
tokenizer = "{encoder}"
max_length = {max_length}

[train.classifier]
input = "tokens"
encoder = "{encoder}"
epochs = 1
batch = {{ size = 16, group_by_length = {grouped} }}
optimizer = {{ name = "adamw", learning_rate = 5e-5, weight_decay = 0.01, max_grad_norm = 1.0 }}
schedule = {{ name = "linear", warmup = 0.1 }}

[evaluate.scores]
model = "classifier"
input = "tokens"
"""


@dataclass(frozen=True)
class Trained:
    """What one process reached."""

    seconds: float
    accuracy: float
    process: Finished


@dataclass(frozen=True)
class Task:
    """A data set as tab-separated files without quotes, with the columns `text` and `label`."""

    train: Path
    test: Path
    max_length: int


def compare(words: list[str], repetitions: int | None) -> list[Row]:
    for package in ("torch", "accelerate", "datasets"):
        need(package)
    encoder = asset("models/all-MiniLM-L6-v2")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for dataset in [word for word in words if word in DATASETS] or DATASETS:
            task = _ag_news(folder) if dataset == "ag_news" else _sst2(folder)
            for order in [word for word in words if word in ORDERS] or ORDERS:
                rows += _compare(f"{dataset}, {order}", task, order == "grouped", encoder, folder, repetitions or 3)
    return rows


def _compare(what: str, task: Task, grouped: bool, encoder: Path, folder: Path, repetitions: int) -> list[Row]:
    sides = {
        f"{what}, refit": lambda number: _ours(task, grouped, encoder, folder, SEED + number),
        f"{what}, Trainer": lambda number: _theirs(task, grouped, encoder, folder, SEED + number),
    }
    mine, other = in_turn(sides, repetitions).values()
    return [
        Row(
            f"finetune {what}",
            "Trainer",
            [trained.seconds for trained in mine],
            [trained.seconds for trained in other],
            "s",
            peak_bytes=peaks((trained.process for trained in mine), (trained.process for trained in other)),
        ),
        Row(
            f"test accuracy {what}",
            "Trainer",
            [100 * trained.accuracy for trained in mine],
            [100 * trained.accuracy for trained in other],
            "%",
            better="neither",
        ),
    ]


def _ours(task: Task, grouped: bool, encoder: Path, folder: Path, seed: int) -> Trained:
    spec = folder / "finetune.toml"
    settings = {"train": task.train, "test": task.test, "max_length": task.max_length, "encoder": encoder, "seed": seed}
    spec.write_text(SPEC.format(grouped=str(grouped).lower(), **settings))
    with tempfile.TemporaryDirectory(dir=folder) as store:
        finished = finish([binary("refit"), "run", spec, "--json", "--device", "flex", "--store", store])
    answer = finished.answer()
    seconds = next(step["seconds"] for step in answer["steps"] if step["kind"] == "train")
    return Trained(seconds, answer["scores"]["scores"]["accuracy"], finished)


def _theirs(task: Task, grouped: bool, encoder: Path, folder: Path, seed: int) -> Trained:
    command = [*reference("finetune"), encoder, task.train, task.test, str(task.max_length)]
    options = ["--threads", str(THREADS), "--seed", str(seed), "--cache", str(folder / "cache")]
    finished = finish([*command, *options, *(["--grouped"] if grouped else [])], cwd=folder)
    answer = finished.answer()
    return Trained(answer["seconds"], answer["accuracy"], finished)


def _ag_news(folder: Path) -> Task:
    return _task(folder, "ag_news", articles("train"), articles("test"), 128)


def _sst2(folder: Path) -> Task:
    def read(split: str) -> list[tuple[str, str]]:
        with asset(f"data/sst2/{split}.tsv").open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            return [(row["sentence"], row["label"]) for row in rows]

    return _task(folder, "sst2", read("train"), read("dev"), 64)


def _task(folder: Path, name: str, train: list[tuple[str, str]], test: list[tuple[str, str]], max_length: int) -> Task:
    chosen = {"train": random.Random(SEED).sample(train, ROWS), "test": test}
    paths = {split: folder / f"{name}-{split}.tsv" for split in chosen}
    for split, rows in chosen.items():
        lines = ("\t".join(" ".join(cell.split()) for cell in row) for row in [("text", "label"), *rows])
        paths[split].write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return Task(paths["train"], paths["test"], max_length)
