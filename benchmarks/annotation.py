"""Annotation: a real Label Studio (SQLite) and simulated annotators.

    python -m benchmarks.annotation [--quick]     # or QUICK=1

*Server*: a batch is pushed, answered by three people and pulled, beside the server's own bulk ways: one import request
after another without a look at what is there, and its own export of everything. Each step is a process of its own,
whose peak memory is that of the client. *Annotators*: labels by Dawid-Skene and by majority from answers of people of
known quality, seeds paired. Writes ``benchmarks/results/annotation.json``; needs Linux for memory.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from servers.label_studio import LabelStudioServer

from al_platform.annotation.label_studio.options import Access, LabelStudioOptions
from al_platform.annotation.label_studio.platform import LabelStudio
from al_platform.annotation.label_studio.tasks import task
from al_platform.domain.adjudication import AdjudicationOptions, Checks, conclude
from al_platform.domain.taxonomy import Taxonomy
from al_platform.domain.votes import Answers
from al_platform.schemas import BATCH, conform
from al_platform.storage.store import LocalStore

RESULTS = Path(__file__).with_name("results") / "annotation.json"
TOPICS = Taxonomy(task="single", labels=("business", "entertainment", "politics", "sport", "tech"))
SIZES, QUICK_SIZES = (1_000, 10_000), (200, 1_000)
CHUNK = 500
TEXT = "The chancellor said the new rules would come into force in April. " * 30
ANSWERS = 3


def main() -> None:
    """Measure and write the results; with a step's name, carry out that step."""
    if sys.argv[1:2] == ["step"]:
        step(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    quick = parser.parse_args().quick
    results: dict[str, Any] = {"annotators": annotators(5 if quick else 20)}
    for found in results["annotators"]:
        print({name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()})
    with tempfile.TemporaryDirectory() as folder, LabelStudioServer(Path(folder) / "server") as server:
        results["server"] = {}
        for pages in QUICK_SIZES if quick else SIZES:
            results["server"][str(pages)] = on_server(server, Path(folder) / str(pages), pages)
    if not quick:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")


# --- server


def on_server(server: LabelStudioServer, store: Path, pages: int) -> dict[str, Any]:
    """Return what each step takes, ours and the server's own."""
    where = [str(store), server.url, server.token, str(pages)]
    found = {}
    for name in ("push", "push_again", "own_import", "answer", "pull", "pull_again", "own_export"):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.annotation", "step", name, *where],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        found[name] = json.loads(done.stdout.splitlines()[-1])
        found[name]["pages_per_s"] = round(pages / found[name]["wall_s"], 1)
        print(f"{pages:7,} {name:12} {found[name]}", flush=True)
    return found


def step(name: str, store: str, url: str, token: str, pages: str) -> None:
    """Carry out one step, and print what it took."""
    platform = LabelStudio(
        LocalStore(store), "topics/platform/label_studio", "topics", TOPICS,
        LabelStudioOptions(chunk_pages=CHUNK, timeout_s=600), Access(url, token),
    )  # fmt: skip
    batch = make_batch(int(pages))
    steps = {
        "push": lambda: platform.submit(batch),
        "push_again": lambda: platform.submit(batch),
        "own_import": lambda: own_import(platform, batch),
        "answer": lambda: answer(platform, batch),
        "pull": platform.pull,
        "pull_again": platform.pull,
        "own_export": lambda: own_export(platform),
    }
    before_mb, began, began_cpu = _peak_mb(), time.monotonic(), time.process_time()
    steps[name]()
    took = {"wall_s": time.monotonic() - began, "cpu_s": time.process_time() - began_cpu}
    print(json.dumps({key: round(value, 2) for key, value in took.items()} | {"more_mb": _peak_mb() - before_mb}))


def make_batch(pages: int) -> pa.Table:
    """Return a batch of pages of 2,000 characters."""
    rows = [
        {"batch_id": f"topics-{pages}", "page_id": f"page-{row}", "rank": row, "reason": "strategy", "text": TEXT,
         "title": f"Page {row}", "url": f"https://news.example/{row}", "answers_wanted": ANSWERS}
        for row in range(pages)
    ]  # fmt: skip
    return conform(pa.Table.from_pylist(rows, BATCH), BATCH, "batch")


def own_import(platform: LabelStudio, batch: pa.Table) -> None:
    """Post the same tasks into a project beside, in requests of the same size, and look at nothing."""
    client = platform._client
    beside = client.create_project(platform._wanted.content("benchmark: the server's own import"))["id"]
    rows = batch.to_pylist()
    for start in range(0, len(rows), CHUNK):
        client.import_tasks(beside, [task(row, "1", None) for row in rows[start : start + CHUNK]])


def answer(platform: LabelStudio, batch: pa.Table) -> None:
    """Let three people answer every page: an import of the tasks with answers takes the place of those without."""
    client, people = platform._client, [_person(platform, name) for name in ("ann", "bob", "cem")]
    project = platform.make_project()
    there = [each["id"] for each in client.list_tasks(project, batch["batch_id"][0].as_py())]
    chosen = {"selectedItems": {"all": False, "included": there}}
    client._again("POST", "/api/dm/actions", params={"id": "delete_tasks", "project": project}, json=chosen)
    rows = batch.to_pylist()
    for start in range(0, len(rows), CHUNK):
        tasks = [task(row, "1", None) | {"annotations": _answers(row, people)} for row in rows[start : start + CHUNK]]
        client.import_tasks(project, tasks)


def _person(platform: LabelStudio, name: str) -> int:
    client = platform._client
    found = [user["id"] for user in client._again("GET", "/api/users/") if user["username"] == name]
    user = {"email": f"{name}@example.com", "username": name, "password": "none-is-set"}
    return int(found[0] if found else client._once("POST", "/api/users/", json=user)["id"])


def _answers(row: dict[str, Any], people: list[int]) -> list[dict[str, Any]]:
    label = TOPICS.labels[row["rank"] % len(TOPICS.labels)]
    result = [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [label]}}]
    return [{"completed_by": person, "result": result, "was_cancelled": False} for person in people]


def own_export(platform: LabelStudio) -> None:
    """Fetch the server's whole export of the project, as it comes."""
    client = platform._client
    client._again("GET", f"/api/projects/{platform.make_project()}/export", params={"exportType": "JSON"})


def _peak_mb() -> int:
    """Return the peak of this process alone; getrusage counts what its parent had when it was started."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


# --- annotators


def annotators(seeds: int) -> list[dict[str, Any]]:
    """Return accuracy by majority and by Dawid-Skene, of several offices."""
    careful, mixed, spammers = (0.95, 0.93, 0.9, 0.92, 0.94), (0.97, 0.92, 0.85, 0.75, 0.6), (0.95, 0.9, 0.9, 0.3, 0.2)
    offices = {"all careful": careful, "mixed": mixed, "two hardly look": spammers}
    sizes = ((60, 3, 0), (600, 3, 0), (600, 3, 30), (5_000, 3, 0), (600, 2, 30), (600, 1, 60))
    return [
        {"office": name, "pages": pages, "answers": answers, "known": known}
        | compared(accuracy, pages, answers, known, seeds)
        for name, accuracy in offices.items()
        for pages, answers, known in sizes
    ]


def compared(accuracy: tuple[float, ...], pages: int, answers: int, known: int, seeds: int) -> dict[str, float]:
    """Return the share of pages whose label is right, by method; a page without a label is none that is right."""
    names = ("majority", "dawid_skene", "decided", "right_of_decided", "off")
    right: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        truth, given = simulated(rng, accuracy, pages, answers)
        sure, checked = simulated(rng, accuracy, known, answers)
        checks = Checks(checked, np.eye(len(TOPICS.labels), dtype=bool)[sure])
        for method in ("majority", "dawid_skene"):
            options = AdjudicationOptions.model_validate({"method": method, "min_answers": 0})
            found = conclude(given, checks, TOPICS, options)
            is_right = found.is_decided & (found.winners.argmax(axis=1) == truth)
            right[method].append(float(is_right.mean()))
        right["decided"].append(float(found.is_decided.mean()))
        right["right_of_decided"].append(float(is_right.sum() / max(1, found.is_decided.sum())))
        right["off"].append(float(np.mean([abs(found.quality[f"a{n}"] - each) for n, each in enumerate(accuracy)])))
    gain = np.array(right["dawid_skene"]) - np.array(right["majority"])
    error = float(gain.std(ddof=1) / np.sqrt(seeds))
    means = {name: float(np.mean(values)) for name, values in right.items()}
    return means | {"gain": float(gain.mean()), "error": error}


def simulated(
    rng: np.random.Generator, accuracy: tuple[float, ...], pages: int, answers: int
) -> tuple[NDArray[np.int64], Answers]:
    """Return the truth of each page, and what some annotators drawn for it answer: a wrong label is any other."""
    n_labels = len(TOPICS.labels)
    truth = rng.choice(n_labels, pages, p=(0.35, 0.25, 0.2, 0.15, 0.05))
    page = np.repeat(np.arange(pages), answers)
    drawn = [rng.choice(len(accuracy), answers, replace=False) for _ in range(pages)]
    annotator = np.concatenate([np.zeros(0, dtype=np.int64), *drawn])
    is_right = rng.random(len(page)) < np.array(accuracy)[annotator]
    choice = np.where(is_right, truth[page], (truth[page] + rng.integers(1, n_labels, len(page))) % n_labels)
    names = [f"a{number}" for number in range(len(accuracy))]
    pages_named = [f"p{number}" for number in range(pages)]
    return truth, Answers(pages_named, names, page, annotator, np.eye(n_labels, dtype=bool)[choice])


if __name__ == "__main__":
    main()
