"""Reads the command line of `compare` and starts the comparison that it names."""

import sys
from collections.abc import Callable

import data
import finetune
import gpu
import heads
import noop
import predict
import step
from common import Row, UsageError, describe_machine, print_table

# Name → the words that choose among its parts, and the comparison: (words, repetitions or None) → rows.
COMPARISONS: dict[str, tuple[tuple[str, ...], Callable[[list[str], int | None], list[Row]]]] = {
    "step": (step.PARTS, step.compare),
    "finetune": (finetune.PARTS, finetune.compare),
    "predict": (predict.PARTS, predict.compare),
    "data": ((), data.compare),
    "noop": ((), noop.compare),
    "heads": ((), heads.compare),
    "gpu": (gpu.PARTS, gpu.compare),
}


def main(arguments: list[str]) -> None:
    what, *words = arguments or [""]
    if what not in COMPARISONS:
        raise UsageError(f"WHAT is one of {', '.join(COMPARISONS)}, not {what!r}")
    parts, compare = COMPARISONS[what]
    repetitions = int(words.pop()) if words and words[-1].isdecimal() else None
    unknown = [word for word in words if word not in parts]
    if unknown:
        raise UsageError(f"{what} has no part {unknown[0]!r}; it has {', '.join(parts) or 'none'}")
    if repetitions == 0:
        raise UsageError("REPETITIONS is at least 1")
    print(describe_machine())
    print_table(compare(words, repetitions))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UsageError as error:
        sys.exit(f"compare: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
