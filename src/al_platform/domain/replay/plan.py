"""Which runs a replay is made of: strategies, budgets and cadences, each with several seeds."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

DEFAULT = "default"
RANDOM = "random"


class RunSpec(BaseModel):
    """One year of the loop.

    Attributes:
        strategy: Query strategy; ``default`` leaves the family's own.
        seed: Of every random choice: the labelled start, draws, annotators, training. Runs of one seed are a pair.
        budget: Pages a month; None leaves the family's own.
        cadence: Months between two trainings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: str
    seed: int
    budget: int | None = None
    cadence: int = 3

    @property
    def name(self) -> str:
        """A name for folders, the same for the same run."""
        budget = "own" if self.budget is None else str(self.budget)
        return f"{self.strategy}-budget-{budget}-every-{self.cadence}-seed-{self.seed}"

    @property
    def setting(self) -> "Setting":
        """All but the seed."""
        return Setting(strategy=self.strategy, budget=self.budget, cadence=self.cadence)

    def trains_after(self, month: int, is_first_trained: bool) -> bool:
        """Return whether a model is trained when this month is over; the first month is 1."""
        return month % self.cadence == 0 or (month == 1 and is_first_trained)


class Setting(BaseModel):
    """What is compared: a strategy with a budget and a cadence."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: str
    budget: int | None = None
    cadence: int = 3


def plan_runs(
    strategies: Sequence[str], seeds: int, budgets: Sequence[int] = (), cadences: Sequence[int] = (3,)
) -> list[RunSpec]:
    """Return every run: all strategies at the first budget and cadence; the other budgets and cadences with one.

    The one is ``default`` where it is among the strategies, else the first: a whole grid would take many times as long
    and answer the same two questions.
    """
    own: list[int | None] = list(budgets) or [None]
    lead = DEFAULT if DEFAULT in strategies else strategies[0]
    settings = [Setting(strategy=strategy, budget=own[0], cadence=cadences[0]) for strategy in strategies]
    settings += [Setting(strategy=lead, budget=budget, cadence=cadences[0]) for budget in own[1:]]
    settings += [Setting(strategy=lead, budget=own[0], cadence=cadence) for cadence in cadences[1:]]
    return [RunSpec(seed=seed, **setting.model_dump()) for seed in range(seeds) for setting in dict.fromkeys(settings)]
