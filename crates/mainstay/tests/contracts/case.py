"""Cases, and what they are judged by."""

import inspect

ALL = []


class Case:
    """One thing that a consumer may rely on. Its name is the sentence that says what."""

    def __init__(self, function, where, alone):
        self.function = function
        self.where = where
        self.alone = alone
        self.area = inspect.getmodule(function).__name__
        self.name = f"{self.area}.{function.__name__}"


def case(function=None, *, where=lambda target: True, alone=False):
    """Registers a case, for the targets that promise what it is about.

    It runs `alone` where it makes instances or bindings on a server that would make the others' clients try again.
    """
    if function is None:
        return lambda function: case(function, where=where, alone=alone)
    ALL.append(Case(function, where, alone))
    return function


def equal(found, wanted, what=""):
    """Fails with both sides where they differ."""
    if found != wanted:
        raise AssertionError(f"{what or 'found'}:\n    found  {found!r}\n    wanted {wanted!r}")


def refused(errors, call, *arguments, saying="", **more):
    """The error that a call has to end with."""
    try:
        answer = call(*arguments, **more)
    except errors as error:
        return said(error, saying)
    raise AssertionError(f"it should have been refused, and answered {answer!r}")


async def refused_soon(errors, awaited, saying=""):
    """The error that something awaited has to end with."""
    try:
        answer = await awaited
    except errors as error:
        return said(error, saying)
    raise AssertionError(f"it should have been refused, and answered {answer!r}")


def said(error, saying):
    """`saying` is a part of the message, or a choice of such parts."""
    wanted = (saying,) if isinstance(saying, str) else saying
    if not any(part in str(error) for part in wanted):
        raise AssertionError(f"the refusal should say {saying!r}: {error!r}: {error}")
    return error
