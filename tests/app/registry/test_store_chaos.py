"""What the store of a running server goes through costs no answer: `python -m benchmarks.store_chaos` in short."""

from __future__ import annotations

import pytest
from benchmarks import store_chaos
from benchmarks.store_chaos import Chaos
from tests.support.made_models import ROW, make_model
from tests.support.server_process import running_server

pytestmark = pytest.mark.alone

#: Short, so that many looks see every stage of an event. A version still has two looks and the slack to come up.
INTERVAL_S = 0.2


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("chaos")
    made = store_chaos.new_store(folder / "store", make_model(), dict(ROW))
    made.interval_s = INTERVAL_S
    settings = {"EIGENSERVE_WATCH_INTERVAL_S": str(INTERVAL_S), "EIGENSERVE_ACCESS_LOG": "false"}
    with running_server(made.store.root, folder / "log", "--workers", "2", **settings) as server:
        store_chaos.attach(made, server.port, server.process.pid, 2, server.log)
        yield made
        assert "Traceback" not in server.log_text()


@pytest.mark.parametrize("event", store_chaos.EVENTS, ids=lambda event: event.__name__)
def test_no_served_model_is_lost_and_no_answer_mixed(chaos: Chaos, event):
    # Of bad versions there are nine kinds.
    store_chaos.run_chaos(chaos, iter([event] * (9 if event is store_chaos.bad_version else 1)))
    assert store_chaos.problems(chaos) == []
    assert all(client.answers > 20 for client in chaos.clients.values())
