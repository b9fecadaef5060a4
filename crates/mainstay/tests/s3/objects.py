"""Putting, getting and deleting objects."""

import datetime
import hashlib

from case import case, each, equal, refused, status_of
from presigned import url


@each(0, 1, 4096, 65_536, 65_537, 1_048_576, 5_000_001)
def bytes_come_back_as_they_went(s3, size):
    bucket = s3.bucket()
    body = hashlib.shake_256(str(size).encode()).digest(size)
    put = s3.s3.put_object(Bucket=bucket, Key="x", Body=body)
    equal(put["ETag"], f'"{hashlib.md5(body).hexdigest()}"')
    got = s3.s3.get_object(Bucket=bucket, Key="x")
    assert got["Body"].read() == body
    equal((got["ContentLength"], got["ETag"]), (size, put["ETag"]))
    equal(s3.s3.head_object(Bucket=bucket, Key="x")["ContentLength"], size)


@each(
    "a/../b", ".", "..", "./x", "/", "//", "/a", "a//b", "a b", "a+b", "a%20b", "a%00b", "%", "?", "#", "a&b=c", "ä ö", "日本/語",
    "😀", "\u0001", "\t", "\x7f", "a\\b", "-", "_", "$foo", "*", "'\"<>", "e\u0301", "\u00e9", "a" * 1024, "ü" * 512,
)
def keys_are_texts_and_no_paths(s3, key):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    equal(s3.read(bucket, key), key.encode())
    equal([entry["Key"] for entry in s3.s3.list_objects_v2(Bucket=bucket)["Contents"]], [key])
    s3.s3.delete_object(Bucket=bucket, Key=key)
    refused(404, "NoSuchKey", s3.s3.get_object, Bucket=bucket, Key=key)


@each("a" * 1025, "ü" * 513)
def a_key_can_be_too_long(s3, key):
    refused(400, "KeyTooLongError", s3.s3.put_object, Bucket=s3.bucket(), Key=key, Body=b"")


@case
def a_key_has_no_nul_and_is_utf8(s3):
    bucket = s3.bucket()
    for path in ("a%00b", "%00", "%ff%fe", "%c3%28"):
        answer = s3.main.ask("PUT", f"/{bucket}/{path}")
        assert answer.status == 400, answer
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)


@case
def what_is_not_there_is_not_found(s3):
    bucket = s3.bucket()
    refused(404, "NoSuchKey", s3.s3.get_object, Bucket=bucket, Key="x")
    refused(404, None, s3.s3.head_object, Bucket=bucket, Key="x")
    refused(404, "NoSuchBucket", s3.s3.get_object, Bucket=s3.name(), Key="x")
    refused(404, "NoSuchBucket", s3.s3.put_object, Bucket=s3.name(), Key="x", Body=b"")
    refused(404, None, s3.s3.head_object, Bucket=s3.name(), Key="x")


@case
def a_put_takes_the_place_of_what_was_there(s3):
    bucket = s3.filled("x")
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"second")
    equal(s3.read(bucket, "x"), b"second")
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 1)


@case
def a_delete_succeeds_twice(s3):
    bucket = s3.filled("x")
    for _ in range(2):
        equal(status_of(s3.s3.delete_object(Bucket=bucket, Key="x")), 204)
    refused(404, "NoSuchKey", s3.s3.get_object, Bucket=bucket, Key="x")


@case
def metadata_come_back(s3):
    bucket = s3.bucket()
    told = {
        "ContentType": "text/plain; charset=utf-8",
        "CacheControl": "public, max-age=14400",
        "ContentDisposition": "attachment; filename=x",
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "Expires": datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
        "Metadata": {"one": "1", "two-words": "a  b"},
    }
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"x", **told)
    for said in (s3.s3.head_object(Bucket=bucket, Key="x"), s3.s3.get_object(Bucket=bucket, Key="x")):
        equal({name: said[name] for name in told}, told)


@case
def a_put_forgets_the_metadata_before_it(s3):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"", Metadata={"a": "1"}, ContentType="text/plain")
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"", Metadata={"b": "2"})
    head = s3.s3.head_object(Bucket=bucket, Key="x")
    equal((head["Metadata"], head["ContentType"]), ({"b": "2"}, "binary/octet-stream"))


@case
def names_of_metadata_have_no_case(s3):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"", Metadata={"MixedCase": "Value"})
    equal(s3.s3.head_object(Bucket=bucket, Key="x")["Metadata"], {"mixedcase": "Value"})


@case
def metadata_have_a_limit(s3):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"", Metadata={"a": "v" * 2047})
    refused(400, "MetadataTooLarge", s3.s3.put_object, Bucket=bucket, Key="y", Body=b"", Metadata={"a": "v" * 2048})
    refused(404, None, s3.s3.head_object, Bucket=bucket, Key="y")


@case
def the_framing_of_a_body_is_no_encoding(s3):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"x", ContentEncoding="aws-chunked, deflate")
    equal(s3.s3.head_object(Bucket=bucket, Key="x")["ContentEncoding"], "deflate")


@case
def headers_of_an_answer_can_be_chosen(s3):
    bucket = s3.filled("x")
    got = s3.s3.get_object(
        Bucket=bucket,
        Key="x",
        ResponseCacheControl="no-cache",
        ResponseContentDisposition="bla",
        ResponseContentEncoding="aaa",
        ResponseContentLanguage="esperanto",
        ResponseContentType="foo/bar",
    )
    found = [got[name] for name in ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType")]
    equal(found, ["no-cache", "bla", "aaa", "esperanto", "foo/bar"])
    answer = s3.ask("GET", f"/{bucket}/x", "response-content-type=text/html")
    equal(answer.status, 403 if answer.code == "AccessDenied" else 400, "nobody chooses headers without a signature")


@each(
    ("bytes=0-3", b"0123", "bytes 0-3/16"),
    ("bytes=4-7", b"4567", "bytes 4-7/16"),
    ("bytes=10-", b"abcdef", "bytes 10-15/16"),
    ("bytes=-4", b"cdef", "bytes 12-15/16"),
    ("bytes=-100", b"0123456789abcdef", "bytes 0-15/16"),
    ("bytes=15-100", b"f", "bytes 15-15/16"),
    ("bytes=0-0", b"0", "bytes 0-0/16"),
)
def a_range_gives_its_part(s3, asked, wanted, told):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"0123456789abcdef")
    got = s3.s3.get_object(Bucket=bucket, Key="x", Range=asked)
    equal((status_of(got), got["Body"].read(), got["ContentRange"]), (206, wanted, told))
    equal((got["ContentLength"], got["AcceptRanges"]), (len(wanted), "bytes"))
    equal(s3.s3.head_object(Bucket=bucket, Key="x", Range=asked)["ContentLength"], len(wanted))


@each("bytes=16-", "bytes=40-50", "bytes=-0")
def a_range_beyond_the_end_is_refused(s3, asked):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"0123456789abcdef")
    told = refused(416, "InvalidRange", s3.s3.get_object, Bucket=bucket, Key="x", Range=asked)
    equal(told["ResponseMetadata"]["HTTPHeaders"].get("content-range"), "bytes */16")


@each("bytes=5-2", "items=0-1", "bytes=a-b", "bytes", "bytes=0-1,4-5")
def a_range_that_is_none_is_as_if_it_were_not_there(s3, asked):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"0123456789abcdef")
    answer = s3.ask("GET", *url(s3, "get_object", Bucket=bucket, Key="x"), headers={"range": asked})
    equal((answer.status, answer.body), (200, b"0123456789abcdef"))
    # Signed too.
    answer = s3.main.ask("GET", f"/{bucket}/x", headers={"range": asked})
    equal((answer.status, answer.body), (200, b"0123456789abcdef"))


@case
def no_range_fits_an_empty_object(s3):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"")
    refused(416, "InvalidRange", s3.s3.get_object, Bucket=bucket, Key="x", Range="bytes=0-5")


@case
def ranges_of_a_large_object_fit_together(s3):
    bucket, size = s3.bucket(), 3_000_000
    body = hashlib.shake_256(b"ranges").digest(size)
    s3.s3.put_object(Bucket=bucket, Key="x", Body=body)
    for first, last in [(0, 65_535), (65_535, 65_536), (1_048_575, 2_100_000), (size - 1, size - 1), (123_457, size)]:
        assert s3.read(bucket, "x", Range=f"bytes={first}-{last}") == body[first : last + 1], (first, last)


@case
def a_date_is_that_of_the_put(s3):
    bucket = s3.filled("x")
    age = datetime.datetime.now(datetime.timezone.utc) - s3.s3.head_object(Bucket=bucket, Key="x")["LastModified"]
    assert abs(age.total_seconds()) < 60, age


@case
def many_are_deleted_at_once(s3):
    bucket = s3.filled("a", "b", "c")
    said = s3.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "b"}, {"Key": "nothing"}]})
    equal(sorted(gone["Key"] for gone in said["Deleted"]), ["a", "b", "nothing"])
    assert "Errors" not in said
    equal([entry["Key"] for entry in s3.s3.list_objects_v2(Bucket=bucket)["Contents"]], ["c"])
    said = s3.s3.delete_objects(Bucket=bucket, Delete={"Quiet": True, "Objects": [{"Key": "c"}]})
    assert "Deleted" not in said and "Errors" not in said, said


@case
def a_thousand_are_deleted_at_once_and_no_more(s3):
    bucket = s3.bucket()
    objects = [{"Key": str(number)} for number in range(1001)]
    equal(len(s3.s3.delete_objects(Bucket=bucket, Delete={"Objects": objects[:1000]})["Deleted"]), 1000)
    refused(400, "MalformedXML", s3.s3.delete_objects, Bucket=bucket, Delete={"Objects": objects})


@case
def keys_with_anything_in_them_are_deleted_at_once(s3):
    keys = ["a&b", "<x>", "ä ö", "a\tb", "'\"", "😀"]
    bucket = s3.filled(*keys)
    said = s3.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    equal(sorted(gone["Key"] for gone in said["Deleted"]), sorted(keys))
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)


@case
def attributes_are_told(s3):
    bucket = s3.bucket()
    put = s3.s3.put_object(Bucket=bucket, Key="x", Body=b"12345", ChecksumAlgorithm="CRC32C")
    said = s3.s3.get_object_attributes(
        Bucket=bucket, Key="x", ObjectAttributes=["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    )
    equal((said["ETag"], said["ObjectSize"], said["StorageClass"]), (put["ETag"].strip('"'), 5, "STANDARD"))
    equal(said["Checksum"], {"ChecksumCRC32C": put["ChecksumCRC32C"], "ChecksumType": "FULL_OBJECT"})
    assert "ObjectParts" not in said
    only = s3.s3.get_object_attributes(Bucket=bucket, Key="x", ObjectAttributes=["ObjectSize"])
    assert "ETag" not in only and "Checksum" not in only


@case
def buckets_in_hosts_are_the_same_buckets(s3):
    bucket = s3.filled("x/y")
    for domain in ("localhost", "LOCALHOST"):
        port = s3.address.rpartition(":")[2]
        headers = {"host": f"{bucket}.{domain}:{port}"}
        answer = s3.main.ask("GET", "/x/y", headers=headers)
        equal((answer.status, answer.body), (200, b"x/y"))
        listed = s3.main.ask("GET", "/", "list-type=2", headers=headers)
        assert b"<Key>x/y</Key>" in listed.body, listed


@case
def a_redirect_of_a_website_is_kept_and_told(s3):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"", WebsiteRedirectLocation="/y")
    equal(s3.s3.head_object(Bucket=bucket, Key="x")["WebsiteRedirectLocation"], "/y")


@case
def a_hundred_puts_of_one_key_leave_one_whole_object(s3):
    import concurrent.futures

    bucket = s3.bucket()
    bodies = [hashlib.shake_256(str(number).encode()).digest(50_000) for number in range(40)]
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda body: s3.s3.put_object(Bucket=bucket, Key="x", Body=body), bodies))
    assert s3.read(bucket, "x") in bodies
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 1)
