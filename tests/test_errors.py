"""Errors that the user can mend: one line, and the name of a wrong argument apart from it."""

import pickle

import pytest

from fashion_transfer.errors import ArgumentError, FashionTransferError, first_line


def test_argument_error_puts_the_name_before_the_message():
    error = ArgumentError("zoom", "must be under 1, got 2")
    assert str(error) == "zoom must be under 1, got 2"
    assert (error.name, error.message) == ("zoom", "must be under 1, got 2")


def test_argument_error_name_may_be_dotted():
    assert str(ArgumentError("head.name", "must be 'mlp'")) == "head.name must be 'mlp'"


def test_argument_error_is_caught_as_a_fashion_transfer_error():
    with pytest.raises(FashionTransferError, match="^zoom must be under 1$"):
        raise ArgumentError("zoom", "must be under 1")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_argument_error_crosses_processes(protocol):
    # As from a worker process of a DataLoader.
    error = pickle.loads(pickle.dumps(ArgumentError("zoom", "must be under 1"), protocol))
    assert type(error) is ArgumentError
    assert (str(error), error.name, error.message) == (
        "zoom must be under 1",
        "zoom",
        "must be under 1",
    )


def test_fashion_transfer_error_crosses_processes():
    error = pickle.loads(pickle.dumps(FashionTransferError("no such file")))
    assert type(error) is FashionTransferError
    assert str(error) == "no such file"


@pytest.mark.parametrize(
    ("message", "expected"),
    [("it broke", "it broke"), ("\n it broke\nat line 3", "it broke"), ("", "KeyError")],
)
def test_first_line_is_that_of_the_message_or_the_name_of_the_type(message, expected):
    error = KeyError() if not message else RuntimeError(message)
    assert first_line(error) == expected
