"""The one kind of error that a user is meant to read."""


class UserError(Exception):
    """Something a user can put right: one line that says what is wrong, with the value, and what to do next.

    The command lines print it without a traceback and exit with a code other than zero.
    """
