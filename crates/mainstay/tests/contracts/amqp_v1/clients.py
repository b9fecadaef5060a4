"""The way to a target: the stock client."""

import contextlib
import time

import pika
from pika.exceptions import ChannelClosed
from world import PATIENCE_SECONDS

PERSISTENT = pika.BasicProperties(delivery_mode=2)
# Each promise about queues is one about both kinds.
KINDS = ("quorum", "classic")


@contextlib.contextmanager
def connected(target, given=None, parameters=None):
    """pika, by nothing but the URI."""
    parameters = parameters or pika.URLParameters((given or target.given)["uri"])
    connection = pika.BlockingConnection(parameters)
    try:
        yield connection
    finally:
        if connection.is_open:
            connection.close()


@contextlib.contextmanager
def confirmed(target):
    """A channel on which a publication returns when it is confirmed, and fails when it is refused or reaches no queue."""
    with connected(target) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel


def queue(target, channel, kind="quorum", **arguments):
    """A durable queue of a case's own."""
    name = target.world.name(kind)
    arguments = {key.replace("_", "-"): value for key, value in arguments.items()}
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": kind, **arguments})
    return name


def send(channel, name, *bodies, exchange="", properties=PERSISTENT):
    for body in bodies:
        channel.basic_publish(exchange, name, body, properties, mandatory=True)


def taken(channel, name, auto_ack=False):
    """The next message, which has to come."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        method, properties, body = channel.basic_get(name, auto_ack=auto_ack)
        if method:
            return method, properties, body
        channel.connection.sleep(0.02)
    raise AssertionError(f"no message came into {name}")


def waiting(channel, name):
    """How many messages are ready in a queue."""
    return channel.queue_declare(name, passive=True).method.message_count


def closed_with(code, call, *arguments, **more):
    """Its channel has to be closed with this code."""
    try:
        answer = call(*arguments, **more)
    except ChannelClosed as error:
        if error.reply_code != code:
            raise AssertionError(f"it should have been refused with {code}: {error}") from error
        return error
    raise AssertionError(f"it should have been refused with {code}, and answered {answer!r}")
