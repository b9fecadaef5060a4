"""Cases, and what they are judged by."""

import inspect

from botocore.exceptions import ClientError

ALL = []


class Case:
    """One thing that has to hold. Its name is the sentence that says what."""

    def __init__(self, function, argument, name):
        self.function = function
        self.argument = argument
        self.area = inspect.getmodule(function).__name__
        self.name = f"{self.area}.{name}"

    def run(self, world):
        self.function(world, *self.argument)


def case(function):
    """Registers a case."""
    ALL.append(Case(function, (), function.__name__))
    return function


def each(*arguments):
    """Registers a case for each of some arguments."""

    def register(function):
        for argument in arguments:
            told = argument if isinstance(argument, tuple) else (argument,)
            ALL.append(Case(function, told, f"{function.__name__}[{', '.join(map(repr, told))}]"))
        return function

    return register


def equal(found, wanted, what=""):
    """Fails with both sides where they differ."""
    if found != wanted:
        raise AssertionError(f"{what or 'found'}:\n    found  {found!r}\n    wanted {wanted!r}")


def refused(status, code, call, *arguments, **more):
    """The error that a call has to end with. `code` is None where the answer has no body that could tell it."""
    try:
        answer = call(*arguments, **more)
    except ClientError as error:
        told = error.response
        found = (told["ResponseMetadata"]["HTTPStatusCode"], told["Error"].get("Code"))
        wanted = (status, str(status) if code is None else code)
        equal(found, wanted, f"the refusal ({told['Error'].get('Message')})")
        return told
    raise AssertionError(f"it should have been refused with {code or status}, and answered {answer!r}")


def status_of(answer):
    """The status of what boto3 answered."""
    return answer["ResponseMetadata"]["HTTPStatusCode"]
