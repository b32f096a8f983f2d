"""Signals sent after the commit that made them true. The sender is the Flask app.

Every signal carries `run_id`, `workflow`, `trigger`, `tenant`, `status` and `current_step`; step signals also `step`,
`visit` and `attempt`. A subscriber that raises is logged and changes nothing.
"""

from __future__ import annotations

from blinker import Namespace

_signals = Namespace()

run_created = _signals.signal("squidmesh.run_created")
run_dispatched = _signals.signal("squidmesh.run_dispatched", doc="also: the executor's metadata")
run_transitioned = _signals.signal("squidmesh.run_transitioned", doc="also: from_status")
run_replayed = _signals.signal("squidmesh.run_replayed", doc="also: replayed_from_id")
step_started = _signals.signal("squidmesh.step_started")
step_skipped = _signals.signal("squidmesh.step_skipped", doc="also: reason")
step_completed = _signals.signal("squidmesh.step_completed", doc="also: duration in seconds")
step_failed = _signals.signal("squidmesh.step_failed", doc="also: duration in seconds, error")
step_retry_scheduled = _signals.signal("squidmesh.step_retry_scheduled", doc="also: delay in seconds")
decision_reminded = _signals.signal("squidmesh.decision_reminded", doc="also: assignee, groups")
decision_escalated = _signals.signal("squidmesh.decision_escalated", doc="also: from, to, groups")
decision_timed_out = _signals.signal("squidmesh.decision_timed_out")
step_reminded = _signals.signal("squidmesh.step_reminded", doc="also: due_at")
step_overdue = _signals.signal("squidmesh.step_overdue", doc="also: due_at")
manual_action_taken = _signals.signal("squidmesh.manual_action_taken", doc="also: action, actor, comment, metadata")
