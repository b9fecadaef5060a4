"""boto3 over TLS. Standard input says where; `half` is printed in the middle of an upload, in which the store may fail."""

import hashlib
import json
import random
import ssl
import sys
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import HTTPClientError, SSLError

SIZE = 48 << 20

world = json.load(sys.stdin)
content = random.Random(7).randbytes(SIZE)


def client(verify):
    return boto3.client(
        "s3",
        endpoint_url=world["endpoint"],
        region_name=world["region"],
        aws_access_key_id=world["access_key"],
        aws_secret_access_key=world["secret_key"],
        verify=verify,
        config=Config(retries={"mode": "standard", "total_max_attempts": 10}, proxies={}),
    )


class Upload:
    """A file that tells once how far it was read."""

    def __init__(self):
        self.at = 0
        self.told = False

    def read(self, size=-1):
        end = SIZE if size is None or size < 0 else min(SIZE, self.at + size)
        part = content[self.at : end]
        self.at = end
        if self.at >= SIZE // 2 and not self.told:
            self.told = True
            print("half", flush=True)
            # Until the store has failed.
            assert input_line() == "go on"
        return part

    def seek(self, offset, whence=0):
        self.at = {0: 0, 1: self.at, 2: SIZE}[whence] + offset
        return self.at

    def tell(self):
        return self.at

    def __len__(self):
        return SIZE


def input_line():
    with open(world["pipe"]) as pipe:
        return pipe.readline().strip()


bucket = world["bucket"]
try:
    client(True).list_objects_v2(Bucket=bucket)
    sys.exit("a certificate of nobody that is trusted was taken")
except SSLError:
    pass

s3 = client(world["ca"])
s3.put_object(Bucket=bucket, Key="small", Body=b"small", ContentType="text/plain", Metadata={"a": "b"})
found = s3.get_object(Bucket=bucket, Key="small")
assert (found["Body"].read(), found["ContentType"], found["Metadata"]) == (b"small", "text/plain", {"a": "b"})

# With trailing checksums, which boto3 sends over TLS instead of signing the body.
uploaded = s3.put_object(Bucket=bucket, Key="large", Body=Upload(), ContentLength=SIZE, ChecksumAlgorithm="CRC32")
print("attempts:", uploaded["ResponseMetadata"]["RetryAttempts"] + 1, flush=True)
found = s3.get_object(Bucket=bucket, Key="large")["Body"].read()
assert hashlib.sha256(found).digest() == hashlib.sha256(content).digest()
listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
assert [(entry["Key"], entry["Size"]) for entry in listed] == [("large", SIZE), ("small", 5)], listed

url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "small"}, ExpiresIn=60)
assert url.startswith("https://"), url
trusting = ssl.create_default_context(cafile=world["ca"])
with urllib.request.urlopen(url, context=trusting) as answer:
    assert answer.read() == b"small"

plain = boto3.client(
    "s3",
    endpoint_url=world["endpoint"].replace("https://", "http://"),
    region_name=world["region"],
    aws_access_key_id=world["access_key"],
    aws_secret_access_key=world["secret_key"],
    config=Config(retries={"total_max_attempts": 1}),
)
try:
    plain.get_object(Bucket=bucket, Key="small")
    sys.exit("a request in plain was answered")
except HTTPClientError:
    pass
print("done", flush=True)
