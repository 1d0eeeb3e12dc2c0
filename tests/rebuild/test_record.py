import pytest

from al_platform.domain.errors import ConfigError, StoreError
from al_platform.rebuild.inputs import require_files
from al_platform.rebuild.record import Training, choose
from al_platform.storage.commit_log import Input, Manifest

FAMILIES = ["topics", "sentiment"]


def manifest(family, cycle, **inputs):
    key = {"family": family, "cycle": cycle, "stage": "training", "run_id": "run"}
    return Manifest(**key, outputs={}, inputs=inputs, started_at="2026-09-01", ended_at="2026-09-01")


KNOWN = [
    Training("abc" + "0" * 61, "2026-09-01", manifest("topics", "2026-08")),
    Training("abd" + "0" * 61, "2026-10-01", manifest("sentiment", "2026-08")),
    Training("b" * 64, "2026-12-01", manifest("topics", "2026-11")),
]


def test_a_model_is_meant_by_the_beginning_of_its_digest_or_as_the_newest_of_its_family():
    assert choose(KNOWN, "abd", FAMILIES) is KNOWN[1]
    assert choose(KNOWN, "b" * 64, FAMILIES) is KNOWN[2]
    assert choose(KNOWN, "topics", FAMILIES) is KNOWN[2]


def test_of_two_runs_that_made_the_same_model_the_newer_one_is_meant():
    again = Training(KNOWN[0].model_digest, "2026-12-02", manifest("topics", "2026-08"))
    assert choose([*KNOWN, again], "abc", FAMILIES) is again


def test_an_unknown_model_is_an_error_that_lists_what_there_is():
    with pytest.raises(ConfigError, match=r"no model 'topic'.*mean 'topics'.*abc000000000 \(topics 2026-08\)"):
        choose(KNOWN, "topic", FAMILIES)


def test_a_beginning_that_several_models_share_is_an_error_that_lists_them():
    with pytest.raises(ConfigError, match=r"abc000000000 \(topics 2026-08\), abd000000000 \(sentiment 2026-08\)"):
        choose(KNOWN, "ab", FAMILIES)


def test_a_record_without_the_files_of_an_input_says_that_it_is_too_old():
    require_files(manifest("topics", "2026-08", champion=Input(place="none", sha256=None)))
    older = manifest("topics", "2026-08", dataset=Input(place="topics/2026-08/dataset.parquet", sha256="a"))
    with pytest.raises(StoreError, match="does not list the files of dataset"):
        require_files(older)
