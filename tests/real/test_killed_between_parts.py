"""A month that is killed between two parts of its predictions goes on from them; the doctor in between keeps them."""

import pytest

from killed_runs import Kill, is_sound, run_killed
from temporary_project import make_project

pytestmark = pytest.mark.real

AFTER_THE_SECOND = Kill("monthly", "write", r"predictions\.00001\.json", "after")


def project_in_parts(path):
    project = make_project(path)
    project.only("topics")
    project.configure("parameters/parts.yml", {"topics": {"scoring": {"part_pages": 100, "batch_pages": 50}}})
    return project


def receipts(project):
    """When each part was kept."""
    return {file.name: file.stat().st_mtime_ns for file in project.path.rglob("predictions.0*.json")}


def test_a_month_killed_between_two_parts_goes_on_from_them(tmp_path, monkeypatch):
    undisturbed, project = (project_in_parts(tmp_path / name) for name in ("undisturbed", "killed"))
    monkeypatch.chdir(undisturbed.path)
    undisturbed.run("monthly")
    monkeypatch.chdir(project.path)
    run_killed(project, AFTER_THE_SECOND, "al_platform.storage.store.LocalStore")
    kept = receipts(project)
    assert len(kept) == 2
    assert is_sound(project)  # the doctor has removed what it removes
    assert receipts(project) == kept
    project.run("monthly")
    assert receipts(project).items() > kept.items()
    assert project.state() == undisturbed.state()
    assert is_sound(project)
