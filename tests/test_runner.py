import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from al_platform.runner import FamilyRunner, RunFailedError, family_by_family


def ran(name):
    return name


def fails(_):
    raise ZeroDivisionError("no luck")


def pipeline(*broken):
    nodes = []
    for family in ("a", "b"):
        for step, source in (("one", "pages"), ("two", f"{family}.one"), ("three", f"{family}.two")):
            function = fails if f"{family}.{step}" in broken else ran
            output = f"{family}.{step}"
            nodes.append(Node(function, inputs=source, outputs=output, name=step, namespace=family))
    return Pipeline(nodes)


def catalog(run):
    return DataCatalog({name: MemoryDataset() for name in run.datasets()} | {"pages": MemoryDataset("page")})


def test_one_family_is_finished_before_the_next_begins():
    order = [node.namespace for node in family_by_family(pipeline())]
    assert order == ["a"] * 3 + ["b"] * 3


def test_a_family_that_fails_does_not_stop_the_other():
    run = pipeline("a.two")
    data = catalog(run)
    with pytest.raises(
        RunFailedError, match=r"(?s)1 node\(s\) failed, 1 were skipped.*a\.two: ZeroDivisionError: no luck"
    ):
        FamilyRunner().run(run, data)
    assert data["b.three"].load() == "page"


def test_all_errors_are_reported():
    run = pipeline("a.one", "b.three")
    with pytest.raises(RunFailedError, match=r"(?s)2 node\(s\) failed.*a\.one.*b\.three"):
        FamilyRunner().run(run, catalog(run))


def test_without_failures_everything_runs():
    run = pipeline()
    assert set(FamilyRunner().run(run, catalog(run))) == {"a.three", "b.three"}
