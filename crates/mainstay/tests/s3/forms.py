"""Objects from HTML forms."""

import base64
import datetime
import hashlib
import hmac
import json

from case import case, each, equal, refused

BOUNDARY = "----------boundary"


def form(fields, file=b"bar", name="file.txt"):
    written = b""
    for key, value in fields.items():
        value = value if isinstance(value, bytes) else value.encode()
        written += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n'.encode() + value + b"\r\n"
    if file is not None:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        written += head.encode() + b"Content-Type: text/plain\r\n\r\n" + file + b"\r\n"
    return written + f"--{BOUNDARY}--\r\n".encode()


def post(s3, bucket, fields, file=b"bar", name="file.txt"):
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    return s3.ask("POST", f"/{bucket}", headers=headers, body=form(fields, file, name))


def signed(s3, bucket, conditions=(), account=None, minutes=60, **fields):
    """The fields of a form with a policy that allows them, but for what `conditions` say."""
    account = account or s3.main
    now = datetime.datetime.now(datetime.timezone.utc)
    day, date = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
    credential = f"{account.access_key}/{day}/us-east-1/s3/aws4_request"
    fields = {"key": "foo.txt", **fields}
    own = {"x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-credential": credential, "x-amz-date": date}
    conditions = list(conditions) or [["starts-with", "$key", "foo"]]
    conditions += [{"bucket": bucket}, *({name: value} for name, value in own.items())]
    until = (now + datetime.timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    policy = base64.b64encode(json.dumps({"expiration": until, "conditions": conditions}).encode())
    key = b"AWS4" + account.secret_key.encode()
    for step in (day, "us-east-1", "s3", "aws4_request"):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, policy, hashlib.sha256).hexdigest()
    return {**fields, **own, "policy": policy.decode(), "x-amz-signature": signature}


@case
def a_form_puts_an_object(s3):
    bucket = s3.bucket()
    conditions = [["starts-with", "$key", "foo"], {"Content-Type": "text/plain"}, {"x-amz-meta-a": "b"}]
    fields = signed(s3, bucket, conditions, **{"Content-Type": "text/plain", "x-amz-meta-a": "b"})
    answer = post(s3, bucket, fields)
    equal(answer.status, 204, repr(answer))
    got = s3.s3.get_object(Bucket=bucket, Key="foo.txt")
    equal((got["Body"].read(), got["ContentType"], got["Metadata"]), (b"bar", "text/plain", {"a": "b"}))
    equal(answer.headers["etag"], got["ETag"])


@case
def a_form_that_boto3_made_works(s3):
    import requests

    bucket = s3.bucket()
    made = s3.s3.generate_presigned_post(bucket, "up/${filename}", Conditions=[["content-length-range", 0, 100]])
    answer = requests.post(made["url"], data=made["fields"], files={"file": ("photo.jpg", b"jpeg")}, timeout=30)
    equal((answer.status_code, s3.read(bucket, "up/photo.jpg")), (204, b"jpeg"))


@each(("200", 200), ("201", 201), ("204", 204), ("404", 204))
def a_form_chooses_the_status_of_its_answer(s3, asked, status):
    bucket = s3.bucket()
    conditions = [["starts-with", "$key", "foo"], ["eq", "$success_action_status", asked]]
    answer = post(s3, bucket, signed(s3, bucket, conditions, success_action_status=asked))
    equal(answer.status, status, repr(answer))
    if status == 201:
        assert b"<Key>foo.txt</Key>" in answer.body and b"<PostResponse>" in answer.body, answer


@case
def a_form_sends_the_browser_elsewhere(s3):
    bucket = s3.bucket()
    conditions = [["starts-with", "$key", "foo"], ["eq", "$success_action_redirect", "http://localhost/done"]]
    answer = post(s3, bucket, signed(s3, bucket, conditions, success_action_redirect="http://localhost/done"))
    equal(answer.status, 303, repr(answer))
    assert answer.headers["location"].startswith(f"http://localhost/done?bucket={bucket}&key=foo.txt&etag="), answer


@case
def a_key_takes_the_files_name(s3):
    bucket = s3.bucket()
    equal(post(s3, bucket, signed(s3, bucket, key="foo/${filename}"), name="my file.txt").status, 204)
    equal(s3.read(bucket, "foo/my file.txt"), b"bar")


@each(
    ("another key", [["starts-with", "$key", "other"]], {}),
    ("another type", [["starts-with", "$key", "foo"], ["eq", "$Content-Type", "text/plain"]], {"Content-Type": "text/html"}),
    ("too long", [["starts-with", "$key", "foo"], ["content-length-range", 0, 2]], {}),
    ("too short", [["starts-with", "$key", "foo"], ["content-length-range", 100, 200]], {}),
    ("a field that the policy does not know", [["starts-with", "$key", "foo"]], {"x-amz-meta-a": "b"}),
    ("a field that is not there", [["starts-with", "$key", "foo"], {"x-amz-meta-a": "b"}], {}),
    ("tags that the policy does not know", [["starts-with", "$key", "foo"]], {"tagging": "<Tagging><TagSet/></Tagging>"}),
)
def a_policy_is_obeyed(s3, what, conditions, fields):
    bucket = s3.bucket()
    answer = post(s3, bucket, signed(s3, bucket, conditions, **fields))
    assert answer.status in (400, 403), (what, answer)
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)


@case
def a_policy_is_for_one_bucket(s3):
    one, two = s3.bucket(), s3.bucket()
    answer = post(s3, two, signed(s3, one))
    equal(answer.status, 403, repr(answer))
    equal(s3.s3.list_objects_v2(Bucket=two)["KeyCount"], 0)


@case
def a_policy_expires(s3):
    bucket = s3.bucket()
    answer = post(s3, bucket, signed(s3, bucket, minutes=-10))
    equal((answer.status, answer.code), (403, "AccessDenied"))


@case
def a_policy_is_signed(s3):
    bucket = s3.bucket()
    fields = signed(s3, bucket)
    for change in ({"x-amz-signature": "0" * 64}, {"policy": base64.b64encode(b'{"expiration":"2099-01-01T00:00:00Z","conditions":[]}').decode()},
                   {"x-amz-credential": fields["x-amz-credential"].replace(s3.main.access_key, "AKIAIOSFODNN7EXAMPLE")}):
        answer = post(s3, bucket, {**fields, **change})
        assert answer.status in (400, 403), answer
    without = {name: value for name, value in fields.items() if name != "policy"}
    assert post(s3, bucket, without).status in (400, 403)
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)


@case
def a_form_of_nobody_is_refused(s3):
    bucket = s3.bucket()
    answer = post(s3, bucket, {"key": "foo.txt"})
    equal((answer.status, answer.code), (403, "AccessDenied"))


@case
def a_form_needs_a_file_and_a_key(s3):
    bucket = s3.bucket()
    fields = signed(s3, bucket)
    answer = post(s3, bucket, fields, file=None)
    equal(answer.status, 400, repr(answer))
    answer = post(s3, bucket, {name: value for name, value in fields.items() if name != "key"})
    assert answer.status in (400, 403), answer
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)


@case
def a_form_that_is_none_is_refused(s3):
    bucket = s3.bucket()
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    for body in (b"", b"garbage", f"--{BOUNDARY}\r\n".encode(), form(signed(s3, bucket))[:-20]):
        answer = s3.ask("POST", f"/{bucket}", headers=headers, body=body)
        assert answer.status in (400, 403), (body, answer)
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)


@case
def a_form_brings_tags_and_checksums(s3):
    bucket = s3.bucket()
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"
    conditions = [["starts-with", "$key", "foo"], ["starts-with", "$tagging", ""], ["starts-with", "$x-amz-checksum-sha256", ""]]
    right = base64.b64encode(hashlib.sha256(b"bar").digest()).decode()
    wrong = base64.b64encode(bytes(32)).decode()
    answer = post(s3, bucket, signed(s3, bucket, conditions, **{"tagging": tags, "x-amz-checksum-sha256": wrong}))
    equal((answer.status, answer.code), (400, "BadDigest"))
    answer = post(s3, bucket, signed(s3, bucket, conditions, **{"tagging": tags, "x-amz-checksum-sha256": right}))
    equal(answer.status, 204, repr(answer))
    equal(s3.s3.get_object_tagging(Bucket=bucket, Key="foo.txt")["TagSet"], [{"Key": "a", "Value": "1"}])
