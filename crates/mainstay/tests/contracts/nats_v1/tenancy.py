"""What nobody may do, and what one tenant may not do to another."""

import asyncio
import json

import nats
from case import case, equal, refused_soon
from clients import connected, quiet, stream

NOBODY = (nats.errors.NoRespondersError, asyncio.TimeoutError)
# What is about the whole server. An answer would have to be an error.
OF_THE_SERVER = [
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.SERVER.PING.VARZ",
    "$SYS.REQ.ACCOUNT.PING.CONNZ",
    "$SYS.REQ.CLAIMS.LIST",
    "$JS.API.ACCOUNT.PURGE.{account}",
    "$JS.API.META.LEADER.STEPDOWN",
    "$JS.API.SERVER.REMOVE",
]
OF_THE_RIVAL = [
    "$JS.API.STREAM.INFO.{stream}",
    "$JS.API.STREAM.MSG.GET.{stream}",
    "$JS.API.STREAM.PURGE.{stream}",
    "$JS.API.STREAM.DELETE.{stream}",
    "$JS.API.STREAM.SNAPSHOT.{stream}",
    "$JS.API.CONSUMER.NAMES.{stream}",
    "$JS.API.DIRECT.GET.{stream}",
    "{account}.$JS.API.STREAM.INFO.{stream}",
    "$JS.{account}.API.STREAM.INFO.{stream}",
]


@case
async def strangers_are_refused(target):
    given = target.given
    at = f"{given['host']}:{given['port']}"
    own = {"user": given["username"], "password": given["password"]}
    for login in [
        {},
        {**own, "password": "wrong"},
        {**own, "password": ""},
        {"user": given["username"]},
        {"token": given["password"]},
        {"user": "$SYS", "password": "x"},
    ]:
        attempt = nats.connect(at, allow_reconnect=False, max_reconnect_attempts=0, error_cb=quiet, **login)
        await refused_soon((nats.errors.Error, nats.errors.NoServersError), attempt)


@case
async def nobody_asks_the_server_about_others(target):
    account = target.world.rival_of(target).given["username"].split("_")[1]
    async with connected(target) as connection:
        for subject in OF_THE_SERVER:
            await refused_soon(NOBODY, connection.request(subject.format(account=f"a_{account}"), b"{}", timeout=0.3))
        told = json.loads((await connection.request("$JS.API.STREAM.NAMES", b"{}", timeout=20)).data)
        equal([name for name in told["streams"] or [] if "secrets-of" in name], [], "streams of others")


@case
async def whoever_listens_to_everything_hears_nothing_of_another(target):
    rival = target.world.rival_of(target)
    async with connected(target) as spy, connected(rival) as owner, stream(rival, owner) as (context, name):
        heard = [await spy.subscribe(subject) for subject in (">", "$JS.>", "$SYS.>", "_INBOX.>", f"{name}.>")]
        await spy.flush()
        secret = f"secret-{name}".encode()
        subscription = await owner.subscribe("told")
        await owner.publish("told", secret)
        await context.publish(f"{name}.n", secret)
        await subscription.next_msg(20)
        # What came before this came before the answer to it.
        await owner.flush()
        await spy.flush()
        mark = target.world.name("mark")
        await spy.publish(mark, b"")
        for subscription in heard:
            found = []
            while True:
                try:
                    message = await subscription.next_msg(0.3)
                except asyncio.TimeoutError:
                    break
                found.append(message)
            equal([message.subject for message in found if secret in message.data or name in message.subject], [])


@case
async def another_tenants_streams_are_out_of_reach(target):
    rival = target.world.rival_of(target)
    account = "a_" + rival.given["username"].split("_")[1]
    async with connected(target) as spy, connected(rival) as owner, stream(rival, owner) as (context, name):
        await context.publish(f"{name}.n", b"kept")
        for subject in OF_THE_RIVAL:
            try:
                asked = json.dumps({"seq": 1, "deliver_subject": "to-me"}).encode()
                answer = await spy.request(subject.format(stream=name, account=account), asked, timeout=0.3)
            except NOBODY:
                continue
            told = json.loads(answer.data)
            equal("error" in told, True, f"{subject}: {told}")
        # The same name is free to everybody, and means something else.
        own = spy.jetstream(timeout=20)
        await own.add_stream(name=name, subjects=[f"{name}.>"])
        equal((await own.stream_info(name)).state.messages, 0)
        await own.delete_stream(name)
        equal((await context.get_msg(name, 1)).data, b"kept")


@case
async def a_flood_ends_nobody_elses_sessions(target):
    rival = target.world.rival_of(target)
    async with connected(rival) as owner, connected(target) as flood, connected(target) as idle:
        session = owner.client_id
        # Somebody of its own account, who does not read what comes.
        await idle.subscribe("flood", pending_msgs_limit=10, pending_bytes_limit=1_000)
        for _ in range(200):
            await flood.publish("flood", b"x" * 100_000)
        heard = await owner.subscribe("own")
        await owner.publish("own", b"on")
        equal(((await heard.next_msg(20)).data, owner.client_id), (b"on", session))
