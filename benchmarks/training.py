"""Fine-tuning: speed beside transformers.Trainer, and accuracy beside the n-gram model and TF-IDF + LR.

    AL_BENCH_DATA=/folder/with/parquet python -m benchmarks.training [--quick] [--only speed|accuracy]

Speed: one epoch over texts of mixed length (see ``benchmarks.scoring``) with the same encoder, batch, rate and number
of tokens at most, on the CPU in float32; the Trainer trains the same network (``benchmarks.mean_pooled``) and pads each
batch to its longest text, with and without grouping by length. After the same steps, probabilities of both are
compared. Seconds hold everything from texts to weights; CPU seconds say more on a machine that others use too.
Accuracy: as in ``benchmarks.ngram``, three seeds; the n-gram model and TF-IDF + LR on all labels, and both beside
all-MiniLM-L6-v2, fine-tuned with 64 tokens and its lower half frozen, on 2,000. A run takes accelerate, which
transformers.Trainer asks for, from the registry once.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks import ngram
from benchmarks.mean_pooled import MeanPooledClassifier, mean_pooled
from benchmarks.scoring import MAX_TOKENS, loop_scorer, mixed_texts
from servers.environments import package
from servers.minilm import minilm
from transformers import AutoConfig

from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.labelled_texts import LabelledTexts
from al_platform.models.transformer.checkpoints import LocalCheckpoints
from al_platform.models.transformer.fit import fit_transformer
from al_platform.models.transformer.module import NO_DECAY
from al_platform.models.transformer.network import start_head
from al_platform.models.transformer.options import TransformerFitOptions, TransformerOptions

RESULTS = Path(__file__).parent / "results" / "training.json"
LABELS = ("a", "b")
BATCH = 32
RATE = 5e-5
NEVER = 10**6
SEED = 0
FROZEN = TransformerOptions(name="", max_tokens=64, frozen_layers=3)
FULL = TransformerOptions(name="", max_tokens=256)
VALIDATION_SHARE = 0.1


Rates = Callable[[MeanPooledClassifier], tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]]


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
        fit_transformer(train, LabelledTexts([], []), taxonomy, options, fit, SEED, checkpoints=where)


def trainer_epoch(texts: Sequence[str], values: Sequence[str], *, is_grouped: bool) -> None:
    """Do the same with transformers.Trainer."""
    trainer_fit(minilm(), texts, values, is_grouped=is_grouped, dropout=TransformerOptions().dropout)


def trainer_fit(
    encoder: Path,
    texts: Sequence[str],
    values: Sequence[str],
    *,
    is_grouped: bool,
    dropout: float,
    epochs: int = 1,
    rates: Rates | None = None,
) -> MeanPooledClassifier:
    """Return what transformers.Trainer makes of the same network, with a linear fall of the rate unless given others.

    Args:
        encoder: Folder of the encoder to start from.
        texts: N texts.
        values: Their labels.
        is_grouped: Whether texts of similar length come together.
        dropout: Before the head.
        epochs: How many.
        rates: Makes optimiser and schedule of the model.
    """
    from transformers import AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments

    head = torch.nn.Linear(AutoConfig.from_pretrained(encoder).hidden_size, len(LABELS))
    start_head(head, SEED)
    model = mean_pooled(encoder, (head.weight.detach().numpy(), head.bias.detach().numpy()), dropout)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    encoded = tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)
    rows = [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": LABELS.index(value)}
        for ids, value in zip(encoded["input_ids"], values, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            train_sampling_strategy="group_by_length" if is_grouped else "random",
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        Trainer(
            model,
            arguments,
            data_collator=DataCollatorWithPadding(tokenizer),
            train_dataset=rows,  # type: ignore[arg-type]
            optimizers=rates(model) if rates else (None, None),
        ).train()
    return model


def largest_difference(n_texts: int = BATCH, epochs: int = 4) -> float:
    """Return how far apart probabilities are after both have trained on the same steps: each is all texts, once.

    Without dropout and with the same rates the order of texts within a step is all that differs.
    """
    texts, values = mixed_texts(n_texts, seed=1), [LABELS[row % 2] for row in range(n_texts)]
    fit = TransformerFitOptions(
        max_epochs=epochs,
        batch_size=n_texts,
        learning_rate=RATE,
        head_learning_rate=RATE,
        class_weight="none",
        checkpoint_steps=NEVER,
    )

    def rates(model: MeanPooledClassifier) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        named = list(model.named_parameters())
        is_plain = [any(part in name.lower() for part in NO_DECAY) for name, _ in named]
        groups = [
            {
                "params": [each for (_, each), plain in zip(named, is_plain, strict=True) if plain == chosen],
                "weight_decay": 0.0 if chosen else fit.weight_decay,
            }
            for chosen in (True, False)
        ]
        optimizer = torch.optim.AdamW(groups, lr=RATE)
        # One step rises, as warmup_share of four steps rounds to none; the others fall to zero.
        return optimizer, torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 1.0 if step < 1 else (epochs - step) / (epochs - 1)
        )

    with tempfile.TemporaryDirectory() as name:
        encoder = without_dropout(Path(name) / "encoder")
        options = TransformerOptions(name=str(encoder), max_tokens=MAX_TOKENS, dropout=0.0)
        taxonomy, where = Taxonomy(task="single", labels=LABELS), LocalCheckpoints(Path(name) / "checkpoints")
        ours = fit_transformer(
            _rows(texts, values), LabelledTexts([], []), taxonomy, options, fit, SEED, checkpoints=where
        )
        theirs = trainer_fit(encoder, texts, values, is_grouped=False, dropout=0.0, epochs=epochs, rates=rates)
        loop = loop_scorer(theirs.eval(), encoder)
    return float(np.abs(ours.classifier.score(texts).probabilities - loop(texts)).max())


def without_dropout(folder: Path) -> Path:
    """Return a copy of the encoder whose own dropout is off."""
    shutil.copytree(minilm(), folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


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


def fit_transformer_here(
    texts: ngram.Strings, labels: ngram.Strings, seed: int, reading: TransformerOptions
) -> ngram.Predict:
    """Fine-tune on nine tenths, validate on the rest."""
    cut = int(len(texts) * VALIDATION_SHARE)
    taxonomy = Taxonomy(task="single", labels=tuple(sorted(set(labels))))
    options = reading.model_copy(update={"name": str(minilm())})
    fit = TransformerFitOptions(max_epochs=5, batch_size=16, learning_rate=2e-4, checkpoint_steps=NEVER)
    train, validation = _rows(texts[cut:], labels[cut:]), _rows(texts[:cut], labels[:cut])
    with tempfile.TemporaryDirectory() as folder:
        where = LocalCheckpoints(Path(folder))
        found = fit_transformer(train, validation, taxonomy, options, fit, seed, checkpoints=where)

    def predict(unseen: ngram.Strings) -> Sequence[str]:
        decisions = found.classifier.decide(found.classifier.score(unseen.tolist()).probabilities)
        return [values[0] for values in taxonomy.decode(decisions)]

    return predict


def measure_accuracy(
    corpora: Sequence[ngram.Corpus], n_labels: int, most_tested: int, seeds: int, *, is_full: bool = False
) -> Iterator[ngram.Measurement]:
    """Train every method on the same labels of each corpus, the quick ones on all labels too, and print the rows.

    With ``is_full`` the transformer too: on all labels, with 256 tokens and nothing frozen, which asks for a GPU.
    """
    ngram.METHODS["transformer"] = partial(fit_transformer_here, reading=FULL if is_full else FROZEN)
    settings = [("ngram", None), ("tfidf_lr", None)]
    settings += [("transformer", None)] if is_full else [(method, n_labels) for method in ngram.METHODS]
    for corpus, (method, n), seed in product(corpora, settings, range(seeds)):
        row = ngram.measure(corpus, method, n, seed, most_tested)
        size = f"{row.n_labels:>7} labels  seed {seed}"
        print(f"{row.corpus:<16}{row.method:<12}{size}  macro-F1 {row.macro_f1:.3f}  {row.fit_s:.0f} s", flush=True)
        yield row


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", default=os.environ.get("QUICK") == "1", help="a few minutes")
    parser.add_argument("--only", choices=("speed", "accuracy"), help="leave the other's results as they are")
    parser.add_argument("--full", action="store_true", help="the transformer on all labels, 256 tokens: for a GPU")
    parser.add_argument("--corpus", help="of the accuracies, measure this one's and leave the others' as they are")
    options = parser.parse_args()
    if find_spec("accelerate") is None:
        # transformers looks for it once, when it is imported.
        environment = {**os.environ, "PYTHONPATH": str(package("accelerate"))}
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.training", *sys.argv[1:]], environment)
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if options.only != "accuracy":
        speed = measure_speed(96, 1) if options.quick else measure_speed(320, 2)
        for row in speed:
            times = f"{row.times_the_trainer:>7.2f} times the Trainer, {row.times_the_trainer_cpu:.2f} in CPU seconds"
            print(f"{row.method:<18}{row.seconds:>8.1f} s{times}")
        rows, difference = [asdict(row) for row in speed], largest_difference()
        print(f"after the same steps probabilities are within {difference:.0e}")
        found["speed"] = {"quick": options.quick, "machine": machine(), "max_difference": difference, "rows": rows}
    if options.only != "speed":
        corpora = [each for each in ngram.load_corpora() if options.corpus in (None, each.name)]
        measured = (
            measure_accuracy(corpora[:1], 400, 200, 1)
            if options.quick
            else measure_accuracy(corpora, 2_000, 2_000, 3, is_full=options.full)
        )
        name, rows = "accuracy_full" if options.full else "accuracy", [asdict(row) for row in measured]
        if options.corpus:
            rows += [row for row in found.get(name, {}).get("rows", []) if row["corpus"] != options.corpus]
        found[name] = {"quick": options.quick, "machine": machine(), "rows": rows}
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
