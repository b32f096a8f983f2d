"""The commands of `flask squidmesh`: one file for each subject."""

from . import checking, installing, pruning, schedules, working
from .commands import group

__all__ = ["checking", "group", "installing", "pruning", "schedules", "working"]
