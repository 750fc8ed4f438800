"""What the programs that ask a model share: their arguments, and the texts."""

import argparse
import json
from pathlib import Path

WARM_TEXTS = 64


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser()
    result.add_argument("bundle", type=Path, help="a model and its tokenizer in the layout of transformers")
    result.add_argument("texts", type=Path, help="a JSON list of texts")
    result.add_argument("--threads", type=int, required=True)
    result.add_argument("--max-length", type=int, required=True)
    return result


def read_texts(path: Path) -> list[str]:
    return json.loads(path.read_text(encoding="utf-8"))
