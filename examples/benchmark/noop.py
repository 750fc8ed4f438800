"""A run that has nothing to do: `refit run` against DVC's `repro`, six stages each.

refit's six are the quickstart's (load, augment, tokenize, train, evaluate, export), all cached. DVC's six are a chain
of copies of the quickstart's training file, all up to date; what a stage does plays no part when none runs. Whole
processes are timed, start included. DVC's analytics and update checks are off.

`noop`, the script beside this one, times more runs of refit, without a reference.
"""

import shutil
import tempfile
from pathlib import Path

from common import PYTHON, REPOSITORY, Finished, Row, UsageError, binary, finish, in_turn, need, peaks

STAGES = 6


def compare(_words: list[str], repetitions: int | None) -> list[Row]:
    need("dvc")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        refit = _quickstart(folder)
        dvc, project = _chain(folder / "dvc")
        sides = {"refit": lambda _: finish(refit), "DVC": lambda _: finish(dvc, cwd=project)}
        for side in sides.values():
            side(0)  # builds everything
        outcomes = {stage["outcome"] for stage in finish([*refit, "--json"]).answer()["steps"]}
        if outcomes != {"fresh"}:
            raise UsageError(f"the second run of the quickstart was not one with nothing to do: {sorted(outcomes)}")
        mine, other = in_turn(sides, repetitions or 11).values()
    return [
        Row(
            f"nothing to do, {STAGES} stages",
            "dvc repro",
            _wall(mine),
            _wall(other),
            "ms",
            peak_bytes=peaks(mine, other),
        ),
        Row("the same, CPU time", "dvc repro", _cpu(mine), _cpu(other), "ms", counts=False),
    ]


def _quickstart(folder: Path) -> list[str | Path]:
    """The quickstart after one epoch: as many stages and files as after eight."""
    settings = ["train.router.epochs=1", f"export.bundle.to={folder / 'bundle'}"]
    laid_over = [word for setting in settings for word in ("--set", setting)]
    spec = REPOSITORY / "pipelines" / "quickstart.toml"
    return [binary("refit"), "run", spec, "--store", folder / "store", *laid_over]


def _chain(project: Path) -> tuple[list[str], Path]:
    project.mkdir()
    shutil.copy(REPOSITORY / "examples" / "quickstart" / "train.csv", project / "0.csv")
    stage = "  stage{n}:\n    cmd: cp {before}.csv {n}.csv\n    deps: [{before}.csv]\n    outs: [{n}.csv]\n"
    stages = "".join(stage.format(before=number, n=number + 1) for number in range(STAGES))
    (project / "dvc.yaml").write_text(f"stages:\n{stages}")
    dvc = [PYTHON, "-m", "dvc"]
    finish([*dvc, "init", "--no-scm", "--quiet"], cwd=project)
    for setting in ("core.analytics", "core.check_update"):
        finish([*dvc, "config", setting, "false"], cwd=project)
    return [*dvc, "repro"], project


def _wall(side: list[Finished]) -> list[float]:
    return [1000 * finished.seconds for finished in side]


def _cpu(side: list[Finished]) -> list[float]:
    return [1000 * finished.cpu_seconds for finished in side]
