"""What the pipeline ``replay`` reads and writes, as catalog entries."""

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from al_platform.circumstances import code_revision, environment
from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import ConfigError, known_names
from al_platform.domain.replay.figures import ReplayFigures
from al_platform.domain.replay.plan import plan_runs
from al_platform.domain.taxonomy import Taxonomy
from al_platform.pipelines.replay.nodes import Played
from al_platform.pipelines.replay.options import ReplayOptions
from al_platform.publishing.replays import keep_for_trackers
from al_platform.replay.month import Replayed
from al_platform.replay.workers import play_all
from al_platform.replay.world import World, archive_world, simulated_world
from al_platform.storage.commit_log import to_json
from al_platform.storage.store import Store, open_store

LOG = logging.getLogger("al_platform")
_RECORD = "made-with.json"
_REVISIONS = "revisions.json"
# What may differ between two calls of one replay: more runs are added, the others are kept.
_FREE = {"name", "strategies", "seeds", "budgets", "cadences", "target", "workers", "archive"}


class ReplayPlayer(AbstractDataset[Any, Any]):
    """Loads a player that runs the project's stages for every month of every run."""

    def __init__(self, *, place: Mapping[str, str], metadata: dict[str, Any] | None = None):
        """Create the dataset.

        Args:
            place: ``root`` of all replays, ``project``, ``conf`` and ``env``.
            metadata: For Kedro-Viz.
        """
        self._place = place
        self.metadata = metadata

    def _load(self) -> "Player":
        return Player(self._place)

    def _save(self, data: Any) -> None:
        raise DatasetError("A replay's player is read only.")

    def _describe(self) -> dict[str, Any]:
        return {"root": self._place["root"]}


class Player:
    """Runs the stages for every month of every run, in stores of their own below the root of replays."""

    def __init__(self, place: Mapping[str, str]):
        self._place = place

    def play(self, options: ReplayOptions) -> Played:
        """Play what has not been played, and return all of it.

        Raises:
            ConfigError: Family or archive cannot be used, or a replay of this name was made with other options.
        """
        loader = self._loader()
        if options.family not in loader.families:
            raise ConfigError(f"There is no family {options.family!r}. {known_names(options.folder, loader.families)}")
        parameters = loader["parameters"][options.family]
        folder = f"{self._place['root']}/{options.folder}"
        world, about = self._world(loader, options, Taxonomy.model_validate(parameters["taxonomy"]), folder)
        asked = options.model_dump(mode="json", exclude=_FREE)
        store = open_store(folder)
        _require_same(store, {"options": asked, "world": about, "parameters": parameters})
        replay = Replayed(Path(self._place["project"]), self._place["env"], options, world)
        revisions = _revisions(store, code_revision(replay.project))
        specs = plan_runs(options.strategies, options.seeds, options.budgets, options.cadences)
        workers = min(options.workers or os.cpu_count() or 1, len(specs))
        runs = play_all(replay, specs, workers)
        return Played(
            runs,
            {
                **about,
                "options": options.model_dump(mode="json", exclude={"archive"}),
                "workers": workers,
                "played_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "code_revision": ", then ".join(revisions),
                "environment": environment(),
            },
            parameters["evaluation"]["gate"]["margin"],
            loader.validated_globals.costs.currency,
        )

    def _world(
        self, loader: FamilyConfigLoader, options: ReplayOptions, taxonomy: Taxonomy, folder: str
    ) -> tuple[World, dict[str, Any]]:
        if options.archive is not None:
            return archive_world(options, taxonomy, folder)
        return simulated_world(options, loader.validated_globals.traffic.model_dump(mode="json"), folder)

    def _loader(self) -> FamilyConfigLoader:
        from al_platform.settings import CONFIG_LOADER_ARGS

        return FamilyConfigLoader(conf_source=self._place["conf"], env=self._place["env"], **CONFIG_LOADER_ARGS)


class ReplayFile(AbstractDataset[Any, Any]):
    """A replay's figures as JSON, or its report as HTML, in the folder of the replay that they name."""

    def __init__(self, *, place: Mapping[str, str], name: str, metadata: dict[str, Any] | None = None):
        """Create the dataset.

        Args:
            place: ``root`` of all replays, and that of the ``logs``.
            name: Of the file.
            metadata: For Kedro-Viz.
        """
        self._root = place["root"]
        self._logs = place["logs"]
        self._name = name
        self.metadata = metadata
        self._of: str | None = None

    def _save(self, data: ReplayFigures | tuple[str, str]) -> None:
        if isinstance(data, ReplayFigures):
            self._of, content = data.name, data.model_dump_json(indent=1).encode()
            keep_for_trackers(data, open_store(self._logs))
        else:
            self._of, content = data[0], data[1].encode()
        open_store(f"{self._root}/{self._of}").write(self._name, content)

    def _load(self) -> Any:
        if self._of is None:
            raise DatasetError(f"Which replay's {self._name}? Run the pipeline replay; it lies below {self._root}.")
        content = open_store(f"{self._root}/{self._of}").read(self._name)
        return ReplayFigures.model_validate_json(content) if self._name.endswith(".json") else content.decode()

    def _exists(self) -> bool:
        """Whether this dataset saved the file: before, nobody knows which replay is meant."""
        return self._of is not None and open_store(f"{self._root}/{self._of}").exists(self._name)

    def _describe(self) -> dict[str, Any]:
        return {"root": self._root, "name": self._name}


def _revisions(store: Store, revision: str | None) -> list[str]:
    """Return the code revisions that a replay was played with, oldest first, and record this one.

    Months that were played stay when the code changes, as it mostly changes elsewhere; the report must say so.
    """
    before = json.loads(store.read(_REVISIONS))["revisions"] if store.exists(_REVISIONS) else []
    now = revision or "unknown revision"
    if before and before[-1] != now:
        LOG.warning(
            "This replay was begun with the code of %s, now it is %s. Months that were played are kept; where the "
            "difference matters, give this replay another --name, or remove %s.",
            *(before[-1], now, store.root),
        )
    if before[-1:] != [now]:
        store.write(_REVISIONS, to_json({"revisions": [*before, now]}))
        return [*before, now]
    return list(before)


def _require_same(store: Store, made_with: Mapping[str, Any]) -> None:
    """Record what all runs of a replay share; raise ConfigError where it was recorded with something else."""
    data = to_json(made_with)
    try:
        store.create(_RECORD, data)
    except FileExistsError:
        before = json.loads(store.read(_RECORD))
        if before != json.loads(data):
            found = ", ".join(_differences(before, json.loads(data)))
            raise ConfigError(
                f"A replay of this name was made with another {found}. Its runs cannot be compared with new ones: give "
                f"this one another --name, or remove {store.root}."
            ) from None


def _differences(before: Any, now: Any, prefix: str = "") -> list[str]:
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [prefix] if before != now else []
    names = sorted({*before, *now})
    parts = (_differences(before.get(name), now.get(name), f"{prefix}.{name}" if prefix else name) for name in names)
    return [difference for part in parts for difference in part]
