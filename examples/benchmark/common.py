"""What all comparisons share: where things lie, processes that take turns, and the table.

Both sides are whole processes that are told to use every core. The same observer (`wait4`) reads the peak resident
memory and the CPU time of either.
"""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Command = Sequence[str | Path]

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
PYTHON = sys.executable
THREADS = len(os.sched_getaffinity(0))
SEED = 13
PACKAGES = ("torch", "transformers", "datasets", "onnxruntime", "dvc")


class UsageError(Exception):
    """Something that the user has to give or to build first."""


@dataclass(frozen=True)
class Finished:
    """A process that came to its end."""

    seconds: float  # from start to end
    cpu_seconds: float  # user and system, its own children included
    peak_bytes: int  # resident
    stdout: str

    def answer(self) -> Any:
        """The last JSON object on its stdout."""
        text = f"\n{self.stdout}"
        return json.loads(text[text.rindex("\n{") :])


@dataclass(frozen=True)
class Row:
    """A line of the table. Where `better` is "less", its ratio is the reference's median over refit's."""

    what: str
    against: str
    ours: Sequence[float]
    theirs: Sequence[float]
    unit: str
    better: str = "less"  # or "neither": no ratio
    counts: bool = True  # whether the last line looks at it
    peak_bytes: tuple[int, int] | None = None  # refit's and the reference's

    @property
    def ratio(self) -> float | None:
        if self.better == "neither":
            return None
        return statistics.median(self.theirs) / statistics.median(self.ours)


def binary(name: str) -> Path:
    """A program that cargo built: `refit`, or an example by its name."""
    target = REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target")
    path = target / "release" / ("refit" if name == "refit" else f"examples/{name}")
    if not path.is_file():
        raise UsageError(f"there is no {path}: run cargo build --release --bins --examples first")
    return path


def asset(name: str) -> Path:
    """A file or folder under REFIT_TEST_ASSETS."""
    folder = os.environ.get("REFIT_TEST_ASSETS")
    if not folder:
        raise UsageError("set REFIT_TEST_ASSETS to the folder that holds `models` and `data`")
    path = Path(folder).resolve() / name
    if not path.exists():
        raise UsageError(f"REFIT_TEST_ASSETS has no {name}")
    return path


def need(package: str) -> None:
    """Refuses to go on without a Python package."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise UsageError(f"{PYTHON} has no {package}: {PYTHON} -m pip install {package}") from None


def reference(name: str) -> list[str | Path]:
    """The beginning of the command line of a program in `reference/`."""
    return [PYTHON, HERE / "reference" / f"{name}.py"]


def articles(split: str) -> list[tuple[str, str]]:
    """Text and label of each row of AG News."""
    import pyarrow.parquet  # not every comparison needs it

    table = pyarrow.parquet.read_table(asset(f"data/ag_news/{split}.parquet"), columns=["text", "label"])
    return [(row["text"], row["label"]) for row in table.to_pylist()]


def finish(command: Command, extra: Mapping[str, str] | None = None, cwd: Path | None = None) -> Finished:
    """Runs a process to its end; one that fails ends the comparison with what it said."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REFIT_")}
    threads = {name: str(THREADS) for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            env=kept | threads | offline | dict(extra or {}),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        said = stdout.read().decode(errors="replace")
        if process.returncode != 0:
            complaint = stderr.read().decode(errors="replace").strip()[-4000:]
            raise UsageError(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{complaint}")
    return Finished(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, said)


def in_turn(sides: Mapping[str, Callable[[int], T]], repetitions: int) -> dict[str, list[T]]:
    """Asks each side once in each of the repetitions (numbered from 0): ours, theirs, ours, theirs."""
    results: dict[str, list[T]] = {name: [] for name in sides}
    for repetition in range(repetitions):
        for name, side in sides.items():
            print(f"{repetition + 1} of {repetitions}: {name}", file=sys.stderr)
            results[name].append(side(repetition))
    return results


def peaks(ours: Iterable[Finished], theirs: Iterable[Finished]) -> tuple[int, int]:
    """The largest peak of either side."""
    return max(process.peak_bytes for process in ours), max(process.peak_bytes for process in theirs)


def describe_machine() -> str:
    """One line: what ran where, and how busy it was there. Other work disturbs the times of both sides, not equally."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    commit = subprocess.run(
        ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    busy = f"load average {os.getloadavg()[0]:.1f} before it began"
    return f"refit {commit or 'of no commit'}; {', '.join(versions)}; {THREADS} threads of {cpu}; {busy}"


def print_table(rows: Sequence[Row]) -> None:
    """The table, and the ratio as the last line."""
    head = ("what", "against", "refit", "reference", "unit", "ratio", "spread", "peak memory (MiB)")
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    ratios = [row.ratio for row in rows if row.counts and row.ratio is not None]
    print(f"ratio {min(ratios):.2f}")


def _cells(row: Row) -> tuple[str, ...]:
    ours, theirs = statistics.median(row.ours), statistics.median(row.theirs)
    memory = ""
    if row.peak_bytes:
        mine, other = (bytes_ / 2**20 for bytes_ in row.peak_bytes)
        memory = f"{mine:.0f} / {other:.0f} = {mine / other:.2f}"
    return (
        row.what,
        row.against,
        f"{ours:.4g}",
        f"{theirs:.4g}",
        row.unit,
        "" if row.ratio is None else f"{row.ratio:.2f}",
        f"±{_spread(row.ours):.0f} % / ±{_spread(row.theirs):.0f} %",
        memory,
    )


def _spread(values: Sequence[float]) -> float:
    """Half the distance between the quartiles, in per cent of the median."""
    if len(values) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return 50 * (high - low) / middle if middle else 0.0
