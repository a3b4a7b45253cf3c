"""`python -m benchmarks [--quick] [NAME ...]`: run the named benchmarks, or all of them."""

import argparse

from benchmarks import eigensolver, operators, service


def run_onnx(quick: bool) -> None:
    """Import the benchmark when it is wanted: it needs onnxruntime."""
    from benchmarks import onnx

    onnx.run(quick=quick)


BENCHMARKS = {
    "eigensolver": eigensolver.run,
    "onnx": run_onnx,
    "operators": operators.run,
    "service": service.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and rounds")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"NAME must be of {', '.join(BENCHMARKS)}; got {', '.join(unknown)}")
    for name in arguments.names or BENCHMARKS:
        BENCHMARKS[name](quick=arguments.quick)


if __name__ == "__main__":
    main()
