import pytest
import yaml

from al_platform.config import FamilyConfigLoader, default_cycle
from al_platform.domain.errors import ConfigError
from al_platform.settings import CONFIG_LOADER_ARGS


def loader(project, **parameters):
    return FamilyConfigLoader(
        conf_source=str(project.path / "conf"), env=project.env, runtime_params=parameters, **CONFIG_LOADER_ARGS
    )


def test_a_family_beats_the_defaults_its_environment_beats_it_and_params_beat_all(project):
    base = project.path / "conf" / "base" / "parameters" / "topics.yml"
    content = yaml.safe_load(base.read_text())
    content["topics"]["selection"] = {"budget": 11, "overfetch": 7}
    base.write_text(yaml.safe_dump(content))
    project.configure("parameters/topics.yml", {"topics": {"selection": {"overfetch": 8}}})
    project.configure("parameters/family_defaults.yml", {})
    found = loader(project, topics={"selection": {"seed": 5}})["parameters"]
    selection = found["topics"]["selection"]
    assert (selection["budget"], selection["overfetch"], selection["seed"]) == (11, 8, 5)
    assert selection["strategy"] == "adaptive"
    assert found["sentiment"]["selection"]["overfetch"] != 8


def test_the_environments_defaults_beat_a_familys_own_base_file(project):
    base = project.path / "conf" / "base" / "parameters" / "topics.yml"
    content = yaml.safe_load(base.read_text())
    content["topics"]["selection"] = {"budget": 11}
    base.write_text(yaml.safe_dump(content))
    project.configure("parameters/family_defaults.yml", {"family_defaults": {"selection": {"budget": 12}}})
    assert loader(project)["parameters"]["topics"]["selection"]["budget"] == 12


def test_a_stray_local_file_does_not_delete_a_familys_settings(project):
    (project.path / "conf" / "local" / "parameters.yml").write_text("topics: {selection: {seed: 3}}\n")
    project.env = "local"
    found = loader(project, topics={"selection": {"budget": 9}})["parameters"]["topics"]
    assert found["taxonomy"]["labels"] == ["business", "entertainment", "politics", "sport", "tech"]
    assert (found["selection"]["seed"], found["selection"]["budget"]) == (3, 9)


@pytest.mark.parametrize(
    ("parameters", "hint"),
    [
        (
            {"topics": {"selection": {"budgett": 5}}},
            "topics.selection.budgett is not a parameter.*Did you mean 'budget'",
        ),
        ({"sentiment": {"evaluation": {"gate": {"marginn": 1}}}}, "Did you mean 'margin'"),
        ({"topcs": {"selection": {"budget": 5}}}, "'topcs' belongs to no family.*Did you mean 'topics'"),
        ({"topics": {"selection": {"budget": 0}}}, "topics.selection.budget"),
        ({"topics": {"selection": {"strategy": "margim"}}}, "margin"),
        ({"brand_safety": {"taxonomy": {"labels": ["a", "a"]}}}, "distinct"),
    ],
)
def test_a_mistake_anywhere_in_the_tree_is_named_with_what_was_probably_meant(project, parameters, hint):
    with pytest.raises(ConfigError, match=f"(?s){hint}"):
        _ = loader(project, **parameters)["parameters"]


def test_a_mistyped_global_is_an_error(project):
    project.configure("globals.yml", {"rooot": "elsewhere"})
    with pytest.raises(ConfigError, match="Did you mean 'root"):
        loader(project).root("labels")


def test_one_key_moves_every_class_of_data(project):
    project.configure("globals.yml", {"root": "elsewhere"})
    found = loader(project)
    assert found.root("labels") == str(project.path / "elsewhere" / "labels")
    assert found.root("champion") == str(project.path / "elsewhere" / "champion")


def test_a_class_of_data_may_have_a_root_of_its_own(project):
    project.configure("globals.yml", {"root": "elsewhere", "roots": {"champion": "/protected"}})
    assert loader(project).root("champion") == "/protected"
    assert loader(project).root("models") == str(project.path / "elsewhere" / "models")


def test_the_cycle_is_the_given_one_or_the_last_complete_month(project):
    assert loader(project, cycle="2026-02").cycle == "2026-02"
    assert loader(project).cycle == default_cycle()
    with pytest.raises(ConfigError, match="2026-13"):
        _ = loader(project, cycle="2026-13")["parameters"]


@pytest.mark.parametrize("families", [[], ["topics", "topics"], ["two words"], ["cycle"], "topics"])
def test_family_names_that_cannot_be_used_are_refused(project, families):
    project.configure("families.yml", {"families": families})
    with pytest.raises(ConfigError):
        _ = loader(project).families


def test_an_environment_that_is_not_there_is_named_with_those_that_are(project):
    project.env = "tset"
    with pytest.raises(ConfigError, match=r"no environment 'tset' in conf\. .*'test'"):
        _ = project.loader
