"""Fills one instance of each contract with known data, or checks that it is there: with stock clients, and the credentials alone.

Standard input has the bindings' credentials by instance.
"""

import asyncio
import hashlib
import json
import sys

import boto3
import nats
import pika
import psycopg
import redis

ROWS = 500


def value(number):
    return hashlib.sha256(str(number).encode()).hexdigest()


def postgresql(what, credentials):
    with psycopg.connect(credentials["uri"], autocommit=True) as connection:
        if what == "fill":
            connection.execute("CREATE TABLE known (number int PRIMARY KEY, text text NOT NULL)")
            with connection.cursor().copy("COPY known FROM STDIN") as copy:
                for number in range(ROWS):
                    copy.write_row([number, value(number)])
        rows = connection.execute("SELECT number, text FROM known ORDER BY number").fetchall()
        assert rows == [(number, value(number)) for number in range(ROWS)], len(rows)


def cache(what, credentials):
    prefix = credentials.get("prefix", "")
    with redis.Redis.from_url(credentials["uri"], decode_responses=True) as client:
        if what == "fill":
            for number in range(ROWS):
                client.set(f"{prefix}known:{number}", value(number))
            client.rpush(f"{prefix}list", *[value(number) for number in range(ROWS)])
            client.hset(f"{prefix}hash", mapping={str(number): value(number) for number in range(ROWS)})
        for number in range(ROWS):
            assert client.get(f"{prefix}known:{number}") == value(number), number
        assert client.lrange(f"{prefix}list", 0, -1) == [value(number) for number in range(ROWS)]
        assert client.hgetall(f"{prefix}hash") == {str(number): value(number) for number in range(ROWS)}


def bucket(what, credentials):
    client = boto3.client(
        "s3",
        endpoint_url=credentials["endpoint"],
        region_name=credentials["region"],
        aws_access_key_id=credentials["access-key-id"],
        aws_secret_access_key=credentials["secret-access-key"],
    )
    name = credentials["bucket"]
    large = b"".join(value(number).encode() for number in range(50_000))
    if what == "fill":
        for number in range(50):
            client.put_object(Bucket=name, Key=f"known/{number}", Body=value(number), Metadata={"number": str(number)})
        client.put_object(Bucket=name, Key="large", Body=large)
    for number in range(50):
        found = client.get_object(Bucket=name, Key=f"known/{number}")
        assert found["Body"].read().decode() == value(number) and found["Metadata"] == {"number": str(number)}, number
    assert client.get_object(Bucket=name, Key="large")["Body"].read() == large
    assert len(client.list_objects_v2(Bucket=name)["Contents"]) == 51


async def stream(what, credentials):
    client = await nats.connect(credentials["uri"])
    try:
        jetstream = client.jetstream()
        if what == "fill":
            await jetstream.add_stream(name="KNOWN", subjects=["known.>"])
            for number in range(ROWS):
                await jetstream.publish(f"known.{number % 7}", value(number).encode())
        info = await jetstream.stream_info("KNOWN")
        assert (info.state.messages, info.state.first_seq, info.state.last_seq) == (ROWS, 1, ROWS), info.state
        for number in range(0, ROWS, 50):
            message = await jetstream.get_msg("KNOWN", number + 1)
            assert message.data.decode() == value(number), number
    finally:
        await client.close()


def queue(what, credentials):
    connection = pika.BlockingConnection(pika.URLParameters(credentials["uri"]))
    channel = connection.channel()
    arguments = {"x-queue-type": "classic"}
    if what == "fill":
        channel.queue_declare("known", durable=True, arguments=arguments)
        channel.confirm_delivery()
        for number in range(ROWS):
            channel.basic_publish("", "known", value(number).encode(), pika.BasicProperties(delivery_mode=2))
    declared = channel.queue_declare("known", durable=True, arguments=arguments, passive=True)
    assert declared.method.message_count == ROWS, declared.method.message_count
    if what == "check":
        # They are looked at and left where they were.
        found = [channel.basic_get("known") for _ in range(ROWS)]
        assert [body.decode() for _, _, body in found] == [value(number) for number in range(ROWS)]
    connection.close()


CLIENTS = {
    "shop": postgresql,
    "ledger": postgresql,
    "cache": cache,
    "sessions": cache,
    "pictures": bucket,
    "events": lambda what, credentials: asyncio.run(stream(what, credentials)),
    "jobs": queue,
}


def main():
    what, bindings = sys.argv[1], json.load(sys.stdin)["bindings"]
    for name, credentials in bindings.items():
        try:
            CLIENTS[name](what, credentials)
        except Exception as error:
            sys.exit(f"{what} {name}: {error!r}")


main()
