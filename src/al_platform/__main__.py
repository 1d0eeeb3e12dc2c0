"""Runs pipelines where only the package is installed.

``python -m al_platform --conf-source=conf-al_platform.tar.gz --env=s3 --pipelines=monthly`` takes what ``kedro run``
takes, and needs no project: the configuration is a folder, or the archive that ``kedro package`` makes. A local root
lies below the working directory.
"""

from typing import Any

from kedro.framework.project import configure_project

from al_platform.cli import cli


def main(*args: Any, **options: Any) -> Any:
    """Run Kedro's ``run`` with the project's runner; arguments are those of a click command."""
    configure_project("al_platform")
    return cli.commands["run"].main(*args, **options)


if __name__ == "__main__":
    main(prog_name="python -m al_platform")
