"""Configuration: the cycle, the store's roots, and one validated parameter tree for every family.

Parameters of a family are ``family_defaults`` < the family's own < the environment's < ``--params``. The whole tree is
validated before anything runs, whichever stages the run holds.
"""

import re
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml
from kedro.config import MissingConfigException, OmegaConfigLoader
from kedro.utils import find_kedro_project
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from al_platform.domain.cycles import last_complete_month, parse_cycle
from al_platform.domain.engine_options import EngineOptions
from al_platform.domain.errors import ConfigError, known_names
from al_platform.families import parse_families
from al_platform.sources import SourceOptions
from al_platform.stages import DataClass
from al_platform.storage.store import LOCAL, VOLUMES, Root, is_local
from al_platform.tracking.options import TrackingOptions

_DEFAULTS = "family_defaults"
_EXPERIMENT = "experiment"
_GLOBALS = "globals"
_FAMILIES = "families"
_REPLAY = "replay"
_TRACKING = "tracking"
_OF_THE_RUN = ("cycle", _EXPERIMENT, _FAMILIES, _GLOBALS, _REPLAY, _TRACKING)
_INTERNAL = {_DEFAULTS, _FAMILIES, _GLOBALS}
_Model = TypeVar("_Model", bound=BaseModel)


class Roots(BaseModel):
    """Where each class of data lies, if not below the common root."""

    model_config = ConfigDict(extra="forbid")

    traffic: str | None = None
    labels: str | None = None
    datasets: str | None = None
    models: str | None = None
    champion: str | None = None
    logs: str | None = None


class TrafficGlobals(BaseModel):
    """Where pages come from.

    Attributes:
        source: ``demo``, ``synthetic``, or ``imported`` for pages brought in by ``kedro al import-pages``.
        options: Sizes and seed of a simulated source.
    """

    model_config = ConfigDict(extra="forbid")

    source: str = "demo"
    options: SourceOptions = Field(default_factory=SourceOptions)


class Costs(BaseModel):
    """What labelling and computing cost.

    Attributes:
        currency: Of the prices.
        per_answer: One annotator's answer to one page.
        per_hour: Of the machine that runs the stages.
    """

    model_config = ConfigDict(extra="forbid")

    currency: str = "EUR"
    per_answer: float = Field(default=0.0, ge=0)
    per_hour: float = Field(default=0.0, ge=0)


class Globals(BaseModel):
    """The content of ``globals.yml``.

    Attributes:
        root: Everything lies below it, each class of data in a folder of its own.
        roots: Classes of data that lie elsewhere.
        experiment: Name of an experiment: it reads what is there, and writes below ``root/experiments/NAME`` alone.
        audit_anchor: Where the audit log's head is held, outside ``root``; None where nowhere.
        traffic: Where pages come from.
        engine: Where a month's tables are queried and its pages are scored.
        costs: Prices, for what ``kedro al status`` says of a cycle.
    """

    model_config = ConfigDict(extra="forbid")

    root: str = "data"
    roots: Roots = Field(default_factory=Roots)
    experiment: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    audit_anchor: str | None = None
    traffic: TrafficGlobals = Field(default_factory=TrafficGlobals)
    engine: EngineOptions = Field(default_factory=EngineOptions)
    costs: Costs = Field(default_factory=Costs)


class FamilyConfigLoader(OmegaConfigLoader):
    """Kedro's loader, with families, a cycle, roots, and strict validation."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._require_environment()
        self._register_own_resolvers()

    @property
    def cycle(self) -> str:
        """The cycle of this run: ``--params cycle=...``, or the last complete month."""
        return parse_cycle((self.runtime_params or {}).get("cycle", default_cycle()))

    @property
    def families(self) -> list[str]:
        """The names in ``families.yml``, or those of them that the run names itself."""
        names = parse_families(self["families"])
        only = (self.runtime_params or {}).get(_FAMILIES)
        for name in set(only or ()) - {*names}:
            raise ConfigError(f"There is no family {name!r}. {known_names(name, names)}")
        return names if only is None else [name for name in names if name in only]

    @cached_property
    def validated_globals(self) -> Globals:
        """The content of ``globals.yml`` with its defaults; a run's own ``globals`` replace keys of it.

        Raises:
            ConfigError: It holds a key that is not known or a value that does not fit.
        """
        content = {**self["globals"], **(self.runtime_params or {}).get(_GLOBALS, {})}
        experiment = (self.runtime_params or {}).get(_EXPERIMENT, content.get(_EXPERIMENT))
        return validate(Globals, {**content, _EXPERIMENT: experiment}, "globals.yml")

    def root(self, data_class: DataClass) -> Root:
        """Return the root of a class of data; a local folder is made absolute.

        In an experiment it reads the class and writes below the experiment's prefix. Its logs are its own.
        """
        settings = self.validated_globals
        base = self._absolute(getattr(settings.roots, data_class) or f"{settings.root.rstrip('/')}/{data_class}")
        if settings.experiment is None:
            return base
        own = self._absolute(f"{settings.root.rstrip('/')}/experiments/{settings.experiment}/{data_class}")
        return own if data_class == "logs" else {"base": base, "own": own}

    @cached_property
    def tracking(self) -> TrackingOptions:
        """What ``tracking.yml`` says, no tracker where there is none; a run's own ``tracking`` replaces keys of it.

        Raises:
            ConfigError: It holds a key that is not known or a value that does not fit.
        """
        try:
            content = dict(self["tracking"])
        except MissingConfigException:
            content = {"backend": "none"}
        content |= (self.runtime_params or {}).get(_TRACKING, {})
        return validate(TrackingOptions, content, "tracking.yml")

    @property
    def replays(self) -> str:
        """The root below which each replay has a folder of its own."""
        return self._absolute(f"{self.validated_globals.root.rstrip('/')}/replays")

    @property
    def audit_anchor(self) -> str | None:
        """The root where the audit log's head is held outside; None where nowhere."""
        anchor = self.validated_globals.audit_anchor
        return self._absolute(anchor) if anchor else None

    def all_credentials(self) -> list[Any]:
        """Return the content of every ``credentials.yml``: of the environment, and of ``conf/local`` in any case."""
        # Kedro reads conf/local only where no other environment is named; what lies there is secret all the same.
        local = sorted(Path(self.conf_source).glob("local/**/credentials*"))
        found = [yaml.safe_load(file.read_text()) for file in local if file.suffix in (".yml", ".yaml")]
        try:
            return [*found, self["credentials"]]
        except MissingConfigException:
            return found

    def _absolute(self, root: str) -> str:
        if not is_local(root):
            return root
        path = str(self.project / root)
        # On macOS a project on another disk lies below /Volumes too.
        return f"{LOCAL}{path}" if path.startswith(VOLUMES) else path

    def __getitem__(self, key: str) -> Any:
        """Return the configuration of this kind; parameters merged per family and validated."""
        # The resolvers are the process's, not the loader's: those of the loader in use must answer.
        self._register_own_resolvers()
        if key == "parameters" and key not in self:
            self[key] = self._parameters()
        try:
            return super().__getitem__(key)
        except InterpolationResolutionError as error:
            raise ConfigError(f"{key} of the environment {self.env!r}: {_unset_variable(error)}") from error

    def _register_own_resolvers(self) -> None:
        OmegaConf.register_new_resolver("cycle", self._cycle, replace=True)
        OmegaConf.register_new_resolver("root", self._root, replace=True)
        OmegaConf.register_new_resolver("traffic", self._traffic, replace=True)
        OmegaConf.register_new_resolver("engine", self._engine, replace=True)
        OmegaConf.register_new_resolver("tracking", self._tracking, replace=True)
        OmegaConf.register_new_resolver("project", self._project_folder, replace=True)
        OmegaConf.register_new_resolver("experiment", self._experiment_name, replace=True)
        OmegaConf.register_new_resolver("replays", self._replays, replace=True)

    def _require_environment(self) -> None:
        conf = Path(self.conf_source)
        # Kedro says of a missing folder that its configuration could not be read, wherever that is noticed first.
        if self.env in (None, self.base_env, self.default_run_env) or not conf.is_dir():
            return
        known = sorted(folder.name for folder in conf.iterdir() if folder.is_dir())
        if self.env not in known:
            raise ConfigError(f"There is no environment {self.env!r} in {conf.name}. {known_names(self.env, known)}")

    def _cycle(self) -> str:
        return self.cycle

    def _root(self, data_class: DataClass) -> Any:
        root = self.root(data_class)
        return root if isinstance(root, str) else OmegaConf.create(dict(root))

    def _traffic(self) -> Any:
        return OmegaConf.create(self.validated_globals.traffic.model_dump(mode="json"))

    def _replays(self) -> Any:
        place = {
            "root": self.replays,
            "logs": self.root("logs"),
            "project": str(self.project),
            "conf": self.conf_source,
            "env": self.env,
        }
        return OmegaConf.create(place)

    def _engine(self) -> Any:
        return OmegaConf.create(self.validated_globals.engine.model_dump(mode="json"))

    def _tracking(self) -> Any:
        return OmegaConf.create(self.tracking.model_dump(mode="json"))

    def _project_folder(self) -> str:
        return str(self.project)

    def _experiment_name(self) -> str | None:
        return self.validated_globals.experiment

    def options(self, kind: str, model: type[_Model]) -> _Model:
        """Return what the environment's ``KIND.yml`` says; the model's defaults where there is none.

        Raises:
            ConfigError: It holds a key that is not known or a value that does not fit.
        """
        try:
            content = dict(self[kind])
        except MissingConfigException:
            content = {}
        return validate(model, content, f"{kind}.yml")

    @property
    def project(self) -> Path:
        """The project's folder; the working directory where the configuration is part of none."""
        conf = Path(self.conf_source).absolute()
        # Configuration beside no project, or in an archive, belongs to the installed package alone.
        return Path(find_kedro_project(conf) or Path.cwd()) if conf.is_dir() else Path.cwd()

    def _parameters(self) -> dict[str, Any]:
        families = self.families
        environments = dict.fromkeys([self.base_env, self.env or self.default_run_env])
        layers = [self._layer(environment) for environment in environments]
        layers.append(dict(self.runtime_params or {}))
        known = {*families, _DEFAULTS, *_OF_THE_RUN}
        # An environment may leave out families of the base; their parameter files stay where they are. So may a run.
        in_base, in_use = (
            set(parse_families(self._layer(self.base_env, "families"))),
            set(parse_families(self["families"])),
        )
        for index, layer in enumerate(layers):
            for name in layer.keys() - known - in_use - (in_base if index == 0 else set()):
                raise ConfigError(f"Parameter {name!r} belongs to no family. {known_names(name, known - _INTERNAL)}")
        by_family = {family: _family_parameters(family, layers) for family in families}
        return {"cycle": self.cycle, _REPLAY: _replay_parameters(layers), **by_family}

    def _layer(self, environment: str, kind: str = "parameters") -> dict[str, Any]:
        # Kedro merges runtime parameters into each layer of the kind "parameters"; here they must come last.
        layer: dict[str, Any] = self.load_and_merge_dir_config(
            self._get_conf_env_path(environment), self.config_patterns[kind], f"one layer of {kind}", set()
        )
        return layer


def _family_parameters(family: str, layers: list[dict[str, Any]]) -> dict[str, Any]:
    # Imported here: the options of every stage bring in the libraries of every stage.
    from al_platform.parameters import FamilyParameters

    parts = [layer.get(name) or {} for layer in layers for name in (_DEFAULTS, family)]
    merged = OmegaConf.to_container(OmegaConf.merge(*parts, {"family": family}), resolve=True)
    return validate(FamilyParameters, merged, f"the parameters of {family}", family).model_dump(mode="json")


def _replay_parameters(layers: list[dict[str, Any]]) -> dict[str, Any]:
    from al_platform.pipelines.replay.options import ReplayOptions

    merged = OmegaConf.to_container(OmegaConf.merge(*(layer.get(_REPLAY) or {} for layer in layers)), resolve=True)
    return validate(ReplayOptions, merged, "the parameters of a replay", _REPLAY).model_dump(mode="json")


def validate(model: type[_Model], value: Any, what: str, prefix: str = "") -> _Model:
    """Return a configuration as its model; ConfigError names each key that is not known or does not fit.

    Args:
        model: The pydantic model.
        value: What was configured.
        what: What the configuration is of, for the message.
        prefix: Stands before each key in the message.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        lines = [_problem(model, prefix, problem) for problem in error.errors()]
        raise ConfigError(f"In {what}:\n" + "\n".join(lines)) from error


def _unset_variable(error: InterpolationResolutionError) -> str:
    if found := re.search(r"Environment variable '(\w+)' not found", str(error)):
        return f"the environment variable {found[1]} is not set. {_VARIABLES.get(found[1], 'Set it.')}"
    return str(error)


_VARIABLES = {
    "AL_S3_ROOT": "Set it to where everything shall lie, for instance s3://my-bucket/al-platform.",
    "AL_UC_CATALOG": "Set it to the Unity Catalog catalog whose schema holds the volumes.",
}


def _problem(model: type[BaseModel], prefix: str, problem: Any) -> str:
    where = [str(part) for part in problem["loc"]]
    path = ".".join([prefix, *where] if prefix else where)
    if problem["type"] == "extra_forbidden":
        return f"  {path} is not a parameter. {known_names(where[-1], _fields_at(model, where[:-1]))}"
    return f"  {path}: {problem['msg']}, found {problem['input']!r}"


def _fields_at(model: type[BaseModel], where: list[str]) -> list[str]:
    for name in where:
        field = model.model_fields.get(name)
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return list(model.model_fields)


@cache
def default_cycle() -> str:
    """Return the last complete month, UTC: the same during the whole process, also over midnight."""
    return last_complete_month(datetime.now(UTC))
