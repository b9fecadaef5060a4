"""What nobody may do, and what one tenant may not do to another."""

import pika
from case import case, equal, refused
from clients import closed_with, confirmed, connected, queue, send, taken, waiting
from pika.exceptions import AMQPConnectionError, AMQPError


def entering(given, **changes):
    """A connection with these keys, some of which are others'."""
    given = {**given, **changes}
    login = pika.PlainCredentials(given["username"], given["password"])
    parameters = pika.ConnectionParameters(given["host"], int(given["port"]), given["virtual-host"], login)
    return pika.BlockingConnection(parameters)


@case
def strangers_are_refused(target):
    given = target.given
    for login in [
        {"password": "wrong"},
        {"password": ""},
        {"username": "guest", "password": "guest"},
        {"username": "guest", "password": "guest", "virtual-host": "/"},
        {"username": "mainstay", "password": ""},
        {"username": "", "password": ""},
    ]:
        refused(AMQPConnectionError, entering, given, **login)
    anonymous = pika.ConnectionParameters(given["host"], int(given["port"]), given["virtual-host"])
    anonymous.credentials = pika.credentials.ExternalCredentials()
    refused(AMQPConnectionError, pika.BlockingConnection, anonymous)


@case
def another_tenants_virtual_host_is_closed(target):
    rival = target.world.rival_of(target)
    for virtual_host in (rival.given["virtual-host"], "/", "", "no-such"):
        refused(AMQPConnectionError, entering, target.given, **{"virtual-host": virtual_host})
    # The same name is free to everybody, and means something else.
    with confirmed(rival) as theirs, confirmed(target) as own:
        name = queue(rival, theirs)
        send(theirs, name, b"kept")
        own.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
        equal(waiting(own, name), 0)
        own.queue_purge(name)
        own.queue_delete(name)
        equal(taken(theirs, name, auto_ack=True)[2], b"kept")
        theirs.queue_delete(name)


@case
def nobody_gets_at_what_is_the_servers(target):
    with connected(target) as connection:
        closed_with(403, connection.channel().exchange_delete, "amq.topic")
        closed_with(403, connection.channel().exchange_declare, "amq.own", "topic")
        closed_with(403, connection.channel().queue_declare, "amq.own")
        closed_with(403, connection.channel().queue_bind, queue(target, connection.channel(), "classic"), "")
        # Who may hear the log of all tenants would hear it here.
        channel = connection.channel()
        refused(AMQPError, channel.exchange_declare, "amq.rabbitmq.log", "topic", passive=True)


@case
def a_flood_ends_nobody_elses_sessions(target):
    rival = target.world.rival_of(target)
    with confirmed(rival) as owner, confirmed(target) as flood:
        name, filled = queue(rival, owner), queue(target, flood, "classic")
        for _ in range(50):
            send(flood, filled, b"x" * 500_000)
        send(owner, name, b"on")
        equal(taken(owner, name, auto_ack=True)[2], b"on")
        flood.queue_delete(filled)
        owner.queue_delete(name)
