"""Tags of objects and of buckets."""

from case import case, each, equal, refused, status_of


def tag_set(count, size=1):
    return {"TagSet": [{"Key": f"k{number}" + "x" * size, "Value": "v" * size} for number in range(count)]}


def of(s3, bucket, key, **more):
    said = s3.s3.get_object_tagging(Bucket=bucket, Key=key, **more)
    return {tag["Key"]: tag["Value"] for tag in said["TagSet"]}


@case
def an_object_is_tagged(s3):
    bucket = s3.filled("x")
    equal(of(s3, bucket, "x"), {})
    tags = tag_set(10)
    s3.s3.put_object_tagging(Bucket=bucket, Key="x", Tagging=tags)
    equal(s3.s3.get_object_tagging(Bucket=bucket, Key="x")["TagSet"], tags["TagSet"])
    equal(s3.s3.get_object(Bucket=bucket, Key="x")["TagCount"], 10)
    equal(status_of(s3.s3.delete_object_tagging(Bucket=bucket, Key="x")), 204)
    equal(of(s3, bucket, "x"), {})
    refused(404, "NoSuchKey", s3.s3.put_object_tagging, Bucket=bucket, Key="y", Tagging=tags)


@case
def tags_come_with_the_object(s3):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"x", Tagging="a=1&b%20c=%C3%A4&empty=")
    equal(of(s3, bucket, "x"), {"a": "1", "b c": "ä", "empty": ""})
    upload = s3.s3.create_multipart_upload(Bucket=bucket, Key="y", Tagging="a=2")["UploadId"]
    part = s3.s3.upload_part(Bucket=bucket, Key="y", UploadId=upload, PartNumber=1, Body=b"y")["ETag"]
    s3.s3.complete_multipart_upload(
        Bucket=bucket, Key="y", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]}
    )
    equal(of(s3, bucket, "y"), {"a": "2"})
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"x")
    equal(of(s3, bucket, "x"), {}, "a put forgets the tags before it")


@each(
    (tag_set(11), "BadRequest"),
    ({"TagSet": [{"Key": "k" * 129, "Value": "v"}]}, "InvalidTag"),
    ({"TagSet": [{"Key": "k", "Value": "v" * 257}]}, "InvalidTag"),
    ({"TagSet": [{"Key": "k", "Value": "v"}, {"Key": "k", "Value": "w"}]}, "InvalidTag"),
    ({"TagSet": [{"Key": "", "Value": "v"}]}, "InvalidTag"),
)
def tags_have_rules(s3, tags, code):
    bucket = s3.filled("x")
    from botocore.exceptions import ClientError, ParamValidationError

    try:
        s3.s3.put_object_tagging(Bucket=bucket, Key="x", Tagging=tags)
        raise AssertionError("it should have been refused")
    except ClientError as error:
        equal(error.response["ResponseMetadata"]["HTTPStatusCode"], 400)
        assert error.response["Error"]["Code"] in (code, "InvalidTag"), error
    except ParamValidationError:
        pass  # boto3 itself knows this rule.
    equal(of(s3, bucket, "x"), {})


@case
def the_longest_tags_are_taken(s3):
    bucket = s3.filled("x")
    tags = {"TagSet": [{"Key": "k" * 128, "Value": "v" * 256}]}
    s3.s3.put_object_tagging(Bucket=bucket, Key="x", Tagging=tags)
    equal(s3.s3.get_object_tagging(Bucket=bucket, Key="x")["TagSet"], tags["TagSet"])


@case
def a_version_has_tags_of_its_own(s3):
    bucket = s3.versioned()
    one = s3.s3.put_object(Bucket=bucket, Key="x", Body=b"1", Tagging="n=1")["VersionId"]
    two = s3.s3.put_object(Bucket=bucket, Key="x", Body=b"2", Tagging="n=2")["VersionId"]
    said = s3.s3.put_object_tagging(Bucket=bucket, Key="x", VersionId=one, Tagging={"TagSet": [{"Key": "n", "Value": "3"}]})
    equal(said["VersionId"], one)
    equal((of(s3, bucket, "x", VersionId=one), of(s3, bucket, "x", VersionId=two)), ({"n": "3"}, {"n": "2"}))
    s3.s3.delete_object_tagging(Bucket=bucket, Key="x", VersionId=two)
    equal((of(s3, bucket, "x"), of(s3, bucket, "x", VersionId=one)), ({}, {"n": "3"}))


@case
def a_header_of_tags_is_read_strictly(s3):
    bucket = s3.bucket()
    for wrong in ("a=1&a=2", "k" * 129 + "=v", "&".join(f"k{number}=v" for number in range(11))):
        refused(400, "InvalidTag", s3.s3.put_object, Bucket=bucket, Key="x", Body=b"", Tagging=wrong)
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)


@case
def a_bucket_is_tagged(s3):
    bucket = s3.bucket()
    refused(404, "NoSuchTagSet", s3.s3.get_bucket_tagging, Bucket=bucket)
    tags = tag_set(50)
    s3.s3.put_bucket_tagging(Bucket=bucket, Tagging=tags)
    by_key = lambda found: sorted(found, key=lambda tag: tag["Key"])
    equal(by_key(s3.s3.get_bucket_tagging(Bucket=bucket)["TagSet"]), by_key(tags["TagSet"]))
    equal(status_of(s3.s3.delete_bucket_tagging(Bucket=bucket)), 204)
    refused(404, "NoSuchTagSet", s3.s3.get_bucket_tagging, Bucket=bucket)
