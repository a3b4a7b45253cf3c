"""Real clients of other model servers, unmodified. Each test is skipped where its client is not installed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import numpy as np
import pytest
from tests.support.made_models import FEATURES, make_rows
from tests.support.server_process import ServerProcess

from eigenserve.model import ModelStore, load_model

# Clients warn of their own dependencies; that is not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore")

NAMES = [feature.name for feature in FEATURES]
ROWS = [
    {
        "age": row["age"],
        "income": row.get("income", 1000.0),
        "member": row["member"],
        "city": row["city"] or "Rome",
        "rate": row["rate"],
    }
    for row in make_rows(9, seed=11)
]


def column(name: str) -> np.ndarray:
    values = [row[name] for row in ROWS]
    kinds = {"member": bool, "city": object}
    return np.array(values, kinds.get(name, float))


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient(server: ServerProcess, store: ModelStore, binary: bool, compression: str | None):
    pytest.importorskip("gevent", reason="needs tritonclient[http]")
    http = pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
    kinds = {"member": "BOOL", "city": "BYTES"}
    with http.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("price")
        assert client.is_model_ready("price", "1")
        assert not client.is_model_ready("nope")
        assert client.get_server_metadata()["name"] == "eigenserve"
        assert [i["name"] for i in client.get_model_metadata("price")["inputs"]] == NAMES
        inputs = []
        for name in NAMES:
            tensor = http.InferInput(name, [len(ROWS), 1], kinds.get(name, "FP64"))
            if name == "age" and not binary:  # missing values have no JSON number
                tensor = http.InferInput(name, [len(ROWS), 1], "FP64")
            tensor.set_data_from_numpy(column(name).reshape(-1, 1), binary_data=binary or name == "age")
            inputs.append(tensor)
        expected = load_model(store.root / "price").predict(ROWS)
        for outputs in (None, [http.InferRequestedOutput("prediction", binary_data=binary)]):
            result = client.infer(
                "price", inputs, outputs=outputs, request_id="9", request_compression_algorithm=compression
            )
            assert result.as_numpy("prediction").tolist() == expected.tolist()
            assert result.get_response()["id"] == "9"
        labels = client.infer("level", inputs).as_numpy("label")
        model = load_model(store.root / "level")
        chosen = model.predict_proba(ROWS).argmax(axis=1)
        assert [bytes(label).decode() for label in labels] == [str(model.classes[i]) for i in chosen]
        client.load_model("count")
        assert {"name": "count", "version": "1", "state": "READY", "reason": ""} in (
            client.get_model_repository_index()
        )
        with pytest.raises(Exception, match="no model 'nope'"):
            client.infer("nope", inputs)
        with pytest.raises(Exception, match="does not exist"):
            client.get_inference_statistics("price")


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_kserve_client(server: ServerProcess, store: ModelStore, protocol: str):
    kserve = pytest.importorskip("kserve", reason="needs kserve")
    if not hasattr(kserve, "RESTConfig"):
        pytest.skip("needs kserve with what it depends on")

    async def ask() -> None:
        config = kserve.RESTConfig(protocol=protocol)
        async with AsyncExitStack() as stack:
            client = kserve.InferenceRESTClient(config)
            stack.push_async_callback(client.close)
            await ask_through(client)

    async def ask_through(client) -> None:
        expected = load_model(store.root / "price").predict(ROWS).tolist()
        assert await client.is_model_ready(server.url, "price")
        if protocol == "v1":
            body = {"instances": ROWS}
            answer = await client.infer(server.url, body, model_name="price")
            assert answer["predictions"] == expected
            explained = await client.explain(server.url, model_name="price", data=body)
            assert len(explained["explanations"]) == len(ROWS)
            return
        assert await client.is_server_live(server.url)
        assert await client.is_server_ready(server.url)
        kinds = {"member": "BOOL", "city": "BYTES"}
        inputs = []
        for name in NAMES:
            tensor = kserve.InferInput(name=name, shape=[len(ROWS)], datatype=kinds.get(name, "FP64"))
            tensor.set_data_from_numpy(column(name), binary_data=True)
            inputs.append(tensor)
        request = kserve.InferRequest(model_name="price", infer_inputs=inputs, request_id="1")
        answer = await client.infer(server.url, request, model_name="price")
        assert answer.outputs[0].as_numpy().tolist() == expected

    asyncio.run(ask())


def test_mlflow_client(server: ServerProcess, store: ModelStore):
    scoring = pytest.importorskip("mlflow.pyfunc.scoring_server.client", reason="needs mlflow-skinny")
    pandas = pytest.importorskip("pandas")
    client = scoring.ScoringServerClient("127.0.0.1", server.port)
    client.ping()
    expected = load_model(store.root / "price").predict(ROWS).tolist()
    answer = client.invoke(pandas.DataFrame(ROWS))
    assert answer.get_predictions().iloc[:, 0].tolist() == expected


def test_open_inference_client(server: ServerProcess, store: ModelStore):
    openapi = pytest.importorskip("open_inference.openapi.client", reason="needs open-inference-openapi")
    types = pytest.importorskip("open_inference.openapi.types")
    client = openapi.OpenInferenceClient(base_url=server.url, httpx_client=server.client)
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_readiness("price")
    assert client.read_model_metadata("price").name == "price"
    assert client.read_server_metadata().name == "eigenserve"
    kinds = {"member": "BOOL", "city": "BYTES"}
    rows = [{**row, "age": 31.0} for row in ROWS]  # its tensors cannot hold a missing number
    inputs = [
        types.RequestInput(
            name=name,
            shape=[len(rows)],
            datatype=kinds.get(name, "FP64"),
            data=types.TensorData.parse_obj([row[name] for row in rows]),
        )
        for name in NAMES
    ]
    answer = client.model_infer("price", request=types.InferenceRequest(inputs=inputs))
    assert answer.outputs[0].data.__root__ == load_model(store.root / "price").predict(rows).tolist()
    with pytest.raises(Exception, match="no model"):
        client.read_model_metadata("nope")
