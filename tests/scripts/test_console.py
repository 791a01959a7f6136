"""What ends a command line, as its user and the shell see it."""

import pytest

from lightning_cifar.errors import UserError
from scripts import console


def fail(arguments):
    raise UserError("no config.json\nhere; download it")


@pytest.mark.parametrize("debugging", ["", "1"])
def test_an_error_is_one_line_after_its_traceback_if_that_is_wanted(monkeypatch, capsys, debugging):
    monkeypatch.setenv("LIGHTNING_CIFAR_DEBUG", debugging)

    assert console.exit_code(fail, []) == 1

    out, error = capsys.readouterr()
    traceback, line = error.splitlines()[:-1], error.splitlines()[-1]
    assert (out, line) == ("", "error: no config.json here; download it")
    assert ("Traceback (most recent call last):" in traceback) == (debugging == "1") == bool(traceback)


def test_ctrl_c_gives_130(capsys):
    def main(arguments):
        raise KeyboardInterrupt

    assert console.exit_code(main, []) == 130
    assert capsys.readouterr().err == "interrupted\n"
