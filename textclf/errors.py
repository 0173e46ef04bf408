"""The one exception that means: the user can mend this."""


class UserError(ValueError):
    """A mistake in what the user gave; the command line prints its message as one line, without a traceback.

    The message names the wrong value, what is allowed, and what to do.
    """
