"""How the threads that torch computes with behave while they wait for each other."""

from __future__ import annotations

import os
import sys


def wait_asleep() -> bool:
    """Let waiting threads sleep instead of spin; False if it is too late or was chosen already.

    A spinning thread holds the core that the one it waits for may need: beside one other busy
    program on two cores, a run of 2.4 minutes took over 9. The OpenMP runtime reads the setting
    once, when torch is imported. It holds for the whole process and its children, so only a
    program should choose it, never a library.
    """
    if "torch" in sys.modules or "OMP_WAIT_POLICY" in os.environ:
        return False
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    return True
