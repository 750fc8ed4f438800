"""Answers the rows of a CSV file by transformers' text-classification pipeline, 32 at a time, as its documentation shows it
for data that is read on the way. Writes JSON Lines."""

import csv
import json
import os
import sys

import torch
from transformers import pipeline


def main() -> None:
    bundle, rows, answers = sys.argv[1:]
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    classify = pipeline("text-classification", model=bundle, device="cpu")
    with open(rows, newline="", encoding="utf-8") as source, open(answers, "w", encoding="utf-8") as target:
        texts = (row["text"] for row in csv.DictReader(source))
        for answer in classify(texts, batch_size=32, truncation=True, max_length=128):
            target.write(json.dumps({"predicted": answer["label"], "probability": answer["score"]}) + "\n")


if __name__ == "__main__":
    main()
