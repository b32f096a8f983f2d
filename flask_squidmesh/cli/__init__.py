"""The commands of `flask squidmesh`: one file for each subject."""

from . import checking, doctor, installing, pruning, schedules, working
from .commands import group

__all__ = ["checking", "doctor", "group", "installing", "pruning", "schedules", "working"]
