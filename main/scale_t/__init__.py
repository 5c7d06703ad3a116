"""scale_t: scale trading on one ticker, as a consumer of the bus."""

from .config import ScaleTConfig, ScaleTConfigError
from .service import ScaleT, run_scale_t

__all__ = ["ScaleT", "ScaleTConfig", "ScaleTConfigError", "run_scale_t"]
