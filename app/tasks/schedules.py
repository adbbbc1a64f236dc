"""The tasks as the settings have them: some run by themselves only where a setting says when."""

from app.jobs.task import TaskRegistry
from app.settings import OperationsSettings
from app.tasks import TASKS, cleanup


def tasks_by(settings: OperationsSettings) -> TaskRegistry:
    """All tasks, with the schedules that these settings give them."""
    return TASKS.with_daily(
        {
            cleanup.cleanup_old_audit_logs.name: settings.audit_log_cleanup_at,
            cleanup.cleanup_abandoned_sessions.name: settings.session_cleanup_at,
        }
    )
