"""What a user may set about evaluation."""

from pydantic import BaseModel, ConfigDict, Field

from al_platform.domain.error_analysis import ErrorAnalysisOptions
from al_platform.domain.gate_options import GateOptions


class EvaluationOptions(BaseModel):
    """How challenger and champion are compared.

    Attributes:
        gate: What a challenger must show.
        error_analysis: How much of the error analysis is kept.
        seed: Of the bootstrap.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    gate: GateOptions = GateOptions()
    error_analysis: ErrorAnalysisOptions = ErrorAnalysisOptions()
    seed: int = Field(default=0, ge=0, lt=2**32)
