"""What can go wrong with the local stack."""


class StackError(Exception):
    """Something the person at the terminal can act on; the message says what to do."""
