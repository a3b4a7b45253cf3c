"""Find top-k eigenpairs of symmetric operators, on torch: matrices that are known by their products alone."""

from eigenserve.model.operators.adapters import from_curvlinops, from_scipy, to_curvlinops, to_scipy
from eigenserve.model.operators.fisher import FisherOperator
from eigenserve.model.operators.hessian import GaussNewtonOperator, HessianOperator
from eigenserve.model.operators.matrices import CallableOperator, DenseOperator, SparseOperator
from eigenserve.model.operators.methods.block_lanczos import block_lanczos
from eigenserve.model.operators.methods.lanczos import lanczos
from eigenserve.model.operators.methods.power_iteration import deflated_power_iteration
from eigenserve.model.operators.methods.quadrature import Spectrum, spectrum
from eigenserve.model.operators.methods.result import EigenResult
from eigenserve.model.operators.methods.shift_invert import shift_invert_lanczos
from eigenserve.model.operators.methods.trace import Estimate, hutchpp_trace, log_determinant, xtrace
from eigenserve.model.operators.operator import SymmetricOperator
from eigenserve.model.operators.spectral_hessian import SpectralHessian
from eigenserve.model.operators.spectral_loss import SpectralLoss, spectral_loss

__all__ = [
    "CallableOperator",
    "DenseOperator",
    "EigenResult",
    "Estimate",
    "FisherOperator",
    "GaussNewtonOperator",
    "HessianOperator",
    "SparseOperator",
    "SpectralHessian",
    "SpectralLoss",
    "Spectrum",
    "SymmetricOperator",
    "block_lanczos",
    "deflated_power_iteration",
    "from_curvlinops",
    "from_scipy",
    "hutchpp_trace",
    "lanczos",
    "log_determinant",
    "shift_invert_lanczos",
    "spectral_loss",
    "spectrum",
    "to_curvlinops",
    "to_scipy",
    "xtrace",
]
