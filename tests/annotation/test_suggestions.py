"""What annotators may be shown of the model's opinion is what the champion decides."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from al_platform.annotation import AnnotationOptions, Receipt
from al_platform.annotation.label_studio.options import LabelStudioOptions
from al_platform.domain.cycles import shift_cycle
from al_platform.domain.taxonomy import Taxonomy
from al_platform.pipelines.selection.nodes import submit_batch
from temporary_project import CYCLE, Project

NEXT = shift_cycle(CYCLE, 1)


class Sent:
    """A connection and a platform that keep what is submitted."""

    def open(self, taxonomy: Taxonomy, options: AnnotationOptions) -> "Sent":
        return self

    def submit(self, batch: pa.Table) -> Receipt:
        self.batch = batch
        return Receipt(batch_id="b", platform="label_studio", tasks=batch.num_rows)


@pytest.mark.parametrize("shows", [True, False])
def test_a_batch_carries_the_champions_decisions_only_where_they_are_asked_for(project: Project, shows: bool) -> None:
    project.only("topics")
    project.run("monthly")
    project.run("quarterly")
    project.run("scoring", "selection", cycle=NEXT)
    champion, batch = project.load("topics.champion", NEXT), project.load("topics.batch", NEXT)
    predictions: Any = project.load("topics.predictions", NEXT)
    assert champion is not None
    taxonomy, sent = champion.classifier.config.taxonomy, Sent()
    options = AnnotationOptions(backend="label_studio", label_studio=LabelStudioOptions(show_predictions=shows))
    submit_batch(batch, predictions, champion, sent, taxonomy, options)  # type: ignore[arg-type]
    if not shows:
        assert "suggested" not in sent.batch.column_names
        return
    rows = predictions.select("page_id", "probabilities").to_pyarrow().to_pylist()
    best = {row["page_id"]: [taxonomy.labels[int(np.argmax(row["probabilities"]))]] for row in rows}
    # Pages of earlier months, which are asked about again, have no prediction of this one.
    assert sent.batch["suggested"].to_pylist() == [best.get(page) for page in batch["page_id"].to_pylist()]
    assert any(page not in best for page in batch["page_id"].to_pylist())
