"""What a challenger must show."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SIZE_OPTIONS = frozenset({"min_golden", "min_audit", "min_protected"})
"""Options that a small corpus may force below production's."""

_STRICTER_HIGH = (
    "confidence",
    "required_gain",
    "floor_macro_f1",
    "min_golden",
    "min_audit",
    "min_protected",
    "replicates",
)
_STRICTER_LOW = (
    "margin",
    "spend",
    "ece_slack",
    "class_margin",
    "min_class_rows",
    "recall_margin",
    "slice_loss",
    "min_slice_rows",
    "max_model_mb",
    "max_ms_per_page",
)


class GateOptions(BaseModel):
    """What a challenger must show.

    Attributes:
        rule: ``non_inferior``: not worse than the champion by more than ``margin``; ``superior``: better.
        margin: Loss of macro-F1 on golden that ``non_inferior`` accepts for a model that knows fresher pages.
        confidence: One-sided, of all decisions on the same golden pages together, and of each guardrail.
        spend: Share of the error left that one decision may use. It comes back when the challenger is promoted, so that
            0.6 costs a row of successes little and leaves two failures in a row enough to go on.
        required_gain: Macro-F1 to gain on audit; a point estimate, as a quarter's audit is too small for a bound.
        floor_macro_f1: What the first champion must reach on golden, so that beating a poor baseline is not enough.
        min_golden: Rows of golden below which nothing is decided; 1,000 tell 2 points of macro-F1 apart.
        min_audit: Rows of audit below which its difference is noise; 300 have a standard error of 1 to 2 points.
        ece_slack: Calibration error on golden above the champion's that is accepted: selection reads
            probabilities.
        class_margin: F1 that any one class may lose; a point of a class is a page or two of a hundred.
        min_class_rows: Golden pages of a class from which it is guarded; with 50, a loss of 15 points shows.
        protected: Labels whose recall is guarded on top, such as what advertisers must not stand beside.
        recall_margin: Recall of the protected labels together, at the champion's precision, that may be lost.
        min_protected: Golden pairs of page and protected label below which their recall is not decided.
        slice_loss: Micro-F1 that a slice may lose; more than that, if it is significant, blocks.
        min_slice_rows: Pages of a slice from which it blocks; below, it is only warned of.
        max_model_mb: Size of the model's tensors, in 10^6 bytes: an encoder of 300 million float32 weights has 1,200.
        max_ms_per_page: To score a page, in milliseconds of the machine that evaluates. Generous, as clocks vary:
            it is there for what is slower by a factor.
        replicates: Bootstrap resamples of figures other than the difference on golden, whose bounds need none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: Literal["non_inferior", "superior"] = "non_inferior"
    margin: float = Field(default=0.005, ge=0, lt=1)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    spend: float = Field(default=0.6, gt=0, le=1)
    required_gain: float = Field(default=0.0, gt=-1, lt=1)
    floor_macro_f1: float = Field(default=0.3, ge=0, le=1)
    min_golden: int = Field(default=1000, ge=1)
    min_audit: int = Field(default=300, ge=1)
    ece_slack: float = Field(default=0.01, ge=0, le=1)
    class_margin: float = Field(default=0.01, ge=0, lt=1)
    min_class_rows: int = Field(default=50, ge=1)
    protected: tuple[str, ...] = ()
    recall_margin: float = Field(default=0.05, ge=0, lt=1)
    min_protected: int = Field(default=50, ge=1)
    slice_loss: float = Field(default=0.05, ge=0, lt=1)
    min_slice_rows: int = Field(default=200, ge=1)
    max_model_mb: float = Field(default=2000, gt=0)
    max_ms_per_page: float = Field(default=500, gt=0)
    replicates: int = Field(default=2000, ge=200)

    @property
    def golden_threshold(self) -> float:
        """What the lower bound of the difference on golden must be above."""
        return -self.margin if self.rule == "non_inferior" else 0.0


def loosened(options: GateOptions, production: GateOptions) -> list[str]:
    """Return the names of the options that ask for less than production's, sorted."""
    looser = [name for name in _STRICTER_HIGH if getattr(options, name) < getattr(production, name)]
    looser += [name for name in _STRICTER_LOW if getattr(options, name) > getattr(production, name)]
    if options.rule == "non_inferior" and production.rule == "superior":
        looser.append("rule")
    if not set(production.protected) <= set(options.protected):
        looser.append("protected")
    return sorted(looser)
