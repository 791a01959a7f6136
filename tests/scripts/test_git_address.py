"""Addresses of git remotes without what is nobody's business."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.azure.git_address import without_password


@pytest.mark.parametrize(
    ("address", "clean"),
    [
        ("https://me:s3cret@host.example/team/project.git", "https://host.example/team/project.git"),
        ("https://s3cret@host.example/project", "https://host.example/project"),
        ("https://me:s3@cret@host.example:8443/project", "https://host.example:8443/project"),
        ("https://host.example/project?token=s3cret#s3cret", "https://host.example/project"),
        ("https://host.example/project;token=s3cret", "https://host.example/project"),
        ("https://me:s3?cret@host.example/project", "(address left out)"),
        ("https://me%3A@s3cret?%40host.example/project", "(address left out)"),
        ("https:///s3cret;@host.example/project", "(address left out)"),
        ("https://host.example;token=@s3cret", "(address left out)"),
        ("ssh://git:s3cret@host.example/project", "ssh://host.example/project"),
        ("ssh://git@[2001:db8::1]:22/project", "ssh://[2001:db8::1]:22/project"),
        ("s3cret@host.example:team/project.git", "host.example:team/project.git"),
        ("git@host.example:team/project.git", "git@host.example:team/project.git"),
        ("file:///home/me/project", "file:///home/me/project"),
        ("/home/me/my project", "/home/me/my project"),
        ("../project", "../project"),
        ("origin", "origin"),
        ("", ""),
    ],
)
def test_what_is_public_stays(address: str, clean: str) -> None:
    assert without_password(address) == clean


SECRET = "S3CRET"
HIDING = [
    "{scheme}://{secret}@{host}{path}",
    "{scheme}://{user}:{secret}@{host}{path}",
    "{scheme}://{user}%3A{secret}%40{host}{path}",
    "{scheme}://{user}:{secret}%40{host}{path}",
    "{scheme}:{user}:{secret}@{host}{path}",
    "{scheme}://{host}{path}?{user}={secret}",
    "{scheme}://{host}{path}#{secret}",
    "{scheme}://{host}{path};{user}={secret}",
    "//{user}:{secret}@{host}{path}",
    "{user}:{secret}@{host}:{path}",
    "{secret}@{host}:{path}",
    "git@{host}:{path}?token={secret}",
    "{host}:{path}?token={secret}",
    "ext::git-remote --token {secret} {host}",
]
NASTY = st.text(st.sampled_from("aB1/@:?#%&=;[]\\ ~+.-"), max_size=4)


@given(
    shape=st.sampled_from(HIDING),
    scheme=st.sampled_from(["https", "http", "ssh", "git", "git+https", "ftp"]),
    user=st.sampled_from(["me", "git", "x-access-token", "m.e"]),
    before=NASTY,
    after=NASTY,
    host=st.sampled_from(["host.example", "host:8443", "[::1]", "host"]),
    path=st.sampled_from(["", "/", "/team/project.git", "/a@b/c"]),
)
def test_no_password_or_token_leaves_in_any_form(
    shape: str, scheme: str, user: str, before: str, after: str, host: str, path: str
) -> None:
    secret = f"{before}{SECRET}{after}"

    assert SECRET not in without_password(shape.format(scheme=scheme, user=user, secret=secret, host=host, path=path))
