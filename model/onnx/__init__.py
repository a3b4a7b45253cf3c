"""Export models as ONNX files: predictions and explanations in standard operators."""

from eigenserve.extras import naming_extra

with naming_extra("onnx"):
    from eigenserve.model.onnx.agreement import OnnxError, graph_inputs, onnx_bytes
    from eigenserve.model.onnx.export import ExportSettings, to_onnx

__all__ = ["ExportSettings", "OnnxError", "graph_inputs", "onnx_bytes", "to_onnx"]
