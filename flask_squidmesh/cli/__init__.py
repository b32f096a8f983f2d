"""The commands of `flask squidmesh`: one file for each subject."""

from . import cron_commands, diagnosis, event_commands, install, processes, prune, run_control, run_counts
from .command_group import group

__all__ = [
    "cron_commands",
    "diagnosis",
    "event_commands",
    "group",
    "install",
    "processes",
    "prune",
    "run_control",
    "run_counts",
]
