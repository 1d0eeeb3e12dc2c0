"""Speed of scoring with a transformer beside transformers.pipeline, batched as texts come and grouped by length.

    AL_BENCH_DATA=/folder/with/parquet python -m benchmarks.scoring [--quick]

The texts are of mixed length: beginnings of the corpora's texts, of 5 to 250 words, log-uniform. All methods run the
same network, all-MiniLM-L6-v2 with mean pooling and a head, on the CPU in float32 with 256 tokens at most; the peers
pad each batch to its longest text. Grouped by length means sorted by characters, as sentence-transformers does. The
largest difference is that of the probabilities from those that transformers computes text by text, each alone and
without padding. CPU seconds say more on a machine that others use too.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.mean_pooled import MeanPooledClassifier, mean_pooled
from benchmarks.ngram import load_corpora
from numpy.typing import NDArray
from servers.minilm import minilm
from transformers import AutoTokenizer, pipeline
from transformers.utils import logging

from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.transformer.base import read_base
from al_platform.models.transformer.classifier import TransformerClassifier, TransformerConfig
from al_platform.models.transformer.options import TransformerOptions

RESULTS = Path(__file__).parent / "results" / "scoring.json"
MAX_TOKENS = 256
BATCH = 32
WORDS = (5, 250)
LABELS = ("a", "b")
REPEATS = 2
CHECKED = 50

PEER = "pipeline"

Head = tuple[NDArray[np.float32], NDArray[np.float32]]
Probabilities = NDArray[np.floating[Any]]
Score = Callable[[Sequence[str]], Probabilities]


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
    max_difference: float


def mixed_texts(n: int, seed: int = 0) -> list[str]:
    """Return beginnings of texts, of log-uniform numbers of words."""
    rng = np.random.default_rng(seed)
    words = [text.split() for corpus in load_corpora() for text in corpus.texts]
    long = [each for each in words if len(each) >= WORDS[1]]
    lengths = np.exp(rng.uniform(*np.log(WORDS), n)).astype(int)
    return [" ".join(long[row][:length]) for row, length in zip(rng.integers(0, len(long), n), lengths, strict=True)]


def our_classifier(encoder: Path, head: Head) -> TransformerClassifier:
    """Return our classifier with the encoder as it was published."""
    base, options = read_base(encoder), TransformerOptions(name=str(encoder), max_tokens=MAX_TOKENS)
    tensors = {f"encoder.{name}": array for name, array in base.tensors.items()}
    tensors |= {"head.weight": head[0], "head.bias": head[1]}
    config = TransformerConfig(
        taxonomy=Taxonomy(task="single", labels=LABELS),
        thresholds=(0.5,) * len(LABELS),
        transformer=options,
        layout=base.tokenizer.layout,
        base=base.digest,
    )
    return TransformerClassifier(config, base.encoder_config, base.tokenizer.definition, tensors)


def pipeline_scorer(model: MeanPooledClassifier, encoder: Path) -> Score:
    """Return transformers' own way: a pipeline with batches, each padded to its longest text."""
    model.config.id2label = dict(enumerate(LABELS))
    with quiet_about_the_class():
        classify = pipeline(
            "text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(encoder), device="cpu"
        )

    def score(texts: Sequence[str]) -> Probabilities:
        answers = classify(list(texts), batch_size=BATCH, truncation=True, max_length=MAX_TOKENS, top_k=None)
        found = [{each["label"]: each["score"] for each in answer} for answer in answers]
        return np.array([[each[label] for label in LABELS] for each in found])

    return score


def grouped(score: Score) -> Score:
    """Return the same, given the texts by their number of characters, longest first."""

    def score_sorted(texts: Sequence[str]) -> Probabilities:
        order = np.argsort([-len(text) for text in texts], kind="stable")
        found = np.empty((len(texts), len(LABELS)))
        found[order] = score([texts[row] for row in order])
        return found

    return score_sorted


def loop_scorer(model: MeanPooledClassifier, encoder: Path) -> Score:
    """Return a plain loop over batches, without what a pipeline does around it."""
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    limits = {"padding": True, "truncation": True, "max_length": MAX_TOKENS, "return_tensors": "pt"}

    @torch.inference_mode()
    def score(texts: Sequence[str]) -> Probabilities:
        parts = (list(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH))
        return np.concatenate([model(**tokenizer(part, **limits)).logits.softmax(dim=1).numpy() for part in parts])

    return score


@contextmanager
def quiet_about_the_class() -> Iterator[None]:
    """Silence the pipeline's remark that it does not know our model's class: it asks for nothing."""
    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(level)


def measure(texts: Sequence[str], repeats: int) -> list[Measurement]:
    """Time every method in turn, several times, and keep the best."""
    encoder, rng = minilm(), np.random.default_rng(0)
    head = rng.normal(0, 0.2, (len(LABELS), 384)).astype(np.float32), np.zeros(len(LABELS), np.float32)
    ours, theirs = our_classifier(encoder, head), mean_pooled(encoder, head, dropout=0.1).eval()
    piped, loop = pipeline_scorer(theirs, encoder), loop_scorer(theirs, encoder)
    methods: dict[str, Score] = {
        "ours": lambda texts: ours.score(texts).probabilities,
        "loop, grouped": grouped(loop),
        "pipeline, grouped": grouped(piped),
        PEER: piped,
    }
    alone = np.concatenate([loop([text]) for text in texts[:CHECKED]])
    best = {name: (float("inf"), float("inf")) for name in methods}
    difference = {}
    for _ in range(repeats):
        for name, score in methods.items():
            wall, cpu = time.perf_counter(), time.process_time()
            scored = score(texts)
            found = time.perf_counter() - wall, time.process_time() - cpu
            best[name] = min(best[name][0], found[0]), min(best[name][1], found[1])
            difference[name] = float(np.abs(scored[:CHECKED] - alone).max())
    slow = best[PEER]
    return [
        Measurement(
            method=name,
            n_texts=len(texts),
            seconds=round(wall, 3),
            cpu_seconds=round(cpu, 3),
            texts_per_s=round(len(texts) / wall, 1),
            times_the_pipeline=round(slow[0] / wall, 2),
            times_the_pipeline_cpu=round(slow[1] / cpu, 2),
            max_difference=difference[name],
        )
        for name, (wall, cpu) in best.items()
    ]


def main() -> None:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", default=os.environ.get("QUICK") == "1", help="fewer texts")
    is_quick = parser.parse_args().quick
    measurements = measure(mixed_texts(256 if is_quick else 600), 1 if is_quick else REPEATS)
    for row in measurements:
        times = f"{row.times_the_pipeline:>7.2f} times the pipeline, {row.times_the_pipeline_cpu:.2f} in CPU seconds"
        print(f"{row.method:<18}{row.texts_per_s:>8.1f} texts/s{times}, within {row.max_difference:.0e}")
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
