"""Loads a tab-separated file with datasets and maps a tokenizer over it.

Prints one JSON line: the seconds after the imports.
"""

import argparse
import csv
import json
import time

from datasets import load_dataset
from transformers import AutoTokenizer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("encoder")
    parser.add_argument("train")
    parser.add_argument("max_length", type=int)
    parser.add_argument("--processes", type=int, required=True)
    arguments = parser.parse_args()

    begin = time.perf_counter()
    rows = load_dataset(
        "csv", data_files=arguments.train, delimiter="\t", quoting=csv.QUOTE_NONE, keep_default_na=False
    )
    tokenizer = AutoTokenizer.from_pretrained(arguments.encoder)
    tokens = rows["train"].map(
        lambda chunk: tokenizer(chunk["sentence"], truncation=True, max_length=arguments.max_length),
        batched=True,
        num_proc=arguments.processes if arguments.processes > 1 else None,
    )
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "rows": len(tokens)}))


if __name__ == "__main__":
    main()
