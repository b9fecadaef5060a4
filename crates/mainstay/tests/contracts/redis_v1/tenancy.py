"""What nobody may do, and what one tenant may not do to another."""

import redis

from case import case, equal, refused
from clients import client, is_dedicated, is_shared, key, redis_cli
from messages import heard, subscribed
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from redis.retry import Retry

# Part of each refusal that is none of a mistake in the command.
NOT_ALLOWED = ("o permissions", "not allowed")
# Of both plans: whoever could do these would own the server.
ADMINISTRATION = [
    "CONFIG GET *",
    "CONFIG SET dir /tmp",
    "CONFIG SET maxmemory 0",
    "CONFIG REWRITE",
    "ACL LIST",
    "ACL SETUSER other on nopass ~* +@all",
    "SHUTDOWN NOSAVE",
    "DEBUG SLEEP 1",
    "REPLICAOF 127.0.0.1 1",
    "SAVE",
    "BGREWRITEAOF",
    "MODULE LOAD /tmp/any.so",
    "MONITOR",
    "SYNC",
    "PSYNC ? -1",
    "CLIENT KILL TYPE normal",
    "CLIENT PAUSE 10000",
    "CLUSTER RESET",
    "FAILOVER",
    "MIGRATE 127.0.0.1 1 key 0 100",
]
# Of a shared server: what looks or reaches beyond the keys and channels that a command names.
BEYOND_KEYS = [
    "KEYS *",
    "SCAN 0",
    "RANDOMKEY",
    "DBSIZE",
    "FLUSHALL",
    "FLUSHDB",
    "SWAPDB 0 1",
    "SELECT 1",
    "INFO",
    "CLIENT LIST",
    "CLIENT TRACKING ON BCAST",
    "CLIENT NO-EVICT ON",
    "PUBSUB CHANNELS",
    "MEMORY STATS",
    "SLOWLOG GET",
    "SCRIPT FLUSH",
    "FUNCTION FLUSH",
    "FUNCTION LIST",
    "EVAL return{} 0",
    "PSUBSCRIBE *",
    "SUBSCRIBE news",
]


@case
def strangers_are_refused(target):
    given = target.given
    once = Retry(NoBackoff(), 0)
    at = lambda **login: redis.Redis(given["host"], int(given["port"]), retry=once, **login)
    refused((AuthenticationError, NoPermissionError), at().ping)
    refused(AuthenticationError, at(password=given["password"]).ping)
    refused(AuthenticationError, at(username=given["username"], password="wrong").ping)
    refused(AuthenticationError, at(username=given["username"], password="").ping)


@case
def nobody_administers_the_server(target):
    connection = client(target)
    for command in ADMINISTRATION:
        refused((NoPermissionError, ResponseError), connection.execute_command, *command.split(" "), saying=NOT_ALLOWED)
    equal(connection.ping(), True)


@case(where=is_shared)
def nobody_looks_or_reaches_beyond_its_own_keys(target):
    for command in BEYOND_KEYS:
        refused((NoPermissionError, ResponseError), client(target).execute_command, *command.split(" "), saying=NOT_ALLOWED)


@case(where=is_shared)
def another_tenants_keys_and_channels_are_out_of_reach(target):
    rival = target.world.rival_of(target)
    theirs, channel = key(rival, "theirs"), key(rival, "channel")
    owner = client(rival)
    owner.set(theirs, "kept")
    subscription = owner.pubsub()
    subscription.subscribe(channel)
    subscribed(subscription, 1)
    own = key(target, "own")
    attempts = [
        ("GET", theirs),
        ("SET", theirs, "x"),
        ("DEL", theirs),
        ("UNLINK", theirs),
        ("EXPIRE", theirs, "1"),
        ("DUMP", theirs),
        ("TYPE", theirs),
        ("EXISTS", theirs),
        ("COPY", theirs, own),
        ("RENAME", theirs, own),
        ("MGET", own, theirs),
        ("SORT", own, "BY", theirs + "*"),
        ("BITOP", "OR", own, theirs),
        ("XREAD", "STREAMS", theirs, "0"),
        ("PUBLISH", channel, "false news"),
        ("SPUBLISH", channel, "false news"),
        ("SUBSCRIBE", channel),
        ("PSUBSCRIBE", rival.given["prefix"] + "*"),
        ("AUTH", rival.given["username"], "guessed"),
    ]
    for attempt in attempts:
        refused((NoPermissionError, ResponseError, AuthenticationError), client(target).execute_command, *attempt)
    # What is refused alone is refused in a transaction too.
    with client(target).pipeline(transaction=True) as transaction:
        transaction.get(theirs)
        refused(ResponseError, transaction.execute)
    equal(owner.get(theirs), "kept")
    owner.publish(channel, "true news")
    equal(heard(subscription), (channel, "true news"), "the first that the rival hears")


@case(where=is_shared)
def a_flood_ends_nobody_elses_sessions_and_takes_nobody_elses_data(target):
    rival = target.world.rival_of(target)
    owner = client(rival, single_connection_client=True)
    kept = [key(rival, "kept") for _ in range(50)]
    for name in kept:
        owner.set(name, "x" * 100)
    session = owner.client_id()
    flood = [client(target, single_connection_client=True) for _ in range(100)]
    pipelines = [connection.pipeline(transaction=False) for connection in flood]
    for number, pipeline in enumerate(pipelines):
        for index in range(10):
            pipeline.set(key(target, "flood"), "x" * 20_000, ex=60)
        pipeline.execute()
    equal((owner.client_id(), owner.mget(kept)), (session, ["x" * 100] * 50))


@case(where=is_dedicated)
def credentials_of_one_instance_are_none_of_another(target):
    rival = target.world.rival_of(target)
    at_theirs = {**target.given, "uri": target.given["uri"].replace(f":{target.given['port']}/", f":{rival.given['port']}/")}
    refused(AuthenticationError, client(target, at_theirs).ping)
    equal("WRONGPASS" in redis_cli(at_theirs, "PING"), True)
