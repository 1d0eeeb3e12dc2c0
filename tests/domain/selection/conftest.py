from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    # Ibis 12 calls methods that DuckDB 1.5 deprecates.
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.filterwarnings("ignore:fetch_.* is deprecated:DeprecationWarning"))
