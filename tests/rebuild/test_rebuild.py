"""A model made again from its record, on a tiny synthetic web that went on after it was trained."""

import json
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import yaml
from click.testing import CliRunner

from al_platform.circumstances import code_revision, environment
from al_platform.domain.errors import ConfigError, StoreError
from al_platform.models.model import directory_digest
from al_platform.rebuild.cli import rebuild as rebuild_command
from al_platform.rebuild.compare import circumstances_of
from al_platform.rebuild.rebuild import rebuild_model
from al_platform.storage.commit_log import file_sha256
from al_platform.storage.erasures import ErasedFile, Tombstone, create_tombstone, page_sha256
from al_platform.storage.store import open_store
from temporary_project import Project, make_project

CYCLE = "2026-08"
LATER = "2026-10"  # trained on three months of answers and judged against the champion of August
COMMAND = """
import sys
from kedro.framework.cli.cli import main
from al_platform.cli import al
from al_platform.rebuild.cli import rebuild
al.add_command(rebuild)
sys.argv = ["kedro", "al", "rebuild", *sys.argv[1:]]
main()
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A project that trained a model in August, went on, and trained another in October; read only."""
    project = make_project(tmp_path_factory.mktemp("first"))
    project.only("topics")
    project.run("monthly", cycle=CYCLE)
    project.run("quarterly", cycle=CYCLE)
    for month in ("2026-09", LATER):
        project.run("monthly", cycle=month)
    project.run("quarterly", cycle=LATER)
    return project


@pytest.fixture
def copied(first, tmp_path):
    """The same, to be changed."""
    shutil.copytree(first.path, tmp_path / "copied")
    return Project(tmp_path / "copied")


def store_folder(project):
    return project.path / "data/test"


def checkout_of(project, path):
    """Return a project of its own, without data, on the store of another one."""
    checkout = make_project(path)
    checkout.only("topics")
    settings = yaml.safe_load((path / "conf/test/globals.yml").read_text())
    checkout.configure("globals.yml", {**settings, "root": str(store_folder(project))})
    return checkout


def model_of(project, cycle=CYCLE):
    return project.load("topics.challenger", cycle).digest


def rebuild(project, model, keep=None):
    here = circumstances_of(code_revision(project.path), environment())
    return rebuild_model(project.loader, model, here, lambda line: None, keep)


def contents(folder: Path):
    return {file: sha256(file.read_bytes()).hexdigest() for file in folder.rglob("*") if file.is_file()}


def test_a_clean_checkout_rebuilds_an_earlier_model_byte_for_byte_and_leaves_the_store_alone(first, tmp_path):
    checkout, before = checkout_of(first, tmp_path / "checkout"), contents(store_folder(first))
    run = subprocess.run(
        [sys.executable, "-c", COMMAND, model_of(first)[:10], "--json", "--env=test", f"--keep={tmp_path / 'kept'}"],
        cwd=checkout.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["outcome"] == "equal"
    assert [found[part]["status"] for part in ("dataset", "weights", "metrics")] == ["equal"] * 3
    assert found["circumstances"] == []
    assert "3 of 4: training of topics 2026-08" in run.stderr
    assert directory_digest(tmp_path / "kept") == model_of(first) == found["model_digest"]
    assert contents(store_folder(first)) == before
    assert not (checkout.path / "data").exists()


def test_every_output_of_a_model_with_a_past_is_equal_but_for_peoples_answers_which_are_taken(first):
    assert first.load("topics.verdict", LATER)["champion_digest"] == model_of(first)
    found = rebuild(first, "topics")
    stages = found.stages
    assert found.model_digest == model_of(first, LATER)
    assert list(stages) == ["annotation_ingest", "preparation", "training", "evaluation"]
    status = {name: output.status for stage in stages.values() for name, output in stage.outputs.items()}
    taken = {"annotations", "annotation_quarantine", "pulled_pages"}
    assert {name for name, found in status.items() if found == "taken"} == taken
    assert set(status.values()) == {"equal", "taken"}


def test_a_manifest_names_the_machine(first):
    assert {"cpu", "machine", "threads", "torch"} <= first.head("topics", "training", CYCLE).environment.keys()


def test_the_parameters_of_the_record_win_over_those_of_the_checkout(first, tmp_path):
    checkout = checkout_of(first, tmp_path / "checkout")
    changed = {"training": {"seed": 7, "fit": {"max_epochs": 1}}, "preparation": {"splits": {"seed": 7}}}
    checkout.configure("parameters/family_defaults.yml", {"family_defaults": changed})
    assert checkout.loader["parameters"]["topics"]["training"]["seed"] == 7
    assert rebuild(checkout, model_of(first)).outcome == "equal"


def test_a_superseded_model_is_rebuilt_from_the_runs_that_made_it_and_the_newest_one_from_its_own(copied):
    model, dataset = model_of(copied), copied.head("topics", "preparation", CYCLE).outputs["dataset"]
    parameters = {"topics": {"preparation": {"cleaning": {"max_chars": 100}}, "training": {"seed": 7}}}
    copied.run("preparation", cycle=CYCLE, parameters=parameters)
    copied.run("training", cycle=CYCLE, parameters=parameters)
    assert copied.head("topics", "preparation", CYCLE).outputs["dataset"].sha256 != dataset.sha256
    assert model_of(copied) != model
    superseded, newest = rebuild(copied, model), rebuild(copied, "topics")
    assert superseded.outcome == newest.outcome == "equal"
    assert superseded.metrics.status == "equal"
    assert newest.model_digest == model_of(copied)
    assert newest.metrics.status == "not judged"


def test_an_input_that_was_tampered_with_is_an_error_that_names_it(copied):
    (labels,) = (store_folder(copied) / "labels/topics/imported").iterdir()
    labels.write_bytes(labels.read_bytes() + b" ")
    with pytest.raises(StoreError, match=f"topics/imported/{labels.name} .* is not what was read"):
        rebuild(copied, model_of(copied))


def test_stored_weights_that_were_tampered_with_are_named_with_the_largest_difference(copied, monkeypatch):
    model = model_of(copied)
    file = store_folder(copied) / "models/topics/by_digest" / model / "model.safetensors"
    tensors = safetensors.numpy.load_file(file)
    tensors["bias"] = tensors["bias"] + np.float32(0.5)
    safetensors.numpy.save_file(tensors, file)
    monkeypatch.chdir(copied.path)
    result = CliRunner().invoke(rebuild_command, [model, "--env", "test", "--json"])
    weights = json.loads(result.stdout)["weights"]
    assert result.exit_code == 1
    assert weights["status"] == "store changed"
    assert weights["recorded"] == weights["rebuilt"] != weights["stored"]
    assert weights["max_difference"] == {"bias": pytest.approx(0.5)}


def test_an_erased_page_is_the_one_difference_that_a_model_cannot_be_rebuilt_without(copied):
    dataset = pq.read_table(store_folder(copied) / "datasets" / dataset_path(copied))
    page_id = dataset.filter(pc.field("set") == "train")["page_id"][0].as_py()
    erase(copied, page_id)
    found = rebuild(copied, model_of(copied))
    assert found.outcome == "explained"
    assert found.dataset.status == "erased"
    assert found.dataset.erasure.pages == 1
    assert found.weights.status == "differs"


def dataset_path(project):
    return project.head("topics", "preparation", CYCLE).outputs["dataset"].path


def erase(project, page_id):
    """Take a page out of every table of labels and datasets, with the tombstones that say so."""
    for data_class in ("labels", "datasets"):
        root = store_folder(project) / data_class
        erased = [_without(file, page_id, root) for file in sorted(root.rglob("*.parquet"))]
        moment = {"number": 1, "page_sha256": page_sha256(page_id), "at": "2026-11-01", "actor": "test"}
        tombstone = Tombstone(**moment, reason="asked", files=tuple(file for file in erased if file.rows))
        create_tombstone(open_store(str(root)), tombstone)


def _without(file, page_id, root):
    table, before = pq.read_table(file), file_sha256(file)
    kept = table.filter(pc.field("page_id") != page_id)
    if kept.num_rows < table.num_rows:
        pq.write_table(kept, file)
    return ErasedFile(
        path=file.relative_to(root).as_posix(),
        sha256_before=before,
        sha256_after=file_sha256(file),
        rows=table.num_rows - kept.num_rows,
    )


def test_an_unknown_model_is_an_error_that_lists_what_there_is(first):
    with pytest.raises(ConfigError, match=f"no model 'feed'.*{model_of(first)[:12]} .topics 2026-08."):
        rebuild(first, "feed")


def test_a_rebuilt_model_is_not_mixed_with_files_that_are_there(first, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="not empty"):
        rebuild(first, "topics", keep=tmp_path)
