"""The report on a challenger: whether it replaces the champion, and everything that this rests on, on one page.

The page needs nothing else and runs nothing: no script, no font, no picture from anywhere. It holds no clock figure, so
that the same outputs give the same bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup
from pydantic import BaseModel, ConfigDict

from al_platform.domain.error_analysis import ErrorAnalysis
from al_platform.domain.staleness import Staleness
from al_platform.reports import drawings, erasable, figures, gate_verdict, sections
from al_platform.reports.curves import ClassCurves
from al_platform.reports.figures import DatasetCard, SetFigures, Training, VerdictFigures
from al_platform.reports.html import html_templates
from al_platform.reports.plain import plain
from al_platform.reports.regressions import SNIPPET_CHARS, Regressions

_TEMPLATE = "challenger_report.html.j2"


class ChallengerReport(BaseModel):
    """What the report tells.

    Attributes:
        family: The model family.
        cycle: Of the challenger.
        verdict: The gate's.
        evaluation: Figures of both models by set.
        error_analysis: Where the challenger is wrong.
        analysed_set: The set that the error analysis is of.
        training: How the challenger was trained.
        dataset: What it was trained and judged on.
        staleness: Past champions on today's audit pages.
        regressions: What a promotion would make worse; None without a champion.
        curves: Precision and recall of each class at every threshold; empty where they were not drawn.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    cycle: str
    verdict: VerdictFigures
    evaluation: dict[str, SetFigures]
    error_analysis: ErrorAnalysis
    analysed_set: str
    training: Training
    dataset: DatasetCard
    staleness: Staleness | None = None
    regressions: Regressions | None = None
    curves: tuple[ClassCurves, ...] = ()

    @classmethod
    def of_outputs(
        cls,
        family: str,
        cycle: str,
        *,
        verdict: Mapping[str, Any],
        evaluation: Mapping[str, Any],
        error_analysis: Mapping[str, Any],
        training_report: Mapping[str, Any],
        dataset_card: Mapping[str, Any],
        staleness: Mapping[str, Any] | None = None,
        regressions: Regressions | None = None,
        curves: Sequence[ClassCurves] = (),
    ) -> "ChallengerReport":
        """Return the report on a cycle's outputs, each as its stage wrote it; what is not known is left out."""
        return cls(
            family=family,
            cycle=cycle,
            verdict=VerdictFigures.model_validate(verdict),
            evaluation=figures.set_figures(evaluation),
            error_analysis=ErrorAnalysis.model_validate(figures.known_fields(error_analysis, ErrorAnalysis)),
            analysed_set=str(error_analysis.get("set", "golden")),
            training=Training.model_validate(training_report),
            dataset=DatasetCard.model_validate(dataset_card),
            staleness=Staleness.model_validate(staleness) if staleness is not None else None,
            regressions=regressions,
            curves=tuple(curves),
        )


def render_report(report: ChallengerReport) -> str:
    """Return the report as one HTML document."""
    return (
        html_templates(_FILTERS, _GLOBALS)
        .get_template(_TEMPLATE)
        .render(
            report=report,
            headline=gate_verdict.headline(report.verdict),
            checks=gate_verdict.checks(report.verdict),
            sets=sections.set_tables(report.evaluation),
            macro_f1=drawings.macro_f1_chart(report.evaluation),
            classes=sections.class_table(report.evaluation, report.analysed_set),
            confusion=sections.confusion(report.error_analysis, report.evaluation.get(report.analysed_set)),
            slices=sections.slices(report.error_analysis),
            slice_gains=sections.slice_gains(report.evaluation),
            traffic=sections.traffic(report.evaluation),
            calibration=sections.calibration(report.evaluation),
            reliability=drawings.reliability(report.evaluation),
            precision_recall=drawings.precision_recall(report.curves),
            training=drawings.training(report.training),
            staleness=drawings.staleness(report.staleness),
            data=sections.data(report.dataset),
            response=next((found.traffic.response for found in report.evaluation.values() if found.traffic), None),
            counts=report.regressions.counts if report.regressions else (),
        )
    )


_FILTERS: Mapping[str, Callable[..., Any]] = {
    "figure": figures.number,
    "signed": figures.signed,
    "interval": figures.interval,
    "words": figures.words,
    "passage": lambda text: plain(text, SNIPPET_CHARS),
    "listed": lambda names: ", ".join(names) or "none",
}
_GLOBALS: Mapping[str, Callable[..., Any]] = {
    "begin_page": lambda page_id: Markup(erasable.begin_page(page_id)),
    "end_page": lambda: Markup(erasable.end_page()),
}
