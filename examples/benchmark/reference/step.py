"""Times the steps of a plain PyTorch training loop over rows in the order of their file.

Prints one JSON line. On a GPU the clock is read without waiting for each step, only before the first and after the last
timed one: their sum is right, each alone is not.
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

LABELS = 4


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("encoder", type=Path, help="a folder; without model.safetensors, weights are drawn")
    parser.add_argument("rows", type=Path, help="one row a line: the label's number, then the ids")
    parser.add_argument("batch", type=int)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--warm", type=int, required=True, help="steps that are not timed")
    parser.add_argument("--pad-to", type=int, default=0, help="0: to the longest row of the batch")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(13)
    device = torch.device(arguments.device)
    if device.type == "cuda":
        # TF32 where float32 is asked for: the harder comparison.
        torch.set_float32_matmul_precision("high")
    model = load(arguments.encoder).to(device).train()
    optimizer = torch.optim.AdamW(groups(model), lr=5e-5, fused=True)
    step = torch.compile(model) if arguments.compile else model

    marks = []
    for number, batch in enumerate(batches(arguments.rows, arguments.batch, arguments.pad_to, device)):
        if number == arguments.warm:
            marks.append(now(device))
        with torch.autocast(device.type, torch.bfloat16, enabled=arguments.precision == "bf16"):
            loss = step(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if number >= arguments.warm:
            marks.append(time.perf_counter())
    marks[-1] = now(device)
    print(json.dumps({"seconds": [end - begin for begin, end in itertools.pairwise(marks)]}))


def load(folder: Path) -> torch.nn.Module:
    if (folder / "model.safetensors").is_file():
        return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=LABELS)
    config = AutoConfig.from_pretrained(folder, num_labels=LABELS)
    return AutoModelForSequenceClassification.from_config(config)


def groups(model: torch.nn.Module) -> list[dict]:
    """Biases and norms do not decay, as in the Trainer."""
    decaying = [weight for weight in model.parameters() if weight.dim() > 1]
    others = [weight for weight in model.parameters() if weight.dim() <= 1]
    return [{"params": decaying, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]


def batches(path: Path, size: int, pad_to: int, device: torch.device) -> Iterator[dict[str, torch.Tensor]]:
    rows = [list(map(int, line.split())) for line in path.read_text().splitlines()]
    for begin in range(0, len(rows), size):
        chosen = rows[begin : begin + size]
        length = pad_to or max(len(row) - 1 for row in chosen)
        ids = torch.zeros(len(chosen), length, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for place, (_, *row) in enumerate(chosen):
            ids[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1
        labels = torch.tensor([row[0] for row in chosen])
        batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        yield {name: values.to(device) for name, values in batch.items()}


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


if __name__ == "__main__":
    main()
