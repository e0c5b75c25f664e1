"""What callers are told of the server that they reached."""

from __future__ import annotations

import pytest

from jupyter_mlsvc_server.api.lifecycle import Lifecycle


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("models.example:8888", "http://models.example:12800"),
        ("models.example", "http://models.example:12800"),
        ("10.0.0.7:12800", "http://10.0.0.7:12800"),
        ("[fe80::1]:12800", "http://[fe80::1]:12800"),
        ("[fe80::1]", "http://[fe80::1]:12800"),
        ("", "http://127.0.0.1:12800"),
        ("a@b/c", "http://127.0.0.1:12800"),
    ],
)
def test_public_url_has_the_host_of_the_caller_where_all_addresses_are_open(
    host: str, url: str
) -> None:
    lifecycle = Lifecycle(public_url="http://127.0.0.1:12800", is_at_any_address=True)
    assert lifecycle.public_url_for(host) == url


def test_public_url_is_that_of_the_settings_otherwise() -> None:
    lifecycle = Lifecycle(public_url="https://10.0.0.7:12800")
    assert lifecycle.public_url_for("models.example") == "https://10.0.0.7:12800"
    assert Lifecycle().public_url_for("models.example") == ""
