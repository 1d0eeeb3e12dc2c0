"""The log of a production model is read, checked and written batch by batch."""

import json
import weakref

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from al_platform.domain.errors import InputError, SchemaError
from al_platform.domain.taxonomy import Taxonomy
from al_platform.importing import check_log, files, read_batches
from al_platform.schemas import PREDICTIONS

TAXONOMY = Taxonomy(task="single", labels=("a", "b"))
ROWS = [{"page_id": f"p{row}", "a": row / 10, "b": 1 - row / 10} for row in range(10)]


def checked(tables, tmp_path):
    return check_log(tables, TAXONOMY, None, "v1", (), tmp_path / "log.parquet")


def written(path, rows):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        path.write_text("\n".join(["page_id,a,b", *(f"{row['page_id']},{row['a']},{row['b']}" for row in rows)]))
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_only_one_batch_is_in_memory(tmp_path):
    alive = []

    def tables():
        for start in range(0, 10, 2):
            assert sum(table() is not None for table in alive) <= 1
            table = pa.Table.from_pylist(ROWS[start : start + 2])
            alive.append(weakref.ref(table))
            yield table

    imported = checked(tables(), tmp_path)
    assert len(alive) == 5
    assert imported.rows == 10
    assert pq.read_schema(imported.file) == PREDICTIONS


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_file_in_batches_is_the_file(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(files, "BATCH_ROWS", 3)
    path = written(tmp_path / f"x.{ending}", ROWS)
    assert pa.concat_tables(read_batches(path, {})).to_pylist() == files.read_file(path, {}).to_pylist() == ROWS


def test_a_page_that_an_earlier_batch_had_is_set_aside(tmp_path):
    again = {"page_id": "p0", "a": 0.5, "b": 0.5}
    imported = checked([pa.Table.from_pylist(ROWS), pa.Table.from_pylist([again])], tmp_path)
    assert (imported.rows, imported.reasons) == (10, {"duplicate_page_id": 1})
    assert pq.read_table(imported.file)["probabilities"][0].as_py() == pytest.approx([0, 1])


def test_a_batch_of_which_nothing_can_be_taken_spoils_no_other(tmp_path):
    bad = pa.Table.from_pylist([{"page_id": "bad", "a": 2.0, "b": 0.0}])
    assert checked([bad, pa.Table.from_pylist(ROWS)], tmp_path).reasons == {"not_a_probability": 1}
    with pytest.raises(InputError, match="None of the 1 rows can be taken as predictions"):
        checked([bad], tmp_path)


def test_an_empty_log_says_so(tmp_path):
    with pytest.raises(InputError, match="None of the 0 rows"):
        checked([], tmp_path)


def test_a_file_that_is_cut_off_is_named(tmp_path):
    path = written(tmp_path / "x.parquet", ROWS)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SchemaError, match=r"x\.parquet is no readable Parquet file"):
        list(read_batches(path, {}))
