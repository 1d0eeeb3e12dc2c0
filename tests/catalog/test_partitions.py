"""A table in parts: what is made once is kept, whatever ends the run."""

import multiprocessing
import os
import pickle
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from al_platform.catalog.engines import DuckDBEngine, _waves
from al_platform.catalog.partitions import PartitionedOutput, TableInParts
from al_platform.catalog.row_files import RowFiles
from al_platform.domain.errors import SchemaError
from al_platform.domain.selection.shortlist import fetch
from al_platform.storage.commit_log import digest_of_outputs
from al_platform.storage.run import Run
from al_platform.storage.store import LocalStore

SCHEMA = pa.schema([pa.field("row", pa.int64()), pa.field("half", pa.list_(pa.float16()))])


EMBEDDED = pa.schema(
    [
        pa.field("page_id", pa.string()),
        pa.field("margin", pa.float32()),
        pa.field("embedding", pa.list_(pa.float16())),
    ]
)


class Making:
    """Counts the slices that were made, and fails at one row."""

    def __init__(self, fails_at=None):
        self.made = []
        self.fails_at = fails_at

    def __call__(self, start, stop):
        if self.fails_at is not None and start <= self.fails_at < stop:
            raise RuntimeError("the machine is gone")
        self.made.append((start, stop))
        rows = np.arange(start, stop)
        return pa.table({"row": rows, "half": [[np.float16(row)] for row in rows]}, schema=SCHEMA)


def in_parts(making, rows=10, basis="model 1", part_rows=4):
    return TableInParts(making, rows, part_rows, 2, SCHEMA, DuckDBEngine(), {"scored_by": basis}, "scoring")


def saved(folder, table, revision="r1"):
    """The dataset after a run of its own has saved the table."""
    dataset = PartitionedOutput(root=str(folder), family="topics", cycle="2026-10", stage="scoring", name="predictions")
    dataset.bind(Run(f"run-{len(list(folder.rglob('*.json')))}", revision))
    dataset.save(table)
    return dataset


def outputs_of(dataset):
    return dataset.run.attempt(dataset.key, dataset.store).outputs


def test_a_table_in_parts_reads_as_one(tmp_path):
    dataset = saved(tmp_path, in_parts(Making()))
    assert sorted(outputs_of(dataset)) == ["predictions", "predictions.00001", "predictions.00002"]
    assert sorted(dataset.load().to_pyarrow()["row"].to_pylist()) == list(range(10))
    assert [file.path for file in dataset.source.files] == [output.path for output in outputs_of(dataset).values()]


def test_after_a_failure_only_what_is_lacking_is_made(tmp_path):
    undisturbed = saved(tmp_path / "undisturbed", in_parts(Making()))
    with pytest.raises(Exception, match="the machine is gone"):
        saved(tmp_path / "own", in_parts(Making(fails_at=9)))
    again = Making()
    dataset = saved(tmp_path / "own", in_parts(again))
    assert again.made == [(8, 10)]
    assert digest_of_outputs(outputs_of(dataset)) == digest_of_outputs(outputs_of(undisturbed))


def save_until_killed(folder):
    """Let the system end this process when the second part is kept."""
    real = LocalStore.write

    def killing(self, path, data):
        real(self, path, data)
        if path.endswith("predictions.00001.json"):
            os.kill(os.getpid(), signal.SIGKILL)

    LocalStore.write = killing
    saved(folder, in_parts(Making()))


def test_after_a_kill_the_parts_that_are_there_are_used(tmp_path):
    undisturbed = saved(tmp_path / "undisturbed", in_parts(Making()))
    process = multiprocessing.get_context("spawn").Process(target=save_until_killed, args=(tmp_path / "own",))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    again = Making()
    dataset = saved(tmp_path / "own", in_parts(again))
    assert again.made == [(8, 10)]
    assert digest_of_outputs(outputs_of(dataset)) == digest_of_outputs(outputs_of(undisturbed))


@pytest.mark.parametrize(
    ("changed", "revision"),
    [({"basis": "model 2"}, "r1"), ({"part_rows": 6}, "r1"), ({"rows": 12}, "r1"), ({}, "r2")],
    ids=["another model", "other parts", "another month", "other code"],
)
def test_parts_that_rest_on_something_else_are_not_used(tmp_path, changed, revision):
    saved(tmp_path, in_parts(Making()))
    anew = Making()
    saved(tmp_path, in_parts(anew, **changed), revision)
    assert anew.made[0][0] == 0
    assert anew.made[-1][1] == changed.get("rows", 10)


def test_a_part_that_was_damaged_is_made_again(tmp_path):
    first = outputs_of(saved(tmp_path, in_parts(Making())))
    damaged = tmp_path / first["predictions.00001"].path
    damaged.write_bytes(damaged.read_bytes()[:-1])
    again = Making()
    assert outputs_of(saved(tmp_path, in_parts(again))) == first
    assert again.made == [(4, 6), (6, 8)]


def test_a_part_without_its_receipt_was_not_finished(tmp_path):
    saved(tmp_path, in_parts(Making()))
    next(tmp_path.rglob("predictions.00000.json")).unlink()
    again = Making()
    saved(tmp_path, in_parts(again))
    assert again.made == [(0, 2), (2, 4)]


def embedded(start, stop):
    """Rows with a margin that has nothing to do with their number, and 384 numbers that cannot be compressed."""
    generator = np.random.default_rng(start)
    numbers = generator.standard_normal((stop - start) * 384).astype(np.float16)
    lists = pa.ListArray.from_arrays(pa.array(np.arange(stop - start + 1) * 384, pa.int32()), pa.array(numbers))
    margin = generator.random(stop - start, dtype=np.float32)
    return pa.table([[f"{row:06d}" for row in range(start, stop)], margin, lists], schema=EMBEDDED)


def bytes_read():
    (line,) = (line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("rchar"))
    return int(line.split()[1])


def test_embeddings_are_read_for_the_shortlist_only(tmp_path):
    every = TableInParts(
        embedded, 20_000, 10_000, 1_000, EMBEDDED, DuckDBEngine(), {}, "scoring", sorted_by=("margin", "page_id")
    )
    dataset = saved(tmp_path, every)
    scored = dataset.load()
    closest = scored.select("page_id", "margin").order_by("margin").limit(200).to_pyarrow()
    before = bytes_read()
    names = closest["page_id"].to_pylist()
    found = fetch(scored, names, ["embedding"], "Predictions", {"margin": closest["margin"]})
    read = bytes_read() - before
    assert found.num_rows == 200
    assert read < 0.4 * sum(output.size for output in outputs_of(dataset).values())


def test_a_part_is_sorted_nulls_last(tmp_path):
    table = replace(in_parts(Making(), part_rows=5), sorted_by=("half_of", "row"))
    schema = pa.schema([pa.field("row", pa.int64()), pa.field("half_of", pa.int64())])
    halves = [None, 3, 1, 1, 2, 9, None, 8, 0, 7]
    made = replace(
        table, on_slice=lambda *rows: pa.table([range(*rows), halves[slice(*rows)]], schema=schema), schema=schema
    )
    assert [part["row"].to_pylist() for part in made.made(made.parts)] == [[2, 3, 4, 1, 0], [8, 9, 7, 5, 6]]


@pytest.mark.parametrize("rows", [0, 4])
def test_a_single_part_lies_below_its_attempt(tmp_path, rows):
    dataset = saved(tmp_path, in_parts(Making(), rows=rows))
    (output,) = outputs_of(dataset).values()
    assert output.path == "topics/2026-10/scoring/attempts/run-0/predictions.parquet"
    assert dataset.load().to_pyarrow().num_rows == rows


def test_a_wave_on_spark_has_a_bounded_number_of_rows():
    slices = [(start, start + 300_000) for start in range(0, 1_500_000, 300_000)]
    assert [len(wave) for wave in _waves(slices)] == [2, 2, 1]
    assert list(_waves([])) == []


@pytest.fixture
def files(tmp_path):
    """Seven rows in two files, in row groups of two."""
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    pq.write_table(pa.table({"page_id": ["a", "b", "c", "a"]}), paths[0], row_group_size=2)
    pq.write_table(pa.table({"page_id": ["d", "c", "e"], "visits": [1, 2, 3]}), paths[1], row_group_size=2)
    return RowFiles(paths)


@pytest.mark.parametrize(("start", "stop"), [(0, 7), (1, 3), (2, 4), (3, 6), (6, 7), (5, 5)])
def test_rows_are_found_by_their_number(files, start, stop):
    assert files.rows(start, stop)["page_id"].to_pylist() == ["a", "b", "c", "a", "d", "c", "e"][start:stop]


def test_rows_are_found_after_pickling(files):
    files.rows(0, 1)
    assert pickle.loads(pickle.dumps(files)).rows(4, 5).to_pylist() == [{"page_id": "d", "visits": 1}]  # noqa: S301


def test_repeats_are_all_but_the_first(files):
    assert files.repeats("page_id").tolist() == [3, 5]


def test_rows_are_aligned_with_others_of_which_the_last_counts(files, tmp_path):
    log = tmp_path / "log.parquet"
    half = pa.array([[np.float16(1)], [np.float16(2)], [np.float16(3)]], pa.list_(pa.float16()))
    pq.write_table(pa.table({"page_id": ["e", "a", "e"], "embedding": half}), log)
    aligned = RowFiles([log]).aligned_with(files, "page_id", ["page_id", "embedding", "unknown"])
    rows = aligned.rows(0, 7).to_pylist()
    assert [row["page_id"] for row in rows] == files.rows(0, 7)["page_id"].to_pylist()
    assert [row["embedding"] for row in rows] == [[2.0], None, None, [2.0], None, None, [3.0]]


def test_an_empty_log_has_nothing_for_any_row(files, tmp_path):
    pq.write_table(pa.table({"page_id": pa.array([], pa.string()), "top1": pa.array([], pa.float32())}), tmp_path / "l")
    aligned = RowFiles([tmp_path / "l"]).aligned_with(files, "page_id", ["page_id", "top1"])
    assert aligned.rows(0, 7)["top1"].null_count == 7


def test_a_truncated_file_is_named(tmp_path):
    Path(tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(SchemaError, match=r"bad\.parquet is no readable Parquet file"):
        RowFiles([tmp_path / "bad.parquet"])
