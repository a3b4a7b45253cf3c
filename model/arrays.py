"""Name the array type of the whole package."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
