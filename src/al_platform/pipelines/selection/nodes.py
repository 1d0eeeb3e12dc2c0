"""Nodes of selection."""

import json
import logging
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from al_platform.annotation import AnnotationOptions, PlatformConnection
from al_platform.catalog.formats import Expression
from al_platform.catalog.stored_table import StoredTable
from al_platform.catalog.traffic import Pages
from al_platform.domain.answered import of_these_rules
from al_platform.domain.duel import DUEL, DuelOfModels, draw_duel, draw_frame, opens_duel, read_duels
from al_platform.domain.near_duplicates import NearDuplicateOptions, near_duplicate_groups, similar_to
from al_platform.domain.pages import page_text
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.taxonomy import Taxonomy
from al_platform.domain.text import clean_text
from al_platform.models.model import Model
from al_platform.schemas import BATCH, STRINGS

LOG = logging.getLogger("al_platform")
SUMMARY = b"selection_summary"
_SHOWN = pa.schema([BATCH.field(name) for name in ("url", "domain", "title", "text", "language")])


def open_duel(
    verdict_before: dict[str, Any] | None,
    challenger_before: Model | None,
    champion: Model | None,
    predictions: Expression,
    pages: Pages,
    batches_before: Any,
    imported_labels: Any,
    previous_dataset: pa.Table,
    options: SelectionOptions,
    near_duplicates: NearDuplicateOptions,
    cycle: str,
) -> list[DuelOfModels]:
    """Draw disagreements of champion and challenger, if the newest verdict left undecided which of them is better.

    Args:
        verdict_before: The newest of a cycle before this one.
        challenger_before: The newest model that was trained in a cycle before this one.
        champion: The model in use.
        predictions: One row a scored page.
        pages: The month's pages.
        batches_before: Pages sent in cycles before this one; a pair of models meets once.
        imported_labels: Pages that came with a label.
        previous_dataset: Labelled pages: what nearly repeats one of them, a model may have been trained on.
        options: Sizes and seed.
        near_duplicates: When two texts count as the same.
        cycle: This cycle.

    Returns:
        The duel, or none: where none is to be opened, or the models never differ on the frame.
    """
    if verdict_before is None or champion is None or challenger_before is None or not options.duel.size:
        return []
    pair = (challenger_before.digest, champion.digest)
    judged = (verdict_before["challenger_digest"], verdict_before["champion_digest"])
    met = [duel[:2] for duel in read_duels(batches_before.select(["page_id", "cycle", "duel"]))]
    if pair != judged or pair in met or not opens_duel(verdict_before):
        return []
    salt = f"{cycle}|{options.seed}"
    from al_platform.domain.selection.engine import to_arrow  # as in select_batch

    page_ids = to_arrow(predictions.select("page_id"))["page_id"]
    rows = draw_frame(page_ids, _known(batches_before, imported_labels), options.duel.frame, salt)
    frame = _new_texts(page_ids.take(pa.array(rows)), pages, previous_dataset, near_duplicates)
    if not frame:
        return []
    texts = list(frame.values())
    said, objected = _answers(champion, texts), _answers(challenger_before, texts)
    taxonomy = champion.classifier.config.taxonomy
    duel = draw_duel(list(frame), said, objected, taxonomy, size=options.duel.size, salt=salt)
    return [DuelOfModels(*pair, duel)] if duel.frame.drawn else []


def _new_texts(
    page_ids: pa.ChunkedArray, pages: Pages, labelled: pa.Table, options: NearDuplicateOptions
) -> dict[str, str]:
    """Return the text of each page that nearly repeats no labelled one."""
    from al_platform.domain.selection.shortlist import fetch  # as in select_batch

    names = page_ids.to_pylist()
    shown = fetch(pages.expression(), names, ["title", "text"], "Pages").to_pylist()
    texts = [page_text(page["title"], page["text"]) for page in shown]
    repeats = similar_to(texts, labelled["text"].to_pylist(), options)
    return {name: text for name, text, is_repeat in zip(names, texts, repeats, strict=True) if not is_repeat}


def _answers(model: Model, texts: list[str]) -> Any:
    return model.classifier.decide(model.classifier.score(texts).probabilities)


def _known(batches_before: Any, imported_labels: Any) -> pa.ChunkedArray:
    return pa.chunked_array([*batches_before["page_id"].chunks, *imported_labels["page_id"].chunks], pa.string())


def find_second_looks(
    sealed_batch: pa.Table | None,
    previous_dataset: pa.Table,
    previous_answered_pages: pa.Table,
    previous_labels: pa.Table,
    batches_before: StoredTable,
    imported_labels: StoredTable,
    taxonomy: Taxonomy,
    options: SelectionOptions,
    cycle: str,
) -> pa.Table:
    """Return pages of earlier months to ask about again: no decision, a label in doubt, or a known answer.

    Args:
        sealed_batch: What this cycle has sent already; then there is nothing to find.
        previous_dataset: Labelled pages.
        previous_answered_pages: What annotators said of each page in cycles before this one.
        previous_labels: What was concluded from that.
        batches_before: What annotators were shown.
        imported_labels: The same of pages that came with a label.
        taxonomy: The family's labels.
        options: How many of each kind.
        cycle: This cycle.

    Returns:
        ``second_looks.LOOKS`` with what annotators see of a page.
    """
    from al_platform.domain.selection import second_looks  # as in select_batch

    answered = of_these_rules(previous_answered_pages)
    if sealed_batch is not None:
        return _with_texts(second_looks.LOOKS.empty_table(), batches_before, imported_labels)
    opinions = second_looks.choose_opinions(answered, previous_labels, cycle, options)
    relabels = _relabels(second_looks.doubted_pages(previous_dataset, answered), taxonomy, options)
    controls = second_looks.draw_controls(previous_dataset, cycle, options)
    looks = second_looks.together(opinions, relabels, controls, size=options.looks_size)
    return _with_texts(looks, batches_before, imported_labels)


def _relabels(pages: pa.Table, taxonomy: Taxonomy, options: SelectionOptions) -> pa.Table:
    """Return the pages whose label a model that has not seen them does not believe."""
    from al_platform.domain.label_errors import find_suspects
    from al_platform.domain.selection.second_looks import LOOKS, choose_relabels
    from al_platform.models.out_of_fold import out_of_fold_probabilities

    valid = [taxonomy.problem(values) is None for values in pages["values"].to_pylist()]
    pages = pages.filter(pa.array(valid, pa.bool_()))
    if not options.relabel_size or not pages.num_rows:
        return LOOKS.empty_table()
    given = taxonomy.encode(pages["values"].to_pylist())
    groups = pages["near_duplicate_group"].to_numpy()
    probabilities = out_of_fold_probabilities(pages["text"].to_pylist(), given, groups, is_multi=taxonomy.is_multi)
    suspects = find_suspects(probabilities, given, is_multi=taxonomy.is_multi)
    return choose_relabels(pages, suspects, taxonomy, options.relabel_size)


def _with_texts(looks: pa.Table, batches_before: StoredTable, imported_labels: StoredTable) -> pa.Table:
    """Return the pages of which it is known what annotators were shown last, or what was imported, with that."""
    shown: dict[str, dict[str, Any]] = {}
    if looks.num_rows:
        columns = ["page_id", *_SHOWN.names]
        for stored in (imported_labels, batches_before):
            shown |= {row["page_id"]: row for row in stored.read(columns, looks["page_id"]).to_pylist() if row["text"]}
    looks = looks.filter(pc.is_in(looks["page_id"], value_set=pa.array(list(shown), pa.string())))
    texts = [shown[page] for page in looks["page_id"].to_pylist()]
    for field in _SHOWN:
        looks = looks.append_column(field, pa.array([text[field.name] for text in texts], field.type))
    return looks


def select_batch(
    predictions: Expression,
    pages: Pages,
    batches_before: pa.Table,
    imported_labels: pa.Table,
    previous_dataset: pa.Table,
    champion: Model | None,
    sealed_batch: pa.Table | None,
    duels: list[DuelOfModels],
    second_looks: pa.Table,
    taxonomy: Taxonomy,
    options: SelectionOptions,
    annotation: AnnotationOptions,
    near_duplicates: NearDuplicateOptions,
    family: str,
    cycle: str,
) -> pa.Table:
    """Choose the pages to annotate next.

    Args:
        predictions: One row a scored page; see ``schemas.PREDICTIONS``.
        pages: The month's pages, for what annotators are shown.
        batches_before: Pages sent in cycles before this one, labelled or pending.
        imported_labels: Pages that came with a label.
        previous_dataset: Labelled pages, whose copies are not asked about.
        champion: Gives the thresholds, if it made the predictions.
        sealed_batch: What this cycle has sent already; then it is returned as it is.
        duels: Pages that decide between champion and challenger, if that is open.
        second_looks: Pages of earlier months that are asked about again.
        taxonomy: The family's labels.
        options: Strategy, budget and limits.
        annotation: How many annotators are asked about a page.
        near_duplicates: When two texts count as the same.
        family: The family's name.
        cycle: This cycle.

    Returns:
        ``options.budget`` rows, fewer only where ``options.cost`` limits them, and those of the duel; see
        ``schemas.BATCH``. The counts of the choice are in the schema's metadata.

    Raises:
        PoolExhaustedError: Fewer candidates than the budget, or a limit that cannot be kept.
    """
    # Ibis takes a third of a second to import, and commands like "kedro registry list" choose nothing.
    from al_platform.domain.selection.choose import choose_batch
    from al_platform.domain.selection.eligible import Copies, Pool
    from al_platform.domain.selection.overlap import with_answers_wanted

    if sealed_batch is not None:
        if options.cost.limit is None and _without_duel(sealed_batch) != options.budget:
            LOG.warning(
                "The batch of %s %s was sent with %s pages and stays; selection.budget=%s is for later cycles.",
                *(family, cycle, _without_duel(sealed_batch), options.budget),
            )
        return sealed_batch
    pool = Pool(
        predictions=predictions,
        pages=pages.expression(),
        excluded=pa.table({"page_id": _known(batches_before, imported_labels)}),
        taxonomy=taxonomy,
        family=family,
        cycle=cycle,
        thresholds=_thresholds(champion, predictions),
    )
    labelled = previous_dataset["text"].to_pylist()
    copies = Copies(
        groups=lambda texts: near_duplicate_groups([clean_text(text) for text in texts], near_duplicates),
        repeats_labelled=lambda texts: similar_to([clean_text(text) for text in texts], labelled, near_duplicates),
    )
    selection = choose_batch(pool, options, copies, duels[0] if duels else None, second_looks)
    salt = f"{cycle}|{options.seed}"
    batch = with_answers_wanted(selection.batch, annotation.answers_per_page, annotation.overlap_share, salt)
    return batch.replace_schema_metadata({SUMMARY: selection.summary.model_dump_json()})


def _thresholds(champion: Model | None, predictions: Expression) -> tuple[float, ...] | None:
    """Return the champion's thresholds, if the predictions are its own."""
    if champion is None or not champion.classifier.config.taxonomy.is_multi:
        return None
    from al_platform.domain.selection.engine import to_arrow  # as in select_batch

    digests = to_arrow(predictions.select("model_digest").distinct())["model_digest"].to_pylist()
    return champion.classifier.config.thresholds if digests == [champion.digest] else None


def _without_duel(batch: pa.Table) -> int:
    return sum(reason != DUEL for reason in batch["reason"].to_pylist())


def seal_batch(proposal: pa.Table) -> pa.Table:
    """Return the batch that is written once: from here on a re-run of the cycle returns it."""
    return proposal


def submit_batch(
    batch: pa.Table,
    predictions: Expression,
    champion: Model | None,
    platform: PlatformConnection,
    taxonomy: Taxonomy,
    options: AnnotationOptions,
) -> dict[str, Any]:
    """Send the batch to the annotators; pages that are there already are not sent again."""
    if options.shows_predictions and champion is not None:
        batch = batch.append_column("suggested", _suggestions(batch["page_id"], predictions, champion))
    receipt: dict[str, Any] = platform.open(taxonomy, options).submit(batch).model_dump(mode="json")
    return receipt


def _suggestions(page_ids: pa.ChunkedArray, predictions: Expression, champion: Model) -> pa.Array:
    """Return what the champion decides about each page, null where the prediction is not its own."""
    from al_platform.domain.selection.engine import to_arrow  # as in select_batch

    is_asked = predictions["page_id"].isin(page_ids.to_pylist()) & (predictions["model_digest"] == champion.digest)
    rows = to_arrow(predictions.filter(is_asked).select("page_id", "probabilities"))
    config = champion.classifier.config
    probabilities = np.array(rows["probabilities"].to_pylist(), dtype=np.float32).reshape(
        -1, len(config.taxonomy.labels)
    )
    decided = config.taxonomy.decode(config.decide(probabilities))
    by_page = dict(zip(rows["page_id"].to_pylist(), decided, strict=True))
    return pa.array([by_page.get(page) for page in page_ids.to_pylist()], STRINGS)


def report_selection(batch: pa.Table, receipt: dict[str, Any]) -> dict[str, Any]:
    """Say how the batch came about, from the counts sealed with it."""
    summary = json.loads((batch.schema.metadata or {})[SUMMARY])
    return {
        **summary,
        "batch": {"total": batch.num_rows, "by_reason": summary["by_reason"]},
        "submitted": receipt,
    }
