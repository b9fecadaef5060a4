"""Messages that nobody keeps."""

import asyncio

import nats
from case import case, equal, refused_soon
from clients import connected, quiet, together

WAIT_SECONDS = 20


@case
async def subscribers_get_what_is_published_in_order(target):
    async with together(target, 2) as (publisher, listener):
        subject = target.world.name("weather")
        heard = await listener.subscribe(f"{subject}.*")
        await listener.flush()
        for number in range(500):
            await publisher.publish(f"{subject}.uk", str(number).encode(), headers={"n": str(number)})
        await publisher.flush()
        messages = [await heard.next_msg(WAIT_SECONDS) for _ in range(500)]
        equal([(message.data, message.headers["n"]) for message in messages], [(b"%d" % n, str(n)) for n in range(500)])


@case
async def a_request_is_answered_by_one_of_a_group(target):
    async with together(target, 3) as (client, one, other):
        subject = target.world.name("time")
        served = {one: 0, other: 0}

        def serve(worker):
            async def answer(message):
                served[worker] += 1
                await message.respond(b"noon")

            return answer

        for worker in served:
            await worker.subscribe(subject, queue="clocks", cb=serve(worker))
            await worker.flush()
        answers = [(await client.request(subject, b"?", timeout=WAIT_SECONDS)).data for _ in range(100)]
        equal((answers, sum(served.values())), ([b"noon"] * 100, 100))
        equal(all(served.values()), True, f"both have work: {list(served.values())}")
        await refused_soon(nats.errors.NoRespondersError, client.request(target.world.name("nobody"), b"?", timeout=WAIT_SECONDS))


@case
async def a_message_larger_than_was_agreed_is_refused(target):
    async with connected(target) as listener, connected(target, allow_reconnect=False) as connection:
        subject = target.world.name("large")
        heard = await listener.subscribe(subject)
        await listener.flush()
        await connection.publish(subject, b"x" * (1 << 20))
        equal(len((await heard.next_msg(WAIT_SECONDS)).data), 1 << 20, "the default of max_payload_kib")
        await connection.publish(subject, b"x" * ((1 << 20) + 1))
        # Who does it has its session ended.
        while not connection.is_closed:
            await asyncio.sleep(0.01)
        await refused_soon(asyncio.TimeoutError, heard.next_msg(0.3))


@case(alone=True)
async def the_promised_connections_are_there_and_few_more(target):
    small = target.sibling(max_connections=5)
    sessions = []

    async def come_in():
        while len(sessions) < 10:
            sessions.append(await nats.connect(small.given["uri"], allow_reconnect=False, error_cb=quiet))
            await sessions[-1].flush()

    await refused_soon((nats.errors.Error, OSError, asyncio.TimeoutError), come_in())
    equal(len(sessions) >= 5, True, f"{len(sessions)} sessions of 5")
    async with connected(target) as elsewhere:
        await elsewhere.flush()
    for session in sessions:
        await session.close()
    target.world.delete(small)
