"""What two quarters of one family left, looked at with nothing of the package's own."""

import json
from pathlib import Path

import pyarrow.parquet as pq

from temporary_project import Project

FIRST, SECOND, THIRD = "2026-08", "2026-09", "2026-10"


class Pages:
    """Pages of the project that were used for something."""

    def __init__(self, project: Project):
        rows = pq.read_table(
            next(data(project).glob(f"datasets/topics/{SECOND}/preparation/attempts/*/dataset.parquet"))
        )
        self.rows = rows.to_pylist()
        mistakes = next(data(project).glob(f"models/topics/{SECOND}/evaluation/attempts/*/error_analysis.json"))
        self.mistaken = json.loads(mistakes.read_text())["mistakes"][0]["page_id"]

    def annotated(self, name: str) -> str:
        """A page that annotators labelled and that is in a set."""
        return next(row["page_id"] for row in self.rows if row["set"] == name and row["source"] != "imported")

    def text(self, page_id: str) -> str:
        return next(row["text"] for row in self.rows if row["page_id"] == page_id)


def data(project: Project) -> Path:
    return project.path / "data" / "test"


def files_with(project: Project, needle: str) -> set[str]:
    """Every file in the stores whose content, decoded by nothing of ours, holds a text."""
    files = (file for file in data(project).rglob("*") if file.is_file())
    return {file.relative_to(data(project)).as_posix() for file in files if needle in decoded(file)}


def decoded(file: Path) -> str:
    if file.suffix == ".parquet":
        table = pq.read_table(file)
        return str(table.to_pylist()) + str(table.schema.metadata)
    raw = file.read_bytes().decode("utf-8", "replace")
    return raw + raw.encode().decode("unicode_escape", "replace") if file.suffix.startswith(".json") else raw
