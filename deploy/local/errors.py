"""What can go wrong with the local stack."""

from reccore.errors import ReweighError


class StackError(ReweighError):
    """Something the person at the terminal can act on; the message says what to do."""
