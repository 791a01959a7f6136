"""What ends a command line, as its user and the shell see it."""

import argparse

import pytest

from lightning_cifar.errors import UserError
from scripts import console


def fail(arguments):
    raise UserError("no config.json\nhere; download it")


def test_an_error_is_one_line_and_exit_code_1(monkeypatch, capsys):
    monkeypatch.delenv("LIGHTNING_CIFAR_DEBUG", raising=False)

    assert console.exit_code(fail, []) == 1

    assert capsys.readouterr() == ("", "error: no config.json here; download it\n")


def test_debugging_shows_the_traceback_above_that_line(monkeypatch, capsys):
    monkeypatch.setenv("LIGHTNING_CIFAR_DEBUG", "1")

    assert console.exit_code(fail, []) == 1

    error = capsys.readouterr().err
    assert error.startswith("Traceback (most recent call last):\n")
    assert "in fail\n" in error
    assert error.endswith("\nerror: no config.json here; download it\n")


def test_ctrl_c_gives_130(capsys):
    def main(arguments):
        raise KeyboardInterrupt

    assert console.exit_code(main, []) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "two", "", "²"])
def test_counts_are_whole_and_positive(text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"at least 1, not '{text}'"):
        console.positive(text)
    assert console.positive("12") == 12
