"""Conditional reads and writes."""

import concurrent.futures
import datetime

from botocore.exceptions import ClientError

from case import case, each, equal, refused, status_of

HOUR = datetime.timedelta(hours=1)
WRONG = '"00000000000000000000000000000000"'


def of(s3, bucket, key="x"):
    head = s3.s3.head_object(Bucket=bucket, Key=key)
    return head["ETag"], head["LastModified"]


# What is asked, as a function of ETag and date, and the status it comes to.
READS = [
    (lambda etag, date: {"IfMatch": etag}, 200),
    (lambda etag, date: {"IfMatch": "*"}, 200),
    (lambda etag, date: {"IfMatch": WRONG}, 412),
    (lambda etag, date: {"IfMatch": f"{WRONG}, {etag}"}, 200),
    (lambda etag, date: {"IfNoneMatch": etag}, 304),
    (lambda etag, date: {"IfNoneMatch": f"W/{etag}"}, 304),
    (lambda etag, date: {"IfNoneMatch": "*"}, 304),
    (lambda etag, date: {"IfNoneMatch": WRONG}, 200),
    (lambda etag, date: {"IfModifiedSince": date - HOUR}, 200),
    (lambda etag, date: {"IfModifiedSince": date}, 304),
    (lambda etag, date: {"IfUnmodifiedSince": date}, 200),
    (lambda etag, date: {"IfUnmodifiedSince": date - HOUR}, 412),
    # RFC 9110, section 13.2.2: tags go before dates.
    (lambda etag, date: {"IfMatch": etag, "IfUnmodifiedSince": date - HOUR}, 200),
    (lambda etag, date: {"IfNoneMatch": WRONG, "IfModifiedSince": date}, 200),
    (lambda etag, date: {"IfNoneMatch": etag, "IfModifiedSince": date - HOUR}, 304),
]


@each(*range(len(READS)))
def reads_obey_conditions(s3, number):
    bucket = s3.filled("x")
    asked, status = READS[number]
    asked = asked(*of(s3, bucket))
    for call in (s3.s3.get_object, s3.s3.head_object):
        if status == 200:
            equal(status_of(call(Bucket=bucket, Key="x", **asked)), 200)
            continue
        told = refused(status, "PreconditionFailed" if status == 412 and call == s3.s3.get_object else None,
                       call, Bucket=bucket, Key="x", **asked)
        if status == 304:
            equal(told["ResponseMetadata"]["HTTPHeaders"].get("etag"), of(s3, bucket)[0])


@case
def a_date_in_the_future_is_as_if_it_were_not_there(s3):
    bucket = s3.filled("x")
    date = of(s3, bucket)[1] + 48 * HOUR
    equal(status_of(s3.s3.get_object(Bucket=bucket, Key="x", IfUnmodifiedSince=date)), 200)


@case
def a_put_makes_only_what_is_not_there(s3):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"one", IfNoneMatch="*")
    refused(412, "PreconditionFailed", s3.s3.put_object, Bucket=bucket, Key="x", Body=b"two", IfNoneMatch="*")
    equal(s3.read(bucket, "x"), b"one")
    s3.s3.delete_object(Bucket=bucket, Key="x")
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"three", IfNoneMatch="*")
    equal(s3.read(bucket, "x"), b"three")


@case
def a_put_overwrites_only_what_it_knows(s3):
    bucket = s3.filled("x")
    etag = of(s3, bucket)[0]
    refused(412, "PreconditionFailed", s3.s3.put_object, Bucket=bucket, Key="x", Body=b"two", IfMatch=WRONG)
    equal(s3.read(bucket, "x"), b"x")
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"two", IfMatch=etag)
    refused(412, "PreconditionFailed", s3.s3.put_object, Bucket=bucket, Key="x", Body=b"three", IfMatch=etag)
    equal(s3.read(bucket, "x"), b"two")
    refused(404, "NoSuchKey", s3.s3.put_object, Bucket=bucket, Key="nothing", Body=b"", IfMatch=etag)
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"any", IfMatch="*")


@case
def a_delete_marker_is_nothing_that_is_there(s3):
    bucket = s3.versioned()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"one")
    s3.s3.delete_object(Bucket=bucket, Key="x")
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"two", IfNoneMatch="*")
    equal(s3.read(bucket, "x"), b"two")


@case
def of_many_who_would_be_first_one_is(s3):
    bucket = s3.bucket()

    def attempt(number):
        try:
            s3.s3.put_object(Bucket=bucket, Key="lock", Body=str(number).encode(), IfNoneMatch="*")
            return number
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412), error
            return None

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        winners = [number for number in threads.map(attempt, range(24)) if number is not None]
    equal(len(winners), 1)
    equal(s3.read(bucket, "lock"), str(winners[0]).encode())


@case
def of_many_who_count_none_is_lost(s3):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="count", Body=b"0")

    def add(_):
        while True:
            got = s3.s3.get_object(Bucket=bucket, Key="count")
            body = str(int(got["Body"].read()) + 1).encode()
            try:
                return s3.s3.put_object(Bucket=bucket, Key="count", Body=body, IfMatch=got["ETag"])
            except ClientError as error:
                assert error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412), error

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(20)))
    equal(s3.read(bucket, "count"), b"20")


@case
def an_upload_in_parts_obeys_conditions_when_it_is_completed(s3):
    bucket = s3.filled("x")

    def complete(key, **conditions):
        upload = s3.s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        part = s3.s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"new")["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
        return s3.s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload=parts, **conditions)

    refused(412, "PreconditionFailed", complete, "x", IfNoneMatch="*")
    refused(412, "PreconditionFailed", complete, "x", IfMatch=WRONG)
    equal(s3.read(bucket, "x"), b"x")
    complete("x", IfMatch=of(s3, bucket)[0])
    complete("y", IfNoneMatch="*")
    equal((s3.read(bucket, "x"), s3.read(bucket, "y")), (b"new", b"new"))


@case
def a_delete_obeys_conditions(s3):
    bucket = s3.filled("x")
    refused(412, "PreconditionFailed", s3.s3.delete_object, Bucket=bucket, Key="x", IfMatch=WRONG)
    equal(s3.read(bucket, "x"), b"x")
    s3.s3.delete_object(Bucket=bucket, Key="x", IfMatch=of(s3, bucket)[0])
    refused(404, "NoSuchKey", s3.s3.get_object, Bucket=bucket, Key="x")


@case
def one_of_many_deletes_obeys_its_condition(s3):
    bucket = s3.filled("x", "y")
    said = s3.s3.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": "x", "ETag": WRONG}, {"Key": "y", "ETag": of(s3, bucket, "y")[0]}]}
    )
    equal([(error["Key"], error["Code"]) for error in said["Errors"]], [("x", "PreconditionFailed")])
    equal([gone["Key"] for gone in said["Deleted"]], ["y"])


@case
def a_copy_obeys_conditions_on_its_source(s3):
    bucket = s3.filled("x")
    etag, date = of(s3, bucket)
    source = {"Bucket": bucket, "Key": "x"}
    for asked, holds in [
        ({"CopySourceIfMatch": etag}, True),
        ({"CopySourceIfMatch": WRONG}, False),
        ({"CopySourceIfNoneMatch": etag}, False),
        ({"CopySourceIfNoneMatch": WRONG}, True),
        ({"CopySourceIfModifiedSince": date}, False),
        ({"CopySourceIfModifiedSince": date - HOUR}, True),
        ({"CopySourceIfUnmodifiedSince": date - HOUR}, False),
        ({"CopySourceIfUnmodifiedSince": date}, True),
    ]:
        if holds:
            s3.s3.copy_object(Bucket=bucket, Key="y", CopySource=source, **asked)
        else:
            refused(412, "PreconditionFailed", s3.s3.copy_object, Bucket=bucket, Key="y", CopySource=source, **asked)


@case
def a_copy_obeys_conditions_on_its_destination(s3):
    bucket = s3.filled("x", "y")
    source = {"Bucket": bucket, "Key": "x"}
    for headers in ({"if-none-match": "*"}, {"if-match": WRONG}):
        headers = {**headers, "x-amz-copy-source": f"/{bucket}/x"}
        answer = s3.main.ask("PUT", f"/{bucket}/y", headers=headers)
        equal((answer.status, answer.code), (412, "PreconditionFailed"))
    equal(s3.read(bucket, "y"), b"y")
    s3.s3.copy_object(Bucket=bucket, Key="new", CopySource=source)


@case
def conditions_that_are_not_there_are_not_ignored(s3):
    bucket = s3.filled("x")
    for headers in ({"if-none-match": WRONG}, {"if-unmodified-since": "Sat, 01 Jan 2000 00:00:00 GMT"}):
        answer = s3.main.ask("PUT", f"/{bucket}/x", headers=headers, body=b"new")
        assert answer.status in (412, 501), answer
    equal(s3.read(bucket, "x"), b"x")
