"""create the squidmesh tables"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = 'squidmesh_0001'
down_revision = 'shop_0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('squidmesh_bulk_jobs',
    sa.Column('id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('tenant', sa.String(length=200), nullable=True),
    sa.Column('workflow', sa.String(length=200), nullable=True),
    sa.Column('action', sa.String(length=20), nullable=False),
    sa.Column('status', sa.String(length=20), nullable=False),
    sa.Column('actor', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('comment', sa.Text(), nullable=True),
    sa.Column('selection', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=False),
    sa.Column('results', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=False),
    sa.Column('held_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("status IN ('pending', 'running', 'completed', 'cancelled')", name=op.f('ck_squidmesh_bulk_jobs_status')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_squidmesh_bulk_jobs'))
    )
    op.create_table('squidmesh_events',
    sa.Column('id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('tenant', sa.String(length=200), server_default=sa.text("''"), nullable=False),
    sa.Column('name', sa.String(length=200), nullable=False),
    sa.Column('key', sa.String(length=200), nullable=False),
    sa.Column('event_id', sa.String(length=200), nullable=False),
    sa.Column('payload', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=False),
    sa.Column('fingerprint', sa.String(length=64), nullable=False),
    sa.Column('actor', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('sent_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('seen_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_squidmesh_events'))
    )
    op.create_table('squidmesh_processes',
    sa.Column('id', sa.String(length=200), nullable=False),
    sa.Column('kind', sa.String(length=20), nullable=False),
    sa.Column('queue', sa.String(length=200), nullable=False),
    sa.Column('threads', sa.Integer(), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('seen_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("kind IN ('worker', 'relay')", name=op.f('ck_squidmesh_processes_kind')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_squidmesh_processes'))
    )
    op.create_table('squidmesh_queues',
    sa.Column('queue', sa.String(length=200), nullable=False),
    sa.Column('taken_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('taken_upto', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('queue', name=op.f('pk_squidmesh_queues'))
    )
    op.create_table('squidmesh_runs',
    sa.Column('id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('workflow', sa.String(length=200), nullable=False),
    sa.Column('trigger', sa.String(length=200), nullable=False),
    sa.Column('tenant', sa.String(length=200), server_default=sa.text("''"), nullable=False),
    sa.Column('queue', sa.String(length=200), server_default=sa.text("'squidmesh'"), nullable=False),
    sa.Column('version', sa.String(length=200), nullable=True),
    sa.Column('fingerprint', sa.String(length=64), nullable=False),
    sa.Column('follows', sa.String(length=64), server_default=sa.text("''"), nullable=False),
    sa.Column('follows_since', sa.DateTime(timezone=True), nullable=True),
    sa.Column('redefined', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('subject', sa.String(length=500), nullable=False),
    sa.Column('status', sa.String(length=20), nullable=False),
    sa.Column('outcome', sa.String(length=40), nullable=True),
    sa.Column('diversion', sa.String(length=250), nullable=True),
    sa.Column('deadline_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('payload', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=False),
    sa.Column('schedule', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('actor', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('current_step', sa.String(length=200), nullable=True),
    sa.Column('attempt', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('max_attempts', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('position', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('remaining', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('open_steps', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('retrying_steps', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('awaiting_steps', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('revision', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('needs', sa.String(length=20), nullable=True),
    sa.Column('needs_count', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('needs_due_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('needs_since', sa.DateTime(timezone=True), nullable=True),
    sa.Column('overdue_since', sa.DateTime(timezone=True), nullable=True),
    sa.Column('error', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('error_fingerprint', sa.String(length=64), nullable=True),
    sa.Column('compensation', sa.String(length=20), nullable=True),
    sa.Column('parent_run_id', sa.Uuid(as_uuid=False), nullable=True),
    sa.Column('parent_step', sa.String(length=200), nullable=True),
    sa.Column('child_key', sa.String(length=200), nullable=True),
    sa.Column('replayed_from_id', sa.Uuid(as_uuid=False), nullable=True),
    sa.Column('replayed_as_id', sa.Uuid(as_uuid=False), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('acknowledged_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('cancelled_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('starters', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('cancel_event', sa.String(length=200), nullable=True),
    sa.Column('cancel_key', sa.String(length=200), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_squidmesh_runs'))
    )
    op.create_table('squidmesh_schedules',
    sa.Column('workflow', sa.String(length=200), nullable=False),
    sa.Column('trigger', sa.String(length=200), nullable=False),
    sa.Column('tenant', sa.String(length=200), server_default=sa.text("''"), nullable=False),
    sa.Column('paused_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('resumed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('fired_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('fired_window', sa.DateTime(timezone=True), nullable=True),
    sa.Column('last_run_id', sa.Uuid(as_uuid=False), nullable=True),
    sa.Column('expressions', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('queued', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('left_out', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.PrimaryKeyConstraint('workflow', 'trigger', 'tenant', name=op.f('pk_squidmesh_schedules'))
    )
    op.create_table('squidmesh_start_keys',
    sa.Column('workflow', sa.String(length=200), nullable=False),
    sa.Column('tenant', sa.String(length=200), server_default=sa.text("''"), nullable=False),
    sa.Column('key', sa.String(length=200), nullable=False),
    sa.Column('run_id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('payload_fingerprint', sa.String(length=64), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('pruned_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('workflow', 'tenant', 'key', name=op.f('pk_squidmesh_start_keys'))
    )
    op.create_table('squidmesh_audit_events',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('run_id', sa.Uuid(as_uuid=False), nullable=True),
    sa.Column('tenant', sa.String(length=200), server_default=sa.text("''"), nullable=True),
    sa.Column('workflow', sa.String(length=200), nullable=True),
    sa.Column('type', sa.String(length=40), nullable=False),
    sa.Column('step', sa.String(length=200), nullable=True),
    sa.Column('visit', sa.Integer(), nullable=True),
    sa.Column('actor', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('actor_id', sa.String(length=200), nullable=True),
    sa.Column('comment', sa.Text(), nullable=True),
    sa.Column('metadata', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('times', sa.Integer(), server_default=sa.text('1'), nullable=False),
    sa.Column('last_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('repeat_key', sa.String(length=64), nullable=True),
    sa.ForeignKeyConstraint(['run_id'], ['squidmesh_runs.id'], name=op.f('fk_squidmesh_audit_events_run_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_squidmesh_audit_events'))
    )
    op.create_table('squidmesh_control_calls',
    sa.Column('run_id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('call', sa.String(length=20), nullable=False),
    sa.Column('key', sa.String(length=200), nullable=False),
    sa.Column('fingerprint', sa.String(length=64), nullable=False),
    sa.Column('answer', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['run_id'], ['squidmesh_runs.id'], name=op.f('fk_squidmesh_control_calls_run_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('run_id', 'call', 'key', name=op.f('pk_squidmesh_control_calls'))
    )
    op.create_table('squidmesh_event_takes',
    sa.Column('event', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('taken_by', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('kind', sa.String(length=20), nullable=False),
    sa.Column('run_id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('step', sa.String(length=200), nullable=True),
    sa.Column('visit', sa.Integer(), nullable=True),
    sa.Column('sole', sa.Boolean(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['event'], ['squidmesh_events.id'], name=op.f('fk_squidmesh_event_takes_event'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('event', 'taken_by', name=op.f('pk_squidmesh_event_takes'))
    )
    op.create_table('squidmesh_outbox',
    sa.Column('id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('kind', sa.String(length=40), nullable=False),
    sa.Column('subscription', sa.String(length=200), nullable=False),
    sa.Column('receiver', sa.String(length=200), nullable=False),
    sa.Column('is_addressed', sa.Boolean(), nullable=False),
    sa.Column('subject', sa.String(length=200), nullable=False),
    sa.Column('number', sa.BigInteger(), nullable=False),
    sa.Column('run_id', sa.Uuid(as_uuid=False), nullable=True),
    sa.Column('step_run_id', sa.Uuid(as_uuid=False), nullable=True),
    sa.Column('tenant', sa.String(length=200), nullable=True),
    sa.Column('workflow', sa.String(length=200), nullable=True),
    sa.Column('step', sa.String(length=200), nullable=True),
    sa.Column('visit', sa.Integer(), nullable=True),
    sa.Column('data', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('tries', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('claim_id', sa.Uuid(as_uuid=False), nullable=True),
    sa.Column('claimed_by', sa.String(length=200), nullable=True),
    sa.Column('happened_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('give_up_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('outcome', sa.String(length=20), nullable=True),
    sa.ForeignKeyConstraint(['run_id'], ['squidmesh_runs.id'], name=op.f('fk_squidmesh_outbox_run_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_squidmesh_outbox')),
    sa.UniqueConstraint('subject', 'kind', 'number', 'subscription', 'receiver', name=op.f('uq_squidmesh_outbox_subject'))
    )
    op.create_table('squidmesh_step_runs',
    sa.Column('id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('run_id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('kind', sa.String(length=20), nullable=False),
    sa.Column('step', sa.String(length=200), nullable=False),
    sa.Column('visit', sa.Integer(), nullable=False),
    sa.Column('status', sa.String(length=20), nullable=False),
    sa.Column('sees', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('position', sa.Integer(), nullable=True),
    sa.Column('missing', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('attempts', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('abandoned', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('settings', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=False),
    sa.Column('input', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('output', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('error', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('failure', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('recovery', sa.String(length=20), nullable=True),
    sa.Column('decision', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('manual', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('decide_by', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['run_id'], ['squidmesh_runs.id'], name=op.f('fk_squidmesh_step_runs_run_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_squidmesh_step_runs')),
    sa.UniqueConstraint('run_id', 'kind', 'step', 'visit', name=op.f('uq_squidmesh_step_runs_visit'))
    )
    op.create_table('squidmesh_attempts',
    sa.Column('step_run_id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('status', sa.String(length=20), nullable=False),
    sa.Column('worker', sa.String(length=200), nullable=True),
    sa.Column('error', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['step_run_id'], ['squidmesh_step_runs.id'], name=op.f('fk_squidmesh_attempts_step_run_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('step_run_id', 'number', name=op.f('pk_squidmesh_attempts'))
    )
    op.create_table('squidmesh_dispatches',
    sa.Column('id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('kind', sa.String(length=20), nullable=False),
    sa.Column('run_id', sa.Uuid(as_uuid=False), nullable=True),
    sa.Column('step_run_id', sa.Uuid(as_uuid=False), nullable=True),
    sa.Column('payload', sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql'), nullable=True),
    sa.Column('queue', sa.String(length=200), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('claim_id', sa.Uuid(as_uuid=False), nullable=True),
    sa.Column('claimed_by', sa.String(length=200), nullable=True),
    sa.Column('claimed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('relay_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('hand_overs', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('hand_over_error', sa.Text(), nullable=True),
    sa.Column('held', sa.Text(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['run_id'], ['squidmesh_runs.id'], name=op.f('fk_squidmesh_dispatches_run_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['step_run_id'], ['squidmesh_step_runs.id'], name=op.f('fk_squidmesh_dispatches_step_run_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_squidmesh_dispatches')),
    sa.UniqueConstraint('step_run_id', 'kind', name=op.f('uq_squidmesh_dispatches_step_run_id'))
    )
    op.create_table('squidmesh_waits',
    sa.Column('step_run_id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('run_id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('tenant', sa.String(length=200), server_default=sa.text("''"), nullable=False),
    sa.Column('workflow', sa.String(length=200), nullable=False),
    sa.Column('step', sa.String(length=200), nullable=False),
    sa.Column('kind', sa.String(length=20), nullable=False),
    sa.Column('assignee', sa.String(length=200), nullable=True),
    sa.Column('for_all', sa.Boolean(), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('opened_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('event_name', sa.String(length=200), nullable=True),
    sa.Column('event_key', sa.String(length=200), nullable=True),
    sa.Column('accept', sa.String(length=20), nullable=True),
    sa.ForeignKeyConstraint(['run_id'], ['squidmesh_runs.id'], name=op.f('fk_squidmesh_waits_run_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['step_run_id'], ['squidmesh_step_runs.id'], name=op.f('fk_squidmesh_waits_step_run_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('step_run_id', name=op.f('pk_squidmesh_waits'))
    )
    op.create_table('squidmesh_wait_groups',
    sa.Column('step_run_id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('name', sa.String(length=200), nullable=False),
    sa.ForeignKeyConstraint(['step_run_id'], ['squidmesh_waits.step_run_id'], name=op.f('fk_squidmesh_wait_groups_step_run_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('step_run_id', 'name', name=op.f('pk_squidmesh_wait_groups'))
    )
    op.create_index('ix_squidmesh_bulk_jobs_created', 'squidmesh_bulk_jobs', ['created_at', 'id'], unique=False)
    op.create_index('ix_squidmesh_events_event_id', 'squidmesh_events', ['event_id', 'name', 'tenant'], unique=True)
    op.create_index('ix_squidmesh_events_key', 'squidmesh_events', ['key', 'name', 'tenant', 'sent_at', 'id'], unique=False)
    op.create_index('ix_squidmesh_events_name', 'squidmesh_events', ['name', 'sent_at', 'id', 'tenant'], unique=False)
    op.create_index('ix_squidmesh_events_sent', 'squidmesh_events', ['sent_at', 'id', 'tenant', 'name'], unique=False)
    op.create_index('ix_squidmesh_processes_seen', 'squidmesh_processes', ['seen_at'], unique=False)
    op.create_index('ix_squidmesh_runs_cancel', 'squidmesh_runs', ['cancel_key', 'cancel_event', 'tenant'], unique=False, postgresql_where=sa.text('cancel_key IS NOT NULL AND finished_at IS NULL'), sqlite_where=sa.text('cancel_key IS NOT NULL AND finished_at IS NULL'))
    op.create_index('ix_squidmesh_runs_child', 'squidmesh_runs', ['parent_run_id', 'child_key'], unique=True, postgresql_where=sa.text('parent_run_id IS NOT NULL'), sqlite_where=sa.text('parent_run_id IS NOT NULL'))
    op.create_index('ix_squidmesh_runs_created', 'squidmesh_runs', ['created_at', 'id'], unique=False)
    op.create_index('ix_squidmesh_runs_error', 'squidmesh_runs', ['error_fingerprint', 'created_at', 'id'], unique=False, postgresql_where=sa.text('error_fingerprint IS NOT NULL'), sqlite_where=sa.text('error_fingerprint IS NOT NULL'))
    op.create_index('ix_squidmesh_runs_failed', 'squidmesh_runs', ['needs_since', 'id', 'error_fingerprint', 'tenant', 'workflow'], unique=False, postgresql_where=sa.text("needs = 'failed'"), sqlite_where=sa.text("needs = 'failed'"))
    op.create_index('ix_squidmesh_runs_failures', 'squidmesh_runs', ['finished_at', 'id', 'error_fingerprint', 'needs', 'workflow', 'tenant'], unique=False, postgresql_where=sa.text("status = 'failed'"), sqlite_where=sa.text("status = 'failed'"))
    op.create_index('ix_squidmesh_runs_finished', 'squidmesh_runs', ['workflow', 'status', 'finished_at', 'id'], unique=False, postgresql_where=sa.text('finished_at IS NOT NULL'), sqlite_where=sa.text('finished_at IS NOT NULL'))
    op.create_index('ix_squidmesh_runs_needs', 'squidmesh_runs', ['needs', 'needs_since', 'id', 'status', 'workflow', 'needs_due_at', 'created_at', 'tenant'], unique=False, postgresql_where=sa.text('needs IS NOT NULL'), sqlite_where=sa.text('needs IS NOT NULL'))
    op.create_index('ix_squidmesh_runs_outcome', 'squidmesh_runs', ['outcome', 'created_at', 'id', 'workflow', 'tenant'], unique=False, postgresql_where=sa.text('outcome IS NOT NULL'), sqlite_where=sa.text('outcome IS NOT NULL'))
    op.create_index('ix_squidmesh_runs_replayed_from', 'squidmesh_runs', ['replayed_from_id'], unique=False, postgresql_where=sa.text('replayed_from_id IS NOT NULL'), sqlite_where=sa.text('replayed_from_id IS NOT NULL'))
    op.create_index('ix_squidmesh_runs_status', 'squidmesh_runs', ['status', 'created_at', 'id', 'needs'], unique=False)
    op.create_index('ix_squidmesh_runs_subject', 'squidmesh_runs', ['subject'], unique=False, postgresql_ops={'subject': 'varchar_pattern_ops'})
    op.create_index('ix_squidmesh_runs_tenant', 'squidmesh_runs', ['tenant', 'status', 'created_at', 'id', 'needs', 'workflow'], unique=False, postgresql_where=sa.text("tenant <> ''"), sqlite_where=sa.text("tenant <> ''"))
    op.create_index('ix_squidmesh_runs_tenant_finished', 'squidmesh_runs', ['tenant', 'workflow', 'status', 'finished_at', 'id'], unique=False, postgresql_where=sa.text("finished_at IS NOT NULL AND tenant <> ''"), sqlite_where=sa.text("finished_at IS NOT NULL AND tenant <> ''"))
    op.create_index('ix_squidmesh_runs_undoing', 'squidmesh_runs', ['workflow'], unique=False, postgresql_where=sa.text("compensation IN ('requested', 'running')"), sqlite_where=sa.text("compensation IN ('requested', 'running')"))
    op.create_index('ix_squidmesh_runs_workflow', 'squidmesh_runs', ['workflow', 'status', 'created_at', 'id', 'needs'], unique=False)
    op.create_index('ix_squidmesh_start_keys_pruned', 'squidmesh_start_keys', ['pruned_at'], unique=False, postgresql_where=sa.text('pruned_at IS NOT NULL'), sqlite_where=sa.text('pruned_at IS NOT NULL'))
    op.create_index('ix_squidmesh_start_keys_run', 'squidmesh_start_keys', ['run_id'], unique=False)
    op.create_index('ix_squidmesh_audit_events_actor', 'squidmesh_audit_events', ['actor_id', 'id'], unique=False, postgresql_where=sa.text('actor_id IS NOT NULL'), sqlite_where=sa.text('actor_id IS NOT NULL'))
    op.create_index('ix_squidmesh_audit_events_at', 'squidmesh_audit_events', ['at', 'id'], unique=False)
    op.create_index('ix_squidmesh_audit_events_repeated', 'squidmesh_audit_events', ['repeat_key'], unique=True, postgresql_where=sa.text('repeat_key IS NOT NULL'), sqlite_where=sa.text('repeat_key IS NOT NULL'))
    op.create_index('ix_squidmesh_audit_events_run', 'squidmesh_audit_events', ['run_id', 'id'], unique=False)
    op.create_index('ix_squidmesh_audit_events_tenant', 'squidmesh_audit_events', ['tenant', 'id'], unique=False, postgresql_where=sa.text("tenant <> ''"), sqlite_where=sa.text("tenant <> ''"))
    op.create_index('ix_squidmesh_audit_events_type', 'squidmesh_audit_events', ['type', 'id'], unique=False)
    op.create_index('ix_squidmesh_event_takes_run', 'squidmesh_event_takes', ['run_id', 'at'], unique=False)
    op.create_index('ix_squidmesh_event_takes_sole', 'squidmesh_event_takes', ['event'], unique=True, postgresql_where=sa.text('sole'), sqlite_where=sa.text('sole'))
    op.create_index('ix_squidmesh_outbox_due', 'squidmesh_outbox', ['subscription', 'due_at'], unique=False, postgresql_where=sa.text('ended_at IS NULL'), sqlite_where=sa.text('ended_at IS NULL'))
    op.create_index('ix_squidmesh_outbox_ended', 'squidmesh_outbox', ['ended_at', 'outcome'], unique=False, postgresql_where=sa.text('ended_at IS NOT NULL'), sqlite_where=sa.text('ended_at IS NOT NULL'))
    op.create_index('ix_squidmesh_outbox_failed', 'squidmesh_outbox', ['ended_at', 'id', 'tenant', 'workflow'], unique=False, postgresql_where=sa.text("outcome = 'failed'"), sqlite_where=sa.text("outcome = 'failed'"))
    op.create_index('ix_squidmesh_outbox_run', 'squidmesh_outbox', ['run_id'], unique=False)
    op.create_index('ix_squidmesh_dispatches_claim', 'squidmesh_dispatches', ['claim_id'], unique=False, postgresql_where=sa.text('claim_id IS NOT NULL'), sqlite_where=sa.text('claim_id IS NOT NULL'))
    op.create_index('ix_squidmesh_dispatches_due', 'squidmesh_dispatches', ['queue', 'due_at'], unique=False)
    op.create_index('ix_squidmesh_dispatches_given_up', 'squidmesh_dispatches', ['due_at'], unique=False, postgresql_where=sa.text('claim_id IS NULL AND claimed_at IS NOT NULL'), sqlite_where=sa.text('claim_id IS NULL AND claimed_at IS NOT NULL'))
    op.create_index('ix_squidmesh_dispatches_obstructed', 'squidmesh_dispatches', ['relay_at'], unique=False, postgresql_where=sa.text('hand_over_error IS NOT NULL OR held IS NOT NULL OR relay_at = due_at'), sqlite_where=sa.text('hand_over_error IS NOT NULL OR held IS NOT NULL OR relay_at = due_at'))
    op.create_index('ix_squidmesh_dispatches_relay', 'squidmesh_dispatches', ['queue', 'relay_at'], unique=False)
    op.create_index('ix_squidmesh_dispatches_run', 'squidmesh_dispatches', ['run_id'], unique=False)
    op.create_index('ix_squidmesh_waits_assignee', 'squidmesh_waits', ['assignee', 'due_at', 'opened_at', 'step_run_id', 'tenant', 'workflow'], unique=False, postgresql_where=sa.text('assignee IS NOT NULL AND event_key IS NULL'), sqlite_where=sa.text('assignee IS NOT NULL AND event_key IS NULL'))
    op.create_index('ix_squidmesh_waits_due', 'squidmesh_waits', ['due_at', 'opened_at', 'step_run_id', 'tenant', 'workflow'], unique=False, postgresql_where=sa.text('event_key IS NULL'), sqlite_where=sa.text('event_key IS NULL'))
    op.create_index('ix_squidmesh_waits_event', 'squidmesh_waits', ['event_key', 'event_name', 'tenant', 'opened_at', 'step_run_id'], unique=False, postgresql_where=sa.text('event_key IS NOT NULL'), sqlite_where=sa.text('event_key IS NOT NULL'))
    op.create_index('ix_squidmesh_waits_for_all', 'squidmesh_waits', ['due_at', 'opened_at', 'step_run_id', 'tenant', 'workflow'], unique=False, postgresql_where=sa.text('for_all AND assignee IS NULL'), sqlite_where=sa.text('for_all AND assignee IS NULL'))
    op.create_index('ix_squidmesh_waits_run', 'squidmesh_waits', ['run_id'], unique=False)
    op.create_index('ix_squidmesh_wait_groups_name', 'squidmesh_wait_groups', ['name', 'step_run_id'], unique=False)


def downgrade() -> None:
    op.drop_index('ix_squidmesh_wait_groups_name', table_name='squidmesh_wait_groups')
    op.drop_index('ix_squidmesh_waits_run', table_name='squidmesh_waits')
    op.drop_index('ix_squidmesh_waits_for_all', table_name='squidmesh_waits', postgresql_where=sa.text('for_all AND assignee IS NULL'), sqlite_where=sa.text('for_all AND assignee IS NULL'))
    op.drop_index('ix_squidmesh_waits_event', table_name='squidmesh_waits', postgresql_where=sa.text('event_key IS NOT NULL'), sqlite_where=sa.text('event_key IS NOT NULL'))
    op.drop_index('ix_squidmesh_waits_due', table_name='squidmesh_waits', postgresql_where=sa.text('event_key IS NULL'), sqlite_where=sa.text('event_key IS NULL'))
    op.drop_index('ix_squidmesh_waits_assignee', table_name='squidmesh_waits', postgresql_where=sa.text('assignee IS NOT NULL AND event_key IS NULL'), sqlite_where=sa.text('assignee IS NOT NULL AND event_key IS NULL'))
    op.drop_index('ix_squidmesh_dispatches_run', table_name='squidmesh_dispatches')
    op.drop_index('ix_squidmesh_dispatches_relay', table_name='squidmesh_dispatches')
    op.drop_index('ix_squidmesh_dispatches_obstructed', table_name='squidmesh_dispatches', postgresql_where=sa.text('hand_over_error IS NOT NULL OR held IS NOT NULL OR relay_at = due_at'), sqlite_where=sa.text('hand_over_error IS NOT NULL OR held IS NOT NULL OR relay_at = due_at'))
    op.drop_index('ix_squidmesh_dispatches_given_up', table_name='squidmesh_dispatches', postgresql_where=sa.text('claim_id IS NULL AND claimed_at IS NOT NULL'), sqlite_where=sa.text('claim_id IS NULL AND claimed_at IS NOT NULL'))
    op.drop_index('ix_squidmesh_dispatches_due', table_name='squidmesh_dispatches')
    op.drop_index('ix_squidmesh_dispatches_claim', table_name='squidmesh_dispatches', postgresql_where=sa.text('claim_id IS NOT NULL'), sqlite_where=sa.text('claim_id IS NOT NULL'))
    op.drop_index('ix_squidmesh_outbox_run', table_name='squidmesh_outbox')
    op.drop_index('ix_squidmesh_outbox_failed', table_name='squidmesh_outbox', postgresql_where=sa.text("outcome = 'failed'"), sqlite_where=sa.text("outcome = 'failed'"))
    op.drop_index('ix_squidmesh_outbox_ended', table_name='squidmesh_outbox', postgresql_where=sa.text('ended_at IS NOT NULL'), sqlite_where=sa.text('ended_at IS NOT NULL'))
    op.drop_index('ix_squidmesh_outbox_due', table_name='squidmesh_outbox', postgresql_where=sa.text('ended_at IS NULL'), sqlite_where=sa.text('ended_at IS NULL'))
    op.drop_index('ix_squidmesh_event_takes_sole', table_name='squidmesh_event_takes', postgresql_where=sa.text('sole'), sqlite_where=sa.text('sole'))
    op.drop_index('ix_squidmesh_event_takes_run', table_name='squidmesh_event_takes')
    op.drop_index('ix_squidmesh_audit_events_type', table_name='squidmesh_audit_events')
    op.drop_index('ix_squidmesh_audit_events_tenant', table_name='squidmesh_audit_events', postgresql_where=sa.text("tenant <> ''"), sqlite_where=sa.text("tenant <> ''"))
    op.drop_index('ix_squidmesh_audit_events_run', table_name='squidmesh_audit_events')
    op.drop_index('ix_squidmesh_audit_events_repeated', table_name='squidmesh_audit_events', postgresql_where=sa.text('repeat_key IS NOT NULL'), sqlite_where=sa.text('repeat_key IS NOT NULL'))
    op.drop_index('ix_squidmesh_audit_events_at', table_name='squidmesh_audit_events')
    op.drop_index('ix_squidmesh_audit_events_actor', table_name='squidmesh_audit_events', postgresql_where=sa.text('actor_id IS NOT NULL'), sqlite_where=sa.text('actor_id IS NOT NULL'))
    op.drop_index('ix_squidmesh_start_keys_run', table_name='squidmesh_start_keys')
    op.drop_index('ix_squidmesh_start_keys_pruned', table_name='squidmesh_start_keys', postgresql_where=sa.text('pruned_at IS NOT NULL'), sqlite_where=sa.text('pruned_at IS NOT NULL'))
    op.drop_index('ix_squidmesh_runs_workflow', table_name='squidmesh_runs')
    op.drop_index('ix_squidmesh_runs_undoing', table_name='squidmesh_runs', postgresql_where=sa.text("compensation IN ('requested', 'running')"), sqlite_where=sa.text("compensation IN ('requested', 'running')"))
    op.drop_index('ix_squidmesh_runs_tenant_finished', table_name='squidmesh_runs', postgresql_where=sa.text("finished_at IS NOT NULL AND tenant <> ''"), sqlite_where=sa.text("finished_at IS NOT NULL AND tenant <> ''"))
    op.drop_index('ix_squidmesh_runs_tenant', table_name='squidmesh_runs', postgresql_where=sa.text("tenant <> ''"), sqlite_where=sa.text("tenant <> ''"))
    op.drop_index('ix_squidmesh_runs_subject', table_name='squidmesh_runs', postgresql_ops={'subject': 'varchar_pattern_ops'})
    op.drop_index('ix_squidmesh_runs_status', table_name='squidmesh_runs')
    op.drop_index('ix_squidmesh_runs_replayed_from', table_name='squidmesh_runs', postgresql_where=sa.text('replayed_from_id IS NOT NULL'), sqlite_where=sa.text('replayed_from_id IS NOT NULL'))
    op.drop_index('ix_squidmesh_runs_outcome', table_name='squidmesh_runs', postgresql_where=sa.text('outcome IS NOT NULL'), sqlite_where=sa.text('outcome IS NOT NULL'))
    op.drop_index('ix_squidmesh_runs_needs', table_name='squidmesh_runs', postgresql_where=sa.text('needs IS NOT NULL'), sqlite_where=sa.text('needs IS NOT NULL'))
    op.drop_index('ix_squidmesh_runs_finished', table_name='squidmesh_runs', postgresql_where=sa.text('finished_at IS NOT NULL'), sqlite_where=sa.text('finished_at IS NOT NULL'))
    op.drop_index('ix_squidmesh_runs_failures', table_name='squidmesh_runs', postgresql_where=sa.text("status = 'failed'"), sqlite_where=sa.text("status = 'failed'"))
    op.drop_index('ix_squidmesh_runs_failed', table_name='squidmesh_runs', postgresql_where=sa.text("needs = 'failed'"), sqlite_where=sa.text("needs = 'failed'"))
    op.drop_index('ix_squidmesh_runs_error', table_name='squidmesh_runs', postgresql_where=sa.text('error_fingerprint IS NOT NULL'), sqlite_where=sa.text('error_fingerprint IS NOT NULL'))
    op.drop_index('ix_squidmesh_runs_created', table_name='squidmesh_runs')
    op.drop_index('ix_squidmesh_runs_child', table_name='squidmesh_runs', postgresql_where=sa.text('parent_run_id IS NOT NULL'), sqlite_where=sa.text('parent_run_id IS NOT NULL'))
    op.drop_index('ix_squidmesh_runs_cancel', table_name='squidmesh_runs', postgresql_where=sa.text('cancel_key IS NOT NULL AND finished_at IS NULL'), sqlite_where=sa.text('cancel_key IS NOT NULL AND finished_at IS NULL'))
    op.drop_index('ix_squidmesh_processes_seen', table_name='squidmesh_processes')
    op.drop_index('ix_squidmesh_events_sent', table_name='squidmesh_events')
    op.drop_index('ix_squidmesh_events_name', table_name='squidmesh_events')
    op.drop_index('ix_squidmesh_events_key', table_name='squidmesh_events')
    op.drop_index('ix_squidmesh_events_event_id', table_name='squidmesh_events')
    op.drop_index('ix_squidmesh_bulk_jobs_created', table_name='squidmesh_bulk_jobs')
    op.drop_table('squidmesh_wait_groups')
    op.drop_table('squidmesh_waits')
    op.drop_table('squidmesh_dispatches')
    op.drop_table('squidmesh_attempts')
    op.drop_table('squidmesh_step_runs')
    op.drop_table('squidmesh_outbox')
    op.drop_table('squidmesh_event_takes')
    op.drop_table('squidmesh_control_calls')
    op.drop_table('squidmesh_audit_events')
    op.drop_table('squidmesh_start_keys')
    op.drop_table('squidmesh_schedules')
    op.drop_table('squidmesh_runs')
    op.drop_table('squidmesh_queues')
    op.drop_table('squidmesh_processes')
    op.drop_table('squidmesh_events')
    op.drop_table('squidmesh_bulk_jobs')
