"""Errors: what they say, what is not there, and requests that no client would send."""

import re
import socket
import xml.etree.ElementTree as xml

from botocore import xform_name

from case import case, each, equal, refused
from tenancy import arguments_of, operations

# What docs/objects.md promises; everything else that S3 has answers NotImplemented.
THERE = """
AbortMultipartUpload CompleteMultipartUpload CopyObject CreateBucket CreateMultipartUpload DeleteBucket DeleteBucketCors
DeleteBucketEncryption DeleteBucketLifecycle DeleteBucketOwnershipControls DeleteBucketPolicy DeleteBucketTagging DeleteObject
DeleteObjects DeleteObjectTagging DeletePublicAccessBlock GetBucketAcl GetBucketCors GetBucketEncryption GetBucketLifecycle
GetBucketLifecycleConfiguration GetBucketLocation GetBucketNotification GetBucketNotificationConfiguration
GetBucketOwnershipControls GetBucketPolicy GetBucketPolicyStatus GetBucketTagging GetBucketVersioning GetObject GetObjectAcl
GetObjectAttributes GetObjectLegalHold GetObjectLockConfiguration GetObjectRetention GetObjectTagging GetPublicAccessBlock
HeadBucket HeadObject ListBuckets ListMultipartUploads ListObjects ListObjectsV2 ListObjectVersions ListParts PutBucketAcl
PutBucketCors PutBucketEncryption PutBucketLifecycle PutBucketLifecycleConfiguration PutBucketNotification
PutBucketNotificationConfiguration PutBucketOwnershipControls PutBucketPolicy PutBucketTagging PutBucketVersioning PutObject
PutObjectAcl PutObjectLegalHold PutObjectLockConfiguration PutObjectRetention PutObjectTagging PutPublicAccessBlock UploadPart
UploadPartCopy
""".split()


@case
def what_is_not_there_says_so(s3):
    bucket = s3.filled("x")
    wrong = {}
    for name in operations(s3.s3):
        if name in THERE:
            continue
        try:
            answer = getattr(s3.s3, xform_name(name))(**arguments_of(s3.s3, name, bucket, "x"))
            wrong[name] = answer
        except s3.s3.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 501:
                wrong[name] = error
    equal(wrong, {})
    equal(s3.read(bucket, "x"), b"x")


@case
def what_is_there_never_breaks(s3):
    """Arguments that mean nothing are answered or refused, and are never the server's error."""
    bucket = s3.filled("x")
    wrong = {}
    for name in THERE:
        if name in ("ListBuckets", "DeleteBucket"):
            continue
        try:
            getattr(s3.s3, xform_name(name))(**arguments_of(s3.s3, name, bucket, "x"))
        except s3.s3.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in range(400, 500):
                wrong[name] = error
    # All arguments that there are name MFA delete and EventBridge too, which are not there.
    codes = {name: error.response["Error"]["Code"] for name, error in wrong.items()}
    equal(codes, dict.fromkeys(["PutBucketNotificationConfiguration", "PutBucketVersioning"], "NotImplemented"))


@case
def an_error_tells_what_it_is_about(s3):
    answer = s3.main.ask("GET", f"/{s3.bucket()}/a%20&'b")
    told = {element.tag: element.text for element in xml.fromstring(answer.body)}
    equal((answer.status, told["Code"]), (404, "NoSuchKey"))
    assert told["Message"] and told["Resource"].endswith("/a%20&'b"), told
    equal(told["RequestId"], answer.headers["x-amz-request-id"])
    equal(answer.headers["content-type"], "application/xml")


@case
def a_head_has_no_body(s3):
    bucket = s3.bucket()
    answer = s3.main.ask("HEAD", f"/{bucket}/nothing")
    equal((answer.status, answer.body), (404, b""))
    # Nor is one sent that the next request on the connection would stumble over.
    with socket.create_connection(s3.address.split(":"), timeout=30) as connection:
        head = f"HEAD /{bucket}/nothing HTTP/1.1\r\nhost: {s3.address}\r\n\r\n".encode()
        connection.sendall(head + head.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        said = b""
        while piece := connection.recv(65_536):
            said += piece
    equal(len(re.findall(rb"HTTP/1.1 403", said)), 2, said)


@case
def every_answer_has_an_id_of_its_own(s3):
    bucket = s3.filled("x")
    ids = {s3.main.ask("GET", f"/{bucket}/x").headers["x-amz-request-id"] for _ in range(5)}
    equal(len(ids), 5)


@case
def an_internal_is_never_told(s3):
    bucket = s3.bucket()
    for path in ("a" * 1025, "%00", "%ff"):
        body = s3.main.ask("PUT", f"/{bucket}/{path}").body.decode(errors="replace")
        for word in ("panicked", "src/", ".rs", "sqlite", "/tmp", "mainstay_"):
            assert word not in body, body


@each(
    ("POST", "delete=", b"<Delete><Object><Key>x</Key></Object>"), ("POST", "delete=", b"\xff\xfe"),
    ("POST", "delete=", b""), ("PUT", "versioning=", b"<a/>"), ("PUT", "tagging=", b"<Tagging><TagSet>"),
    ("PUT", "cors=", b"nonsense"), ("PUT", "lifecycle=", b"<LifecycleConfiguration/>"), ("PUT", "policy=", b""),
    ("PUT", "object-lock=", b"<x></y>"), ("PUT", "notification=", b"<"), ("PUT", "encryption=", b"{}"),
)
def xml_that_is_none_is_refused(s3, method, query, body):
    bucket = s3.filled("x")
    answer = s3.main.ask(method, f"/{bucket}", query, body=body)
    assert 400 <= answer.status < 500, answer
    equal(s3.read(bucket, "x"), b"x")


@case
def xml_is_not_a_bomb(s3):
    bucket = s3.filled("x")
    laughs = "".join(f'<!ENTITY l{n} "&l{n - 1};&l{n - 1};&l{n - 1};&l{n - 1};&l{n - 1};&l{n - 1};&l{n - 1};&l{n - 1};">' for n in range(1, 12))
    bomb = f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY l0 "lol">{laughs}]><Delete><Object><Key>&l11;</Key></Object></Delete>'
    thief = '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&e;</Key></Object></Delete>'
    deep = "<Delete>" + "<Object>" * 100_000 + "</Object>" * 100_000 + "</Delete>"
    for body in (bomb, thief, deep):
        answer = s3.main.ask("POST", f"/{bucket}", "delete=", body=body.encode())
        assert 400 <= answer.status < 500 or b"<Error>" in answer.body, answer
        assert b"root:" not in answer.body
    equal(s3.read(bucket, "x"), b"x")


@case
def xml_has_a_size(s3):
    bucket = s3.bucket()
    answer = s3.main.ask("POST", f"/{bucket}", "delete=", body=b"<Delete>" + b" " * (5 << 20) + b"</Delete>")
    equal((answer.status, answer.code), (400, "MaxMessageLengthExceeded"))


def raw(s3, text, more_to_come=False):
    """What comes back for some bytes until the layer ends the connection."""
    with socket.create_connection(s3.address.split(":"), timeout=30) as connection:
        connection.sendall(text)
        if not more_to_come:
            connection.shutdown(socket.SHUT_WR)
        said = b""
        while piece := connection.recv(65_536):
            said += piece
        return said


@case
def a_body_that_ends_early_is_no_object(s3):
    bucket = s3.bucket()
    headers = s3.main.signed("PUT", f"/{bucket}/x", payload="UNSIGNED-PAYLOAD")
    head = f"PUT /{bucket}/x HTTP/1.1\r\nhost: {s3.address}\r\ncontent-length: 1000\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    raw(s3, head.encode() + b"\r\n" + b"only a part")
    refused(404, None, s3.s3.head_object, Bucket=bucket, Key="x")


@case
def a_body_has_a_length(s3):
    bucket = s3.bucket()
    headers = s3.main.signed("PUT", f"/{bucket}/x", payload="UNSIGNED-PAYLOAD")
    head = f"PUT /{bucket}/x HTTP/1.1\r\nhost: {s3.address}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    said = raw(s3, head.encode() + b"\r\n5\r\nhello\r\n0\r\n\r\n", more_to_come=True)
    assert said.startswith(b"HTTP/1.1 411") and b"MissingContentLength" in said, said
    refused(404, None, s3.s3.head_object, Bucket=bucket, Key="x")


@each(b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET  HTTP/1.1\r\n\r\n", b"\x00" * 100, b"GET / HTTP/1.1\r\n\r\n")
def what_is_no_http_is_refused(s3, text):
    said = raw(s3, text)
    assert said == b"" or said.startswith(b"HTTP/1.1 4") or said.startswith(b"HTTP/1.1 505"), said


@case
def a_head_has_a_size(s3):
    answer = s3.ask("GET", "/", headers={"x-amz-meta-a": "b" * 100_000})
    assert answer.status in (400, 403, 431), answer
    answer = s3.ask("GET", "/" + "a" * 100_000)
    assert 400 <= answer.status < 500, answer


@each("PATCH", "TRACE", "CONNECT", "FOO")
def other_methods_are_refused(s3, method):
    answer = s3.main.ask(method, f"/{s3.bucket()}/x")
    assert 400 <= answer.status < 502 and answer.status != 500, answer


@case
def paths_are_no_paths(s3):
    bucket = s3.bucket()
    for path in (f"/{bucket}/../../../../etc/passwd", f"/{bucket}/%2e%2e%2f%2e%2e%2fetc/passwd", f"/../{bucket}", "/%2e%2e/x", "//x"):
        answer = s3.main.ask("GET", path)
        assert 400 <= answer.status < 500 and b"root:" not in answer.body, (path, answer)


@case
def an_answer_before_the_body_ends_the_connection(s3):
    """What comes next on it could be the body or another request, and must not be taken for the wrong one."""
    bucket = s3.bucket()

    def head(*headers):
        lines = [f"PUT /{bucket}/x HTTP/1.1", f"host: {s3.address}", "content-length: 5", *headers, "", ""]
        return "\r\n".join(lines).encode()

    said = raw(s3, head("expect: 100-continue"), more_to_come=True)
    assert said.startswith(b"HTTP/1.1 403") and b"connection: close" in said.lower(), said
    # Where the body comes all the same, it is read, and the connection goes on.
    said = raw(s3, head() + b"hello" + head("connection: close") + b"hello", more_to_come=True)
    equal(said.count(b"HTTP/1.1 403"), 2, said)

@case
def a_call_that_nobody_knows_yet_is_no_put_and_no_delete(s3):
    bucket = s3.filled("x")
    for method in ("PUT", "DELETE"):
        for query in ("tomorrow=", "annotation=a", "encryption="):
            answer = s3.main.ask(method, f"/{bucket}/x", query)
            equal((answer.status, answer.code), (501, "NotImplemented"))
    equal(s3.read(bucket, "x"), b"x")
