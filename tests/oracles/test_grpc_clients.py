"""Triton's gRPC client, unmodified, and the interface that it was generated from.

It cannot be in one process with KServe's, since both register messages of the same names.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.oracles.test_clients import NAMES, ROWS, column
from tests.support.server_process import free_port, running_server

from eigenserve.model import ModelStore, load_model

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def grpc_port(store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    pytest.importorskip("grpc_reflection", reason="needs eigenserve[grpc]")
    port = free_port()
    with running_server(store.root, tmp_path_factory.mktemp("grpc") / "log", EIGENSERVE_GRPC_PORT=str(port)):
        yield port


def test_tritonclient_over_grpc(grpc_port: int, store: ModelStore):
    client = pytest.importorskip("tritonclient.grpc", reason="needs tritonclient[grpc]")
    kinds = {"member": "BOOL", "city": "BYTES"}
    with client.InferenceServerClient(f"127.0.0.1:{grpc_port}") as server:
        assert server.is_server_live()
        assert server.is_server_ready()
        assert server.is_model_ready("price", "1")
        assert not server.is_model_ready("nope")
        assert server.get_server_metadata().name == "eigenserve"
        assert [tensor.name for tensor in server.get_model_metadata("price").inputs] == NAMES
        inputs = []
        for name in NAMES:
            tensor = client.InferInput(name, [len(ROWS), 1], kinds.get(name, "FP64"))
            tensor.set_data_from_numpy(column(name).reshape(-1, 1))
            inputs.append(tensor)
        result = server.infer("price", inputs, request_id="9")
        assert result.as_numpy("prediction").tolist() == load_model(store.root / "price").predict(ROWS).tolist()
        assert result.get_response().id == "9"
        outputs = [client.InferRequestedOutput("probabilities")]
        expected = load_model(store.root / "level").predict_proba(ROWS)
        assert server.infer("level", inputs, outputs=outputs).as_numpy("probabilities").tolist() == expected.tolist()
        with pytest.raises(client.InferenceServerException, match="no model 'nope'"):
            server.infer("nope", inputs)


def test_the_interface_over_grpc_is_the_published_one():
    """Field by field that of tritonclient, which has all of the protocol and more."""
    published = pytest.importorskip("tritonclient.grpc.service_pb2", reason="needs tritonclient[grpc]")
    interface = pytest.importorskip("eigenserve.app.rpc.interface", reason="needs eigenserve[grpc]")
    ours, theirs = interface.POOL.FindFileByName("open_inference_grpc.proto"), published.DESCRIPTOR

    def described(message: object) -> object:
        return {
            field.name: (
                field.number,
                field.type,
                field.is_repeated,
                field.message_type and field.message_type.full_name,
                field.containing_oneof and field.containing_oneof.name,
            )
            for field in message.fields
        }

    def check(mine: dict, other: dict) -> None:
        for name, message in mine.items():
            assert described(message).items() <= described(other[name]).items()
            check(message.nested_types_by_name, other[name].nested_types_by_name)

    check(ours.message_types_by_name, theirs.message_types_by_name)
    service, other = (file.services_by_name["GRPCInferenceService"] for file in (ours, theirs))
    assert {method.name for method in service.methods} <= {method.name for method in other.methods}
