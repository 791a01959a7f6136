"""Keep passwords in the address of a git remote out of the run.

The SDK writes the output of `git ls-remote --get-url` into the properties of every run, token included
(azureml/_base_sdk_common/tracking/git_tracking_info_provider.py). It takes the address from an environment
variable where there is one: that is how a clean one is handed to it.
"""

import os
import re
import subprocess
from urllib.parse import urlsplit, urlunsplit

_ADDRESSES = ("AZUREML_GIT_REPOSITORY_URI", "AZUREML_GIT_BUILD_URI")
_UNREADABLE = "(address left out)"


def hide_passwords() -> None:
    """Put clean addresses into the environment that the SDK of this process reads; ask git where the SDK asks."""
    try:
        asked = subprocess.run(
            ["git", "ls-remote", "--get-url"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        found = asked.stdout.strip() if asked.returncode == 0 else ""
    except OSError:  # no git, for the SDK neither
        found = ""
    except subprocess.TimeoutExpired:
        found = _UNREADABLE
    os.environ.setdefault(_ADDRESSES[0], found)
    for variable in _ADDRESSES:
        if os.environ.get(variable):
            os.environ[variable] = without_password(os.environ[variable])


def without_password(address: str) -> str:
    """Take user name, password, query and fragment out of an address; `git@host:path` stays as it is."""
    if "://" not in address:
        return address if "@" not in address or re.match(r"[\w.-]+@[\w.-]+:", address) else _UNREADABLE
    try:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return _UNREADABLE
    if "@" in parts.path:  # a password with a slash in it ends the host early: no telling what is secret
        return _UNREADABLE
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
