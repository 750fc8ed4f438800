"""Exports a classifier as ONNX with dynamic axes, in float32.

Plain attention and the exporter of TorchScript give the graph that ONNX Runtime's fusions know.
"""

import argparse
import warnings
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification

INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("to", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # tracing warns about branches that dynamic axes do not touch
    model = AutoModelForSequenceClassification.from_pretrained(arguments.bundle, attn_implementation="eager").eval()
    ids = torch.randint(1000, 2000, (2, 9))
    torch.onnx.export(
        model,
        (),
        arguments.to,
        kwargs=dict(zip(INPUTS, (ids, torch.ones_like(ids), torch.zeros_like(ids)), strict=True)),
        input_names=INPUTS,
        output_names=["logits"],
        dynamic_axes={name: {0: "batch", 1: "length"} for name in INPUTS},
        dynamo=False,
    )


if __name__ == "__main__":
    main()
