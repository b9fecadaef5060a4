"""Exchanges, queues and their limits."""

import pika
from case import case, equal, refused
from clients import KINDS, closed_with, confirmed, connected, queue, send, taken, waiting
from pika.exceptions import NackError
from world import eventually


@case
def every_kind_of_exchange_routes_as_it_is_known_for(target):
    routes = {
        "direct": ({"routing_key": "red"}, ["red"]),
        "topic": ({"routing_key": "car.*.#"}, ["car.red", "car.red.fast"]),
        "fanout": ({}, ["red", "car.red", "car.red.fast", "blue"]),
    }
    with confirmed(target) as channel:
        for kind, (binding, wanted) in routes.items():
            exchange, name = target.world.name(kind), queue(target, channel)
            channel.exchange_declare(exchange, kind, durable=True)
            channel.queue_bind(name, exchange, **binding)
            for key in ("red", "car.red", "car.red.fast", "blue"):
                channel.basic_publish(exchange, key, key)
            found = [taken(channel, name, auto_ack=True)[2].decode() for _ in wanted]
            equal((found, waiting(channel, name)), (wanted, 0), kind)
            channel.exchange_delete(exchange)
            channel.queue_delete(name)


@case
def exchanges_route_by_headers_and_to_one_another(target):
    with confirmed(target) as channel:
        first, second, name = target.world.name("first"), target.world.name("second"), queue(target, channel)
        channel.exchange_declare(first, "topic", durable=True, arguments={"alternate-exchange": second})
        channel.exchange_declare(second, "headers", durable=True)
        channel.exchange_bind(second, first, routing_key="on.#")
        channel.queue_bind(name, second, arguments={"x-match": "all", "colour": "red", "size": 1})
        red = pika.BasicProperties(headers={"colour": "red", "size": 1})
        channel.basic_publish(first, "on.way", b"bound", red)
        channel.basic_publish(first, "unknown", b"alternate", red)
        channel.basic_publish(first, "on.way", b"neither", pika.BasicProperties(headers={"colour": "red"}))
        equal([taken(channel, name, auto_ack=True)[2] for _ in range(2)], [b"bound", b"alternate"])
        equal(waiting(channel, name), 0)
        for exchange in (first, second):
            channel.exchange_delete(exchange)
        channel.queue_delete(name)


@case
def a_queue_of_one_connection_is_nobody_elses_and_ends_with_it(target):
    with connected(target) as own, connected(target) as other:
        name = own.channel().queue_declare("", exclusive=True).method.queue
        closed_with(405, other.channel().queue_declare, name, passive=True)
        own.close()
        eventually("it is gone", lambda: is_gone(other, name))


@case
def a_request_is_answered_without_a_queue_of_its_own(target):
    with connected(target) as client, connected(target) as server:
        asked, answers = client.channel(), []
        work = queue(target, asked, "classic")
        asked.basic_consume("amq.rabbitmq.reply-to", lambda *told: answers.append(told[-1]), auto_ack=True)
        asked.basic_publish("", work, b"6 times 7", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to"))
        worker = server.channel()
        _, properties, _ = taken(worker, work, auto_ack=True)
        worker.basic_publish("", properties.reply_to, b"42")
        eventually("the answer comes", lambda: client.process_data_events(0.05) or answers)
        equal(answers, [b"42"])
        asked.queue_delete(work)


@case
def a_full_queue_refuses_what_comes(target):
    for kind in KINDS:
        with confirmed(target) as channel:
            name = queue(target, channel, kind, x_max_length=3)
            refused(NackError, send, channel, name, *[b"x"] * 50)
            equal(3 <= waiting(channel, name) < 50, True, kind)
            equal(taken(channel, name, auto_ack=True)[2], b"x")
            channel.queue_delete(name)


@case
def a_full_classic_queue_lets_the_oldest_go_where_that_was_asked_for(target):
    with confirmed(target) as channel:
        name = queue(target, channel, "classic", x_max_length=3, x_overflow="drop-head")
        send(channel, name, *(b"%d" % number for number in range(10)))
        equal([taken(channel, name, auto_ack=True)[2] for _ in range(3)], [b"7", b"8", b"9"])
        channel.queue_delete(name)


@case
def urgent_messages_pass_others_where_that_was_asked_for(target):
    with confirmed(target) as channel:
        name = queue(target, channel, "classic", x_max_priority=5)
        for priority in (1, 5, 3):
            send(channel, name, b"%d" % priority, properties=pika.BasicProperties(priority=priority))
        equal([taken(channel, name, auto_ack=True)[2] for _ in range(3)], [b"5", b"3", b"1"])
        channel.queue_delete(name)


@case
def one_consumer_at_a_time_where_that_was_asked_for(target):
    with confirmed(target) as channel, connected(target) as one, connected(target) as other:
        name = queue(target, channel, x_single_active_consumer=True)
        got = {one: [], other: []}
        for connection, bodies in got.items():
            connection.channel().basic_consume(name, lambda *told, bodies=bodies: bodies.append(told[-1]), auto_ack=True)
        send(channel, name, *(b"%d" % number for number in range(20)))

        def have_all():
            other.process_data_events(0)
            one.process_data_events(0.05)
            return sum(map(len, got.values())) == 20

        eventually("all come", have_all)
        equal((len(got[one]), len(got[other])), (20, 0))
        one.close()
        send(channel, name, b"next")
        eventually("the other takes over", lambda: other.process_data_events(0.05) or got[other] == [b"next"])
        channel.queue_delete(name)


@case
def a_queue_declared_otherwise_is_refused(target):
    with connected(target) as connection:
        name = queue(target, connection.channel())
        closed_with(406, connection.channel().queue_declare, name, durable=True, arguments={"x-queue-type": "classic"})
        closed_with(404, connection.channel().queue_declare, target.world.name("absent"), passive=True)
        connection.channel().queue_delete(name)


@case
def an_instance_keeps_within_the_limits_it_was_created_with(target):
    small = target.sibling(max_queues=3, max_connections=2, max_channels=4, max_queue_mib=1)
    with connected(small) as one:
        channel = one.channel()
        channel.confirm_delivery()
        names = [queue(small, channel, kind) for kind in ("quorum", "classic", "classic")]
        for kind in KINDS:
            refused(Exception, queue, small, one.channel(), kind, saying="limit")
        for name in names[:2]:
            written = 0
            with_room = 40

            def fill(name=name):
                nonlocal written
                while written < with_room:
                    send(channel, name, b"x" * 100_000)
                    written += 1

            refused(NackError, fill)
            equal(8 <= written < with_room, True, f"{written} messages of 100 kB in 1 MiB of {name}")
        with connected(small):
            refused(Exception, connected(small).__enter__, saying="limit")
    with confirmed(target) as channel:
        name = queue(target, channel)
        send(channel, name, b"others go on")
        channel.queue_delete(name)
    target.world.delete(small)


def is_gone(connection, name):
    channel = connection.channel()
    try:
        channel.queue_declare(name, passive=True)
    except Exception as error:
        if getattr(error, "reply_code", None) == 404:
            return True
        if getattr(error, "reply_code", None) != 405:
            raise
    return False
