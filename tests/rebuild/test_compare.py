import numpy as np
import pyarrow as pa
import pytest

from al_platform.rebuild.compare import (
    circumstances_of,
    compare_circumstances,
    compare_dataset,
    compare_json,
    compare_metrics,
    compare_outputs,
    compare_tensors,
    conclude,
    erased_pages,
)
from al_platform.rebuild.comparison import (
    Circumstance,
    DatasetComparison,
    Erasure,
    MetricsComparison,
    Pair,
    WeightsComparison,
)
from al_platform.storage.commit_log import Manifest, Output

OTHER_PYARROW = (Circumstance(name="pyarrow", recorded="25.0.0", here="26.0.0", stages=("preparation",)),)
EQUAL_WEIGHTS = WeightsComparison(status="equal", recorded="a", rebuilt="a", stored="a")
OTHER_WEIGHTS = WeightsComparison(
    status="differs", recorded="a", rebuilt="b", stored="a", max_difference={"bias": 0.25}
)


def output(sha256, path="first/dataset.parquet"):
    return Output(path=path, sha256=sha256, size=10)


def manifest(**outputs):
    moment = "2026-09-01T00:00:00.000+00:00"
    key = {"family": "topics", "cycle": "2026-08", "stage": "preparation", "run_id": "run"}
    return Manifest(**key, outputs=outputs, started_at=moment, ended_at=moment)


def metrics(status):
    return MetricsComparison(status=status, tolerance="0.01 absolute on macro-F1")


def dataset(*rows):
    columns = ("page_id", "text", "values", "set")
    return pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows])


def test_an_output_is_equal_by_digest_and_size_whatever_its_path():
    compared = compare_outputs(manifest(dataset=output("a")), {"dataset": output("a", "elsewhere/dataset.parquet")})
    assert compared.outputs["dataset"].status == "equal"


def test_an_output_that_was_not_rebuilt_is_called_taken():
    compared = compare_outputs(manifest(annotations=output("a")), {})
    assert compared.outputs["annotations"].status == "taken"
    assert compared.differing == []


def test_the_same_rows_in_other_bytes_are_told_from_other_rows():
    record = manifest(dataset=output("a"), split_ledger=output("b"))
    compared = compare_outputs(record, {"dataset": output("c"), "split_ledger": output("d")}, {"dataset"})
    assert compared.outputs["dataset"].status == "same content"
    assert compared.differing == ["split_ledger"]
    assert compare_dataset(compared, None).status == "differs"


def test_erased_pages_are_counted_when_all_other_pages_are_as_they_were():
    stored = dataset(("p1", "one", ["a"], "train"), ("p2", "two", ["b"], "golden"))
    rebuilt = dataset(("p1", "one", ["a"], "validation"), ("p2", "two", ["b"], "golden"))
    assert erased_pages(5, stored, rebuilt) == Erasure(pages=3, moved=1)


@pytest.mark.parametrize("rebuilt", [dataset(("p1", "other", ["a"], "train")), dataset(("p3", "one", ["a"], "train"))])
def test_another_text_or_page_is_not_an_erasure(rebuilt):
    assert erased_pages(2, dataset(("p1", "one", ["a"], "train")), rebuilt) is None


def test_the_largest_difference_of_each_tensor_that_differs_is_named():
    stored = {"weight": np.array([[0.5, 1.0]]), "bias": np.array([0.0]), "idf": np.array([1.0, 2.0])}
    rebuilt = {"weight": np.array([[0.25, 1.5]]), "bias": np.array([0.0]), "idf": np.array([1.0])}
    assert compare_tensors(stored, rebuilt) == {"weight": 0.5, "idf": None}


def test_json_is_compared_leaf_by_leaf():
    found = compare_json({"a": [1, {"b": 2}], "gone": 1}, {"a": [1, {"b": 3}]})
    assert found == {"a[1].b": Pair(recorded=2, found=3), "gone": Pair(recorded=1, found=None)}


def figures(macro_f1, log_loss=0.5, verdict="promote"):
    return {"golden": {"macro_f1": {"value": macro_f1}, "log_loss": log_loss}, "verdict": verdict}


@pytest.mark.parametrize(
    ("found", "is_same_build", "status"),
    [
        (figures(0.8), True, "equal"),
        (figures(0.8 + 1e-9), True, "within tolerance"),
        (figures(0.805), True, "differs"),
        (figures(0.805, log_loss=0.9), False, "within tolerance"),
        (figures(0.82), False, "differs"),
        (figures(0.8, verdict="iterate"), False, "differs"),
    ],
)
def test_the_same_build_must_give_the_same_figures_and_another_nearly_the_same_macro_f1(found, is_same_build, status):
    assert compare_metrics(figures(0.8), found, is_same_build=is_same_build).status == status


def test_a_changed_library_version_is_named_with_the_stages_that_ran_under_it():
    then = circumstances_of("abc", {"python": "3.11.9", "torch": "2.12.0"})
    here = circumstances_of("abc", {"python": "3.11.9", "torch": "2.13.0"})
    found = compare_circumstances({"preparation": here, "training": then, "evaluation": then}, here)
    assert found == (Circumstance(name="torch", recorded="2.12.0", here="2.13.0", stages=("training", "evaluation")),)


def test_uncommitted_changes_are_never_the_same_code():
    revision = circumstances_of("abc-dirty", {})
    assert [found.name for found in compare_circumstances({"training": revision}, revision)] == ["code_revision"]


def test_what_an_older_record_does_not_name_is_named_as_not_recorded():
    (found,) = compare_circumstances({"training": {"code_revision": "abc"}}, {"code_revision": "abc", "cpu": "x"})
    assert (found.name, found.recorded, found.here) == ("cpu", None, "x")


def test_equal_data_and_weights_are_a_rebuilt_model():
    outcome, _ = conclude(DatasetComparison(status="equal"), EQUAL_WEIGHTS, metrics("equal"), OTHER_PYARROW)
    assert outcome == "equal"


def test_other_weights_without_a_reason_are_unexplained():
    outcome, statements = conclude(DatasetComparison(status="equal"), OTHER_WEIGHTS, metrics("equal"), ())
    assert outcome == "differs"
    assert "The weights differ: bias by at most 0.25." in statements


@pytest.mark.parametrize(("status", "outcome"), [("within tolerance", "explained"), ("differs", "differs")])
def test_other_circumstances_explain_other_weights_as_long_as_the_figures_are_near(status, outcome):
    found, statements = conclude(
        DatasetComparison(status="same content"), OTHER_WEIGHTS, metrics(status), OTHER_PYARROW
    )
    assert found == outcome
    assert ("Other circumstances are the difference: pyarrow." in statements) == (outcome == "explained")


@pytest.mark.parametrize(("pages", "told"), [(1, "1 erased page"), (2, "2 erased pages")])
def test_erased_pages_explain_other_weights_and_figures(pages, told):
    erased = DatasetComparison(status="erased", erasure=Erasure(pages=pages, moved=0))
    outcome, statements = conclude(erased, OTHER_WEIGHTS, metrics("differs"), ())
    assert outcome == "explained"
    assert statements[0] == f"The data set differs by {told}."


def test_stored_files_that_are_not_the_recorded_model_are_a_difference():
    changed = EQUAL_WEIGHTS.model_copy(update={"status": "store changed", "max_difference": {"bias": 1.0}})
    outcome, statements = conclude(DatasetComparison(status="equal"), changed, metrics("equal"), ())
    assert outcome == "differs"
    assert "stored files were changed: bias by at most 1." in statements[1]
