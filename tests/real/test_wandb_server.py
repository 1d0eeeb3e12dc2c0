"""Uploads to a server that speaks W&B's protocol as far as openwandb does, and to a real account where one is given."""

import os

import pytest
from servers.openwandb import OpenwandbServer

from al_platform.tracking.options import TrackingOptions
from al_platform.tracking.sender import Sender
from tracked import model, tracked_run

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with OpenwandbServer(tmp_path_factory.mktemp("openwandb")) as started:
        yield started


def test_a_run_arrives_and_arrives_again(server, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", server.key)
    run = tracked_run(makes=())
    with Sender(TrackingOptions(server=server.url, lineage=False, timeout_s=120), tmp_path) as sender:
        assert list(sender.publish([run])) == [run.id]
        assert list(sender.publish([run])) == [run.id]


@pytest.mark.skipif(
    not os.environ.get("AL_TEST_WANDB_PROJECT"),
    reason="needs an account: set AL_TEST_WANDB_PROJECT to a project to write to, and WANDB_API_KEY",
)
def test_a_real_account_takes_runs_aliases_and_lineage_and_finds_them(tmp_path):
    options = TrackingOptions(project=os.environ["AL_TEST_WANDB_PROJECT"], timeout_s=300)
    trained, promoted = tracked_run(), tracked_run("r2", makes=(model(aliases=("champion",)),), uses=(model(),))
    with Sender(options, tmp_path) as sender:
        assert [list(sender.publish([run])) for run in (trained, promoted)] == [[trained.id], [promoted.id]]
        found = {run.id: run for run in sender.find({"family": "topics", "cycle": "2026-10"})}
    assert found[trained.id].summary["metrics.macro_f1.value"] == pytest.approx(0.75)
