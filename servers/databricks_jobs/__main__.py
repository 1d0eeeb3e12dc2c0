"""Run a server until Ctrl-C or SIGTERM."""

import argparse
import signal
from contextlib import suppress
from pathlib import Path

from servers.databricks_jobs.server import DatabricksJobsServer


def main() -> None:
    """Run a server, and print how to reach it."""
    parser = argparse.ArgumentParser(description="Run a stand-in of Databricks' Jobs API until Ctrl-C.")
    parser.add_argument("--folder", type=Path, required=True, help="for what notebooks print")
    parser.add_argument("--port", type=int, default=0, help="a free one if 0")
    parser.add_argument("--token", help="a random one if not given")
    parser.add_argument("--interpreter", type=Path, help="executes notebooks; without it they succeed unexecuted")
    parser.add_argument("--project", type=Path, help="where the notebooks lie")
    options = vars(parser.parse_args())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), DatabricksJobsServer(**options) as server:
        print(f"export DATABRICKS_HOST={server.url}\nexport DATABRICKS_TOKEN={server.token}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
