"""What the page says of how steady the reasons are: of the method that it shows, and of no other."""

from collections.abc import Iterator

import pytest
from tests.support.browser import Visit, running_browser
from tests.support.made_models import ROW, make_model
from tests.support.server_process import ServerProcess, running_server

from eigenserve.model import ModelStore


@pytest.fixture
def server(tmp_path) -> Iterator[ServerProcess]:
    store = ModelStore(tmp_path / "store")
    store.save("price", make_model(seed=2))
    with running_server(store.root, tmp_path / "server.log") as running:
        yield running


def test_the_flag_is_of_the_method_that_is_shown(server: ServerProcess):
    with running_browser() as browser:
        at = Visit(browser, server.url)
        page = at.open("#model=price&" + "&".join(f"x.{name}={value}" for name, value in ROW.items()))
        for method, proof in (("shapley", False), ("eigenvector", True)):
            page.get_by_role("radio", name=method, exact=True).check()
            at.settle()
            body = {"instances": [ROW], "method": method, "include": ["stability"]}
            found = server.client.post("/explain", json=body).json()["explanations"][0]["stability"]
            assert (found["order_proved"] is not None) == proof
            said = page.locator("#stability").inner_text()
            assert f"are still {', '.join(found['leading'])}, in this order and with these signs" in said
            assert page.locator("#flag").get_attribute("data-trusted") == str(found["order_holds"] >= 0.9).lower()
            if not proof:
                assert "Nothing is proved" in said
                assert "nothing is proved of this method" in page.locator("#flag").get_attribute("title")
        assert at.troubles == []
