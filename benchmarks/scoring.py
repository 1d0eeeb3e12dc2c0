"""Speed of scoring with a transformer beside a batched transformers.pipeline and a loop over texts sorted by length.

    AL_BENCH_DATA=/folder/with/parquet python -m benchmarks.scoring [--quick]

The texts are of mixed length: beginnings of the corpora's texts, of 5 to 250 words, log-uniform. All methods run the
same encoder, all-MiniLM-L6-v2, on the CPU in float32 with 256 tokens at most. The largest difference is that of the
pooled, normalised embeddings from those that transformers computes text by text, each alone and without padding. CPU
seconds say more on a machine that others use too.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.ngram import load_corpora
from numpy.typing import NDArray
from servers.minilm import minilm
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline

from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.transformer.base import read_base
from al_platform.models.transformer.classifier import TransformerClassifier, TransformerConfig
from al_platform.models.transformer.options import TransformerOptions

RESULTS = Path(__file__).parent / "results" / "scoring.json"
MAX_TOKENS = 256
BATCH = 32
WORDS = (5, 250)
LABELS = ("a", "b")
REPEATS = 3
CHECKED = 20

Embeddings = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Measurement:
    """One method; the best of its repeats."""

    method: str
    n_texts: int
    seconds: float
    cpu_seconds: float
    texts_per_s: float
    times_the_pipeline: float
    times_the_pipeline_cpu: float
    max_difference: float | None


def mixed_texts(n: int, seed: int = 0) -> list[str]:
    """Return beginnings of texts, of log-uniform numbers of words."""
    rng = np.random.default_rng(seed)
    words = [text.split() for corpus in load_corpora() for text in corpus.texts]
    long = [each for each in words if len(each) >= WORDS[1]]
    lengths = np.exp(rng.uniform(*np.log(WORDS), n)).astype(int)
    return [" ".join(long[row][:length]) for row, length in zip(rng.integers(0, len(long), n), lengths, strict=True)]


def our_classifier(encoder: Path) -> TransformerClassifier:
    """Return our classifier with the encoder as it was published and a head of zeros."""
    base, options = read_base(encoder), TransformerOptions(name=str(encoder), max_tokens=MAX_TOKENS)
    tensors = {f"encoder.{name}": array for name, array in base.tensors.items()}
    tensors |= {"head.weight": np.zeros((len(LABELS), 384), np.float32), "head.bias": np.zeros(len(LABELS), np.float32)}
    config = TransformerConfig(
        taxonomy=Taxonomy(task="single", labels=LABELS),
        thresholds=(0.5,) * len(LABELS),
        transformer=options,
        layout=base.tokenizer.layout,
        base=base.digest,
    )
    return TransformerClassifier(config, base.encoder_config, base.tokenizer.definition, tensors)


def pipeline_scorer(encoder: Path) -> Callable[[Sequence[str]], None]:
    """Return transformers' own way: a pipeline with batches, padded to the longest text of each."""
    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=len(LABELS))
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    return lambda texts: list(
        classify(list(texts), batch_size=BATCH, truncation=True, max_length=MAX_TOKENS, top_k=None)
    )


def sorted_scorer(encoder: Path) -> Callable[[Sequence[str]], Embeddings]:
    """Return what sentence-transformers does: texts sorted by characters, padded batches, mean pooling."""
    model, tokenizer = AutoModel.from_pretrained(encoder).eval(), AutoTokenizer.from_pretrained(encoder)

    def embed(texts: Sequence[str]) -> Embeddings:
        order = np.argsort([-len(text) for text in texts])
        found = np.zeros((len(texts), model.config.hidden_size), np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                limits = {"padding": True, "truncation": True, "max_length": MAX_TOKENS, "return_tensors": "pt"}
                batch = tokenizer([texts[row] for row in rows], **limits)
                mask = batch["attention_mask"].unsqueeze(-1)
                pooled = (model(**batch).last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1)
                found[rows] = torch.nn.functional.normalize(pooled).numpy()
        return found

    return embed


def measure(texts: Sequence[str], repeats: int) -> list[Measurement]:
    """Time every method in turn, several times, and keep the best."""
    encoder = minilm()
    ours, by_length, piped = our_classifier(encoder), sorted_scorer(encoder), pipeline_scorer(encoder)
    methods: dict[str, Callable[[Sequence[str]], Any]] = {"ours": ours.score, "sorted": by_length, "pipeline": piped}
    alone = np.concatenate([by_length([text]) for text in texts[:CHECKED]])
    embedded = {"ours": ours.score(texts).embeddings[:CHECKED], "sorted": by_length(texts)[:CHECKED]}
    best = {name: (float("inf"), float("inf")) for name in methods}
    for _ in range(repeats):
        for name, score in methods.items():
            wall, cpu = time.perf_counter(), time.process_time()
            score(texts)
            found = time.perf_counter() - wall, time.process_time() - cpu
            best[name] = min(best[name][0], found[0]), min(best[name][1], found[1])
    slow = best["pipeline"]
    return [
        Measurement(
            method=name,
            n_texts=len(texts),
            seconds=round(wall, 3),
            cpu_seconds=round(cpu, 3),
            texts_per_s=round(len(texts) / wall, 1),
            times_the_pipeline=round(slow[0] / wall, 2),
            times_the_pipeline_cpu=round(slow[1] / cpu, 2),
            max_difference=float(np.abs(embedded[name] - alone).max()) if name in embedded else None,
        )
        for name, (wall, cpu) in best.items()
    ]


def main() -> None:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", default=os.environ.get("QUICK") == "1", help="fewer texts")
    is_quick = parser.parse_args().quick
    measurements = measure(mixed_texts(256 if is_quick else 2_000), 1 if is_quick else REPEATS)
    for row in measurements:
        times = f"{row.times_the_pipeline:>7.2f} times the pipeline, {row.times_the_pipeline_cpu:.2f} in CPU seconds"
        print(f"{row.method:<10}{row.texts_per_s:>8.1f} texts/s{times}")
    machine = {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    found = {"machine": machine, "quick": is_quick, "measurements": [asdict(each) for each in measurements]}
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
