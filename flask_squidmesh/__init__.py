"""Durable business workflows inside a Flask app, with a dashboard for the people who operate them."""

from .dashboard import REDACTED, Deny
from .errors import (
    ConfigurationError,
    ConflictError,
    DefinitionError,
    FailStep,
    FilterError,
    ManualActionError,
    PayloadError,
    RetryStep,
    RunNotFoundError,
    SchemaError,
    SquidMeshError,
    TransitionError,
    UnknownTriggerError,
    UnknownWorkflowError,
    UnsafeReplayError,
)
from .executors.contract import Executor, Payload
from .extension import SquidMesh
from .people import Person
from .reading.views import Explanation, Graph, Run, RunPage
from .runtime.deliveries import Delivery
from .store.scope import Scope
from .store.summaries import RunSummary
from .workflow import (
    Approval,
    CompensationContext,
    Cron,
    Exponential,
    Fixed,
    Log,
    Manual,
    Pause,
    Retry,
    Step,
    StepContext,
    Wait,
    Workflow,
    scheduled_day,
)

__all__ = [
    "REDACTED",
    "Approval",
    "CompensationContext",
    "ConfigurationError",
    "ConflictError",
    "Cron",
    "DefinitionError",
    "Delivery",
    "Deny",
    "Executor",
    "Explanation",
    "Exponential",
    "FailStep",
    "FilterError",
    "Fixed",
    "Graph",
    "Log",
    "Manual",
    "ManualActionError",
    "Pause",
    "Payload",
    "PayloadError",
    "Person",
    "Retry",
    "RetryStep",
    "Run",
    "RunNotFoundError",
    "RunPage",
    "RunSummary",
    "SchemaError",
    "Scope",
    "SquidMesh",
    "SquidMeshError",
    "Step",
    "StepContext",
    "TransitionError",
    "UnknownTriggerError",
    "UnknownWorkflowError",
    "UnsafeReplayError",
    "Wait",
    "Workflow",
    "scheduled_day",
]
