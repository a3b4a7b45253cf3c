"""The Open Inference Protocol over gRPC: the same answers, limits, keys and log lines as over HTTP."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.support.made_models import FEATURES, ROW, make_rows
from tests.support.server_process import ServerProcess, free_port, running_server

from eigenserve.model import ModelStore, load_model

grpc = pytest.importorskip("grpc", reason="needs grpcio")
pytest.importorskip("grpc_reflection", reason="needs grpcio-reflection")

from google.protobuf import descriptor_pool  # noqa: E402
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (  # noqa: E402
    ProtoReflectionDescriptorDatabase,
)

from eigenserve.app.rpc.interface import METHODS, message_class  # noqa: E402

pytestmark = pytest.mark.alone

KINDS = {"numeric": "FP64", "boolean": "BOOL", "categorical": "BYTES"}
ROWS = [{**ROW, **{k: v for k, v in row.items() if v is not None}} for row in make_rows(9, seed=11)]


class Client:
    """Calls the methods of the interface."""

    def __init__(self, port: int, *metadata: tuple[str, str]) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
        self.metadata = metadata

    def call(self, method: str, **fields: Any) -> Any:
        return self.send(method, message_class(f"{method}Request")(**fields))

    def send(self, method: str, message: Any) -> Any:
        ask = self.channel.unary_unary(
            f"/inference.GRPCInferenceService/{method}",
            request_serializer=type(message).SerializeToString,
            response_deserializer=message_class(f"{method}Response").FromString,
        )
        return ask(message, timeout=30, metadata=self.metadata)


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def rpc_server(store: ModelStore, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    settings = {
        "EIGENSERVE_GRPC_PORT": str(port),
        "EIGENSERVE_MAX_BODY_BYTES": "200000",
        "EIGENSERVE_MAX_ROWS": "1000",
        "EIGENSERVE_API_KEYS": "secret",
    }
    with running_server(store.root, tmp_path_factory.mktemp("log") / "log", **settings) as running:
        yield running
        assert "Traceback" not in running.log_text()


@pytest.fixture
def client(rpc_server: ServerProcess, port: int) -> Iterator[Client]:
    made = Client(port, ("x-api-key", "secret"))
    with made.channel:
        yield made


def infer_request(rows: list[dict[str, Any]], raw: bool, model: str = "price", **more: Any) -> Any:
    call = message_class("ModelInferRequest")(model_name=model, **more)
    for feature in FEATURES:
        values = [row[feature.name] for row in rows]
        kind = KINDS[feature.kind]
        tensor = call.inputs.add(name=feature.name, datatype=kind, shape=[len(rows)])
        if kind == "BYTES":
            texts = [str(value).encode() for value in values]
            if raw:
                call.raw_input_contents.append(b"".join(struct.pack("<I", len(text)) + text for text in texts))
            else:
                tensor.contents.bytes_contents.extend(texts)
        elif raw:
            call.raw_input_contents.append(np.array(values, "<f8" if kind == "FP64" else "?").tobytes())
        elif kind == "FP64":
            tensor.contents.fp64_contents.extend(map(float, values))
        else:
            tensor.contents.bool_contents.extend(values)
    return call


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("model", ["price", "choice", "level", "count"])
def test_predictions_are_the_models_own_to_the_last_bit(client: Client, store: ModelStore, model: str, raw: bool):
    answer = client.send("ModelInfer", infer_request(ROWS, raw, model, id="7"))
    served = load_model(store.root / model)
    assert (answer.model_name, answer.id) == (model, "7")
    assert answer.model_version == str(served.card["version"])
    contents = {
        output.name: content for output, content in zip(answer.outputs, answer.raw_output_contents, strict=True)
    }
    shapes = {output.name: list(output.shape) for output in answer.outputs}
    if served.classes:
        expected = served.predict_proba(ROWS)
        assert shapes["probabilities"] == list(expected.shape)
        assert np.frombuffer(contents["probabilities"]).tolist() == expected.ravel().tolist()
    else:
        assert np.frombuffer(contents["prediction"]).tolist() == served.predict(ROWS).tolist()


def test_versions_and_outputs_are_chosen(client: Client, store: ModelStore):
    answer = client.send("ModelInfer", infer_request(ROWS, True, model_version="1"))
    assert answer.model_version == "1"
    assert (
        np.frombuffer(answer.raw_output_contents[0]).tolist()
        == load_model(store.root / "price/1").predict(ROWS).tolist()
    )
    call = infer_request(ROWS, True, "choice")
    call.outputs.add(name="probabilities")
    assert [output.name for output in client.send("ModelInfer", call).outputs] == ["probabilities"]


def test_ids_come_back_with_warnings_and_a_strict_call_is_refused(client: Client):
    rows = [{**ROWS[0], "city": "Bavaria"}, ROW]
    call = infer_request(rows, True)
    call.inputs.add(name="id", datatype="INT64", shape=[2])
    call.raw_input_contents.append(np.array([2**60, 5], "<i8").tobytes())
    answer = client.send("ModelInfer", call)
    contents = dict(zip([output.name for output in answer.outputs], answer.raw_output_contents, strict=True))
    assert np.frombuffer(contents["id"], "<i8").tolist() == [2**60, 5]
    first, second = json.loads(answer.parameters["warnings"].string_param)
    assert [(warning["kind"], warning["feature"]) for warning in first if warning["kind"] == "unseen"] == [
        ("unseen", "city")
    ]
    assert second == []
    call.parameters["strict"].string_param = "unseen"
    with pytest.raises(grpc.RpcError) as refused:
        client.send("ModelInfer", call)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "city" in refused.value.details()


def test_one_matrix_has_all_features_in_order(client: Client, store: ModelStore):
    values = [[float(row[name]) if name != "city" else 0.0 for name in ROW] for row in ROWS]
    call = message_class("ModelInferRequest")(model_name="price")
    call.inputs.add(name="input", datatype="FP64", shape=[len(ROWS), len(FEATURES)])
    call.raw_input_contents.append(np.array(values).tobytes())
    answer = client.send("ModelInfer", call)
    assert (
        np.frombuffer(answer.raw_output_contents[0]).tolist()
        == load_model(store.root / "price").predict(values).tolist()
    )


def test_the_server_and_its_models_are_described(client: Client):
    assert client.call("ServerLive").live
    assert client.call("ServerReady").ready
    assert client.call("ModelReady", name="price").ready
    assert client.call("ModelReady", name="price", version="2").ready
    assert not client.call("ModelReady", name="price", version="9").ready
    assert not client.call("ModelReady", name="nope").ready
    assert client.call("ServerMetadata").name == "eigenserve"
    described = client.call("ModelMetadata", name="choice")
    assert [tensor.name for tensor in described.inputs] == [feature.name for feature in FEATURES]
    assert [tensor.datatype for tensor in described.outputs] == ["BOOL", "FP64"]
    assert list(described.outputs[1].shape) == [-1, 2]


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (lambda call: call.MergeFrom(type(call)(model_name="nope")), "NOT_FOUND", "no model 'nope'"),
        (lambda call: call.MergeFrom(type(call)(model_name="..%2f")), "NOT_FOUND", "no model"),
        (lambda call: call.MergeFrom(type(call)(model_name="a/../price")), "NOT_FOUND", ""),
        (lambda call: call.MergeFrom(type(call)(model_version="77")), "NOT_FOUND", "no version"),
        (lambda call: call.raw_input_contents.pop(), "INVALID_ARGUMENT", "one entry per input, 5; got 4"),
        (lambda call: call.raw_input_contents.append(b""), "INVALID_ARGUMENT", "one entry per input, 5; got 6"),
        (lambda call: call.inputs[0].contents.fp64_contents.append(1.0), "INVALID_ARGUMENT", "got both"),
        (lambda call: call.inputs[0].shape.append(10**9), "RESOURCE_EXHAUSTED", ""),
        (lambda call: setattr(call.inputs[0], "datatype", "FP128"), "INVALID_ARGUMENT", "datatype"),
        (lambda call: setattr(call.inputs[0], "name", "x"), "INVALID_ARGUMENT", "inputs[0].name"),
        (lambda call: call.outputs.add(name="x"), "INVALID_ARGUMENT", "outputs[0].name"),
    ],
)
def test_a_wrong_call_ends_with_its_reason(client: Client, change: Any, code: str, says: str):
    call = infer_request(ROWS, True)
    change(call)
    with pytest.raises(grpc.RpcError) as refused:
        client.send("ModelInfer", call)
    assert refused.value.code().name == code
    assert says in refused.value.details()
    assert client.call("ServerReady").ready


def test_a_call_that_is_not_a_message_ends_with_its_reason(client: Client):
    for content in (b"\xff" * 10, b"\xff" * 10_000):
        ask = client.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as refused:
            ask(content, timeout=30, metadata=client.metadata)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_contents_must_fit_their_datatype(client: Client):
    call = infer_request(ROWS, False)
    call.inputs[0].datatype = "INT8"
    call.inputs[0].contents.Clear()
    call.inputs[0].contents.int_contents.extend([300] * len(ROWS))
    with pytest.raises(grpc.RpcError, match="int_contents of 'age' must be numbers of INT8"):
        client.send("ModelInfer", call)
    call.inputs[0].contents.Clear()
    call.inputs[0].contents.int_contents.extend([30] * len(ROWS))
    assert len(client.send("ModelInfer", call).outputs) == 1


def test_limits_are_those_of_the_service(client: Client):
    with pytest.raises(grpc.RpcError) as refused:
        client.send("ModelInfer", infer_request(make_rows_whole(1500), True))
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(grpc.RpcError) as refused:
        client.send("ModelInfer", infer_request(make_rows_whole(60_000), True))
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert client.call("ServerLive").live


def make_rows_whole(count: int) -> list[dict[str, Any]]:
    return [dict(ROW)] * count


def test_keys_are_needed_and_noted(rpc_server: ServerProcess, port: int):
    nobody, wrong, bearer = (
        Client(port),
        Client(port, ("x-api-key", "x")),
        Client(port, ("authorization", "Bearer secret")),
    )
    for each in (nobody, wrong):
        for ask in (
            lambda each=each: each.send("ModelInfer", infer_request(ROWS, True)),
            lambda each=each: each.call("ModelReady", name="price"),
            lambda each=each: each.call("ModelMetadata", name="price"),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                ask()
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert each.call("ServerLive").live
        assert each.call("ServerReady").ready
    bearer.metadata += (("x-request-id", "mine-1"),)
    assert len(bearer.send("ModelInfer", infer_request(ROWS, True)).outputs) == 1
    deadline = time.monotonic() + 5
    while '"request_id":"mine-1"' not in rpc_server.log_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    metrics = httpx.get(f"{rpc_server.url}/metrics").text
    assert 'eigenserve_requests_total{method="POST",route="/v2/models/{name}/infer",status="200"}' in metrics


def test_reflection_shows_the_interface(rpc_server: ServerProcess, port: int):
    """As grpcurl reads it."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert "inference.GRPCInferenceService" in database.get_services()
        pool = descriptor_pool.DescriptorPool(database)
        service = pool.FindServiceByName("inference.GRPCInferenceService")
        assert [method.name for method in service.methods] == list(METHODS)
        fields = service.methods_by_name["ModelInfer"].input_type.fields_by_name
        assert fields["raw_input_contents"].number == 7


def test_a_port_in_use_is_one_line_and_exit_code_2(
    rpc_server: ServerProcess, port: int, store: ModelStore, tmp_path: Path
):
    from tests.support.server_process import start_command

    log = tmp_path / "log"
    arguments = ["serve", "--port", str(free_port()), "--store", str(store.root)]
    process = start_command(arguments, {"EIGENSERVE_GRPC_PORT": str(port)}, log)
    assert process.wait(60) == 2
    assert log.read_text() == f"error: cannot listen on 127.0.0.1:{port} for gRPC: Address already in use\n"


def test_two_workers_answer_on_one_port(store: ModelStore, tmp_path: Path):
    port = free_port()
    with running_server(store.root, tmp_path / "log", "--workers", "2", EIGENSERVE_GRPC_PORT=str(port)) as server:
        from benchmarks.store_chaos import wait_for_workers

        wait_for_workers(server.log, 2)
        expected = load_model(store.root / "price").predict(ROWS).tolist()
        for _ in range(12):
            client = Client(port)
            with client.channel:
                answer = client.send("ModelInfer", infer_request(ROWS, True))
            assert np.frombuffer(answer.raw_output_contents[0]).tolist() == expected
        assert server.stop() == 0
