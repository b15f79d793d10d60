"""The local stack: real servers on one machine, without containers and without root.

`python -m deploy.local up|down|status|clean` is what the Makefile calls. Tests use `Stack` as a context manager:

    with Stack(home=Path(".local/test-mine"), parts=("kafka", "redis")) as stack:
        stack.addresses.kafka
"""

from deploy.local.errors import StackError
from deploy.local.stack import Stack

__all__ = ["Stack", "StackError"]
