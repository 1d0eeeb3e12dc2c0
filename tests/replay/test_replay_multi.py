"""A replay of a family whose pages may have several labels, on the environment's own simulated source."""

import pytest
from click.testing import CliRunner

from al_platform.cli import al
from al_platform.domain.replay.points import Point
from temporary_project import make_project


def test_labels_of_several_kinds_are_measured_against_their_truth(tmp_path):
    project = make_project(tmp_path / "project")
    size = ("--cycles=1", "--seeds=1", "--strategies=random", "--workers=1", "--measured-pages=100")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.path)
        result = CliRunner().invoke(al, ["replay", "--env=test", "--family=brand_safety", *size])
    assert result.exit_code == 0, (result.output, result.exception)
    (run,) = (project.path / "data/test/replays/brand_safety/runs").iterdir()
    measured = Point.model_validate_json((run / "points/2026-02.json").read_bytes())
    assert measured.decision.cycle == "2026-01"
    assert measured.newest.accuracy.n == 100
    assert measured.newest.accuracy.value > 0.3, "most pages have none of the labels, and are given none"
