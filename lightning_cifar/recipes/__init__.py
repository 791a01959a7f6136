"""Find recipes: configurations that train a network to a known accuracy, each one YAML file in this folder."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from lightning_cifar.errors import UserError

RECIPES = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}
"""The file of each recipe."""


def find_recipe(name: str) -> Path:
    """Return the file of a recipe.

    Raises:
        UserError: there is none of this name.
    """
    if name not in RECIPES:
        nearest = difflib.get_close_matches(name, RECIPES, n=len(RECIPES), cutoff=0.0)
        raise UserError(f"no recipe {name!r}: there is {', '.join(nearest)}")
    return RECIPES[name]


def expand_recipe(args: Sequence[str]) -> list[str]:
    """Return a command line with `--config FILE` in place of `--recipe NAME` or `--recipe=NAME`.

    Raises:
        UserError: there is no such recipe.
    """
    expanded: list[str] = []
    words = iter(args)
    for word in words:
        option, equals, name = word.partition("=")
        if option == "--recipe":
            expanded += ["--config", str(find_recipe(name if equals else next(words, "")))]
        else:
            expanded.append(word)
    return expanded
