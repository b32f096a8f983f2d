"""Whether an executor keeps to the contract: it is asked everything that runs ask, and its queue may be tried too."""

from .checking import check_executor

__all__ = ["check_executor"]
