"""`python -m benchmarks [--quick] [NAME ...]`: run the named benchmarks, or those of what users wait for.

Without names: costs against what bounds them, cold starts, the service and its overload, in less than ten minutes;
their figures go into a history (`benchmarks/history.py`).
"""

import argparse

from benchmarks import costs, eigensolver, operators, overload, scoring, service


def run_cold_start(quick: bool) -> None:
    """Import the benchmark when it is wanted: it needs what training needs."""
    from benchmarks import cold_start

    cold_start.run(quick=quick)


def run_onnx(quick: bool) -> None:
    """Import the benchmark when it is wanted: it needs onnxruntime."""
    from benchmarks import onnx

    onnx.run(quick=quick)


def run_certificates(quick: bool) -> None:
    """Import the benchmark when it is wanted: it needs what training needs."""
    from benchmarks import certificates

    certificates.run(quick=quick)


def run_explanations(quick: bool) -> None:
    """Import the benchmark when it is wanted: it needs what training needs."""
    from benchmarks import explanations

    explanations.run(quick=quick)


def run_pytorch(quick: bool) -> None:
    """Import the benchmark when it is wanted: it needs torch."""
    from benchmarks import pytorch

    pytorch.run(quick=quick)


BENCHMARKS = {
    "certificates": run_certificates,
    "cold_start": run_cold_start,
    "costs": costs.run,
    "eigensolver": eigensolver.run,
    "explanations": run_explanations,
    "onnx": run_onnx,
    "operators": operators.run,
    "overload": overload.run,
    "pytorch": run_pytorch,
    "scoring": scoring.run,
    "service": service.run,
}
#: What runs without names.
USUAL = ("costs", "cold_start", "service", "overload")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: {' '.join(USUAL)}"
    )
    parser.add_argument("--quick", action="store_true", help="fewer sizes and rounds")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"NAME must be of {', '.join(BENCHMARKS)}; got {', '.join(unknown)}")
    for name in arguments.names or USUAL:
        BENCHMARKS[name](quick=arguments.quick)


if __name__ == "__main__":
    main()
