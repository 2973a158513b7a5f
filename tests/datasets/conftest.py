"""Published data sets, where they are at hand."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def reference_data() -> Path:
    """Folder of published data sets; tests that need it are skipped elsewhere."""
    folder = os.environ.get("SIMKIT_REFERENCE_DATA")
    if not folder:
        pytest.skip("SIMKIT_REFERENCE_DATA is not set to the folder of published data sets")
    return Path(folder)
