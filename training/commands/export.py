"""Run the command `eigenserve export`: write a model as one ONNX file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from eigenserve.errors import UserError
from eigenserve.model.checkpoints.atomic import write_whole


def add_export(commands: Any) -> None:
    """Add the command to the subparsers of the command line."""
    parser = commands.add_parser(
        "export",
        help="write a model as an ONNX file",
        description="Write a model as one ONNX file of standard operators, checked against the model.",
    )
    parser.set_defaults(run=export)
    parser.add_argument("model", metavar="MODEL", help="STORE/NAME or STORE/NAME/VERSION")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.onnx", help="the file to write")
    parser.add_argument("--explain", action="store_true", help="add explanations of every prediction")
    parser.add_argument("--precision", choices=["float64", "float32"], default="float64")
    parser.add_argument("--opset", type=int, default=17, help="version of the operators (default 17)")
    parser.add_argument(
        "--categories",
        choices=["strings", "codes"],
        default="strings",
        help="write categories as texts, or as positions, which needs only operators of ai.onnx",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def export(arguments: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        UserError: onnx is not installed, settings that do not go together, a file that cannot be written, or
            one that does not agree with the model and was therefore not written.
    """
    try:
        import onnxruntime  # noqa: F401

        from eigenserve.model.onnx import ExportSettings, OnnxError, onnx_bytes
    except ImportError as error:
        raise UserError(f"export needs onnx and onnxruntime: pip install 'eigenserve[onnx]' ({error})") from error
    from eigenserve.model.checkpoints.locations import load_model

    model = load_model(arguments.model)
    out: Path = arguments.out
    try:
        settings = ExportSettings(
            explain=arguments.explain,
            precision=arguments.precision,
            opset=arguments.opset,
            categories=arguments.categories,
        )
        content = onnx_bytes(model, settings)
    except (OnnxError, ValueError) as error:
        raise UserError(f"{out} was not written: {error}") from error
    _write(out, content)
    print(f"wrote {out}, {len(content):,} bytes, which onnxruntime runs in agreement with the model")
    if arguments.json:
        print(
            json.dumps(
                {
                    "model": model.card.get("name"),
                    "version": model.card.get("version"),
                    "path": str(out),
                    "bytes": len(content),
                    "explain": settings.explain,
                    "precision": settings.precision,
                    "opset": settings.opset,
                    "categories": settings.categories,
                }
            )
        )


def _write(out: Path, content: bytes) -> None:
    """Write the whole file or none: readers never see a part of it."""
    try:
        with write_whole(out) as file:
            file.write(content)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}") from error
