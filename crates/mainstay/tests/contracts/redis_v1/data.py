"""Every kind of data, on every plan."""

from case import case, equal, refused
from clients import client, key
from redis.exceptions import ResponseError, WatchError


@case
def strings_are_kept_byte_for_byte_and_counted_with(target):
    raw = client(target, decode_responses=False)
    name = key(target, "string")
    every_byte = bytes(range(256)) * 3
    raw.set(name, every_byte)
    equal(raw.get(name), every_byte)
    large = every_byte * 4_000
    raw.set(name, large)
    equal(raw.get(name) == large, True, "a value of 3 MB")

    connection = client(target)
    equal(connection.set(name, "1", nx=True), None, "set where there is something")
    equal(connection.set(name, "1", xx=True, get=False), True)
    equal(connection.incrby(name, 41), 42)
    equal(connection.incrbyfloat(name, 0.5), 42.5)
    equal(connection.append(name, "!"), 5)
    equal(connection.getrange(name, 0, 1), "42")
    equal(connection.getdel(name), "42.5!")
    pair = {key(target, "one"): "1", key(target, "two"): "2"}
    connection.mset(pair)
    equal(connection.mget(pair), ["1", "2"])
    equal(connection.unlink(*pair), 2)


@case
def hashes_lists_and_sets_do_what_they_are_known_for(target):
    connection = client(target)
    book = key(target, "hash")
    connection.hset(book, mapping={"title": "Emma", "year": "1815", "copies": "1"})
    equal(connection.hincrby(book, "copies", 2), 3)
    equal(connection.hgetall(book), {"title": "Emma", "year": "1815", "copies": "3"})
    equal(dict(connection.hscan_iter(book, match="t*")), {"title": "Emma"})
    queue, other = key(target, "list"), key(target, "list")
    connection.rpush(queue, "a", "b", "c")
    equal(connection.lmove(queue, other, "RIGHT", "LEFT"), "c")
    equal((connection.lrange(queue, 0, -1), connection.lpos(queue, "b")), (["a", "b"], 1))
    odd, small = key(target, "set"), key(target, "set")
    connection.sadd(odd, 1, 3, 5)
    connection.sadd(small, 1, 2, 3)
    equal(connection.sinter(odd, small), {"1", "3"})
    equal(set(connection.sscan_iter(odd)), {"1", "3", "5"})
    refused(ResponseError, connection.incr, odd, saying="WRONGTYPE")


@case
def sorted_sets_bitmaps_counts_and_places_do_too(target):
    connection = client(target)
    scores = key(target, "zset")
    connection.zadd(scores, {"ann": 3, "ben": 1, "cat": 2})
    equal(connection.zrange(scores, 0, -1), ["ben", "cat", "ann"])
    equal(connection.zrange(scores, "(1", "+inf", byscore=True), ["cat", "ann"])
    equal(connection.zpopmin(scores), [("ben", 1.0)])
    equal(connection.zadd(scores, {"ann": 1}, gt=True), 0)
    equal(connection.zscore(scores, "ann"), 3.0)
    bits = key(target, "bits")
    connection.setbit(bits, 7, 1)
    equal((connection.bitcount(bits), connection.getbit(bits, 7), connection.get(bits)), (1, 1, "\x01"))
    count = key(target, "count")
    connection.pfadd(count, *range(1_000))
    equal(abs(connection.pfcount(count) - 1_000) < 50, True, "an estimate")
    places = key(target, "places")
    connection.geoadd(places, (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"))
    equal(round(connection.geodist(places, "Palermo", "Catania", unit="km")), 166)
    equal(connection.geosearch(places, longitude=15, latitude=37, radius=100, unit="km"), ["Catania"])


@case
def streams_have_groups_that_share_the_work_and_take_over_what_is_left(target):
    connection = client(target)
    stream = key(target, "stream")
    connection.xgroup_create(stream, "workers", id="0", mkstream=True)
    ids = [connection.xadd(stream, {"n": number}) for number in range(4)]
    equal([entry for entry, _ in connection.xrange(stream)], ids)
    take = lambda who: [id for id, _ in connection.xreadgroup("workers", who, {stream: ">"}, count=2)[0][1]]
    equal((take("ann"), take("ben")), (ids[:2], ids[2:]))
    equal(connection.xack(stream, "workers", *ids[2:]), 2)
    equal(connection.xpending(stream, "workers")["pending"], 2)
    equal([id for id, _ in connection.xautoclaim(stream, "workers", "ben", min_idle_time=0)[1]], ids[:2])
    equal(connection.xinfo_groups(stream)[0]["pending"], 2)
    connection.xtrim(stream, maxlen=1, approximate=False)
    equal(connection.xlen(stream), 1)


@case
def what_expires_is_gone_at_its_time_and_not_before(target):
    connection = client(target)
    soon, later, never = (key(target, name) for name in ("soon", "later", "never"))
    connection.set(soon, "x", px=150)
    connection.set(later, "x", ex=3_600)
    connection.set(never, "x", ex=3_600)
    equal(connection.persist(never), True)
    equal(connection.get(soon), "x")
    waiting = key(target, "nothing")
    # Nobody pushes: it is a pause that the server measures.
    equal(connection.blpop(waiting, timeout=0.2), None)
    equal((connection.get(soon), connection.get(later), connection.ttl(never)), (None, "x", -1))
    equal(3_500 < connection.ttl(later) <= 3_600, True, "the time that is left")


@case
def a_transaction_is_done_as_a_whole_or_not_at_all(target):
    connection, other = client(target), client(target)
    account, log = key(target, "account"), key(target, "log")
    connection.set(account, 100)
    with connection.pipeline(transaction=True) as transaction:
        transaction.decrby(account, 30).rpush(log, "-30")
        equal(transaction.execute(), [70, 1])
    with connection.pipeline(transaction=True) as transaction:
        transaction.watch(account)
        transaction.multi()
        transaction.set(account, 0)
        other.set(account, 71)
        refused(WatchError, transaction.execute)
    equal(connection.get(account), "71")
    with connection.pipeline(transaction=True) as transaction:
        transaction.set(account, 1).execute_command("GET")
        refused(ResponseError, transaction.execute)
    equal(connection.get(account), "71", "what was in a transaction with a mistake")


@case
def a_pipeline_answers_in_order(target):
    connection = client(target)
    counter = key(target, "counter")
    pipeline = connection.pipeline(transaction=False)
    for _ in range(5_000):
        pipeline.incr(counter)
    equal(pipeline.execute(), list(range(1, 5_001)))


@case
def both_versions_of_the_protocol_are_spoken(target):
    name = key(target, "hash")
    for protocol in (2, 3):
        connection = client(target, protocol=protocol, client_name=f"version-{protocol}")
        connection.hset(name, "a", "1")
        equal(connection.hgetall(name), {"a": "1"})
        equal(connection.client_getname(), f"version-{protocol}")
