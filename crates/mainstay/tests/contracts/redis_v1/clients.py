"""Ways to a target: the stock clients."""

import subprocess

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def client(target, given=None, **options):
    """redis-py, by nothing but the URI. It would try again for 20 s what is refused, which the cases are not to wait for."""
    options = {"decode_responses": True, "retry": Retry(NoBackoff(), 0), **options}
    return redis.Redis.from_url((given or target.given)["uri"], **options)


def key(target, name):
    """A key or a channel that this instance may use; two cases do not choose the same."""
    return target.given.get("prefix", "") + target.world.name(name)


def redis_cli(given, *command, options=()):
    """What the command line client prints, by nothing but the URI."""
    ran = subprocess.run(
        ["redis-cli", "--no-auth-warning", "-u", given["uri"], *options, *command],
        capture_output=True,
        text=True,
        timeout=30,
    )
    return (ran.stdout + ran.stderr).strip()


def is_dedicated(target):
    return target.plan == "dedicated"


def is_shared(target):
    return target.plan == "shared"
