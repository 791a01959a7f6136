"""Keep passwords in the address of a git remote out of the run.

Both SDKs write the output of `git ls-remote --get-url` into the properties of every run, token included
(azureml/_base_sdk_common/tracking/git_tracking_info_provider.py). They take the address from an environment
variable where there is one: that is how a clean one is handed to them.
"""

import os
import re
import subprocess
from urllib.parse import urlsplit

_ADDRESSES = ("AZUREML_GIT_REPOSITORY_URI", "AZUREML_GIT_BUILD_URI")
_UNREADABLE = "(address left out)"


def hide_passwords() -> None:
    """Put clean addresses into the environment that the SDK of this process reads; ask git where the SDK asks."""
    command = ["git", "ls-remote", "--get-url"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        found = asked.stdout.strip() if asked.returncode == 0 else ""
    except (OSError, subprocess.TimeoutExpired):
        found = _UNREADABLE
    os.environ.setdefault(_ADDRESSES[0], found)
    for variable in _ADDRESSES:
        if os.environ.get(variable):
            os.environ[variable] = without_password(os.environ[variable])


def without_password(address: str) -> str:
    """Return an address without user name, password, parameters, query and fragment; ssh's `git@` stays.

    What cannot be read with certainty is left out as a whole.
    """
    if "://" not in address:
        place = re.fullmatch(r"((?:git@)?[\w.-]+:[^:@?#;]*|[^:@?#;]*)", re.sub(r"^(?!git@)[\w.-]+@", "", address))
        return place[0] if place else _UNREADABLE
    try:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
        _ = parts.port
    except ValueError:
        return _UNREADABLE
    path = parts.path.partition(";")[0]
    # A password with a slash, ? or # in it ends the host early, an @ in a parameter late: no telling what is secret.
    unclear = ";" in parts.netloc or ":" in path or re.search("@|%40", parts.path + parts.query + parts.fragment)
    if unclear or not re.fullmatch(r"([\w.-]*|\[[\da-fA-F:.]+\])(:\d*)?", host):
        return _UNREADABLE
    return f"{parts.scheme}://{host}{path}"
