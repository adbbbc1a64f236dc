"""Jobs written in the caller's own transaction: `await outbox.add(session, task, ...)`."""

from app.outbox.outbox import add, add_all

__all__ = ["add", "add_all"]
