"""What a rebuilt model and its record differ in, and whether something explains it."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from al_platform.rebuild.comparison import (
    Circumstance,
    DatasetComparison,
    Erasure,
    MetricsComparison,
    Outcome,
    OutputComparison,
    Pair,
    StageComparison,
    WeightsComparison,
)
from al_platform.storage.commit_log import Manifest, Output

RELATIVE_TOLERANCE = 1e-6  # of every figure on the same build
MACRO_F1_TOLERANCE = 0.01  # absolute, on another build: other libraries sum in another order
HEADLINE = ".macro_f1.value"  # ending of the path of the figure that counts most
_KEPT = ("text", "values")  # what an erasure leaves of other pages; sets and groups may move
_SET = ("set",)
_DIRTY = "-dirty"


def compare_outputs(
    manifest: Manifest, rebuilt: Mapping[str, Output], same_content: Collection[str] = ()
) -> StageComparison:
    """Compare a stage's outputs by SHA-256 and size.

    Args:
        manifest: The record.
        rebuilt: The rebuilt outputs by name.
        same_content: Outputs of other bytes that were found to hold the same.
    """

    def compare(name: str, recorded: Output) -> OutputComparison:
        output = rebuilt.get(name)
        if output is None:
            return OutputComparison(status="taken", recorded=recorded, rebuilt=None)
        if are_same_bytes(recorded, output):
            return OutputComparison(status="equal", recorded=recorded, rebuilt=output)
        status: Literal["same content", "differs"] = "same content" if name in same_content else "differs"
        return OutputComparison(status=status, recorded=recorded, rebuilt=output)

    return StageComparison(
        run_id=manifest.run_id, outputs={name: compare(name, output) for name, output in manifest.outputs.items()}
    )


def are_same_bytes(recorded: Output, rebuilt: Output) -> bool:
    """Return whether two outputs have one SHA-256 and size, whatever their paths."""
    return (recorded.sha256, recorded.size) == (rebuilt.sha256, rebuilt.size)


def compare_dataset(preparation: StageComparison, erasure: Erasure | None) -> DatasetComparison:
    """Sum up the outputs of preparation; ``erasure`` is what is known to be missing and to explain a difference."""
    found = {output.status for output in preparation.outputs.values()}
    if found <= {"equal"}:
        return DatasetComparison(status="equal")
    if "differs" not in found:
        return DatasetComparison(status="same content")
    return DatasetComparison(status="erased", erasure=erasure) if erasure else DatasetComparison(status="differs")


def erased_pages(recorded_pages: int, stored: pa.Table, rebuilt: pa.Table) -> Erasure | None:
    """Return what erasures took from a data set; None where more than missing pages is different.

    Args:
        recorded_pages: Pages when it was recorded.
        stored: The data set as it lies in the store now, rewritten by the same erasures.
        rebuilt: The data set made again without the erased pages.
    """
    if _by_page(stored, _KEPT) != _by_page(rebuilt, _KEPT):
        return None
    sets = _by_page(stored, _SET)
    moved = sum(sets[page_id] != row for page_id, row in _by_page(rebuilt, _SET).items())
    return Erasure(pages=recorded_pages - rebuilt.num_rows, moved=moved)


def compare_tensors(
    recorded: Mapping[str, NDArray[Any]], rebuilt: Mapping[str, NDArray[Any]]
) -> dict[str, float | None]:
    """Return the largest absolute difference in each tensor that differs; None where shapes do."""
    names = [*recorded, *(name for name in rebuilt if name not in recorded)]
    found = {name: _max_difference(recorded.get(name), rebuilt.get(name)) for name in names}
    return {name: difference for name, difference in found.items() if difference != 0}


def compare_json(recorded: Any, found: Any) -> dict[str, Pair]:
    """Return every leaf of two JSON documents that differs, by its path; ``None`` where one has no such leaf."""
    before, now = dict(_leaves(recorded)), dict(_leaves(found))
    paths = [*before, *(path for path in now if path not in before)]
    return {
        path: Pair(recorded=before.get(path), found=now.get(path))
        for path in paths
        if path not in before or path not in now or before[path] != now[path]
    }


def compare_metrics(recorded: Any, found: Any, *, is_same_build: bool) -> MetricsComparison:
    """Compare figures; on another build macro-F1 alone must be near, and what is no figure must be equal.

    Args:
        recorded: Evaluation and verdict, as JSON.
        found: The same after rebuilding.
        is_same_build: Whether code, libraries and machine are those of the record.
    """
    differences = compare_json(recorded, found)
    if is_same_build:
        tolerance = f"{RELATIVE_TOLERANCE:g} relative"
        is_near = all(_is_near(pair, RELATIVE_TOLERANCE * _size(pair)) for pair in differences.values())
    else:
        tolerance = f"{MACRO_F1_TOLERANCE:g} absolute on macro-F1"
        decisive = [pair for path, pair in differences.items() if path.endswith(HEADLINE) or not _are_figures(pair)]
        is_near = all(_is_near(pair, MACRO_F1_TOLERANCE) for pair in decisive)
    if not differences:
        return MetricsComparison(status="equal", tolerance=tolerance)
    return MetricsComparison(
        status="within tolerance" if is_near else "differs", tolerance=tolerance, differences=differences
    )


def circumstances_of(code_revision: str | None, environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return what results may depend on beside data and parameters, by name."""
    return {"code_revision": code_revision, **environment}


def compare_circumstances(
    recorded: Mapping[str, Mapping[str, str | None]], here: Mapping[str, str | None]
) -> tuple[Circumstance, ...]:
    """Return every circumstance that is not as it was; code with uncommitted changes never counts as the same.

    Args:
        recorded: Circumstances by stage.
        here: Circumstances of this process.
    """
    found: dict[tuple[str, str | None], list[str]] = {}
    for stage, then in recorded.items():
        for name in {**then, **here}:
            if then.get(name) != here.get(name) or (then.get(name) or "").endswith(_DIRTY):
                found.setdefault((name, then.get(name)), []).append(stage)
    return tuple(
        Circumstance(name=name, recorded=value, here=here.get(name), stages=tuple(stages))
        for (name, value), stages in found.items()
    )


def conclude(
    dataset: DatasetComparison,
    weights: WeightsComparison,
    metrics: MetricsComparison,
    circumstances: tuple[Circumstance, ...],
) -> tuple[Outcome, tuple[str, ...]]:
    """Return the outcome and the sentences that state it."""
    statements = (_dataset_statement(dataset), _weights_statement(weights), _metrics_statement(metrics))
    is_reproduced = dataset.status == "equal" and weights.status == "equal"
    if is_reproduced and metrics.status != "differs":
        return "equal", (*statements, "The model was rebuilt from its record, byte for byte.")
    if weights.status == "store changed":
        return "differs", (*statements, "Restore the stored model: --keep DIR writes the rebuilt files.")
    if dataset.status == "erased":
        return "explained", (*statements, "Erased pages are the difference: no model can be trained on them again.")
    is_near = dataset.status != "differs" and metrics.status in {"equal", "within tolerance"}
    if circumstances and is_near:
        names = ", ".join(dict.fromkeys(circumstance.name for circumstance in circumstances))
        return "explained", (*statements, f"Other circumstances are the difference: {names}.")
    return "differs", (*statements, "Nothing that is known explains the difference.")


def _dataset_statement(dataset: DatasetComparison) -> str:
    if dataset.erasure:
        moved = f"; {dataset.erasure.moved:,} others are in another set" if dataset.erasure.moved else ""
        pages = "1 erased page" if dataset.erasure.pages == 1 else f"{dataset.erasure.pages:,} erased pages"
        return f"The data set differs by {pages}{moved}."
    return {
        "equal": "The data set's manifest is equal.",
        "same content": "The data set has the same rows in other bytes.",
    }.get(dataset.status, "The data set differs.")


def _weights_statement(weights: WeightsComparison) -> str:
    by_tensor = [
        f"{name} {'in shape' if difference is None else f'by at most {difference:.3g}'}"
        for name, difference in weights.max_difference.items()
    ]
    details = "; ".join([*by_tensor, *weights.config, *([weights.problem.rstrip(".")] if weights.problem else [])])
    if weights.status == "equal":
        return "The weights are equal." if weights.stored else "The weights are equal; the stored files are missing."
    if weights.status == "store changed":
        return f"The rebuilt weights are those of the record, but the stored files were changed: {details}."
    return f"The weights differ: {details or 'there are no stored files to compare with'}."


def _metrics_statement(metrics: MetricsComparison) -> str:
    return {
        "equal": "Every figure of the evaluation is equal.",
        "within tolerance": f"The evaluation's figures are within tolerance ({metrics.tolerance}).",
        "not judged": "No evaluation of this model was committed, so that no figures are compared.",
    }.get(metrics.status, f"The evaluation's figures differ by more than the tolerance ({metrics.tolerance}).")


def _by_page(dataset: pa.Table, columns: tuple[str, ...]) -> dict[str, tuple[Any, ...]]:
    rows = zip(*(dataset[name].to_pylist() for name in ("page_id", *columns)), strict=True)
    return {page_id: tuple(row) for page_id, *row in rows}


def _max_difference(recorded: NDArray[Any] | None, rebuilt: NDArray[Any] | None) -> float | None:
    if recorded is None or rebuilt is None or recorded.shape != rebuilt.shape:
        return None
    return float(np.abs(recorded.astype(np.float64) - rebuilt.astype(np.float64)).max(initial=0.0))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        parts = [(f"{path}.{key}" if path else str(key), part) for key, part in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(f"{path}[{index}]", part) for index, part in enumerate(value)]
    else:
        yield path, value
        return
    for where, part in parts:
        yield from _leaves(part, where)


def _are_figures(pair: Pair) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in (pair.recorded, pair.found))


def _size(pair: Pair) -> float:
    return max(abs(pair.recorded), abs(pair.found)) if _are_figures(pair) else 0.0


def _is_near(pair: Pair, tolerance: float) -> bool:
    return _are_figures(pair) and abs(pair.recorded - pair.found) <= tolerance
