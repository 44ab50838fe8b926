import pickle

import pytest

from adaptive_attention_tiling import errors
from adaptive_attention_tiling.errors import (
    AATError,
    ArgumentError,
    CorrectnessError,
    DataError,
    MissingDependencyError,
    UnsupportedError,
)


def test_argument_error_names_what_came_what_was_expected_and_the_fix():
    error = ArgumentError("tolerance", -0.1, "a number >= 0", "pass tolerance=0")
    assert str(error) == "tolerance: got -0.1, expected a number >= 0. Fix: pass tolerance=0."
    assert (error.name, error.got, error.expected, error.fix) == (
        "tolerance",
        -0.1,
        "a number >= 0",
        "pass tolerance=0",
    )


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (ArgumentError("a", 1, "2", "pass 2"), ValueError),
        (MissingDependencyError("plotting", "plotly", "pip install plotly"), ImportError),
        (CorrectnessError("no"), ArithmeticError),
        (UnsupportedError("no"), NotImplementedError),
        (DataError("no"), AATError),
    ],
)
def test_errors_can_be_caught_by_root_and_by_builtin(error, builtin):
    assert isinstance(error, AATError)
    assert isinstance(error, builtin)


def test_every_error_is_under_the_root():
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(classes) == 6
    assert all(issubclass(cls, AATError) for cls in classes)


@pytest.mark.parametrize(
    "error",
    [
        ArgumentError("a", 1, "2", "pass 2"),
        MissingDependencyError("plotting", "plotly", "pip install plotly"),
    ],
)
def test_errors_survive_a_process_boundary(error):
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
