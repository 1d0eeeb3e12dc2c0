"""What holds for every tracker: W&B's offline files, W&B before a stand-in, MLflow on SQLite, and none."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from al_platform.domain.errors import ConfigError
from al_platform.tracking.options import TrackingOptions
from al_platform.tracking.registry import open_tracker
from al_platform.tracking.sender import Sender
from al_platform.tracking.tracked_run import FitHeader
from al_platform.tracking.tracker import Tracker
from tracked import Seen, model, seen_in_mlflow, seen_in_stand_in, seen_in_wandb_files, tracked_run
from wandb_stand_in import KEY, WandbStandIn, wandb_stand_in


@dataclass(frozen=True)
class Case:
    """A tracker, how the platform talks to it, and its own reader."""

    tracker: Tracker
    sender: Sender
    seen: Callable[[], list[Seen]]
    forgets: bool = False
    answers: bool = False


def _case(name: str, folder: Path) -> Case:
    options = TrackingOptions(backend=name)
    into = folder / "files" if name == "wandb" else None
    readers = {
        "wandb": lambda: seen_in_wandb_files(folder / "files"),
        "mlflow": lambda: seen_in_mlflow(f"sqlite:///{folder}/mlflow/mlflow.db", options.project),
        "none": list,
    }
    tracker = open_tracker(options, folder, into)
    return Case(tracker, Sender(options, folder, into), readers[name], forgets=name == "none", answers=name == "mlflow")


def _online(server: WandbStandIn, folder: Path) -> Case:
    options = TrackingOptions(mode="online", server=server.url)
    sender = Sender(options, folder)
    return Case(open_tracker(options, folder), sender, lambda: seen_in_stand_in(server), answers=True)


@pytest.fixture(
    scope="module",
    params=["wandb", *(pytest.param(name, marks=pytest.mark.real) for name in ("wandb online", "mlflow")), "none"],
)
def published(request, tmp_path_factory):
    """A tracker that has been told of one run twice, and of a promotion of its model."""
    folder = tmp_path_factory.mktemp("tracker")
    promoted = tracked_run("r2", makes=(model(aliases=("champion",)),), uses=(model(),), history=(), tables={})
    with wandb_stand_in() as server, pytest.MonkeyPatch.context() as patch:
        if request.param == "wandb online":
            patch.setenv("WANDB_API_KEY", KEY)
            case = _online(server, folder)
        else:
            case = _case(request.param, folder)
        with case.sender as sender:
            sent = [list(sender.publish([run])) for run in (tracked_run(), tracked_run(), promoted)]
            yield case, sent, case.seen()


def test_what_arrived_is_named(published):
    case, sent, _ = published
    ids = [[tracked_run().id], [tracked_run().id], [tracked_run("r2").id]]
    assert sent == ([[], [], []] if case.forgets else ids)


def test_publishing_again_adds_no_run(published):
    case, _, seen = published
    assert len(seen) == (0 if case.forgets else 2)


def test_a_run_has_its_group_job_type_inputs_figures_curves_and_tables(published):
    case, _, seen = published
    if case.forgets:
        assert seen == []
        return
    first = next(run for run in seen if run.id == tracked_run().id)
    assert (first.name, first.group, first.job_type) == ("topics 2026-10 training", "topics 2026-10", "training")
    assert (first.sha256_of_dataset, first.macro_f1, first.verdict) == ("cd" * 32, 0.75, "promote")
    assert first.losses == [1.5, 1.0]
    assert first.tables == {"classes"}
    assert first.is_finished


def test_a_model_is_the_challenger_and_then_the_champion(published):
    case, _, seen = published
    aliases = {alias for run in seen for alias in run.model_aliases}
    assert aliases == (set() if case.forgets else {"challenger", "champion"})


def test_a_training_hands_its_curves_to_lightnings_logger(published, tmp_path):
    case, _, _ = published
    header = FitHeader(id=f"fit-{tmp_path.name}", name="topics 2026-10 fit", group="topics 2026-10")
    with case.tracker.fit(header, tmp_path) as fit:
        if fit.logger is not None:
            fit.logger.log_metrics({"validation_loss": 1.0}, step=0)
    assert (fit.logger is None) == case.forgets
    if fit.left_behind is not None:
        assert fit.left_behind.stat().st_size > 0


def test_who_answers_questions_tells_config_and_figures_as_they_were_published(published):
    case, _, _ = published
    if not case.answers:
        return
    with case.sender as sender:
        found = {run.id: run for run in sender.find({"family": "topics", "stage": "training"})}
        assert sender.find({"family": "sentiment"}) == []
    assert set(found) == {tracked_run().id, tracked_run("r2").id}
    first, published_run = found[tracked_run().id], tracked_run()
    assert first.config["inputs"] == published_run.config["inputs"]
    assert first.summary.items() >= published_run.summary.items()
    assert not [name for name, value in first.summary.items() if name.startswith("_") or isinstance(value, dict)]


def test_only_wandb_writes_files_to_carry_elsewhere(tmp_path):
    with pytest.raises(ConfigError, match="Only W&B writes files"):
        open_tracker(TrackingOptions(backend="mlflow"), tmp_path, tmp_path)
