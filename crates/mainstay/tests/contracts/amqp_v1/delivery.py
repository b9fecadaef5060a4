"""A binding, in every form that it comes in."""

import pika
from case import case, equal
from clients import confirmed, connected, queue, taken
from forms import in_a_run, of_every_form


@case
def every_form_connects_by_its_uri_and_by_its_single_keys(target):
    for form, given in of_every_form(target).items():
        equal((given["type"], given["provider"]), ("rabbitmq", "mainstay"), form)
        with connected(target, given) as connection:
            connection.channel()
        login = pika.PlainCredentials(given["username"], given["password"])
        single = pika.ConnectionParameters(given["host"], int(given["port"]), given["virtual-host"], login)
        with connected(target, parameters=single) as connection:
            connection.channel()


@case
def a_command_that_mainstay_runs_finds_it_in_its_environment(target):
    script = """
import pika
connection = pika.BlockingConnection(pika.URLParameters(given["uri"]))
connection.channel().basic_publish("", sys.argv[1], given["username"])
connection.close()
print(given["username"])
"""
    with confirmed(target) as channel:
        name = queue(target, channel)
        user = in_a_run(target, script, name)
        equal(taken(channel, name, auto_ack=True)[2].decode(), user)
        channel.queue_delete(name)
