import os

# Before any Hugging Face library is imported: a test that forgets itself fails instead of waiting.
os.environ["HF_HUB_OFFLINE"] = "1"
# Before torch is imported, here and in child processes: tests are too small for a second thread,
# and threads that wait for each other on a busy machine make them ten times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def poisoned_empty() -> Iterator[None]:
    """Let torch.empty hand out NaN, so that memory read before it was written shows."""
    if torch.cuda.is_available():  # the same switch forbids many CUDA kernels
        yield
        return
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
