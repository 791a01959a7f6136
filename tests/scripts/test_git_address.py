"""Addresses of git remotes without what is nobody's business."""

import pytest

from scripts.azure.git_address import without_password


@pytest.mark.parametrize(
    ("address", "clean"),
    [
        ("https://me:s3cret@host.example/team/project.git", "https://host.example/team/project.git"),
        ("https://s3cret@host.example/project", "https://host.example/project"),
        ("https://me:s3@cret@host.example:8443/project", "https://host.example:8443/project"),
        ("https://host.example/project?token=s3cret#s3cret", "https://host.example/project"),
        ("ssh://git:s3cret@host.example/project", "ssh://host.example/project"),
        ("git@host.example:team/project.git", "git@host.example:team/project.git"),
        ("/home/me/project", "/home/me/project"),
        ("origin", "origin"),
    ],
)
def test_user_password_and_query_are_taken_out(address: str, clean: str) -> None:
    assert without_password(address) == clean


@pytest.mark.parametrize("address", ["https://me:s3/cret@host/project", "https://[s3cret@host", "//me:s3cret@host/p"])
def test_nothing_is_left_of_an_address_that_cannot_be_read(address: str) -> None:
    assert "s3" not in without_password(address)
