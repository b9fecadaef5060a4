"""Messages on their way: confirmed, acknowledged, given again, given up."""

import pika
from case import case, equal, refused
from clients import KINDS, PERSISTENT, confirmed, connected, queue, send, taken, waiting
from pika.exceptions import UnroutableError
from world import eventually


@case
def what_was_confirmed_is_there_in_order_with_all_that_it_carries(target):
    with confirmed(target) as channel:
        for kind in KINDS:
            name = queue(target, channel, kind)
            told = pika.BasicProperties(
                delivery_mode=2, content_type="text/plain", correlation_id="7", headers={"n": 1, "nested": {"deep": [1, "two"]}}
            )
            send(channel, name, *(b"%d" % number for number in range(100)), properties=told)
            equal(waiting(channel, name), 100, kind)
            for number in range(100):
                method, properties, body = taken(channel, name, auto_ack=True)
                equal((body, method.redelivered), (b"%d" % number, False), kind)
            equal((properties.correlation_id, properties.content_type), ("7", "text/plain"))
            equal({key: properties.headers[key] for key in told.headers}, told.headers)
            large = bytes(range(256)) * 16_000
            send(channel, name, large)
            equal(taken(channel, name, auto_ack=True)[2] == large, True, "4 MB")
            channel.queue_delete(name)


@case
def what_reaches_no_queue_is_given_back(target):
    with confirmed(target) as channel:
        refused(UnroutableError, send, channel, target.world.name("nowhere"), b"lost")


@case
def what_is_not_acknowledged_goes_to_another_when_its_consumer_ends(target):
    for kind in KINDS:
        with confirmed(target) as channel:
            name = queue(target, channel, kind)
            send(channel, name, b"work")
            with connected(target) as worker:
                equal(taken(worker.channel(), name)[2], b"work")
                equal(waiting(channel, name), 0)
            method, _, body = taken(channel, name)
            equal((body, method.redelivered), (b"work", True), kind)
            channel.basic_ack(method.delivery_tag)
            channel.queue_delete(name)


@case
def no_more_is_handed_out_than_a_consumer_wants_at_once(target):
    for kind in KINDS:
        with confirmed(target) as channel, connected(target) as connection:
            name = queue(target, channel, kind)
            send(channel, name, *(b"%d" % number for number in range(10)))
            worker, got = connection.channel(), []
            worker.basic_qos(prefetch_count=3)
            worker.basic_consume(name, lambda _, method, __, body: got.append((method.delivery_tag, body)))

            def receives(count):
                eventually(f"{count} come", lambda: connection.process_data_events(0.05) or len(got) >= count)

            receives(3)
            eventually("the others wait", lambda: waiting(channel, name) == 7)
            connection.process_data_events(0.2)
            equal(len(got), 3, kind)
            worker.basic_ack(got[-1][0], multiple=True)
            receives(6)
            equal([body for _, body in got], [b"%d" % number for number in range(6)])
            channel.queue_delete(name)


@case
def a_rejected_message_is_a_dead_letter_and_says_why(target):
    for kind in KINDS:
        with confirmed(target) as channel:
            dead = queue(target, channel, kind)
            name = queue(target, channel, kind, x_dead_letter_exchange="", x_dead_letter_routing_key=dead)
            send(channel, name, b"poison")
            method, _, _ = taken(channel, name)
            channel.basic_reject(method.delivery_tag, requeue=False)
            _, properties, body = taken(channel, dead, auto_ack=True)
            [death] = properties.headers["x-death"]
            equal((body, death["queue"], death["reason"], death["count"]), (b"poison", name, "rejected", 1), kind)
            for each in (name, dead):
                channel.queue_delete(each)


@case
def a_message_is_a_dead_letter_only_after_it_was_tried_as_often_as_was_asked_for(target):
    with confirmed(target) as channel:
        dead = queue(target, channel)
        settings = {"x_delivery_limit": 2, "x_dead_letter_exchange": "", "x_dead_letter_routing_key": dead}
        name = queue(target, channel, **settings)
        send(channel, name, b"poison", b"good")
        tried = 0
        while True:
            method, properties, body = taken(channel, name)
            if body == b"good":
                channel.basic_ack(method.delivery_tag)
                break
            equal((properties.headers or {}).get("x-delivery-count", 0), tried, "how often it was tried before")
            equal(waiting(channel, dead), 0, "retries come first")
            tried += 1
            channel.basic_nack(method.delivery_tag, requeue=True)
        equal(tried, 3, "the first attempt and two more")
        _, properties, body = taken(channel, dead, auto_ack=True)
        equal((body, properties.headers["x-death"][0]["reason"]), (b"poison", "delivery_limit"))
        for each in (name, dead):
            channel.queue_delete(each)


@case
def what_nobody_takes_in_time_expires_into_the_dead_letters(target):
    for kind in KINDS:
        with confirmed(target) as channel:
            dead = queue(target, channel, kind)
            name = queue(target, channel, kind, x_message_ttl=200, x_dead_letter_exchange="", x_dead_letter_routing_key=dead)
            send(channel, name, b"late")
            _, properties, body = taken(channel, dead, auto_ack=True)
            equal((body, properties.headers["x-death"][0]["reason"]), (b"late", "expired"), kind)
            single = pika.BasicProperties(delivery_mode=2, expiration="100")
            send(channel, dead, b"later", properties=single)
            eventually("a message's own time counts too", lambda: waiting(channel, dead) == 0)
            for each in (name, dead):
                channel.queue_delete(each)


@case
def a_transaction_publishes_all_or_nothing(target):
    with connected(target) as connection:
        channel = connection.channel()
        name = queue(target, channel, "classic")
        channel.tx_select()
        channel.basic_publish("", name, b"taken back", PERSISTENT)
        channel.tx_rollback()
        channel.basic_publish("", name, b"kept", PERSISTENT)
        channel.tx_commit()
        equal((waiting(channel, name), taken(channel, name, auto_ack=True)[2]), (1, b"kept"))
        channel.queue_delete(name)
