"""The benchmarks are no installed package: they are found from the root of the checkout."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def root(monkeypatch) -> Path:
    monkeypatch.syspath_prepend(ROOT)
    return ROOT
