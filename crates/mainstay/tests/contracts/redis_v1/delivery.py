"""A binding, in every form that it comes in."""

import redis

from case import case, equal
from clients import client, is_shared, key, redis_cli
from forms import in_a_run, of_every_form


@case
def every_form_connects_by_its_uri_and_by_its_single_keys(target):
    for form, given in of_every_form(target).items():
        equal((given["type"], given["provider"]), ("redis", "mainstay"), form)
        equal(client(target, given).ping(), True, form)
        equal(redis_cli(given, "PING"), "PONG", form)
        single = redis.Redis(given["host"], int(given["port"]), username=given["username"], password=given["password"])
        equal(single.ping(), True, form)
        equal(given.get("prefix"), target.given.get("prefix"), f"{form}: all bindings see the same keys")


@case
def a_command_that_mainstay_runs_finds_it_in_its_environment(target):
    name = key(target, "from-a-run")
    script = "import redis\nredis.Redis.from_url(given['uri']).set(sys.argv[1], given['username'])\nprint(given['username'])"
    user = in_a_run(target, script, name)
    equal(client(target).get(name), user)


@case(where=is_shared)
def a_shared_instance_says_what_its_keys_and_channels_begin_with(target):
    prefix = target.given["prefix"]
    connection = client(target)
    equal(connection.set(prefix + "anything-at-all", 1), True)
    equal(connection.publish(prefix + "anything-at-all", 1), 0)
    equal(target.world.rival_of(target).given["prefix"] != prefix, True)
