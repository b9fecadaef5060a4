"""Presigned URLs, and signatures that are not right."""

import datetime
import urllib.parse

from case import case, each, equal, refused


def url(s3, call, account=None, expires=60, **parameters):
    signed = (account or s3.main).client.generate_presigned_url(call, Params=parameters, ExpiresIn=expires)
    parts = urllib.parse.urlsplit(signed)
    return parts.path, parts.query


def changed(query, **parameters):
    pairs = dict(urllib.parse.parse_qsl(query, keep_blank_values=True)) | parameters
    return urllib.parse.urlencode({name: value for name, value in pairs.items() if value is not None}, quote_via=urllib.parse.quote)


@case
def a_url_gets_what_it_was_made_for(s3):
    bucket = s3.filled("a b/ä+")
    answer = s3.ask("GET", *url(s3, "get_object", Bucket=bucket, Key="a b/ä+"))
    equal((answer.status, answer.body), (200, "a b/ä+".encode()))
    answer = s3.ask("GET", *url(s3, "get_object", Bucket=bucket, Key="a b/ä+", ResponseContentType="text/x"))
    equal(answer.headers["content-type"], "text/x")
    answer = s3.ask("GET", *url(s3, "list_objects_v2", Bucket=bucket, Prefix="a"))
    equal(answer.status, 200)


@case
def a_url_puts_and_deletes(s3):
    bucket = s3.bucket()
    answer = s3.ask("PUT", *url(s3, "put_object", Bucket=bucket, Key="x"), body=b"by url")
    equal((answer.status, s3.read(bucket, "x")), (200, b"by url"))
    answer = s3.ask("DELETE", *url(s3, "delete_object", Bucket=bucket, Key="x"))
    equal(answer.status, 204)
    refused(404, "NoSuchKey", s3.s3.get_object, Bucket=bucket, Key="x")


@case
def a_url_is_good_for_one_call(s3):
    bucket = s3.filled("x", "y")
    path, query = url(s3, "get_object", Bucket=bucket, Key="x")
    for method, at in [("GET", f"/{bucket}/y"), ("PUT", path), ("DELETE", path), ("GET", f"/{bucket}")]:
        answer = s3.ask(method, at, query)
        equal((answer.status, answer.code), (403, "SignatureDoesNotMatch"), f"{method} {at}")
    answer = s3.ask("GET", path, query + "&versionId=null")
    equal((answer.status, answer.code), (403, "SignatureDoesNotMatch"))
    equal((s3.read(bucket, "x"), s3.read(bucket, "y")), (b"x", b"y"))


@case
def a_header_that_was_not_signed_is_refused(s3):
    bucket = s3.bucket()
    path, query = url(s3, "put_object", Bucket=bucket, Key="x")
    for headers in ({"x-amz-tagging": "a=b"}, {"x-amz-copy-source": f"/{bucket}/y"}, {"x-amz-meta-a": "b"}):
        answer = s3.ask("PUT", path, query, headers, b"x")
        equal((answer.status, answer.code), (403, "AccessDenied"))
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)


@case
def a_header_that_was_signed_has_to_come(s3):
    bucket = s3.bucket()
    path, query = url(s3, "put_object", Bucket=bucket, Key="x", ContentType="text/plain", Metadata={"a": "b"})
    answer = s3.ask("PUT", path, query, {"content-type": "text/plain"}, b"x")
    equal(answer.status, 403)
    answer = s3.ask("PUT", path, query, {"content-type": "text/plain", "x-amz-meta-a": "c"}, b"x")
    equal((answer.status, answer.code), (403, "SignatureDoesNotMatch"))
    answer = s3.ask("PUT", path, query, {"content-type": "text/plain", "x-amz-meta-a": "b"}, b"x")
    equal((answer.status, s3.s3.head_object(Bucket=bucket, Key="x")["Metadata"]), (200, {"a": "b"}))


@case
def a_url_expires(s3):
    bucket = s3.filled("x")
    path, query = url(s3, "get_object", Bucket=bucket, Key="x")
    hour_ago = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)).strftime("%Y%m%dT%H%M%SZ")
    answer = s3.ask("GET", path, changed(query, **{"X-Amz-Date": hour_ago}))
    equal((answer.status, answer.code), (403, "AccessDenied"))


@each("-7", "0", "604801", "blah", "", "99999999999999999999999")
def a_url_expires_within_a_week(s3, expires):
    bucket = s3.filled("x")
    path, query = url(s3, "get_object", Bucket=bucket, Key="x")
    answer = s3.ask("GET", path, changed(query, **{"X-Amz-Expires": expires}))
    assert answer.status in (400, 403) and answer.code == "AuthorizationQueryParametersError", answer


@each("X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Credential", "X-Amz-Algorithm", "X-Amz-Expires", "X-Amz-Signature")
def a_url_lacks_nothing(s3, name):
    bucket = s3.filled("x")
    path, query = url(s3, "get_object", Bucket=bucket, Key="x")
    answer = s3.ask("GET", path, changed(query, **{name: None}))
    assert answer.status in (400, 403), answer


@case
def a_key_that_is_not_there_signs_nothing(s3):
    bucket = s3.filled("x")
    stranger = s3.client("AKIAIOSFODNN7EXAMPLE", s3.main.secret_key)
    refused(403, "InvalidAccessKeyId", stranger.get_object, Bucket=bucket, Key="x")
    forger = s3.client(s3.main.access_key, s3.other.secret_key)
    refused(403, "SignatureDoesNotMatch", forger.get_object, Bucket=bucket, Key="x")
    refused(403, "SignatureDoesNotMatch", forger.put_object, Bucket=bucket, Key="y", Body=b"y")
    refused(403, "SignatureDoesNotMatch", forger.list_buckets)


@case
def both_regions_are_taken_and_no_other(s3):
    bucket = s3.filled("x")
    for region in ("us-east-1", s3.region):
        equal(s3.client(s3.main.access_key, s3.main.secret_key, region).get_object(Bucket=bucket, Key="x")["ContentLength"], 1)
    wrong = s3.client(s3.main.access_key, s3.main.secret_key, "eu-west-1")
    refused(400, "AuthorizationHeaderMalformed", wrong.get_object, Bucket=bucket, Key="x")


@each(-16 * 60, 16 * 60)
def a_clock_that_is_wrong_is_told(s3, seconds):
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    bucket = s3.filled("x")
    then = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    request = AWSRequest(method="GET", url=f"{s3.endpoint}/{bucket}/x")
    signer = S3SigV4Auth(Credentials(s3.main.access_key, s3.main.secret_key), "s3", "us-east-1")
    request.context["timestamp"] = then.strftime("%Y%m%dT%H%M%SZ")
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    request.headers["X-Amz-Content-SHA256"] = signer.payload(request)
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    signer._inject_signature_to_request(request, signature)
    answer = s3.ask("GET", f"/{bucket}/x", "", dict(request.headers.items()))
    equal((answer.status, answer.code), (403, "RequestTimeTooSkewed"))


@each(
    "", "nonsense", "AWS AKIA:x", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=/////", "Bearer x",
    "AWS4-HMAC-SHA256 Credential=a/20200101/us-east-1/s3/aws4_request,SignedHeaders=host,Signature=0",
    "AWS4-HMAC-SHA512 Credential=a/20200101/us-east-1/s3/aws4_request,SignedHeaders=host,Signature=0",
)
def an_authorization_that_is_none_is_refused(s3, authorization):
    bucket = s3.filled("x")
    answer = s3.ask("GET", f"/{bucket}/x", "", {"authorization": authorization})
    assert answer.status in (400, 403), answer


@case
def nothing_of_a_signature_is_loose(s3):
    bucket = s3.filled("x", "y")
    headers = s3.main.signed("GET", f"/{bucket}/x")
    equal(s3.ask("GET", f"/{bucket}/x", "", headers).status, 200)
    for method, path, query in [("GET", f"/{bucket}/y", ""), ("DELETE", f"/{bucket}/x", ""), ("GET", f"/{bucket}/x", "acl=")]:
        answer = s3.ask(method, path, query, headers)
        equal((answer.status, answer.code), (403, "SignatureDoesNotMatch"))
    answer = s3.ask("GET", f"/{bucket}/x", "", {**headers, "x-amz-meta-a": "b"})
    equal((answer.status, answer.code), (403, "AccessDenied"))
    answer = s3.ask("GET", f"/{bucket}/x", "", {**headers, "host": "elsewhere.example"})
    equal(answer.status, 403)
