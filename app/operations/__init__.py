"""What operators ask and do, once for all its faces: the admin API, the command line, and pages to come.

`open_operations(settings)` opens all of it.
"""

from app.operations.actor import Actor, Role
from app.operations.opening import Operations, open_operations

__all__ = ["Actor", "Operations", "Role", "open_operations"]
