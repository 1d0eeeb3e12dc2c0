"""What the documents say of benchmarks is what was measured."""

import json

from benchmarks.tables import DOCUMENT, peers_table, with_tables


def test_the_tables_are_those_of_the_results():
    document = DOCUMENT.read_text(encoding="utf-8")
    assert "<!-- table peers -->" in document
    assert with_tables(document) == document, "run: python -m benchmarks.tables"


def test_a_case_that_failed_says_why():
    fits = {"case": "margin", "rows": 10, "wall_s": 0.0012, "cpu_s": 1.26, "peak_mb": 1200}
    fails = {"case": "margin", "rows": 10_000, "failed": "out of memory (10 GiB)"}
    table = peers_table(json.loads(json.dumps({"measurements": [fits, fails]})))
    assert table.splitlines()[2] == "| margin | 0.0012 / 1.3, 1,200 | out of memory (10 GiB) |"
