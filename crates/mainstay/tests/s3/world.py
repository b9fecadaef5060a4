"""What the cases find: a layer, accounts of two tenants, and ways to speak to it."""

import http.client
import itertools
import json
import threading
import time
import urllib.parse
import urllib.request

import boto3
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

# Longer than anything here takes on a machine that has much else to do.
PATIENCE_SECONDS = 30
REGION = "us-east-1"
OWN_ADDRESS = "127.0.0.1"


class Account:
    """An instance and one binding of it."""

    def __init__(self, world, told):
        self.world = world
        self.instance = told["instance"]
        self.bucket = told["bucket"]
        self.access_key = told["access_key"]
        self.secret_key = told["secret_key"]
        self.client = world.client(self.access_key, self.secret_key)

    def signed(self, method, path, query="", headers=None, body=b"", payload=None, at=None):
        """The headers of a request with its signature. `payload` says what is signed instead of the body's digest."""
        url = f"http://{self.world.address}{path}" + (f"?{query}" if query else "")
        request = AWSRequest(method=method, url=url, headers=dict(headers or {}), data=body)
        signer = Signer(Credentials(self.access_key, self.secret_key), "s3", REGION)
        signer.said = payload
        signer.add_auth(request)
        return dict(request.headers.items())

    def ask(self, method, path, query="", headers=None, body=b"", payload=None, sent=None):
        """Sends a request as it is written here: what no library would send. `sent` is the body that goes out instead."""
        signed = self.signed(method, path, query, headers, body, payload)
        return self.world.ask(method, path, query, signed, body if sent is None else sent)


class Signer(S3SigV4Auth):
    said = None

    def payload(self, request):
        return self.said if self.said is not None else super().payload(request)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def code(self):
        """The code of the error that it tells."""
        found = self.body.partition(b"<Code>")[2].partition(b"</Code>")[0]
        return found.decode()

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:500]!r}"


class World:
    def __init__(self, told):
        self.endpoint = told["endpoint"]
        self.address = urllib.parse.urlsplit(self.endpoint).netloc
        self.api = told["api"]
        self.token = told["token"]
        self.region = told["region"]
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        # `main` may make buckets; `other` is another tenant's and may too; `small` has a quota.
        self.main = Account(self, told["accounts"]["main"])
        self.other = Account(self, told["accounts"]["other"])
        self.small = Account(self, told["accounts"]["small"])
        self.client_of_nobody = boto3.client("s3", endpoint_url=self.endpoint, config=config(signature_version=UNSIGNED))
        self.s3 = self.main.client

    def client(self, access_key, secret_key, region=REGION, **more):
        """A client that asks once, so that a refusal is seen and nothing is hidden by a second try."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=config(**more),
        )

    def name(self):
        """A name that no bucket has."""
        return f"case-{next(self._numbers)}-{int(time.time() * 1000) % 100_000_000}"

    def bucket(self, account=None, **more):
        """Makes a bucket; gives its name."""
        name = self.name()
        (account or self.main).client.create_bucket(Bucket=name, **more)
        return name

    def versioned(self):
        name = self.bucket()
        self.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def filled(self, *keys):
        """Makes a bucket with objects that hold their own keys."""
        name = self.bucket()
        for key in keys:
            self.s3.put_object(Bucket=name, Key=key, Body=key.encode())
        return name

    def read(self, bucket, key, **more):
        return self.s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()

    def ask(self, method, path, query="", headers=None, body=b""):
        """Sends a request with these headers and no others, but for what HTTP itself needs."""
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE_SECONDS)
        try:
            headers = dict(headers or {})
            names = {name.lower() for name in headers}
            connection.putrequest(
                method, path + (f"?{query}" if query else ""), skip_host="host" in names, skip_accept_encoding=True
            )
            for name, value in headers.items():
                connection.putheader(name, value)
            if "content-length" not in names and "transfer-encoding" not in names and (body or method in ("PUT", "POST")):
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body or None)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def events(self, kind, bucket, count):
        """What the events of one kind tell of a bucket's objects, once there are so many."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = [e for e in self._all_events() if e["type"] == kind and e["payload"].get("notification", {}).get("bucket") == bucket]
            if len(found) >= count:
                return [event["payload"]["notification"] for event in found]
            assert time.monotonic() < deadline, f"{count} events {kind} of {bucket} should be there, not {found}"
            time.sleep(0.02)

    def _all_events(self):
        after, events = 0, []
        while True:
            url = f"{self.api}/api/v1/events?after={after}&limit=1000"
            request = urllib.request.Request(url, headers={"authorization": f"Bearer {self.token}"})
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                page = json.load(answer)["items"]
            if not page:
                return events
            events += page
            after = page[-1]["sequence"]


def config(**more):
    return Config(
        **({"signature_version": "s3v4"} | more),
        retries={"total_max_attempts": 1},
        connect_timeout=PATIENCE_SECONDS,
        read_timeout=PATIENCE_SECONDS,
        s3={"addressing_style": "path"},
        max_pool_connections=16,
    )
