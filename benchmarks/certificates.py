"""Proved intervals of the demo models against attacks: violations, and how much wider they are than what is reached.

    python -m benchmarks.certificates [--store build/certificates] [--quick] [MODEL ...]

Models that the store lacks are trained first (some minutes). All numbers move at once by up to the default radii, a
tenth of a standard deviation. A violation ends the run.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.attacks import attack
from eigenserve.model import ModelStore
from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.decision_radius import certified_radius
from eigenserve.model.certificates.intervals import score_interval
from eigenserve.model.certificates.reach import default_radii
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.data.table import read_table

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "examples" / "data"
#: Training file, rows to attack, target and further settings of each demo model.
DEMOS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "housing": (
        "california_housing_train.csv",
        "california_housing_test.csv",
        "median_house_value",
        ("--pairs", "longitude:latitude"),
    ),
    "adult": ("adult.csv.gz", "adult.csv.gz", "Income", ()),
    "titanic": ("titanic.csv", "titanic.csv", "survived", ("--exclude", "alive")),
    "penguins": ("penguins.csv", "penguins.csv", "species", ()),
}
EFFORTS = (0.5, 1.0, 4.0)
ROWS = 100
RANDOM_ROWS = 1_000_000


def run(quick: bool = False, store: str = "build/certificates", names: tuple[str, ...] = ()) -> None:
    """Print a line for each model and effort.

    Raises:
        AssertionError: an attack left an interval or changed a decision within its radius.
    """
    print("Proved intervals and attacks, every number within a tenth of a standard deviation; medians of rows.")
    print("width x: proved / reached width; largest x: proved / reached largest change")
    columns = ("effort", "random", "adversarial", "width x", "p90", "largest x", "ms a row")
    print(f"{'model':<10}" + "".join(f"{column:>12}" for column in columns))
    for name in names or DEMOS:
        model = demo(name, Path(store))
        frame = read_table(DATA / DEMOS[name][1])
        frame = frame.sample(min(len(frame), 10 if quick else ROWS), random_state=0)
        _measure(name, model, model.features.encode(frame), RANDOM_ROWS // (100 if quick else 1))


def demo(name: str, store: Path) -> SpectralModel:
    """A demo model, trained into the store if it is not there."""
    models = ModelStore(store)
    if name not in models.names():
        file, _, target, more = DEMOS[name]
        command = [sys.executable, "-m", "eigenserve", "fit", str(DATA / file), "--target", target, "--name", name]
        subprocess.run([*command, "--store", str(store), *more], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return models.load(name)


def _measure(name: str, model: SpectralModel, columns: FloatArray, random: int) -> None:
    rng = np.random.default_rng(0)
    radii = [default_radii(model.features, row) for row in columns]
    tried = [attack(model, row, own, rng, -(-random // len(columns))) for row, own in zip(columns, radii, strict=True)]
    for effort in EFFORTS:
        width, largest, times = [], [], []
        for row, own, seen in zip(columns, radii, tried, strict=True):
            start = time.perf_counter()
            found = score_interval(model, row, own, effort)
            times.append(time.perf_counter() - start)
            if (seen.low < found.low).any() or (seen.high > found.high).any():
                raise AssertionError(f"{name}: {seen} left {found} of the row {row.tolist()}")
            o = int(found.score.argmax())
            width.append((found.high[o] - found.low[o]) / (seen.high[o] - seen.low[o]))
            proved = max(found.high[o] - found.score[o], found.score[o] - found.low[o])
            largest.append(proved / max(seen.high[o] - found.score[o], found.score[o] - seen.low[o]))
        print(
            f"{name:<10}{effort:>12g}{sum(s.random for s in tried):>12,}{sum(s.adversarial for s in tried):>12,}"
            f"{np.median(width):>12.2f}{np.percentile(width, 90):>12.2f}{np.median(largest):>12.2f}"
            f"{1e3 * np.median(times):>12.1f}",
            flush=True,
        )
    _decisions(name, model, columns, rng)


def _decisions(name: str, model: SpectralModel, columns: FloatArray, rng: np.random.Generator) -> None:
    """Attack certified radii: no row within may be on the other side of the median score, or of another class."""
    threshold = float(np.median(model.scores(columns)[:, 0])) if not model.classes else 0.0
    shares, tries = [], 0
    for row in columns[: len(columns) // 4]:
        scales = default_radii(model.features, row)
        share = certified_radius(model, row, scales, threshold, EFFORTS[0])
        shares.append(share)
        seen = attack(model, row, {key: share * scale for key, scale in scales.items()}, rng, 2000)
        score = model.scores(row[None])[0]
        tries += seen.random + seen.adversarial
        best = int(score.argmax())
        if len(score) == 1:
            holds = (seen.low[0] > threshold) if score[0] > threshold else (seen.high[0] <= threshold)
        else:  # the extremes of several scores belong to different rows
            holds = seen.best_is == {best}
        if not holds:
            raise AssertionError(f"{name}: a decision changed within the certified radius {share} of {row.tolist()}")
    print(f"{'':<10}decision radii: median {np.median(shares):.3g} default radii; {tries:,} attacks changed none")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.certificates", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="MODEL", help=f"of {', '.join(DEMOS)}")
    parser.add_argument("--store", default="build/certificates", help="where the models are, or will be")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, a hundredth of the attacks")
    arguments = parser.parse_args()
    run(arguments.quick, arguments.store, tuple(arguments.names))


if __name__ == "__main__":
    main()
