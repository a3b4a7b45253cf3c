"""Top-k eigenpairs of symmetric operators, on torch: matrices that are known by their products alone."""

from model.operators.block_lanczos import block_lanczos
from model.operators.lanczos import lanczos
from model.operators.matrices import CallableOperator, DenseOperator, SparseOperator
from model.operators.operator import SymmetricOperator
from model.operators.power_iteration import deflated_power_iteration
from model.operators.quadrature import Spectrum, spectrum
from model.operators.result import EigenResult
from model.operators.shift_invert import shift_invert_lanczos

__all__ = [
    "CallableOperator",
    "DenseOperator",
    "EigenResult",
    "SparseOperator",
    "Spectrum",
    "SymmetricOperator",
    "block_lanczos",
    "deflated_power_iteration",
    "lanczos",
    "shift_invert_lanczos",
    "spectrum",
]
