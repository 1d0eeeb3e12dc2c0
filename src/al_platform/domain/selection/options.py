"""What a user may set about the choice of a batch."""

from itertools import pairwise
from math import ceil

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from al_platform.domain.duel import DuelOptions
from al_platform.domain.errors import ConfigError
from al_platform.domain.selection.strategies import strategy_named


class SelectionOptions(BaseModel):
    """Strategy, budget and limits of a monthly batch.

    Attributes:
        strategy: Query strategy once there is a champion.
        cold_start_strategy: Query strategy before that; one that needs no predictions.
        budget: Pages sent to the annotators each cycle.
        audit_share: Share of the budget drawn at random, stratified: the unbiased measure.
        exploration_share: Share of the budget drawn uniformly, for what the model does not know that it does not know.
        audit_floor: Pages drawn of each stratum, at least; two allow a variance.
        audit_power: Size of a stratum's sample goes with its size to this power (Bankier 1988): 1 is proportional,
            0 the same for all; below 1, rare predicted labels are seen more often.
        audit_bands: Top probabilities at which the strata are cut. Below the first, labels share a stratum.
        domain_share: Most a domain may have of the strategy's picks, as a share of the budget; None: no limit.
            Random draws are exempt, because a limited draw is biased.
        overfetch: Candidates shortlisted for each page to choose.
        text_max_chars: Characters of text that an annotator gets.
        duel: After an undecided verdict, the pages on which champion and challenger differ; on top of the budget.
        seed: Of every random draw.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: str = "margin"
    cold_start_strategy: str = "diversity"
    budget: int = Field(default=500, ge=1)
    audit_share: float = Field(default=0.1, ge=0, lt=1)
    exploration_share: float = Field(default=0.05, ge=0, lt=1)
    audit_floor: int = Field(default=2, ge=1)
    audit_power: float = Field(default=0.5, ge=0, le=1)
    audit_bands: tuple[float, ...] = (0.1, 0.5)
    domain_share: float | None = Field(default=0.1, gt=0, le=1)
    overfetch: int = Field(default=5, ge=1)
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
        if strategy_named(name).order(is_multi=False) is not None:
            raise ValueError(
                f"{name!r} needs predictions, which do not exist before the first champion. Use diversity or random."
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
        if self.audit_share + self.exploration_share >= 1:
            raise ValueError(
                f"audit_share {self.audit_share} and exploration_share {self.exploration_share} leave nothing of the "
                f"budget to the strategy; their sum must be below 1"
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
    def domain_cap(self) -> int | None:
        """Most pages of one domain among the strategy's picks."""
        return None if self.domain_share is None else max(1, ceil(self.budget * self.domain_share))
