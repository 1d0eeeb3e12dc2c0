"""What a user may set about a replay."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from al_platform.domain.cycles import parse_cycle
from al_platform.domain.errors import ConfigError
from al_platform.domain.replay.plan import DEFAULT
from al_platform.domain.selection.strategies import strategy_named


def _listed(value: Any) -> Any:
    """Return ``a,b`` as a list: ``--params`` knows no lists."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int | float) else value


def _strategy(name: str) -> str:
    try:
        return name if name == DEFAULT else strategy_named(name).name
    except ConfigError as error:
        raise ValueError(f"{error} Or {DEFAULT!r} for the family's own.") from error


Strategy = Annotated[str, AfterValidator(_strategy)]


class ReplayOptions(BaseModel):
    """A replay: on which archive, with which strategies, and how it is measured.

    Attributes:
        family: The model family; must be given.
        name: Of the replay, which is also its folder; by default the family's.
        archive: File of labelled pages (CSV, JSONL, Parquet); None for the environment's simulated source.
        mapping: Our column name to the file's, as ``--map`` of the import commands.
        id_rule: Where page ids come from: a column of ids, or another to hash.
        separator: What stands between several labels in one string.
        time: Column to sort the archive by; None keeps the order of its rows.
        start_labels: Labelled pages before the first month, drawn anew by each seed; None takes half of the oldest
            fifth of the archive, 1,000 at most, or the simulated source's own number.
        first_cycle: What the first month is called.
        cycles: Months.
        strategies: Query strategies; ``default`` is the family's own.
        seeds: Runs of each.
        budgets: Pages a month; the first is everybody's, each other one is tried with one strategy. Empty: the
            family's own.
        cadences: Months between two trainings, likewise.
        is_first_trained: Whether a model is trained after the first month as well, so that there is a champion at once.
        error_rates: Of the best and the worst of the simulated annotators; None for the family's own.
        answers_per_page: How many of them answer a page; None for the family's own.
        measured_pages: Of a month's traffic, drawn at random: 2,000 tell macro-F1 within about two points.
        target: Macro-F1 that labels and cost are counted up to; None takes what random reaches with all its labels.
        workers: Processes; None takes one for each core.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str | None = None
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    archive: str | None = None
    mapping: dict[str, str] = Field(default_factory=dict)
    id_rule: str = "text"
    separator: str | None = None
    time: str | None = None
    start_labels: int | None = Field(default=None, ge=1)
    first_cycle: Annotated[str, AfterValidator(parse_cycle)] = "2026-01"
    cycles: int = Field(default=12, ge=1)
    strategies: Annotated[tuple[Strategy, ...], BeforeValidator(_listed)] = ("margin", DEFAULT, "random")
    seeds: int = Field(default=5, ge=1)
    budgets: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_listed)] = ()
    cadences: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_listed)] = (3,)
    is_first_trained: bool = True
    error_rates: Annotated[tuple[float, float] | None, BeforeValidator(_listed)] = None
    answers_per_page: int | None = Field(default=None, ge=1)
    measured_pages: int = Field(default=2_000, ge=10)
    target: float | None = Field(default=None, gt=0, lt=1)
    workers: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for what, values in (("strategies", self.strategies), ("budgets", self.budgets), ("cadences", self.cadences)):
            if len(set(values)) != len(values):
                raise ValueError(f"{what} must be distinct, found {', '.join(map(str, values))}")
        if not self.strategies or not self.cadences:
            raise ValueError("name at least one strategy and one cadence")
        return self

    @property
    def folder(self) -> str:
        """The replay's name.

        Raises:
            ConfigError: Neither family nor name was given.
        """
        if self.family is None:
            raise ConfigError("Which family is to be replayed? Give it: --params replay.family=NAME")
        return self.name or self.family
