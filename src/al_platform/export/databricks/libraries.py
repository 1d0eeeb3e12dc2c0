"""What a task's machine installs: the bundle's wheel, and what its extras ask for.

The wheel's ranges hold what the runtimes for machine learning bring, so that pip leaves it in place: torch above all,
whose build belongs to the machine's driver.
"""

from importlib.metadata import requires

from databricks.bundles.jobs import Library, PythonPyPiLibrary
from packaging.requirements import Requirement

from al_platform.domain.errors import ConfigError, known_names
from al_platform.export.databricks.names import WHEEL

_PACKAGE = "al-platform"


def libraries(extras: tuple[str, ...]) -> list[Library]:
    """Return the libraries of every task; ConfigError where the package has no such extra."""
    # A wheel is installed without extras.
    listed = [text for extra in extras for text in _requirements(extra)]
    return [Library(whl=WHEEL), *(Library(pypi=PythonPyPiLibrary(package=text)) for text in listed)]


def _requirements(extra: str) -> list[str]:
    all_of_them = [Requirement(text) for text in requires(_PACKAGE) or []]
    found = [_bare(requirement) for requirement in all_of_them if _is_of(requirement, extra)]
    if not found:
        known = {str(text.marker).split('"')[1] for text in all_of_them if "extra ==" in str(text.marker)}
        raise ConfigError(
            f"databricks.extras asks for {extra!r}, but {_PACKAGE} has no such extra. {known_names(extra, known)}"
        )
    return found


def _is_of(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def _bare(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"
