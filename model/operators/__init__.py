"""Find top-k eigenpairs of symmetric operators, on torch: matrices that are known by their products alone."""

from eigenserve.model.operators.matrices import CallableOperator, DenseOperator, SparseOperator
from eigenserve.model.operators.methods.block_lanczos import block_lanczos
from eigenserve.model.operators.methods.lanczos import lanczos
from eigenserve.model.operators.methods.power_iteration import deflated_power_iteration
from eigenserve.model.operators.methods.quadrature import Spectrum, spectrum
from eigenserve.model.operators.methods.result import EigenResult
from eigenserve.model.operators.methods.shift_invert import shift_invert_lanczos
from eigenserve.model.operators.operator import SymmetricOperator

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
