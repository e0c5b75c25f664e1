"""The kernel's side of a publish dialog: what a cell suggests, and publishing what was confirmed.

All functions take and give JSON data, need no ``%load_ext``, and leave nothing in the notebook's
namespace. They use the connection of the magics, so a session is the same for both, and the
planner of the magics, so that the same cell gives the same service.
"""

from jupyter_mlsvc.publishing.dialog import check_name, consume_line, publish
from jupyter_mlsvc.publishing.suggestion import suggest

__all__ = ["check_name", "consume_line", "publish", "suggest"]
