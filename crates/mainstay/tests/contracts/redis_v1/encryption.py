"""An instance that was created with `--set tls=true`."""

import ssl

import redis

from case import case, equal, refused
from clients import client, redis_cli
from redis.exceptions import ConnectionError

UNVERIFIED = "CERTIFICATE_VERIFY_FAILED"


def encrypted(target):
    return target.world.encrypted[0]


@case(where=lambda target: target is target.world.targets[0])
def the_uri_and_the_certificates_are_all_that_a_client_needs(target):
    tls = encrypted(target)
    equal(tls.given["uri"].startswith("rediss://"), True)
    ca = target.world.certificates(tls.given)
    equal(client(tls, ssl_ca_certs=ca).set("told", "safely"), True)
    equal(client(tls, ssl_ca_data=tls.given["certificates"], ssl_min_version=ssl.TLSVersion.TLSv1_3).get("told"), "safely")
    equal(redis_cli(tls.given, "GET", "told", options=["--tls", "--cacert", ca]), "safely")


@case(where=lambda target: target is target.world.targets[0])
def who_is_not_told_the_authority_does_not_trust_the_server(target):
    tls = encrypted(target)
    refused(ConnectionError, client(tls).ping, saying=UNVERIFIED)
    # The system's authorities, which know nothing of ours.
    equal("failed" in redis_cli(tls.given, "PING", options=["--tls"]).lower(), True)


@case(where=lambda target: target is target.world.targets[0])
def there_is_no_way_around_encryption(target):
    given = encrypted(target).given
    plain = client(target, {"uri": given["uri"].replace("rediss://", "redis://")}, socket_timeout=5)
    refused(redis.RedisError, plain.ping)
