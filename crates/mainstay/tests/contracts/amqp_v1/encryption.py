"""An instance that was created with `--set tls=true`."""

import ssl

import pika
from case import case, equal, refused
from clients import connected, queue
from pika.exceptions import AMQPConnectionError


def parameters(tls, context):
    found = pika.URLParameters(tls.given["uri"])
    found.ssl_options = pika.SSLOptions(context, tls.given["host"])
    return found


@case
def the_uri_and_the_certificates_are_all_that_a_client_needs(target):
    tls = target.world.encrypted[0]
    equal(tls.given["uri"].startswith("amqps://"), True)
    verify = ssl.create_default_context(cadata=tls.given["certificates"])
    with connected(tls, parameters=parameters(tls, verify)) as connection:
        channel = connection.channel()
        channel.queue_delete(queue(tls, channel))


@case
def who_is_not_told_the_authority_does_not_trust_the_server(target):
    tls = target.world.encrypted[0]
    refused((AMQPConnectionError, ssl.SSLError), pika.BlockingConnection, pika.URLParameters(tls.given["uri"]))
    refused((AMQPConnectionError, ssl.SSLError), pika.BlockingConnection, parameters(tls, ssl.create_default_context()))


@case
def the_port_with_tls_has_no_way_around_it(target):
    tls = target.world.encrypted[0]
    plain = pika.URLParameters(tls.given["uri"].replace("amqps://", "amqp://"))
    refused(AMQPConnectionError, pika.BlockingConnection, plain)
