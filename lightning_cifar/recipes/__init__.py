"""Find recipes: configurations that train a network to a known accuracy, each one YAML file in this folder."""

import difflib
from collections.abc import Sequence
from itertools import islice
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


def configs_first(args: Sequence[str]) -> list[str]:
    """Return a command line with `--config FILE` in place of `--recipe NAME`, and all configs behind the subcommand.

    So a flag wins wherever it stands: a config that holds every setting would undo those before it, such as the
    `outputs` of a job, without which nothing of it is kept.

    Raises:
        UserError: there is no such recipe.
    """
    configs: list[str] = []
    others: list[str] = []
    words = iter(args)
    subcommand = list(islice(words, 1))
    for word in words:
        option, equals, value = word.partition("=")
        if option in ("--recipe", "--config", "-c"):
            file = [value] if equals else list(islice(words, 1))
            configs += ["--config", *([str(find_recipe("".join(file)))] if option == "--recipe" else file)]
        else:
            others.append(word)
    return [*subcommand, *configs, *others]
