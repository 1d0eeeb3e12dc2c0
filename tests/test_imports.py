"""Commands that compute nothing do not load what computes."""

import subprocess
import sys

import pytest

from temporary_project import ROOT

HEAVY = ("torch", "lightning", "wandb", "sklearn", "pandas", "ibis")

SCRIPT = """
import sys
from kedro.framework.cli.cli import main
sys.argv = ["kedro", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("LOADED", [name for name in {heavy!r} if name in sys.modules])
"""


@pytest.mark.parametrize("command", [["--help"], ["registry", "list"], ["al", "--help"], ["run", "--help"]])
def test_the_command_loads_no_heavy_library(command):
    script = SCRIPT.format(heavy=HEAVY)
    run = subprocess.run(
        [sys.executable, "-c", script, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "LOADED []"


def test_scoring_and_selection_load_no_torch(tmp_path):
    script = (
        "import sys, al_platform.pipelines.scoring, al_platform.pipelines.selection, al_platform.models.features;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
