"""Times ONNX Runtime, used with care. Prints one JSON line: seconds, and the label of each text."""

import json
import time
from pathlib import Path

import numpy as np
import onnxruntime
from asking import WARM_TEXTS, parser, read_texts
from transformers import AutoTokenizer, PreTrainedTokenizerBase

BATCH = 32


def main() -> None:
    reading = parser()
    reading.add_argument("--model", type=Path, required=True, help="the ONNX file")
    arguments = reading.parse_args()
    texts = read_texts(arguments.texts)
    tokenizer = AutoTokenizer.from_pretrained(arguments.bundle)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])
    classify(session, tokenizer, texts[:WARM_TEXTS], arguments.max_length)

    begin = time.perf_counter()
    labels = classify(session, tokenizer, texts, arguments.max_length)
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "labels": labels.tolist()}))


def classify(
    session: onnxruntime.InferenceSession, tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int
) -> np.ndarray:
    """The label of each text, `[texts]`."""
    rows = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]), reverse=True)
    labels = np.zeros(len(rows), dtype=np.int64)
    for begin in range(0, len(order), BATCH):
        chosen = order[begin : begin + BATCH]
        ids = np.full((len(chosen), len(rows[chosen[0]])), tokenizer.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for place, row in enumerate(chosen):
            ids[place, : len(rows[row])] = rows[row]
            mask[place, : len(rows[row])] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (logits,) = session.run(["logits"], inputs)  # [chosen, labels]
        labels[chosen] = logits.argmax(axis=1)
    return labels


if __name__ == "__main__":
    main()
