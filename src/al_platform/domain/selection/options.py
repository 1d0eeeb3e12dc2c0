"""What a user may set about the choice of a batch."""

from itertools import pairwise
from math import ceil

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator, model_validator

from al_platform.domain.duel import DuelOptions
from al_platform.domain.errors import ConfigError
from al_platform.domain.selection.strategies import STRATEGIES, strategy_named

_SHARES = ("audit_share", "exploration_share", "control_share", "relabel_share", "second_opinion_share")


class CostOptions(BaseModel):
    """What annotating a page costs, in any one currency.

    Attributes:
        per_page: Price of a page whatever its length.
        per_1000_chars: Price of each thousand characters of text that an annotator gets.
        column: Column of the pages that holds a page's price; then the other two are not used. A page of an earlier
            month, which is asked about again, counts as much as the month's pages do on average.
        limit: Most that a batch may cost, random draws included: the budget in money. The batch then has at most
            ``selection.budget`` pages, and fewer where the money ends first. None: no limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_page: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    per_1000_chars: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    column: str | None = None
    limit: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @property
    def has_price(self) -> bool:
        """Whether pages have a price at all."""
        return self.column is not None or self.per_page > 0 or self.per_1000_chars > 0

    @model_validator(mode="after")
    def _limits_a_price(self) -> "CostOptions":
        if self.limit is not None and not self.has_price:
            raise ValueError(f"a limit of {self.limit} needs a price: give per_page, per_1000_chars or column")
        return self


class SelectionOptions(BaseModel):
    """Strategy, budget and limits of a monthly batch.

    Attributes:
        strategy: Query strategy once there is a champion.
        cold_start_strategy: Query strategy before that; one that needs no predictions.
        budget: Pages sent to the annotators each cycle.
        audit_share: Share of the budget drawn at random, stratified: the unbiased measure.
        exploration_share: Share of the budget drawn uniformly, for what the model does not know that it does not know.
        control_share: Share of the budget that goes to pages with known answers, which tell how well annotators answer.
        relabel_share: Share of the budget that goes to labels in doubt.
        second_opinion_share: Share of the budget that goes to pages whose answers decided nothing. What these three do
            not use, the strategy gets.
        audit_floor: Pages drawn of each stratum, at least; two allow a variance.
        audit_power: Size of a stratum's sample goes with its size to this power (Bankier 1988): 1 is proportional,
            0 the same for all; below 1, rare predicted labels are seen more often.
        audit_bands: Top probabilities at which the strata are cut. Below the first, labels share a stratum.
        rare_share: Share of the strategy's picks that goes to rare labels, where the strategy holds a quota.
        domain_share: Most a domain may have of the strategy's picks, as a share of the budget; None: no limit.
            Random draws are exempt from this and the next four, because a limited draw is biased.
        domain_floors: Least that a domain must have of the strategy's picks, in pages.
        class_share: Most that a label may have of the strategy's picks, as a share of the budget, counted by the most
            likely label of a page; None: no limit. There is none before the first champion either.
        class_floors: Least that a label must have of the strategy's picks, in pages, counted likewise.
        max_age_days: Most days between a page's ``fetched_at`` and the end of the cycle; None: no limit. A page without
            a date is never too old.
        cost: Price of a page; with a limit, the batch ends where the money does.
        overfetch: Candidates shortlisted for each page to choose; strategies that compare pages choose among them.
        text_max_chars: Characters of text that an annotator gets.
        duel: After an undecided verdict, the pages on which champion and challenger differ; on top of the budget.
        seed: Of every random draw.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: str = "adaptive"
    cold_start_strategy: str = "diversity"
    budget: int = Field(default=500, ge=1)
    audit_share: float = Field(default=0.1, ge=0, lt=1)
    exploration_share: float = Field(default=0.05, ge=0, lt=1)
    control_share: float = Field(default=0.05, ge=0, lt=1)
    relabel_share: float = Field(default=0.05, ge=0, lt=1)
    second_opinion_share: float = Field(default=0.05, ge=0, lt=1)
    audit_floor: int = Field(default=2, ge=1)
    audit_power: float = Field(default=0.5, ge=0, le=1)
    audit_bands: tuple[float, ...] = (0.1, 0.5)
    rare_share: float = Field(default=0.2, ge=0, le=1)
    domain_share: float | None = Field(default=0.1, gt=0, le=1)
    domain_floors: dict[str, PositiveInt] = {}
    class_share: float | None = Field(default=None, gt=0, le=1)
    class_floors: dict[str, PositiveInt] = {}
    max_age_days: int | None = Field(default=None, ge=1)
    cost: CostOptions = CostOptions()
    overfetch: int = Field(default=10, ge=1)
    text_max_chars: int = Field(default=20_000, ge=1)
    duel: DuelOptions = DuelOptions()
    seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("strategy", "cold_start_strategy")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            return strategy_named(name).name
        except ConfigError as error:
            raise ValueError(str(error)) from error

    @field_validator("cold_start_strategy")
    @classmethod
    def _needs_no_predictions(cls, name: str) -> str:
        able = [strategy.name for strategy in STRATEGIES.values() if strategy.order(is_multi=False) is None]
        if name not in able:
            raise ValueError(
                f"{name!r} needs predictions, which do not exist before the first champion. Use {', '.join(able)}."
            )
        return name

    @field_validator("audit_bands")
    @classmethod
    def _increasing(cls, bands: tuple[float, ...]) -> tuple[float, ...]:
        inner = (0.0, *bands, 1.0)
        if any(low >= high for low, high in pairwise(inner)):
            raise ValueError(f"bands must increase between 0 and 1, found {list(bands)}")
        return bands

    @model_validator(mode="after")
    def _leaves_room(self) -> "SelectionOptions":
        shares = {name: getattr(self, name) for name in _SHARES}
        if sum(shares.values()) >= 1:
            spelled = ", ".join(f"{name} {share}" for name, share in shares.items())
            raise ValueError(f"{spelled} leave nothing of the budget to the strategy; their sum must be below 1")
        return self

    @model_validator(mode="after")
    def _floors_fit(self) -> "SelectionOptions":
        size = self.budget - self.audit_size - self.exploration_size - self.looks_size
        kinds = {"domain": (self.domain_floors, self.domain_cap), "class": (self.class_floors, self.class_cap)}
        for kind, (floors, cap) in kinds.items():
            if sum(floors.values()) > size:
                raise ValueError(
                    f"{kind}_floors add up to {sum(floors.values())} pages, but the budget of {self.budget} leaves "
                    f"{size} to the strategy after random draws and second looks; lower a floor or raise the budget"
                )
            above = [name for name, floor in floors.items() if cap is not None and floor > cap]
            if above:
                raise ValueError(
                    f"{kind}_floors asks for {floors[above[0]]} pages of {above[0]!r}, but {kind}_share allows {cap}; "
                    f"lower the floor or raise the share"
                )
        return self

    @property
    def audit_size(self) -> int:
        """Pages in the audit draw."""
        return round(self.budget * self.audit_share)

    @property
    def exploration_size(self) -> int:
        """Pages in the exploration draw."""
        return round(self.budget * self.exploration_share)

    @property
    def control_size(self) -> int:
        """Pages with known answers."""
        return round(self.budget * self.control_share)

    @property
    def relabel_size(self) -> int:
        """Labels in doubt that are asked about again, at most."""
        return round(self.budget * self.relabel_share)

    @property
    def second_opinion_size(self) -> int:
        """Pages without a decision that are asked about again, at most."""
        return round(self.budget * self.second_opinion_share)

    @property
    def looks_size(self) -> int:
        """Pages that are asked about again, at most; rounding may leave less room for them than their shares."""
        wanted = self.control_size + self.relabel_size + self.second_opinion_size
        return min(wanted, self.budget - self.audit_size - self.exploration_size)

    @property
    def domain_cap(self) -> int | None:
        """Most pages of one domain among the strategy's picks."""
        return None if self.domain_share is None else max(1, ceil(self.budget * self.domain_share))

    @property
    def class_cap(self) -> int | None:
        """Most pages with one most likely label among the strategy's picks."""
        return None if self.class_share is None else max(1, ceil(self.budget * self.class_share))
