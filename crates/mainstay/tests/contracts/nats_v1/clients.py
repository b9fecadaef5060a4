"""The way to a target: the stock client."""

import asyncio
import contextlib
import time

import nats
from nats.js.errors import NotFoundError, ServerError, ServiceUnavailableError
from world import PATIENCE_SECONDS


async def quiet(error):
    """The cases judge what they are told themselves; the client would print it."""


@contextlib.asynccontextmanager
async def connected(target, given=None, **options):
    """nats-py, by nothing but the URI.

    It connects anew by itself, as it does for everybody: who comes in the moment in which a server takes a change to its
    accounts may be sent away once. Cases that are about a session look at its number.
    """
    options = {"error_cb": quiet, "reconnect_time_wait": 0.05, "connect_timeout": 10, **options}
    connection = await nats.connect((given or target.given)["uri"], **options)
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def together(target, count):
    """Connections that hear each other.

    Who comes in the moment in which nats-server 2.9 takes a change to its accounts may be let into one of the same name
    that is not the others', until it takes the next change.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        async with contextlib.AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(connected(target)) for _ in range(count)]
            if await hear_each_other(connections, target.world.name("together")):
                yield connections
                return
        if time.monotonic() > deadline:
            raise AssertionError(f"{count} connections never heard each other")


async def hear_each_other(connections, subject):
    heard = [await connection.subscribe(subject) for connection in connections]
    for connection in connections:
        await connection.flush()
    for connection in connections:
        await connection.publish(subject, b"")
    try:
        for messages in heard:
            for _ in connections:
                await messages.next_msg(2)
            await messages.unsubscribe()
    except asyncio.TimeoutError:
        return False
    return True


async def patiently(ask):
    """What the API of JetStream answers to something that may be asked twice.

    While a server takes a change to its accounts, for some milliseconds it may answer that the API or its store is not
    there, or nothing. Messages are not concerned; who manages streams asks again.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await ask()
        except (ServiceUnavailableError, ServerError, asyncio.TimeoutError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def stream(target, connection, **settings):
    """JetStream, and a stream of a case's own with the subjects `NAME.>`."""
    context = connection.jetstream(timeout=20)
    name, manager = target.world.name("stream"), connection.jsm(timeout=3)
    await patiently(lambda: manager.add_stream(name=name, subjects=[f"{name}.>"], **settings))
    try:
        yield context, name
    finally:
        with contextlib.suppress(NotFoundError):
            await patiently(lambda: manager.delete_stream(name))
