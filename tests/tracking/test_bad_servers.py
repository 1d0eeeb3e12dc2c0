"""A server that is down, hangs, is broken or full takes its time-out, and loses nothing."""

import time

import pytest
from bad_servers import BAD_SERVERS

from al_platform.domain.errors import TrackerError
from al_platform.tracking.options import TrackingOptions
from al_platform.tracking.sender import Sender
from tracked import tracked_run

_START_S = 45  # of the libraries, on a busy machine


@pytest.mark.real
@pytest.mark.parametrize("how", BAD_SERVERS)
@pytest.mark.parametrize("backend", ["wandb", "mlflow"])
def test_a_bad_server_is_given_up_in_time_and_said_to_have_taken_nothing(backend, how, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    with BAD_SERVERS[how]() as url:
        options = TrackingOptions(backend=backend, server=url, timeout_s=6)
        started = time.monotonic()
        with Sender(options, tmp_path) as sender, pytest.raises(TrackerError):
            list(sender.publish([tracked_run()]))
        assert time.monotonic() - started < 6 + _START_S


def test_without_an_account_nobody_is_asked_for_one(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with (
        Sender(TrackingOptions(backend="wandb"), tmp_path) as sender,
        pytest.raises(TrackerError, match=r"Set WANDB_API_KEY .* kedro al sync --to FOLDER"),
    ):
        list(sender.publish([tracked_run()]))


def test_a_process_that_dies_is_an_error_with_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setattr("al_platform.tracking.sender._CHILD", "al_platform.no_such_module")
    with (
        Sender(TrackingOptions(backend="wandb"), tmp_path) as sender,
        pytest.raises(TrackerError, match="no_such_module"),
    ):
        list(sender.publish([tracked_run()]))
