"""A server as transformers' documentation and most tutorials build one: FastAPI around the text-classification pipeline, one
text at a time, no batches over requests. It speaks the part of the Inference API that `refit serve` is asked here.

The port, the bundle and the threads of each process come by the environment, since uvicorn starts its workers anew.
"""

import os

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

torch.set_num_threads(int(os.environ["SERVE_THREADS"]))
app = FastAPI()
classify = pipeline("text-classification", model=os.environ["SERVE_BUNDLE"], device="cpu", top_k=None)


class Asked(BaseModel):
    inputs: str


@app.post("/")
def answer(asked: Asked) -> list[list[dict[str, str | float]]]:
    return classify([asked.inputs], truncation=True, max_length=128)


@app.get("/ready")
def ready() -> dict[str, str]:
    return {"status": "ready"}


if __name__ == "__main__":
    port, workers = int(os.environ["SERVE_PORT"]), int(os.environ["SERVE_WORKERS"])
    uvicorn.run("serve_fastapi:app", host="127.0.0.1", port=port, workers=workers, log_level="warning", access_log=False)
