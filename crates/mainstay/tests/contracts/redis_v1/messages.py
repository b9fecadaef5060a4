"""Channels, and commands that wait."""

import concurrent.futures
import time

from case import case, equal
from clients import client, key, redis_cli
from world import PATIENCE_SECONDS


def heard(subscription):
    """The next message, which has to come."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        message = subscription.get_message(timeout=1)
        if message and message["type"] in ("message", "pmessage", "smessage"):
            return message["channel"], message["data"]
    raise AssertionError("no message came")


def subscribed(subscription, count):
    """Waits until the server has confirmed so many subscriptions."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while count and time.monotonic() < deadline:
        message = subscription.get_message(timeout=1)
        count -= bool(message) and message["type"].endswith("subscribe")
    equal(count, 0, "subscriptions that were not confirmed")


@case
def subscribers_hear_what_is_published_in_order(target):
    publisher, subscription = client(target), client(target).pubsub()
    channel = key(target, "channel")
    subscription.subscribe(channel)
    subscribed(subscription, 1)
    for number in range(100):
        # Who listens by a pattern that the channel fits is told too, and counted.
        equal(publisher.publish(channel, number) >= 1, True)
    equal([heard(subscription) for _ in range(100)], [(channel, str(number)) for number in range(100)])


@case
def subscriptions_by_pattern_hear_all_that_fits(target):
    publisher, subscription = client(target), client(target).pubsub()
    # A pattern is allowed where all that it can mean is the instance's own, which the whole prefix is.
    start = key(target, "news") + "."
    subscription.psubscribe(target.given.get("prefix", start) + "*")
    subscribed(subscription, 1)
    publisher.publish(start + "uk", "rain")
    while (found := heard(subscription)) != (start + "uk", "rain"):
        equal(found[0].startswith(target.given.get("prefix", "")), True, "only one's own is heard")


@case
def whoever_waits_is_woken_by_what_comes(target):
    queue, scores, stream = (key(target, name) for name in ("queue", "scores", "stream"))
    waits = [
        lambda connection: connection.blpop([queue], timeout=PATIENCE_SECONDS)[1],
        lambda connection: connection.bzpopmin(scores, timeout=PATIENCE_SECONDS)[1],
        lambda connection: connection.xread({stream: "$"}, block=1_000 * PATIENCE_SECONDS)[0][1][0][1]["told"],
    ]
    with concurrent.futures.ThreadPoolExecutor() as threads:
        clients = [client(target, client_name=f"waits-{number}") for number in range(3)]
        waiting = [threads.submit(wait, connection) for wait, connection in zip(waits, clients)]
        teller = client(target)
        # An entry that comes before a reader waits is none that it waits for; so there are many.
        while not all(answer.done() for answer in waiting):
            teller.rpush(queue, "work")
            teller.zadd(scores, {"first": 1})
            teller.xadd(stream, {"told": "news"}, maxlen=10)
            time.sleep(0.01)
        equal([answer.result() for answer in waiting], ["work", "first", "news"])


@case
def the_command_line_client_works_with_the_uri(target):
    name = key(target, "from-redis-cli")
    equal(redis_cli(target.given, "PING"), "PONG")
    equal(redis_cli(target.given, "SET", name, "told"), "OK")
    equal(client(target).get(name), "told")
