"""JetStream: what is kept."""

import asyncio

import nats
from case import case, equal, refused_soon
from clients import connected, patiently, stream
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType
from nats.js.errors import APIError, BadRequestError, KeyNotFoundError, KeyWrongLastSequenceError, ObjectNotFoundError

WAIT_SECONDS = 20


@case
async def what_was_acknowledged_is_there_in_order_and_once(target):
    async with connected(target) as connection, stream(target, connection) as (context, name):
        for number in range(100):
            told = await context.publish(f"{name}.n", b"%d" % number, headers={"Nats-Msg-Id": str(number)})
            equal((told.stream, told.seq), (name, number + 1))
        again = await context.publish(f"{name}.n", b"99", headers={"Nats-Msg-Id": "99"})
        equal((again.duplicate, again.seq), (True, 100))
        equal((await context.get_msg(name, 42)).data, b"41")
        ordered = await context.subscribe(f"{name}.>", ordered_consumer=True)
        equal([int((await ordered.next_msg(WAIT_SECONDS)).data) for _ in range(100)], list(range(100)))


@case
async def a_durable_consumer_goes_on_where_it_was(target):
    async with connected(target) as first, stream(target, first) as (context, name):
        for number in range(10):
            await context.publish(f"{name}.n", b"%d" % number)
        worker = await patiently(lambda: context.pull_subscribe(f"{name}.>", durable="worker"))
        for message in await worker.fetch(4, timeout=WAIT_SECONDS):
            await message.ack_sync(timeout=WAIT_SECONDS)
        async with connected(target) as second:
            worker = await second.jetstream().pull_subscribe_bind("worker", stream=name)
            rest = await worker.fetch(10, timeout=WAIT_SECONDS)
            equal([int(message.data) for message in rest], [4, 5, 6, 7, 8, 9])
            equal((await worker.consumer_info()).num_ack_pending, 6)


@case
async def what_is_not_acknowledged_comes_again_as_often_as_was_asked_for(target):
    async with connected(target) as connection, stream(target, connection) as (context, name):
        await context.publish(f"{name}.job", b"work")
        advice = await connection.subscribe(f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{name}.worker")
        config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, max_deliver=3, ack_wait=1)
        worker = await patiently(lambda: context.pull_subscribe(f"{name}.>", durable="worker", config=config))
        for attempt in (1, 2, 3):
            [message] = await worker.fetch(1, timeout=WAIT_SECONDS)
            equal((message.data, message.metadata.num_delivered), (b"work", attempt))
            await message.nak()
        await refused_soon(asyncio.TimeoutError, worker.fetch(1, timeout=0.5))
        # Who keeps dead letters is told of this one, and finds it in the stream.
        equal((await advice.next_msg(WAIT_SECONDS)).subject.endswith(f"{name}.worker"), True)
        equal((await context.get_msg(name, 1)).data, b"work")


@case
async def a_message_that_is_terminated_does_not_come_again(target):
    async with connected(target) as connection, stream(target, connection) as (context, name):
        await context.publish(f"{name}.job", b"poison")
        worker = await patiently(lambda: context.pull_subscribe(f"{name}.>", durable="worker", config=ConsumerConfig(ack_wait=1)))
        [message] = await worker.fetch(1, timeout=WAIT_SECONDS)
        await message.term()
        await refused_soon(asyncio.TimeoutError, worker.fetch(1, timeout=1.5))


@case
async def a_work_queue_hands_each_message_to_one_and_forgets_it(target):
    settings = {"retention": RetentionPolicy.WORK_QUEUE}
    async with connected(target) as one, connected(target) as other, stream(target, one, **settings) as (context, name):
        workers = [await client.jetstream().pull_subscribe(f"{name}.>", durable="worker") for client in (one, other)]
        for number in range(40):
            await context.publish(f"{name}.job", b"%d" % number)
        batches = await asyncio.gather(*(worker.fetch(20, timeout=WAIT_SECONDS) for worker in workers))
        equal(sorted(int(message.data) for batch in batches for message in batch), list(range(40)))
        for message in sum(batches, []):
            await message.ack_sync(timeout=WAIT_SECONDS)
        equal((await context.stream_info(name)).state.messages, 0)


@case
async def a_pushed_message_is_acknowledged_and_flow_is_held_back(target):
    async with connected(target) as connection, stream(target, connection) as (context, name):
        for number in range(10):
            await context.publish(f"{name}.n", b"%d" % number)
        config = ConsumerConfig(max_ack_pending=3, ack_policy=AckPolicy.EXPLICIT)
        pushed = await context.subscribe(f"{name}.>", durable="pushed", config=config, manual_ack=True)
        held = [await pushed.next_msg(WAIT_SECONDS) for _ in range(3)]
        await refused_soon(asyncio.TimeoutError, pushed.next_msg(0.3))
        for message in held:
            await message.ack()
        equal(int((await pushed.next_msg(WAIT_SECONDS)).data), 3)


@case
async def a_stream_keeps_within_the_limits_it_was_made_with(target):
    async with connected(target) as connection:
        async with stream(target, connection, max_msgs=5) as (context, name):
            for number in range(8):
                await context.publish(f"{name}.n", b"%d" % number)
            state = (await context.stream_info(name)).state
            equal((state.messages, state.first_seq), (5, 4), "the oldest give way")
        async with stream(target, connection, max_msgs=5, discard=DiscardPolicy.NEW) as (context, name):
            for number in range(5):
                await context.publish(f"{name}.n", b"%d" % number)
            await refused_soon(APIError, context.publish(f"{name}.n", b"6"), saying="maximum messages exceeded")
        async with stream(target, connection, max_age=1) as (context, name):
            await context.publish(f"{name}.n", b"old")
            while (await context.stream_info(name)).state.messages:
                await asyncio.sleep(0.05)


@case(alone=True)
async def an_account_keeps_within_the_limits_it_was_created_with(target):
    small = target.sibling(storage_mib=4, memory_mib=1, max_streams=2, max_consumers=2)
    async with connected(small) as connection:
        context = connection.jetstream(timeout=20)
        await context.add_stream(name="disk", subjects=["disk"])
        await context.add_stream(name="memory", subjects=["memory"], storage=StorageType.MEMORY)
        await refused_soon(APIError, context.add_stream(name="more", subjects=["more"]), saying="maximum number of streams")
        for number in range(2):
            await context.add_consumer("disk", ConsumerConfig(durable_name=f"worker-{number}"))
        more = context.add_consumer("disk", ConsumerConfig(durable_name="more"))
        await refused_soon(APIError, more, saying="maximum consumers")
        for subject, megabytes in (("disk", 4), ("memory", 1)):
            written = 0

            async def fill():
                nonlocal written
                while written < 16 * megabytes:
                    await context.publish(subject, b"x" * 100_000)
                    written += 1

            await refused_soon(APIError, fill(), saying="exceeded")
            equal(written >= 8 * megabytes, True, f"{written} messages of 100 kB in {megabytes} MiB")
    async with connected(target) as connection, stream(target, connection) as (context, name):
        equal((await context.publish(f"{name}.n", b"others go on")).seq, 1)
    target.world.delete(small)


@case
async def keys_have_values_revisions_and_watchers(target):
    async with connected(target) as connection:
        context = connection.jetstream(timeout=20)
        bucket = target.world.name("bucket")
        store = await context.create_key_value(bucket=bucket, history=5)
        watcher = await store.watch("colour.*")
        equal(await watcher.updates(timeout=WAIT_SECONDS), None, "nothing is there yet")
        first = await store.create("colour.sky", b"blue")
        await refused_soon(KeyWrongLastSequenceError, store.create("colour.sky", b"red"))
        second = await store.update("colour.sky", b"grey", last=first)
        await refused_soon(BadRequestError, store.update("colour.sky", b"red", last=first))
        equal(((await store.get("colour.sky")).value, (await store.get("colour.sky")).revision), (b"grey", second))
        equal([entry.value for entry in await store.history("colour.sky")], [b"blue", b"grey"])
        await store.delete("colour.sky")
        await refused_soon(KeyNotFoundError, store.get("colour.sky"))
        told = [await watcher.updates(timeout=WAIT_SECONDS) for _ in range(3)]
        equal([(entry.value, entry.operation) for entry in told], [(b"blue", None), (b"grey", None), (b"", "DEL")])
        await watcher.stop()
        equal(await context.delete_key_value(bucket), True)


@case
async def objects_are_kept_in_pieces_and_given_back_whole(target):
    async with connected(target) as connection:
        context = connection.jetstream(timeout=20)
        bucket = target.world.name("objects")
        store = await context.create_object_store(bucket)
        large = bytes(range(256)) * 8_000
        put = await store.put("large", large)
        equal((put.size, put.chunks > 1), (len(large), True))
        found = await store.get("large")
        equal(found.data == large, True, "2 MB, as they were")
        equal([entry.name for entry in await store.list()], ["large"])
        await store.delete("large")
        await refused_soon(ObjectNotFoundError, store.get("large"))
        await context.delete_object_store(bucket)


@case
async def who_publishes_to_no_stream_is_told(target):
    async with connected(target) as connection:
        await refused_soon(nats.js.errors.NoStreamResponseError, connection.jetstream().publish(target.world.name("none"), b"x"))
