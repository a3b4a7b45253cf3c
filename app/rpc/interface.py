"""Describe the Open Inference Protocol's gRPC interface: its messages, field by field, and its methods.

The names and numbers are those of the protocol as the KServe project publishes it
(https://github.com/kserve/open-inference-protocol, specification/protocol/open_inference_grpc.proto). Messages are made
from this table when they are needed, so that nothing depends on the release of a code generator, in a pool that no
other package's messages of the same names can get into.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = "GRPCInferenceService"
METHODS = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")

#: Message -> its fields in the order of their numbers: a type, "*" for a list, "%" for a map from texts, and the name.
_PARAMETERS = "%InferParameter parameters"
_TENSOR = ("string name", "string datatype", "*int64 shape")
_NAMED = ("string name", "string version")
MESSAGES: dict[str, tuple[str, ...]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("bool live",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("bool ready",),
    "ModelReadyRequest": _NAMED,
    "ModelReadyResponse": ("bool ready",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": (*_NAMED, "*string extensions"),
    "ModelMetadataRequest": _NAMED,
    "ModelMetadataResponse": (
        "string name",
        "*string versions",
        "string platform",
        "*ModelMetadataResponse.TensorMetadata inputs",
        "*ModelMetadataResponse.TensorMetadata outputs",
    ),
    "ModelMetadataResponse.TensorMetadata": _TENSOR,
    "ModelInferRequest": (
        "string model_name",
        "string model_version",
        "string id",
        _PARAMETERS,
        "*ModelInferRequest.InferInputTensor inputs",
        "*ModelInferRequest.InferRequestedOutputTensor outputs",
        "*bytes raw_input_contents",
    ),
    "ModelInferRequest.InferInputTensor": (*_TENSOR, _PARAMETERS, "InferTensorContents contents"),
    "ModelInferRequest.InferRequestedOutputTensor": ("string name", _PARAMETERS),
    "ModelInferResponse": (
        "string model_name",
        "string model_version",
        "string id",
        _PARAMETERS,
        "*ModelInferResponse.InferOutputTensor outputs",
        "*bytes raw_output_contents",
    ),
    "ModelInferResponse.InferOutputTensor": (*_TENSOR, _PARAMETERS, "InferTensorContents contents"),
    "InferParameter": (
        "bool bool_param",
        "int64 int64_param",
        "string string_param",
        "double double_param",
        "uint64 uint64_param",
    ),
    "InferTensorContents": (
        "*bool bool_contents",
        "*int32 int_contents",
        "*int64 int64_contents",
        "*uint32 uint_contents",
        "*uint64 uint64_contents",
        "*float fp32_contents",
        "*double fp64_contents",
        "*bytes bytes_contents",
    ),
}
#: Messages of whose fields a value has one.
ONE_OF = {"InferParameter": "parameter_choice"}

_Field = descriptor_pb2.FieldDescriptorProto


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="open_inference_grpc.proto", package=PACKAGE, syntax="proto3")
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for full_name, fields in MESSAGES.items():
        outer, _, name = full_name.rpartition(".")
        message = made[full_name] = (made[outer].nested_type if outer else file.message_type).add(name=name)
        if full_name in ONE_OF:
            message.oneof_decl.add(name=ONE_OF[full_name])
        for number, text in enumerate(fields, 1):
            kind, field_name = text.split()
            field = message.field.add(name=field_name, number=number, label=_Field.LABEL_OPTIONAL)
            if full_name in ONE_OF:
                field.oneof_index = 0
            if kind[0] in "*%":
                field.label = _Field.LABEL_REPEATED
            if kind[0] == "%":
                kind = _add_map_entry(message, full_name, field_name, kind[1:])
            _set_type(field, kind.lstrip("*"))
    service = file.service.add(name=SERVICE)
    for method in METHODS:
        service.method.add(
            name=method, input_type=f".{PACKAGE}.{method}Request", output_type=f".{PACKAGE}.{method}Response"
        )
    return file


def _set_type(field: Any, kind: str) -> None:
    scalar = getattr(_Field, f"TYPE_{kind.upper()}", None)
    if scalar is not None:
        field.type = scalar
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"


def _add_map_entry(message: Any, full_name: str, field_name: str, kind: str) -> str:
    """Add the message that a map's entries are, and return its name."""
    name = f"{field_name.title()}Entry"
    entry = message.nested_type.add(name=name)
    entry.options.map_entry = True
    for number, (part, part_kind) in enumerate((("key", "string"), ("value", kind)), 1):
        _set_type(entry.field.add(name=part, number=number, label=_Field.LABEL_OPTIONAL), part_kind)
    return f"{full_name}.{name}"


#: Where reflection finds the messages.
POOL = descriptor_pool.DescriptorPool()
POOL.Add(_file())


@cache
def message_class(name: str) -> Any:
    """Return the class of a message, such as ``ModelInferRequest``."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))
