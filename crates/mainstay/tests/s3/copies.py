"""Copies of objects."""

from case import case, each, equal, refused


def copy(s3, bucket, key, source, **more):
    return s3.s3.copy_object(Bucket=bucket, Key=key, CopySource=source, **more)


@each(0, 1, 100_000, 2_000_000)
def a_copy_is_the_same_bytes(s3, size):
    one, two = s3.bucket(), s3.bucket()
    body = bytes(number % 251 for number in range(size))
    put = s3.s3.put_object(Bucket=one, Key="x", Body=body, ContentType="text/plain", Metadata={"a": "b"})
    said = copy(s3, two, "y", {"Bucket": one, "Key": "x"})
    equal(said["CopyObjectResult"]["ETag"], put["ETag"])
    got = s3.s3.get_object(Bucket=two, Key="y")
    assert got["Body"].read() == body
    equal((got["ContentType"], got["Metadata"]), ("text/plain", {"a": "b"}))
    s3.s3.delete_object(Bucket=one, Key="x")
    assert s3.read(two, "y") == body


@case
def a_copy_can_have_other_metadata(s3):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"x", Metadata={"a": "b"}, ContentType="text/plain")
    copy(s3, bucket, "y", {"Bucket": bucket, "Key": "x"}, MetadataDirective="REPLACE", Metadata={"c": "d"},
         ContentType="audio/ogg")
    head = s3.s3.head_object(Bucket=bucket, Key="y")
    equal((head["Metadata"], head["ContentType"]), ({"c": "d"}, "audio/ogg"))
    copy(s3, bucket, "z", {"Bucket": bucket, "Key": "x"}, Metadata={"c": "d"})
    equal(s3.s3.head_object(Bucket=bucket, Key="z")["Metadata"], {"a": "b"})


@case
def a_copy_onto_itself_changes_something(s3):
    bucket = s3.filled("x")
    refused(400, "InvalidRequest", copy, s3, bucket, "x", {"Bucket": bucket, "Key": "x"})
    copy(s3, bucket, "x", {"Bucket": bucket, "Key": "x"}, MetadataDirective="REPLACE", Metadata={"new": "one"})
    head = s3.s3.head_object(Bucket=bucket, Key="x")
    equal((head["Metadata"], s3.read(bucket, "x")), ({"new": "one"}, b"x"))


@case
def a_source_has_to_be_there(s3):
    bucket = s3.bucket()
    refused(404, "NoSuchKey", copy, s3, bucket, "y", {"Bucket": bucket, "Key": "x"})
    refused(404, "NoSuchBucket", copy, s3, bucket, "y", {"Bucket": s3.name(), "Key": "x"})
    refused(404, "NoSuchBucket", copy, s3, s3.name(), "y", {"Bucket": bucket, "Key": "x"})
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)


@each("?versionId=", "a?b", "a b", "a+b", "a%2Bb", "ä/ö", "a&versionId=c", "x?versionId=3", "😀", "//x")
def any_key_is_a_source(s3, key):
    bucket = s3.filled(key)
    copy(s3, bucket, "copy", {"Bucket": bucket, "Key": key})
    equal(s3.read(bucket, "copy"), key.encode())


@case
def a_source_may_begin_with_a_slash(s3):
    bucket = s3.filled("x")
    for source in (f"{bucket}/x", f"/{bucket}/x", f"%2F{bucket}%2Fx"):
        answer = s3.main.ask("PUT", f"/{bucket}/y", headers={"x-amz-copy-source": source})
        equal((answer.status, s3.read(bucket, "y")), (200, b"x"), f"{source}: {answer}")
    for source in ("", "/", bucket, f"{bucket}/"):
        answer = s3.main.ask("PUT", f"/{bucket}/z", headers={"x-amz-copy-source": source})
        assert 400 <= answer.status < 500, (source, answer)


@case
def an_earlier_version_is_a_source(s3):
    bucket = s3.versioned()
    first = s3.s3.put_object(Bucket=bucket, Key="x", Body=b"one")["VersionId"]
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"two")
    said = copy(s3, bucket, "x", {"Bucket": bucket, "Key": "x", "VersionId": first})
    equal(said["CopySourceVersionId"], first)
    equal((s3.read(bucket, "x"), s3.s3.head_object(Bucket=bucket, Key="x")["VersionId"]), (b"one", said["VersionId"]))
    marker = s3.s3.delete_object(Bucket=bucket, Key="x")["VersionId"]
    refused(404, "NoSuchKey", copy, s3, bucket, "y", {"Bucket": bucket, "Key": "x"})
    refused(400, "InvalidRequest", copy, s3, bucket, "y", {"Bucket": bucket, "Key": "x", "VersionId": marker})


@case
def tags_go_along_or_are_replaced(s3):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"x", Tagging="a=1&b=2")
    source = {"Bucket": bucket, "Key": "x"}
    tags = lambda key: {tag["Key"]: tag["Value"] for tag in s3.s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]}
    copy(s3, bucket, "y", source)
    equal(tags("y"), {"a": "1", "b": "2"})
    copy(s3, bucket, "z", source, TaggingDirective="REPLACE", Tagging="c=3")
    equal(tags("z"), {"c": "3"})


@case
def a_copy_can_have_another_checksum(s3):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"x", ChecksumAlgorithm="CRC32")
    said = copy(s3, bucket, "y", {"Bucket": bucket, "Key": "x"})["CopyObjectResult"]
    assert said["ChecksumCRC32"]
    said = copy(s3, bucket, "z", {"Bucket": bucket, "Key": "x"}, ChecksumAlgorithm="SHA256")["CopyObjectResult"]
    s3.s3.put_object(Bucket=bucket, Key="w", Body=b"x", ChecksumAlgorithm="SHA256")
    wanted = s3.s3.head_object(Bucket=bucket, Key="w", ChecksumMode="ENABLED")["ChecksumSHA256"]
    equal(said["ChecksumSHA256"], wanted)
    equal(s3.s3.head_object(Bucket=bucket, Key="z", ChecksumMode="ENABLED")["ChecksumSHA256"], wanted)


@case
def an_upload_in_parts_is_copied_whole(s3):
    bucket = s3.bucket()
    bodies = [b"a" * (5 << 20), b"b" * 77]
    upload = s3.s3.create_multipart_upload(Bucket=bucket, Key="x")["UploadId"]
    parts = [
        {"PartNumber": number, "ETag": s3.s3.upload_part(
            Bucket=bucket, Key="x", UploadId=upload, PartNumber=number, Body=body)["ETag"]}
        for number, body in enumerate(bodies, 1)
    ]
    s3.s3.complete_multipart_upload(Bucket=bucket, Key="x", UploadId=upload, MultipartUpload={"Parts": parts})
    copy(s3, bucket, "y", {"Bucket": bucket, "Key": "x"})
    s3.s3.delete_object(Bucket=bucket, Key="x")
    assert s3.read(bucket, "y") == b"".join(bodies)
    assert s3.read(bucket, "y", Range=f"bytes={(5 << 20) - 2}-{(5 << 20) + 1}") == b"aabb"


@case
def boto3s_own_copy_works(s3):
    one, two = s3.bucket(), s3.bucket()
    s3.s3.put_object(Bucket=one, Key="x", Body=b"x" * 100_000)
    from boto3.s3.transfer import TransferConfig

    s3.s3.copy({"Bucket": one, "Key": "x"}, two, "y")
    equal(len(s3.read(two, "y")), 100_000)
    s3.s3.put_object(Bucket=one, Key="large", Body=b"l" * (12 << 20))
    parts = TransferConfig(multipart_threshold=6 << 20, multipart_chunksize=6 << 20)
    s3.s3.copy({"Bucket": one, "Key": "large"}, two, "large", Config=parts)
    equal(s3.s3.head_object(Bucket=two, Key="large")["ContentLength"], 12 << 20)
    assert s3.read(two, "large") == b"l" * (12 << 20)
