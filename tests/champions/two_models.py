"""The cycles in which one family trained its two models, and its champion log."""

from al_platform.catalog.champion import ChampionEntry, champion_log
from al_platform.storage.store import open_store
from temporary_project import Project

FIRST, SECOND, THIRD = "2026-08", "2026-09", "2026-10"


def log_of(project: Project) -> list[ChampionEntry]:
    return champion_log(open_store(project.loader.root("champion")), "topics")
