import pyarrow as pa
import pytest

from al_platform.domain.taxonomy import Taxonomy
from al_platform.monitoring.accuracy import audit_accuracy


def dataset(*rows):
    names = ("page_id", "set", "cycle", "inclusion_probability", "values")
    types = (pa.string(), pa.string(), pa.string(), pa.float64(), pa.list_(pa.string()))
    return pa.table(
        [list(column) for column in zip(*rows, strict=True)], schema=pa.schema(list(zip(names, types, strict=True)))
    )


def predictions(**rows):
    return pa.table({"page_id": list(rows), "probabilities": pa.array(list(rows.values()), pa.list_(pa.float32()))})


SINGLE = Taxonomy(task="single", labels=("sport", "tech"))
MULTI = Taxonomy(task="multi", labels=("crime", "alcohol"))


def test_each_page_counts_for_those_it_stands_for():
    pages = dataset(
        ("right", "audit", "2026-10", 0.5, ["sport"]),
        ("wrong", "audit", "2026-10", 0.1, ["sport"]),
        ("other month", "audit", "2026-09", 0.5, ["sport"]),
        ("not drawn", "audit", "2026-10", None, ["sport"]),
        ("trained on", "train", "2026-10", 0.5, ["sport"]),
        ("not scored", "audit", "2026-10", 0.5, ["sport"]),
    )
    said = predictions(**{name: [0.9, 0.1] for name in pages["page_id"].to_pylist() if name != "not scored"})
    said = predictions(
        **{**dict(zip(*said.to_pydict().values(), strict=True)), "wrong": [0.1, 0.9], "not scored": None}
    )
    found = audit_accuracy(pages, said, SINGLE, (0.5, 0.5), "2026-10")
    assert found.n == 2
    assert found.value == pytest.approx(2 / 12)


def test_a_page_of_several_labels_is_right_where_all_are():
    pages = dataset(
        ("both", "audit", "2026-10", 0.5, ["crime", "alcohol"]),
        ("none", "audit", "2026-10", 0.5, []),
        ("half", "audit", "2026-10", 0.5, ["crime", "alcohol"]),
    )
    said = predictions(both=[0.9, 0.2], none=[0.4, 0.1], half=[0.9, 0.1])
    assert audit_accuracy(pages, said, MULTI, (0.5, 0.15), "2026-10").value == pytest.approx(2 / 3)


def test_one_page_is_no_accuracy():
    pages = dataset(("one", "audit", "2026-10", 0.5, ["sport"]))
    assert audit_accuracy(pages, predictions(one=[0.9, 0.1]), SINGLE, (0.5, 0.5), "2026-10") is None
