"""Fine-tunes with transformers' Trainer, then scores the model outside the time. Prints one JSON line."""

import argparse
import csv
import json
import tempfile
from pathlib import Path

import torch
from datasets import load_dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("encoder", type=Path)
    parser.add_argument("train", type=Path, help="tab-separated, unquoted: text, label")
    parser.add_argument("test", type=Path)
    parser.add_argument("max_length", type=int)
    parser.add_argument("--grouped", action="store_true", help="batches of similar length")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--cache", required=True)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    files = {"train": str(arguments.train), "test": str(arguments.test)}
    rows = load_dataset(
        "csv",
        data_files=files,
        delimiter="\t",
        quoting=csv.QUOTE_NONE,
        cache_dir=arguments.cache,
        keep_default_na=False,
    )
    rows = rows.class_encode_column("label")
    tokenizer = AutoTokenizer.from_pretrained(arguments.encoder)
    tokens = rows.map(
        lambda chunk: tokenizer(chunk["text"], truncation=True, max_length=arguments.max_length),
        batched=True,
        remove_columns=["text"],
    )
    labels = rows["train"].features["label"].num_classes
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=16,
            per_device_eval_batch_size=64,
            learning_rate=5e-5,
            weight_decay=0.01,
            lr_scheduler_type="linear",
            warmup_steps=0.1,  # below 1: a share of all steps
            train_sampling_strategy="group_by_length" if arguments.grouped else "random",
            seed=arguments.seed,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(
            model_init=lambda: AutoModelForSequenceClassification.from_pretrained(arguments.encoder, num_labels=labels),
            args=settings,
            train_dataset=tokens["train"],
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        seconds = trainer.train().metrics["train_runtime"]
        by_length = tokens["test"].map(lambda row: {"length": len(row["input_ids"])}).sort("length", reverse=True)
        answers = trainer.predict(by_length.remove_columns("length"))
    right = (answers.predictions.argmax(axis=-1) == answers.label_ids).mean()
    print(json.dumps({"seconds": seconds, "accuracy": float(right)}))


if __name__ == "__main__":
    main()
