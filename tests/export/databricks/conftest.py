"""The bundle of the committed configuration, under either scheduler."""

from collections.abc import Callable
from typing import Any

import pytest

from al_platform.export.configuration import exported_loader
from al_platform.export.databricks.bundle import Bundle
from al_platform.export.databricks.storage import Governed
from al_platform.export.options import ExportOptions
from al_platform.export.stage_list import StageTask, stage_list
from temporary_project import ROOT

NOTIFICATIONS = {"emails": ["team@example.org"], "webhooks": ["On call"]}

Make = Callable[..., Bundle]


@pytest.fixture(scope="session")
def exported() -> tuple[dict[str, Any], tuple[StageTask, ...], Governed]:
    """The committed ``export.yml``, the stage list and what is governed: read once."""
    loader = exported_loader(ROOT, "databricks")
    content = dict(loader["export"])
    return content, stage_list(loader, ExportOptions.model_validate(content)), Governed.of(loader)


@pytest.fixture(scope="session")
def make(exported: tuple[dict[str, Any], tuple[StageTask, ...], Governed]) -> Make:
    """Return the bundle of the committed options with some of them changed."""

    def changed(databricks: dict[str, Any] | None = None, **options: Any) -> Bundle:
        content, tasks, governed = exported
        merged = {**content, **options, "databricks": {**content["databricks"], **(databricks or {})}}
        return Bundle(tasks, ExportOptions.model_validate(merged), governed)

    return changed


@pytest.fixture(scope="session")
def under_airflow(make: Make) -> Bundle:
    return make(orchestrator="airflow", notifications=NOTIFICATIONS)


@pytest.fixture(scope="session")
def under_databricks(make: Make) -> Bundle:
    return make(orchestrator="databricks", notifications=NOTIFICATIONS)
