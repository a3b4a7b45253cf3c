"""Whose request it is: for fairness one client is one address, or one network where addresses are cheap."""

from __future__ import annotations

import pytest

from eigenserve.app.request_state import client_of


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a:name", "a:name"),
    ],
)
def test_addresses_of_one_network_are_one_client(address: str, client: str):
    assert client_of({"client": (address, 5000)}) == client


def test_a_key_is_whose_request_it_is():
    assert client_of({"client": ("192.0.2.7", 5000), "state": {"key_name": "billing"}}) == "key billing"
    assert client_of({"client": None}) == "unknown"
