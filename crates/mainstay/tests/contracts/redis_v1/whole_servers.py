"""What a dedicated instance has beyond a shared one, and its limits."""

from case import case, equal, refused
from clients import client, is_dedicated, is_shared, key
from redis.exceptions import ConnectionError, NoPermissionError, OutOfMemoryError
from world import eventually

MEBIBYTE = 1 << 20


@case(where=is_dedicated)
def scripts_and_functions_run_on_the_server(target):
    connection = client(target)
    name = key(target, "scripted")
    take = connection.register_script("local was = redis.call('GET', KEYS[1]); redis.call('SET', KEYS[1], ARGV[1]); return was")
    equal((take(keys=[name], args=["1"]), take(keys=[name], args=["2"]), connection.get(name)), (None, "1", "2"))
    library = target.world.name("library").replace("-", "")
    function = f"redis.register_function('{library}', function(keys) return redis.call('INCR', keys[1]) end)"
    connection.function_load(f"#!lua name={library}\n{function}")
    equal(connection.fcall(library, 1, name), 3)


@case(where=is_shared)
def scripts_are_refused_where_one_could_hold_up_everybody(target):
    refused(NoPermissionError, client(target).eval, "return 1", 0)


@case(where=is_dedicated)
def keys_can_be_listed_counted_and_flushed(target):
    # In databases of its own, since others work in this instance too. Which one, the URI's path says.
    one, other = (client(target, {"uri": target.given["uri"].replace("/0", f"/{number}")}) for number in (7, 8))
    one.flushdb()
    one.mset({f"user:{number}": number for number in range(300)})
    other.set("elsewhere", 1)
    equal((one.dbsize(), len(one.keys("user:1*")), len(set(one.scan_iter(match="user:*", count=50)))), (300, 111, 300))
    one.move("user:1", 8)
    one.flushdb()
    equal((one.dbsize(), other.dbsize()), (0, 2))
    other.flushdb()


@case(where=lambda target: is_dedicated(target) and not target.persists)
def a_full_cache_lets_the_oldest_go(target):
    small = target.sibling(memory_mib=16)
    connection = client(small)
    for number in range(48):
        connection.set(f"entry:{number}", "x" * MEBIBYTE)
    equal(connection.exists("entry:47"), 1, "the newest entry")
    equal(0 < connection.dbsize() < 16, True, f"{connection.dbsize()} entries of 1 MiB in 16 MiB")
    target.world.delete(small)


@case(where=lambda target: is_dedicated(target) and target.persists)
def a_full_store_refuses_writes_and_loses_nothing(target):
    small = target.sibling(memory_mib=16, persistence="durable")
    connection = client(small)
    written = 0

    def fill():
        nonlocal written
        while written < 48:
            connection.set(f"entry:{written}", "x" * MEBIBYTE)
            written += 1

    refused(OutOfMemoryError, fill)
    equal(written >= 8, True, f"{written} entries of 1 MiB in 16 MiB")
    equal(connection.exists(*(f"entry:{number}" for number in range(written))), written)
    equal(connection.delete("entry:0"), 1, "room can be made")
    target.world.delete(small)


@case(where=is_dedicated)
def the_promised_connections_are_there_and_few_more(target):
    small = target.sibling(max_connections=10)
    sessions = [client(small, single_connection_client=True) for _ in range(10)]

    def come_in():
        while len(sessions) < 20:
            sessions.append(client(small, single_connection_client=True))

    refused(ConnectionError, come_in, saying="max number of clients")
    sessions.pop().close()

    def comes_in():
        try:
            return client(small).ping()
        except ConnectionError:
            return False

    eventually("a connection that ended makes room", comes_in)
    target.world.delete(small)
