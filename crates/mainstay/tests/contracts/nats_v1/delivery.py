"""A binding, in every form that it comes in."""

import asyncio

import nats
from case import case, equal
from clients import connected, patiently, stream, together
from forms import in_a_run, of_every_form


@case(alone=True)
async def every_form_connects_by_its_uri_and_by_its_single_keys(target):
    for form, given in of_every_form(target).items():
        equal((given["type"], given["provider"]), ("nats", "mainstay"), form)
        async with connected(target, given) as connection:
            await connection.flush()
        at = f"{given['host']}:{given['port']}"
        single = await nats.connect(at, user=given["username"], password=given["password"], allow_reconnect=False)
        await single.flush()
        await single.close()


@case(alone=True)
async def a_command_that_mainstay_runs_finds_it_in_its_environment(target):
    subject = target.world.name("from-a-run")
    script = """
import asyncio, nats
async def main():
    connection = await nats.connect(given["uri"])
    await connection.publish(sys.argv[1], given["username"].encode())
    await connection.drain()
asyncio.run(main())
print(given["username"])
"""
    async with connected(target) as connection:
        heard = await connection.subscribe(subject)
        await connection.flush()
        user = in_a_run(target, script, subject)
        equal((await heard.next_msg(20)).data.decode(), user)


@case(alone=True)
async def others_come_and_go_and_no_message_is_lost(target):
    async with together(target, 2) as (connection, listener), stream(target, connection) as (context, name):
        session, subject = connection.client_id, target.world.name("plain")
        plain = await listener.subscribe(subject)
        worker = await patiently(lambda: context.pull_subscribe(f"{name}.>", durable="worker"))
        await listener.flush()
        manager = connection.jsm(timeout=3)
        sent = 0
        changes = asyncio.create_task(asyncio.to_thread(come_and_go, target))
        while not changes.done():
            await context.publish(f"{name}.n", b"%d" % sent)
            await connection.publish(subject, b"%d" % sent)
            [message] = await worker.fetch(1, timeout=20)
            equal((message.data, (await plain.next_msg(20)).data), (b"%d" % sent,) * 2)
            await message.ack()
            sent += 1
            equal((await patiently(lambda: manager.stream_info(name))).state.messages, sent)
        await changes
        equal((connection.client_id, connection.is_connected, sent > 0), (session, True, True))


def come_and_go(target):
    for number in range(5):
        told = target.world.mainstay("bind", target.instance, "--consumer", f"passer-{number}", "--format", "json")
        target.world.run("unbind", told["id"])
