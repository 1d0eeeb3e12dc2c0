"""Turn three labelled archives into what a team brings in: a labelled start and two months of traffic, per family.

    python docs/examples/three_datasets.py FOLDER

FOLDER holds newsgroups20.parquet, davidson_hate.parquet and sst5.parquet with columns ``text`` and ``label``. Writes
``data/archive-files/<family>-{start,2026-09,2026-10}.parquet`` and one Kedro environment ``conf/archive_<family>``.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

FILES = {"topics": "newsgroups20", "brand_safety": "davidson_hate", "sentiment": "sst5"}
START_ROWS = 2_500
MONTH_ROWS = 3_000
SEED = 0


def main(folder: Path, project: Path) -> None:
    """Write the files and environments of every family."""
    for family, name in FILES.items():
        table = distinct_texts(pq.read_table(folder / f"{name}.parquet"))
        order = np.random.default_rng(SEED).permutation(table.num_rows)
        write_parts(family, table.take(pa.array(order)), project / "data" / "archive-files")
        write_environment(family, sorted(set(table["label"].to_pylist())), project / "conf" / f"archive_{family}")


def distinct_texts(table: pa.Table) -> pa.Table:
    """Return the first row of each text, labels as strings: ids are made from texts here."""
    rows = {row["text"]: str(row["label"]) for row in reversed(table.to_pylist()) if row["text"].strip()}
    return pa.table({"text": list(rows), "label": list(rows.values())})


def write_parts(family: str, table: pa.Table, folder: Path) -> None:
    """Write the labelled start and two months of traffic."""
    folder.mkdir(parents=True, exist_ok=True)
    starts = {"start": (0, START_ROWS), "2026-09": (START_ROWS, MONTH_ROWS)}
    starts["2026-10"] = (START_ROWS + MONTH_ROWS, MONTH_ROWS)
    for part, (first, rows) in starts.items():
        pq.write_table(table.slice(first, rows), folder / f"{family}-{part}.parquet")


def write_environment(family: str, labels: list[str], folder: Path) -> None:
    """Write an environment with this one family, its labels, and a store of its own."""
    (folder / "parameters").mkdir(parents=True, exist_ok=True)
    settings = {
        "globals.yml": {"root": f"data/{folder.name}", "traffic": {"source": "imported"}},
        "families.yml": {"families": [family]},
        f"parameters/{family}.yml": {
            family: {
                "taxonomy": {"task": "single", "labels": labels},
                "selection": {"budget": 300, "domain_share": None},
                "evaluation": {"gate": {"min_golden": 300}},
            }
        },
    }
    for name, content in settings.items():
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path.cwd())
