"""LightningCLI's parser, with errors of one line."""

import re
from typing import NoReturn

from pytorch_lightning.cli import LightningArgumentParser

from lightning_cifar.errors import UserError, one_line

HELP = "see python -m lightning_cifar fit --help"


class Parser(LightningArgumentParser):
    """LightningCLI's parser, with errors of one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what would have been a page of usage.

        Raises:
            UserError: always.
        """
        reason = readable(message)
        where = HELP.replace(" fit", "") if "subcommand" in reason else HELP
        raise UserError(f"{reason}; {where}") from ex


def readable(message: str) -> str:
    """Say in a few words what jsonargparse says with every type it has tried.

    Its message on `--trainer.max_epochs three`, of ten lines with "Does not validate against any of the Union
    subtypes", becomes `--trainer.max_epochs is three, but must be int or null`.
    """
    message = message.replace(f"; {HELP}", "")
    if isinstance(missing := _find(r"expected \"subcommand\" to be one of \{(.*?)\}", message), str):
        return f"no subcommand: give one of {missing.replace(',', ', ')}"
    causes = [cause for cause in re.findall(r"^ *- (.+)", message, re.MULTILINE) if not cause.startswith("Expected a")]
    keys = list(dict.fromkeys(re.findall(r'Parser key "([\w.+]+)"', message)))
    if not keys:
        made = _find(r"Given value: Namespace\(class_path='(.+?)'", message)
        cause = _find(r"Problem with given class_path '[^']+':\n\s+(.+)", message) or "".join(causes[:1])
        return f"{made} cannot be made: {cause}" if made and cause else one_line(message)
    flag = f"--{'.'.join(keys)}"
    if inner := _find(r"--(\S+ is .+, but .+)", message):  # of a parser within
        return f"{flag}.{inner}"
    if required := _find(r"the following arguments are required: ([\w, ]+)", message):
        return f"{flag} needs {required}: add " + " ".join(f"{flag}.{name} VALUE" for name in required.split(", "))
    if unknown := _find(r"Option '(.+?)' is not accepted", message):
        return f"there is no {flag}.{unknown}"
    value = _find(r"(?:Given value|Got value): (?!NestedArg|Namespace)(.+)", message)
    if "dot import path" in message or "Import path" in message or "class_path" in message:
        kind = _find(r"Subtypes: \[.*?<class '[\w.]*?(\w+)'>", message) or "class"
        if not re.search(r"Expected a (<class '(int|float|bool)'>|typing)", message):
            reason = _find(r"(No module named '.+?'|module '.+?' has no attribute '.+?')", message)
            why = f" ({reason})" if reason else ""
            which = " or of a function that says `-> torch.nn.Module`" if kind == "Module" else ""
            return f"{flag} is {value}, but that is no {kind}{why}; give the name of one{which}, with its package"
    wanted: list[str] = []
    for simple, choices, members in re.findall(
        r"Expected a (?:<class '(\w+)'>|typing\.Literal\[(.+?)\]|member of <enum .*?>: \{(.+?)\})", message
    ):
        wanted += [simple] if simple else (choices or members).replace("'", "").replace(" ", "").split(",")
    if wanted == ["NoneType"] and causes:  # what is wanted could not even be looked at, for a syntax error, say
        return f"{flag} is {value}, which cannot be read: {causes[-1]}"
    if value is None or not wanted:
        return one_line(message)
    names = ["null" if name == "NoneType" else name for name in dict.fromkeys(wanted)]
    return f"{flag} is {value}, but must be {', '.join(names[:-1])}{' or ' if names[1:] else ''}{names[-1]}"


def _find(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found[1].strip() if found else None
