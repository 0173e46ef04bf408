"""Errors caused by user input, and the causes of any error."""

from collections.abc import Iterator


class UserError(ValueError):
    """A mistake in what the user gave; the command line prints its message as one line, without a traceback.

    The message names the wrong value, what is allowed, and what to do.
    """


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what caused it, the cause of that, and so on; none that `raise ... from None` has hidden."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
