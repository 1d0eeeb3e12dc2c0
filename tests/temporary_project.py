"""A copy of the project's configuration in a temporary folder, and runs in it."""

import os
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from al_platform.catalog.champion import champion_log
from al_platform.config import FamilyConfigLoader
from al_platform.runner import FamilyRunner
from al_platform.settings import CONFIG_LOADER_ARGS
from al_platform.stages import STAGES
from al_platform.status import read_status
from al_platform.storage.commit_log import history
from al_platform.storage.store import open_store

os.environ["DO_NOT_TRACK"] = "1"

ROOT = Path(__file__).parents[1]
CYCLE = "2026-10"


class Project:
    """A project in a folder of its own, in the environment ``test``."""

    def __init__(self, path: Path):
        self.path = path
        self.env = "test"

    def configure(self, file: str, content: dict[str, Any]) -> None:
        """Write ``content`` to a file of the test environment."""
        target = self.path / "conf" / self.env / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(yaml.safe_dump(content))

    def only(self, *names: str) -> None:
        """Keep these families."""
        self.configure("families.yml", {"families": list(names)})

    def run(self, *pipelines: str, cycle: str = CYCLE, hooks: tuple[object, ...] = (), **options: Any) -> None:
        """Run pipelines of one cycle."""
        parameters = {"cycle": cycle, **options.pop("parameters", {})}
        bootstrap_project(self.path)
        with KedroSession.create(self.path, env=self.env, runtime_params=parameters) as session:
            for hook in hooks:
                session._hook_manager.register(hook)
            session.run(pipeline_names=list(pipelines), runner=FamilyRunner(), **options)

    @property
    def loader(self) -> FamilyConfigLoader:
        return FamilyConfigLoader(conf_source=str(self.path / "conf"), env=self.env, **CONFIG_LOADER_ARGS)

    def status(self, family: str = "topics", cycle: str | None = None) -> dict[str, Any]:
        return read_status(self.loader, cycle)["families"][family]

    def head(self, family: str, stage: str, cycle: str = CYCLE) -> Any:
        data_class = next(known.data_class for known in STAGES if known.name == stage)
        return history(open_store(self.loader.root(data_class)), family, stage).get(cycle)

    def log_numbers(self, family: str, stage: str, cycle: str = CYCLE) -> list[int]:
        data_class = next(known.data_class for known in STAGES if known.name == stage)
        log = open_store(self.loader.root(data_class)).list(f"{family}/{cycle}/{stage}/log")
        return [int(Path(path).stem) for path in log]

    def load(self, name: str, cycle: str = CYCLE) -> Any:
        """Load a dataset from the catalog, as a user of a notebook does."""
        bootstrap_project(self.path)
        with KedroSession.create(self.path, env=self.env, runtime_params={"cycle": cycle}) as session:
            return session.load_context().catalog.load(name)

    def state(self) -> dict[str, Any]:
        """Everything that a re-run must leave as it is: committed outputs, log lengths, champions, the platform."""
        loader = self.loader
        found: dict[str, Any] = {}
        for family in loader.families:
            for stage in STAGES:
                store = open_store(loader.root(stage.data_class))
                for cycle, manifest in history(store, family, stage.name).items():
                    found[f"{family}/{stage.name}/{cycle}"] = {n: o.sha256 for n, o in manifest.outputs.items()}
            champions = champion_log(open_store(loader.root("champion")), family)
            found[f"{family}/champion"] = [(entry.cycle, entry.model_digest) for entry in champions]
            labels = open_store(loader.root("labels"))
            found[f"{family}/platform"] = {
                path: sha256(labels.read(path)).hexdigest() for path in labels.list(f"{family}/platform")
            }
        return found

    def log_lengths(self) -> dict[str, int]:
        """How many entries every log has."""
        root = Path(self.loader.validated_globals.root)
        files = (self.path / root).rglob("log/*.json")
        return {file.parent.as_posix(): len(list(file.parent.iterdir())) for file in files}


def make_project(path: Path) -> Project:
    path.mkdir(exist_ok=True)
    shutil.copytree(ROOT / "conf", path / "conf", ignore=shutil.ignore_patterns("local"))
    (path / "conf" / "local").mkdir()
    shutil.copy(ROOT / "pyproject.toml", path)
    (path / "src").mkdir()  # Kedro asks for it; the package itself is the installed one
    return Project(path)
