"""The whole parameter tree of a family, built from each stage's options."""

from pydantic import BaseModel, ConfigDict

from al_platform.annotation import AnnotationOptions
from al_platform.domain.near_duplicates import NearDuplicateOptions
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.model import ModelOptions
from al_platform.pipelines.evaluation.options import EvaluationOptions
from al_platform.pipelines.preparation.options import PreparationOptions
from al_platform.pipelines.scoring.options import ScoringOptions
from al_platform.pipelines.training.options import TrainingOptions


class FamilyParameters(BaseModel):
    """Everything a user may set about one family.

    Attributes:
        family: Its name; set by the configuration loader.
        taxonomy: Its labels.
        model: Which model it trains; before the first champion also how pages become features.
        near_duplicates: When two texts count as the same.
        annotation: Where batches go and answers come from.
        scoring: See ``ScoringOptions``.
        selection: See ``SelectionOptions``.
        preparation: See ``PreparationOptions``.
        training: See ``TrainingOptions``.
        evaluation: See ``EvaluationOptions``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    taxonomy: Taxonomy
    model: ModelOptions = ModelOptions()
    near_duplicates: NearDuplicateOptions = NearDuplicateOptions()
    annotation: AnnotationOptions = AnnotationOptions()
    scoring: ScoringOptions = ScoringOptions()
    selection: SelectionOptions = SelectionOptions()
    preparation: PreparationOptions = PreparationOptions()
    training: TrainingOptions = TrainingOptions()
    evaluation: EvaluationOptions = EvaluationOptions()
