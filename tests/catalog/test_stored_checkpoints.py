"""Checkpoints in the store, and what is refused of code that nobody could train again."""

import logging

import numpy as np
import pytest

from al_platform.catalog.checkpoints import StoredCheckpoints
from al_platform.domain.errors import ConfigError, StoreError
from al_platform.models.transformer.checkpoints import newest_checkpoint, read_checkpoint, write_checkpoint
from al_platform.storage.store import LocalStore

PREFIX = "topics/2026-10/training/checkpoints"
KEY = "a" * 64


def stored(tmp_path, machine="one", store=None, **known):
    known = {"revision": "abc", **known}
    return StoredCheckpoints(store or LocalStore(tmp_path / "store"), PREFIX, tmp_path / machine, **known)


def write_step(checkpoints, step):
    return write_checkpoint(checkpoints.scratch(KEY), step, {"step": step}, {"weight/w": np.full(3, step, np.float32)})


class Refusing(LocalStore):
    """A store that takes nothing."""

    def upload(self, file, path):
        raise StoreError("said the store")


def test_another_machine_goes_on_from_the_newest_checkpoint(tmp_path):
    here = stored(tmp_path)
    for step in (3, 6):
        here.save(KEY, write_step(here, step))
    there = stored(tmp_path, "other")
    assert read_checkpoint(there.load(KEY))[0] == {"step": 6}
    assert {path.split("/")[5] for path in LocalStore(tmp_path / "store").list(PREFIX)} == {"step-000000006"}


def test_a_newer_checkpoint_of_this_machine_comes_first(tmp_path):
    here = stored(tmp_path)
    here.save(KEY, write_step(here, 3))
    write_step(here, 6)
    assert here.load(KEY).name == "step-000000006"


def test_half_a_checkpoint_in_the_store_is_not_gone_on_from(tmp_path):
    here = stored(tmp_path)
    here.save(KEY, write_step(here, 3))
    LocalStore(tmp_path / "store").write(f"{PREFIX}/{KEY}/step-000000006/tensors.safetensors", b"half")
    assert stored(tmp_path, "other").load(KEY).name == "step-000000003"


def test_a_store_that_takes_no_checkpoint_does_not_stop_the_training(tmp_path, caplog):
    here = stored(tmp_path, store=Refusing(tmp_path / "store"))
    with caplog.at_level(logging.WARNING, "al_platform"):
        here.save(KEY, write_step(here, 3))
    assert newest_checkpoint(here.scratch(KEY)).name == "step-000000003"
    assert "said the store" in caplog.text


def test_when_the_stage_is_committed_nothing_of_it_stays_here_or_in_the_store(tmp_path):
    here = stored(tmp_path)
    here.save(KEY, write_step(here, 3))
    other_key = here.scratch("b" * 64)
    other_key.mkdir()
    (other_key / "not_finite.json").write_text("{}")
    stored(tmp_path).finish()
    assert not (tmp_path / "one").exists()
    assert LocalStore(tmp_path / "store").list(PREFIX) == []


@pytest.mark.parametrize(("revision", "said"), [("abc-dirty", "uncommitted changes"), (None, "nothing says")])
def test_code_that_nobody_could_check_out_again_is_refused(tmp_path, revision, said):
    with pytest.raises(ConfigError, match=said):
        stored(tmp_path, revision=revision).require_clean_tree()


def test_committed_code_is_not_refused_nor_is_a_rebuild(tmp_path):
    stored(tmp_path).require_clean_tree()
    stored(tmp_path, revision=None, is_rebuild=True).require_clean_tree()


def test_a_rebuild_writes_nothing_to_the_store(tmp_path):
    here = stored(tmp_path, is_rebuild=True)
    here.save(KEY, write_step(here, 3))
    here.finish()
    assert not (tmp_path / "store").exists()
    assert newest_checkpoint(here.scratch(KEY)) is not None
