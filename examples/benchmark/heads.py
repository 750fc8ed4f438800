"""Five heads on a frozen encoder: stored activations against computing them in every training.

Both sides are refit, on 2,000 training rows of AG News and its test split, with `freeze = { encoder = true }` and MiniLM-L6:
ours with the activations stored, the other with `store_limit = 0`, which runs the frozen encoder in every epoch and
evaluation. The five settings differ in the head or the recipe alone and are given by `--set`. Loading and tokenizing are
done before; each side begins with a store that holds their results and nothing else.
"""

import shutil
import tempfile
from pathlib import Path

from common import Finished, Row, asset, binary, finish, in_turn, peaks

HEADS = (
    "train.classifier.head.pooling=cls",
    "train.classifier.head.pooling=mean",
    "train.classifier.head.pooling=max",
    "train.classifier.head.dropout=0.3",
    "train.classifier.optimizer.learning_rate=3e-3",
)
ROWS = 2000
SPEC = """version = 1
name = "heads"
seed = 13

[load.news]
train = "train.parquet"
test = "{data}/test.parquet"
split = {{ validation = 0.1 }}

[tokenize.tokens]
input = "news"
tokenizer = "{model}"
max_length = 64

[train.classifier]
input = "tokens"
encoder = "{model}"
epochs = 3
freeze = {{ encoder = true{limit} }}
head = {{ pooling = "mean" }}
optimizer = {{ learning_rate = 1e-3 }}

[evaluate.scores]
model = "classifier"
input = "tokens"
"""


def compare(_words: list[str], repetitions: int | None) -> list[Row]:
    import pyarrow.parquet

    refit, data, model = binary("refit"), asset("data/ag_news"), asset("models/all-MiniLM-L6-v2")
    with tempfile.TemporaryDirectory(prefix="refit-heads-") as folder:
        base = Path(folder)
        table = pyarrow.parquet.read_table(data / "train.parquet")
        pyarrow.parquet.write_table(table.slice(0, ROWS), base / "train.parquet")
        (base / "stored.toml").write_text(SPEC.format(data=data, model=model, limit=""))
        (base / "computed.toml").write_text(SPEC.format(data=data, model=model, limit=", store_limit = 0"))
        finish([refit, "run", "stored.toml", "tokens", "--store", "tokens"], cwd=base)

        def side(spec: str, repetition: int) -> list[Finished]:
            store = base / f"{spec}-{repetition}"
            shutil.copytree(base / "tokens", store, symlinks=True)
            command = [refit, "run", f"{spec}.toml", "scores", "--store", store, "--json"]
            return [finish([*command, "--set", head], cwd=base) for head in HEADS]

        sides = {name: lambda n, name=name: side(name, n) for name in ("stored", "computed")}
        runs = in_turn(sides, repetitions or 3)
    rows = []
    for what, chosen in (("first head", slice(0, 1)), ("each further head", slice(1, None)), ("five heads", slice(0, None))):
        times = {
            name: [sum(run.seconds for run in five[chosen]) / (4 if what.startswith("each") else 1) for five in fives]
            for name, fives in runs.items()
        }
        memory = peaks(
            [run for five in runs["stored"] for run in five], [run for five in runs["computed"] for run in five]
        )
        rows.append(Row(what, "computed anew", times["stored"], times["computed"], "s", peak_bytes=memory))
    return rows
