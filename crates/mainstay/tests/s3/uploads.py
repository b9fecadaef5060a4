"""Uploads in parts."""

import hashlib
import io

from boto3.s3.transfer import TransferConfig

from case import case, each, equal, refused, status_of

PART = 5 << 20


def begin(s3, bucket, key="x", **more):
    return s3.s3.create_multipart_upload(Bucket=bucket, Key=key, **more)["UploadId"]


def part(s3, bucket, upload, number, body, key="x"):
    said = s3.s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)
    return {"PartNumber": number, "ETag": said["ETag"]}


def complete(s3, bucket, upload, parts, key="x", **more):
    return s3.s3.complete_multipart_upload(
        Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **more
    )


def body_of(number, size=PART):
    return bytes([number]) * size


@case
def parts_become_one_object(s3):
    bucket = s3.bucket()
    upload = begin(s3, bucket, ContentType="text/foo", Metadata={"a": "b"})
    bodies = [body_of(1), body_of(2), body_of(3, 1000)]
    parts = [part(s3, bucket, upload, number, body) for number, body in enumerate(bodies, 1)]
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0, "nothing is there before it is complete")
    done = complete(s3, bucket, upload, parts)
    digests = b"".join(hashlib.md5(body).digest() for body in bodies)
    equal(done["ETag"], f'"{hashlib.md5(digests).hexdigest()}-3"')
    got = s3.s3.get_object(Bucket=bucket, Key="x")
    assert got["Body"].read() == b"".join(bodies)
    equal((got["ContentType"], got["Metadata"], got["ETag"]), ("text/foo", {"a": "b"}, done["ETag"]))
    equal(s3.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []), [])


@case
def parts_come_in_any_order_and_again(s3):
    bucket = s3.bucket()
    upload = begin(s3, bucket)
    second = part(s3, bucket, upload, 20, body_of(2, 10))
    part(s3, bucket, upload, 3, b"replaced")
    first = part(s3, bucket, upload, 3, body_of(1))
    equal(complete(s3, bucket, upload, [first, second])["ETag"][-3:], '-2"')
    assert s3.read(bucket, "x") == body_of(1) + body_of(2, 10)


@case
def only_the_parts_that_are_named_are_in_it(s3):
    bucket = s3.bucket()
    upload = begin(s3, bucket)
    part(s3, bucket, upload, 1, b"left out")
    named = part(s3, bucket, upload, 2, b"kept")
    complete(s3, bucket, upload, [named])
    equal(s3.read(bucket, "x"), b"kept")


@case
def ranges_reach_over_parts(s3):
    bucket = s3.bucket()
    upload = begin(s3, bucket)
    parts = [part(s3, bucket, upload, 1, body_of(1)), part(s3, bucket, upload, 2, body_of(2, 100))]
    complete(s3, bucket, upload, parts)
    equal(s3.read(bucket, "x", Range=f"bytes={PART - 3}-{PART + 2}"), b"\1\1\1\2\2\2")
    equal(s3.read(bucket, "x", Range="bytes=-5"), b"\2" * 5)


@case
def a_part_can_be_read_by_its_number(s3):
    bucket = s3.bucket()
    upload = begin(s3, bucket)
    parts = [part(s3, bucket, upload, 1, body_of(1)), part(s3, bucket, upload, 2, body_of(2, 100))]
    complete(s3, bucket, upload, parts)
    got = s3.s3.get_object(Bucket=bucket, Key="x", PartNumber=2)
    equal((got["Body"].read(), got["PartsCount"], status_of(got)), (body_of(2, 100), 2, 206))
    equal(got["ContentRange"], f"bytes {PART}-{PART + 99}/{PART + 100}")
    equal(s3.s3.head_object(Bucket=bucket, Key="x", PartNumber=1)["ContentLength"], PART)
    refused(400, "InvalidPart", s3.s3.get_object, Bucket=bucket, Key="x", PartNumber=3)
    refused(400, "InvalidRequest", s3.s3.get_object, Bucket=bucket, Key="x", PartNumber=1, Range="bytes=0-1")


@case
def a_part_too_small_completes_nothing(s3):
    bucket = s3.bucket()
    upload = begin(s3, bucket)
    parts = [part(s3, bucket, upload, number, b"small") for number in (1, 2)]
    refused(400, "EntityTooSmall", complete, s3, bucket, upload, parts)
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)
    complete(s3, bucket, upload, parts[:1])


@case
def parts_have_to_be_those_that_came(s3):
    bucket = s3.bucket()
    upload = begin(s3, bucket)
    one = part(s3, bucket, upload, 1, b"one")
    refused(400, "InvalidPart", complete, s3, bucket, upload, [{**one, "ETag": '"ffffffffffffffffffffffffffffffff"'}])
    refused(400, "InvalidPart", complete, s3, bucket, upload, [one, {**one, "PartNumber": 2}])
    two = part(s3, bucket, upload, 2, body_of(1))
    refused(400, "InvalidPartOrder", complete, s3, bucket, upload, [two, one])
    refused(400, "MalformedXML", complete, s3, bucket, upload, [])
    complete(s3, bucket, upload, [{**one, "ETag": one["ETag"].strip('"')}])


@case
def completing_again_answers_the_same(s3):
    bucket = s3.bucket()
    upload = begin(s3, bucket)
    parts = [part(s3, bucket, upload, 1, b"one")]
    first = complete(s3, bucket, upload, parts)
    equal(complete(s3, bucket, upload, parts)["ETag"], first["ETag"])


@each(0, 10_001, -1)
def numbers_of_parts_have_limits(s3, number):
    bucket = s3.bucket()
    upload = begin(s3, bucket)
    refused(400, "InvalidArgument", part, s3, bucket, upload, number, b"x")


@case
def an_upload_that_is_not_there_is_not_found(s3):
    bucket = s3.bucket()
    upload = begin(s3, bucket)
    for wrong in ("56788", "../x", "0" * len(upload)):
        refused(404, "NoSuchUpload", part, s3, bucket, wrong, 1, b"x")
        refused(404, "NoSuchUpload", complete, s3, bucket, wrong, [{"PartNumber": 1, "ETag": "f" * 32}])
        refused(404, "NoSuchUpload", s3.s3.abort_multipart_upload, Bucket=bucket, Key="x", UploadId=wrong)
        refused(404, "NoSuchUpload", s3.s3.list_parts, Bucket=bucket, Key="x", UploadId=wrong)
    refused(404, "NoSuchUpload", part, s3, bucket, upload, 1, b"x", key="another")


@case
def an_upload_is_aborted(s3):
    bucket = s3.bucket()
    upload = begin(s3, bucket)
    one = part(s3, bucket, upload, 1, b"one")
    equal(status_of(s3.s3.abort_multipart_upload(Bucket=bucket, Key="x", UploadId=upload)), 204)
    refused(404, "NoSuchUpload", complete, s3, bucket, upload, [one])
    refused(404, "NoSuchUpload", part, s3, bucket, upload, 1, b"one")
    equal(s3.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []), [])


@case
def parts_are_listed_in_pages(s3):
    bucket = s3.bucket()
    upload = begin(s3, bucket)
    made = [part(s3, bucket, upload, number, bytes(number)) for number in (1, 2, 5, 10_000)]
    found, more = [], {}
    while True:
        said = s3.s3.list_parts(Bucket=bucket, Key="x", UploadId=upload, MaxParts=3, **more)
        found += [(entry["PartNumber"], entry["ETag"], entry["Size"]) for entry in said["Parts"]]
        if not said["IsTruncated"]:
            break
        more = {"PartNumberMarker": said["NextPartNumberMarker"]}
    equal(found, [(one["PartNumber"], one["ETag"], one["PartNumber"]) for one in made])
    equal((said["Initiator"]["ID"], said["StorageClass"]), (s3.main.instance, "STANDARD"))


@case
def uploads_are_listed_in_pages(s3):
    bucket = s3.bucket()
    made = {(key, begin(s3, bucket, key)) for key in ("a", "b/1", "b/2", "b/2", "c")}
    found, more = [], {}
    while True:
        said = s3.s3.list_multipart_uploads(Bucket=bucket, MaxUploads=2, **more)
        found += [(entry["Key"], entry["UploadId"]) for entry in said["Uploads"]]
        if not said["IsTruncated"]:
            break
        more = {"KeyMarker": said["NextKeyMarker"], "UploadIdMarker": said["NextUploadIdMarker"]}
    equal((len(found), set(found)), (5, made))
    equal([key for key, _ in found], ["a", "b/1", "b/2", "b/2", "c"])
    said = s3.s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    equal([group["Prefix"] for group in said["CommonPrefixes"]], ["b/"])
    equal([entry["Key"] for entry in said["Uploads"]], ["a", "c"])
    equal(len(s3.s3.list_multipart_uploads(Bucket=bucket, Prefix="b/2")["Uploads"]), 2)


@case
def a_part_is_copied_from_an_object(s3):
    bucket = s3.bucket()
    body = bytes(number % 251 for number in range(PART + 100))
    s3.s3.put_object(Bucket=bucket, Key="source", Body=body)
    upload = begin(s3, bucket)
    copy = lambda number, **more: {
        "PartNumber": number,
        "ETag": s3.s3.upload_part_copy(
            Bucket=bucket, Key="x", UploadId=upload, PartNumber=number, CopySource={"Bucket": bucket, "Key": "source"}, **more
        )["CopyPartResult"]["ETag"],
    }
    parts = [copy(1, CopySourceRange=f"bytes=0-{PART - 1}"), copy(2, CopySourceRange=f"bytes={PART}-{PART + 99}"), copy(3)]
    refused(400, "EntityTooSmall", complete, s3, bucket, upload, parts)
    complete(s3, bucket, upload, parts[:2])
    assert s3.read(bucket, "x") == body
    equal(parts[0]["ETag"], f'"{hashlib.md5(body[:PART]).hexdigest()}"')


@each("0-2", "bytes=0", "bytes=hello-world", "bytes=0-bar", "bytes=2-1", "bytes=0-2,3-5")
def a_range_of_a_part_copy_is_written_properly(s3, asked):
    bucket = s3.filled("source")
    upload = begin(s3, bucket)
    refused(400, "InvalidArgument", s3.s3.upload_part_copy, Bucket=bucket, Key="x", UploadId=upload, PartNumber=1,
            CopySource={"Bucket": bucket, "Key": "source"}, CopySourceRange=asked)


@case
def a_range_of_a_part_copy_lies_in_its_source(s3):
    bucket = s3.filled("source")
    upload = begin(s3, bucket)
    refused(416, "InvalidRange", s3.s3.upload_part_copy, Bucket=bucket, Key="x", UploadId=upload, PartNumber=1,
            CopySource={"Bucket": bucket, "Key": "source"}, CopySourceRange="bytes=0-6")


@case
def attributes_tell_of_parts(s3):
    bucket = s3.bucket()
    upload = s3.s3.create_multipart_upload(Bucket=bucket, Key="x", ChecksumAlgorithm="SHA256")["UploadId"]
    parts = []
    for number, body in [(1, body_of(1)), (2, b"end")]:
        said = s3.s3.upload_part(Bucket=bucket, Key="x", UploadId=upload, PartNumber=number, Body=body,
                                 ChecksumAlgorithm="SHA256")
        parts.append({"PartNumber": number, "ETag": said["ETag"], "ChecksumSHA256": said["ChecksumSHA256"]})
    complete(s3, bucket, upload, parts)
    told = s3.s3.get_object_attributes(Bucket=bucket, Key="x", ObjectAttributes=["ObjectParts", "ObjectSize"])
    equal((told["ObjectSize"], told["ObjectParts"]["TotalPartsCount"]), (PART + 3, 2))
    found = [(one["PartNumber"], one["Size"], one["ChecksumSHA256"]) for one in told["ObjectParts"]["Parts"]]
    equal(found, [(1, PART, parts[0]["ChecksumSHA256"]), (2, 3, parts[1]["ChecksumSHA256"])])
    told = s3.s3.get_object_attributes(Bucket=bucket, Key="x", ObjectAttributes=["ObjectParts"], MaxParts=1)["ObjectParts"]
    equal((told["IsTruncated"], len(told["Parts"]), told["NextPartNumberMarker"]), (True, 1, 1))


@case
def boto3s_own_transfers_work(s3):
    bucket, body = s3.bucket(), hashlib.shake_256(b"transfer").digest(13 << 20)
    parts = TransferConfig(multipart_threshold=6 << 20, multipart_chunksize=6 << 20)
    s3.s3.upload_fileobj(io.BytesIO(body), bucket, "x", Config=parts)
    into = io.BytesIO()
    s3.s3.download_fileobj(bucket, "x", into, Config=parts)
    assert into.getvalue() == body
    assert s3.s3.head_object(Bucket=bucket, Key="x")["ETag"].endswith('-3"')


@case
def a_bucket_with_an_upload_in_it_can_go(s3):
    bucket = s3.bucket()
    upload = begin(s3, bucket)
    part(s3, bucket, upload, 1, b"one")
    s3.s3.delete_bucket(Bucket=bucket)
    s3.s3.create_bucket(Bucket=bucket)
    equal(s3.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []), [])
    refused(404, "NoSuchUpload", part, s3, bucket, upload, 1, b"one")


@case
def a_size_that_a_client_expects_is_compared(s3):
    bucket = s3.bucket()
    upload = begin(s3, bucket)
    parts = [part(s3, bucket, upload, 1, b"one")]
    refused(400, "InvalidRequest", complete, s3, bucket, upload, parts, MpuObjectSize=4)
    complete(s3, bucket, upload, parts, MpuObjectSize=3)
