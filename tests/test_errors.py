"""Errors in one line, with the line of the user's own code, and with a traceback on request."""

import pytest

from lightning_cifar.errors import UserError, one_line, place, raised_by_library, report


@pytest.fixture
def own_network(monkeypatch, tmp_path):
    """Import a module of the user's own whose function `build` raises."""
    (tmp_path / "broken_net.py").write_text("def build():\n    raise ValueError('no weights.bin')\n")
    monkeypatch.syspath_prepend(tmp_path)
    import broken_net  # type: ignore[import-not-found]

    return broken_net


@pytest.mark.parametrize("debug", [None, "0", "1"])
def test_an_error_is_one_line_with_the_place_and_on_request_the_traceback(own_network, monkeypatch, capsys, debug):
    monkeypatch.delenv("LIGHTNING_CIFAR_DEBUG", raising=False)
    if debug is not None:
        monkeypatch.setenv("LIGHTNING_CIFAR_DEBUG", debug)
    try:
        try:
            own_network.build()
        except ValueError as error:
            raise UserError(f"{error}{place(error)};\nmend it") from error
    except UserError as error:
        assert report(error) == 1
    *traceback, last = capsys.readouterr().err.splitlines()
    hint = "(broken_net.py, line 2; LIGHTNING_CIFAR_DEBUG=1 shows the traceback)"
    assert last == f"error: no weights.bin {hint}; mend it"
    assert bool(traceback) == (debug == "1")
    if traceback:
        assert traceback[0].startswith("Traceback") and "ValueError: no weights.bin" in traceback
        assert any('broken_net.py", line 2, in build' in line for line in traceback)


@pytest.mark.parametrize("debug", ["0", "1"])
def test_the_command_line_shows_the_traceback_of_ones_own_network(main, images, own_network, monkeypatch, debug):
    (main.folder / "hasty_net.py").write_text(
        "from torch import nn\nclass Hasty(nn.Module):\n    def __init__(self):\n        self.layer = nn.Flatten()\n"
    )
    monkeypatch.setenv("LIGHTNING_CIFAR_DEBUG", debug)
    assert main("fit", "--data.source", images, "--model.net", "hasty_net.Hasty") == 1
    assert "(hasty_net.py, line 4; LIGHTNING_CIFAR_DEBUG=1 shows the traceback)" in main.err.splitlines()[-1]
    assert ('hasty_net.py", line 4, in __init__' in main.err) == (debug == "1")


def test_an_error_outside_the_users_code_has_no_place():
    try:
        int("x")
    except ValueError as error:
        assert place(error.with_traceback(None)) == ""
    assert place(None) == ""


def test_what_a_library_says_in_several_lines():
    assert one_line(ValueError("several:\n\n  - of them.\n* or 3 - 2;")) == "several: of them; or 3 - 2"


def test_an_error_that_no_library_raised_keeps_its_traceback(own_network):
    with pytest.raises(ValueError, match="no weights") as raised:
        own_network.build()
    assert not raised_by_library(raised.value)
