"""Whatever a tracker does, a training goes on and what it left is kept."""

import errno
from contextlib import contextmanager

import pytest
from lightning.pytorch.loggers import Logger

from al_platform.tracking.fits import TrackedFits
from al_platform.tracking.none import NoTracker
from al_platform.tracking.tracked_run import FitHeader
from al_platform.tracking.tracker import Fit

HEADER = FitHeader(id="fit", name="topics 2026-10 fit", group="topics 2026-10")
FULL = OSError(errno.ENOSPC, "No space left on device")


class _Tracker(NoTracker):
    """Fails where it is told to; leaves a file where it does not."""

    def __init__(self, *, at_start=False, at_end=False):
        self.at_start, self.at_end = at_start, at_end

    @contextmanager
    def fit(self, header, folder):
        if self.at_start:
            raise FULL
        folder.mkdir(parents=True)
        file = folder / "run.wandb"
        file.write_bytes(b"curves")
        self.header = header
        yield Fit(left_behind=file)
        if self.at_end:
            raise FULL


def follow(tracker, folder, keep=lambda file: None):
    return TrackedFits(tracker, HEADER, folder / "run" / "topics", keep).follow({"seed": 1})


@pytest.mark.parametrize("failing", [{"at_start": True}, {"at_end": True}])
def test_a_tracker_that_fails_does_not_fail_the_training(failing, tmp_path):
    with follow(_Tracker(**failing), tmp_path):
        trained = True
    assert trained


def test_a_trainings_own_error_comes_through(tmp_path):
    with pytest.raises(ValueError, match="diverged"), follow(_Tracker(), tmp_path):
        raise ValueError("diverged")


@pytest.mark.parametrize("error", [None, ValueError("diverged")])
def test_what_a_training_left_is_kept_in_the_store_and_goes_from_this_machine(error, tmp_path):
    kept = []
    try:
        with follow(_Tracker(), tmp_path, lambda file: kept.append(file.read_bytes())):
            if error:
                raise error
    except ValueError:
        pass
    assert kept == [b"curves"]
    assert list(tmp_path.iterdir()) == []


def test_what_the_store_does_not_take_stays_on_this_machine(tmp_path):
    def keep(file):
        raise FULL

    with follow(_Tracker(), tmp_path, keep):
        pass
    assert (tmp_path / "run/topics/run.wandb").read_bytes() == b"curves"


def test_no_secret_enters_what_a_training_says_of_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("A_TOKEN", "planted-secret-1")
    tracker = _Tracker()
    fits = TrackedFits(tracker, HEADER, tmp_path / "run" / "topics", lambda file: None)
    with fits.follow({"place": "https://planted-secret-1@host"}):
        pass
    assert "planted-secret-1" not in tracker.header.model_dump_json()


def test_a_logger_that_breaks_is_not_called_again():
    from al_platform.tracking.guarded import GuardedLogger

    class Broken(Logger):
        name = version = None
        calls = 0

        def log_metrics(self, metrics, step=None):
            self.calls += 1
            raise FULL

        def log_hyperparams(self, params, *args, **kwargs): ...

    broken = Broken()
    guarded = GuardedLogger(broken)
    guarded.log_metrics({"loss": 1.0})
    guarded.log_metrics({"loss": 0.5})
    assert (broken.calls, guarded.is_broken) == (1, True)
