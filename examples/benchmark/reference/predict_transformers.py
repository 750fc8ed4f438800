"""Times transformers' text-classification pipeline. Prints one JSON line: seconds, and the label of each text."""

import json
import time

import torch
from asking import WARM_TEXTS, parser, read_texts
from transformers import pipeline


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    texts = read_texts(arguments.texts)
    classify = pipeline("text-classification", model=str(arguments.bundle), device="cpu", batch_size=32)
    cut = {"truncation": True, "max_length": arguments.max_length}
    classify(texts[:WARM_TEXTS], **cut)

    begin = time.perf_counter()
    answers = classify(texts, **cut)
    seconds = time.perf_counter() - begin
    numbers = classify.model.config.label2id
    print(json.dumps({"seconds": seconds, "labels": [numbers[answer["label"]] for answer in answers]}))


if __name__ == "__main__":
    main()
