"""Fine-tuning: speed beside transformers.Trainer, and accuracy beside the n-gram model and TF-IDF + LR.

    AL_BENCH_DATA=/folder/with/parquet python -m benchmarks.training [--quick] [--only speed|accuracy]

Speed: one epoch over texts of mixed length (see ``benchmarks.scoring``) with the same encoder, batch, rate and number
of tokens at most, on the CPU in float32; the Trainer pads each batch to its longest text, with and without grouping by
length. Seconds hold everything from texts to weights; CPU seconds say more on a machine that others use too. Accuracy:
as in ``benchmarks.ngram``, three seeds, with all-MiniLM-L6-v2 fine-tuned on the same labels, 64 tokens, its lower half
frozen. A run takes accelerate, which transformers.Trainer asks for, from the registry once.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks import ngram
from benchmarks.scoring import MAX_TOKENS, mixed_texts
from servers.environments import package
from servers.minilm import minilm

from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.labelled_texts import LabelledTexts
from al_platform.models.transformer.checkpoints import LocalCheckpoints
from al_platform.models.transformer.fit import fit_transformer
from al_platform.models.transformer.options import TransformerFitOptions, TransformerOptions

RESULTS = Path(__file__).parent / "results" / "training.json"
LABELS = ("a", "b")
BATCH = 32
RATE = 5e-5
NEVER = 10**6
FROZEN = {"max_tokens": 64, "frozen_layers": 3}
VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class Speed:
    """One method's epoch."""

    method: str
    n_texts: int
    seconds: float
    cpu_seconds: float
    times_the_trainer: float
    times_the_trainer_cpu: float


def our_epoch(texts: Sequence[str], values: Sequence[str]) -> None:
    """Fine-tune for an epoch."""
    fit = TransformerFitOptions(max_epochs=1, batch_size=BATCH, learning_rate=RATE, checkpoint_steps=NEVER)
    train, options = _rows(texts, values), TransformerOptions(name=str(minilm()), max_tokens=MAX_TOKENS)
    with tempfile.TemporaryDirectory() as folder:
        where, taxonomy = LocalCheckpoints(Path(folder)), Taxonomy(task="single", labels=LABELS)
        fit_transformer(train, LabelledTexts([], []), taxonomy, options, fit, 0, checkpoints=where)


def trainer_epoch(texts: Sequence[str], values: Sequence[str], *, is_grouped: bool) -> None:
    """Do the same with transformers.Trainer."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(minilm())
    model = AutoModelForSequenceClassification.from_pretrained(minilm(), num_labels=len(LABELS))
    encoded = tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)
    rows = [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": LABELS.index(value)}
        for ids, value in zip(encoded["input_ids"], values, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            train_sampling_strategy="group_by_length" if is_grouped else "random",
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        collator = DataCollatorWithPadding(tokenizer)
        Trainer(model, arguments, data_collator=collator, train_dataset=rows).train()  # type: ignore[arg-type]


def measure_speed(n_texts: int, repeats: int) -> list[Speed]:
    """Time an epoch with each method, in turn, and keep the best."""
    texts, rng = mixed_texts(n_texts), np.random.default_rng(0)
    values = [str(value) for value in rng.choice(LABELS, n_texts)]
    methods: dict[str, Callable[[], None]] = {
        "ours": lambda: our_epoch(texts, values),
        "trainer, grouped": lambda: trainer_epoch(texts, values, is_grouped=True),
        "trainer": lambda: trainer_epoch(texts, values, is_grouped=False),
    }
    our_epoch(texts[:BATCH], values[:BATCH])
    trainer_epoch(texts[:BATCH], values[:BATCH], is_grouped=False)
    best = {name: (float("inf"), float("inf")) for name in methods}
    for _ in range(repeats):
        for name, epoch in methods.items():
            wall, cpu = time.perf_counter(), time.process_time()
            epoch()
            found = time.perf_counter() - wall, time.process_time() - cpu
            best[name] = min(best[name][0], found[0]), min(best[name][1], found[1])
    slow = best["trainer"]
    return [
        Speed(name, n_texts, round(wall, 2), round(cpu, 2), round(slow[0] / wall, 2), round(slow[1] / cpu, 2))
        for name, (wall, cpu) in best.items()
    ]


def fit_transformer_here(texts: ngram.Strings, labels: ngram.Strings, seed: int) -> ngram.Predict:
    """Fine-tune on nine tenths, validate on the rest."""
    cut = int(len(texts) * VALIDATION_SHARE)
    taxonomy = Taxonomy(task="single", labels=tuple(sorted(set(labels))))
    options = TransformerOptions(name=str(minilm()), **FROZEN)
    fit = TransformerFitOptions(max_epochs=6, batch_size=16, learning_rate=2e-4, checkpoint_steps=NEVER)
    train, validation = _rows(texts[cut:], labels[cut:]), _rows(texts[:cut], labels[:cut])
    with tempfile.TemporaryDirectory() as folder:
        where = LocalCheckpoints(Path(folder))
        found = fit_transformer(train, validation, taxonomy, options, fit, seed, checkpoints=where)

    def predict(unseen: ngram.Strings) -> Sequence[str]:
        decisions = found.classifier.decide(found.classifier.score(unseen.tolist()).probabilities)
        return [values[0] for values in taxonomy.decode(decisions)]

    return predict


def measure_accuracy(n_labels: int, n_corpora: int | None, n_test: int, seeds: int) -> list[ngram.Measurement]:
    """Train every method on the same labels of each corpus and print the row."""
    ngram.METHODS["transformer"] = fit_transformer_here
    found = []
    for corpus, method, seed in product(ngram.load_corpora()[:n_corpora], ngram.METHODS, range(seeds)):
        some = np.random.default_rng(1).permutation(len(corpus.texts))[: int(n_test / ngram.TEST_SHARE)]
        part = ngram.Corpus(corpus.name, corpus.texts[some], corpus.labels[some])
        row = ngram.measure(part, method, n_labels, seed)
        found.append(row)
        print(
            f"{row.corpus:<16}{row.method:<12}seed {seed}  macro-F1 {row.macro_f1:.3f}  {row.fit_s:.0f} s", flush=True
        )
    return found


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", default=os.environ.get("QUICK") == "1", help="a few minutes")
    parser.add_argument("--only", choices=("speed", "accuracy"), help="leave the other's results as they are")
    options = parser.parse_args()
    if find_spec("accelerate") is None:
        # transformers looks for it once, when it is imported.
        environment = {**os.environ, "PYTHONPATH": str(package("accelerate"))}
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.training", *sys.argv[1:]], environment)
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if options.only != "accuracy":
        speed = measure_speed(96, 1) if options.quick else measure_speed(960, 3)
        for row in speed:
            times = f"{row.times_the_trainer:>7.2f} times the Trainer, {row.times_the_trainer_cpu:.2f} in CPU seconds"
            print(f"{row.method:<18}{row.seconds:>8.1f} s{times}")
        found["speed"] = {"quick": options.quick, "machine": machine(), "rows": [asdict(row) for row in speed]}
    if options.only != "speed":
        accuracy = measure_accuracy(400, 1, 200, 1) if options.quick else measure_accuracy(2_000, None, 1_000, 3)
        found["accuracy"] = {"quick": options.quick, "machine": machine(), "rows": [asdict(row) for row in accuracy]}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    named = {"cpus": os.cpu_count(), "python": platform.python_version(), "torch": torch.__version__}
    return {**named, "threads": torch.get_num_threads()}


def _rows(texts: Sequence[str], values: Sequence[str]) -> LabelledTexts:
    return LabelledTexts(list(texts), [[value] for value in values])


if __name__ == "__main__":
    main()
