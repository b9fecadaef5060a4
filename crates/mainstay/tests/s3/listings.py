"""Listing objects, in both versions of the call."""

import base64

from case import case, each, equal, refused

KEYS = ["a", "a/", "a/b", "a/b/c", "a+b c", "a%2Fb", "b/1", "b/2", "b//3", "ä/ö", "z", "Z", "~", "a\u0001b", "😀/x", "\uffee"]
PREFIXES = ["", "a", "a/", "b/", "nothing"]
DELIMITERS = ["", "/", "b"]


def page(client, bucket, version, **asked):
    """One page, as (keys, prefixes, where the next one begins)."""
    if version == 1:
        said = client.list_objects(Bucket=bucket, **asked)
        keys = [entry["Key"] for entry in said.get("Contents", [])]
        last = said.get("NextMarker") or (keys[-1] if keys else None)
    else:
        said = client.list_objects_v2(Bucket=bucket, **asked)
        last = said.get("NextContinuationToken")
        equal(said["KeyCount"], len(said.get("Contents", [])) + len(said.get("CommonPrefixes", [])))
    keys = [entry["Key"] for entry in said.get("Contents", [])]
    prefixes = [entry["Prefix"] for entry in said.get("CommonPrefixes", [])]
    return keys, prefixes, last if said["IsTruncated"] else None


def naive(prefix, delimiter):
    """What a listing has to give, in its order: the bytes of UTF-8."""
    entries = set()
    for key in KEYS:
        if key.startswith(prefix):
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            entries.add((prefix + head + found, True) if found else (key, False))
    return sorted(entries, key=lambda entry: entry[0].encode())


@each((1, 1), (1, 3), (1, 1000), (2, 1), (2, 3), (2, 1000))
def pages_put_together_are_everything(s3, version, length):
    bucket = s3.filled(*KEYS)
    for prefix in PREFIXES:
        for delimiter in DELIMITERS:
            wanted = naive(prefix, delimiter)
            found, more = [], {}
            while True:
                asked = {"Prefix": prefix, "Delimiter": delimiter, "MaxKeys": length}
                keys, prefixes, last = page(s3.s3, bucket, version, **asked, **more)
                entries = [(key, False) for key in keys] + [(key, True) for key in prefixes]
                found += sorted(entries, key=lambda entry: entry[0].encode())
                if last is None:
                    break
                equal(len(entries), length, "a page before the last is full")
                more = {"Marker" if version == 1 else "ContinuationToken": last}
            equal(found, wanted, f"prefix {prefix!r}, delimiter {delimiter!r}")


@each(1, 2)
def an_empty_bucket_lists_nothing(s3, version):
    equal(page(s3.s3, s3.bucket(), version), ([], [], None))


@each(1, 2)
def a_bucket_lists_its_own_objects(s3, version):
    one, two = s3.filled("one"), s3.filled("two")
    equal(page(s3.s3, one, version)[0], ["one"])
    equal(page(s3.s3, two, version)[0], ["two"])


@each("/", "a", "%", " ", ".", "+", "ä", "\n", "aa", "&")
def any_text_is_a_delimiter(s3, delimiter):
    keys = ["foo", f"b{delimiter}ar", f"b{delimiter}az", f"c{delimiter}ab"]
    bucket = s3.filled(*keys)
    wanted = ["b" + delimiter, "c" + delimiter]
    for version in (1, 2):
        keys, prefixes, _ = page(s3.s3, bucket, version, Delimiter=delimiter)
        equal((keys, prefixes), (["foo"], wanted))


@case
def a_delimiter_that_does_not_occur_groups_nothing(s3):
    bucket = s3.filled("bar", "foo")
    said = s3.s3.list_objects(Bucket=bucket, Delimiter="/")
    equal((said["Delimiter"], said.get("CommonPrefixes")), ("/", None))


@case
def an_empty_delimiter_is_none(s3):
    bucket = s3.filled("a/b", "a/c")
    for version in (1, 2):
        equal(page(s3.s3, bucket, version, Delimiter="")[:2], (["a/b", "a/c"], []))
    assert "Delimiter" not in s3.s3.list_objects_v2(Bucket=bucket, Delimiter="")


@case
def a_key_that_is_the_prefix_is_listed(s3):
    bucket = s3.filled("folder/", "folder/x/y")
    for version in (1, 2):
        equal(page(s3.s3, bucket, version, Prefix="folder/", Delimiter="/")[:2], (["folder/"], ["folder/x/"]))


@case
def what_was_asked_is_told(s3):
    bucket = s3.filled("p/1", "p/2", "p/3")
    said = s3.s3.list_objects(Bucket=bucket, Prefix="p/", Delimiter="/", Marker="p/1", MaxKeys=7)
    told = {name: said[name] for name in ("Name", "Prefix", "Delimiter", "Marker", "MaxKeys", "IsTruncated")}
    wanted = {"Name": bucket, "Prefix": "p/", "Delimiter": "/", "Marker": "p/1", "MaxKeys": 7, "IsTruncated": False}
    equal(told, wanted)
    said = s3.s3.list_objects_v2(Bucket=bucket, Prefix="p/", StartAfter="p/1", MaxKeys=1)
    told = {name: said[name] for name in ("Name", "Prefix", "StartAfter", "MaxKeys", "KeyCount", "IsTruncated")}
    wanted = {"Name": bucket, "Prefix": "p/", "StartAfter": "p/1", "MaxKeys": 1, "KeyCount": 1, "IsTruncated": True}
    equal(told, wanted)


@case
def no_keys_at_all_can_be_asked_for(s3):
    bucket = s3.filled("a", "b")
    for version in (1, 2):
        equal(page(s3.s3, bucket, version, MaxKeys=0), ([], [], None))


@each(1, 2)
def a_page_has_a_thousand_keys_at_most(s3, version):
    call = s3.s3.list_objects if version == 1 else s3.s3.list_objects_v2
    equal(call(Bucket=s3.bucket(), MaxKeys=5000)["MaxKeys"], 1000)
    equal(call(Bucket=s3.bucket())["MaxKeys"], 1000)


@each("-1", "blah", "99999999999999999999")
def a_length_that_is_none_is_refused(s3, length):
    answer = s3.main.ask("GET", f"/{s3.bucket()}", f"max-keys={length}")
    equal((answer.status, answer.code), (400, "InvalidArgument"))


@each(("bar", ["baz", "foo"]), ("b", ["bar", "baz", "foo"]), ("zzz", []), ("bazz", ["foo"]), ("\n", ["bar", "baz", "foo"]))
def a_listing_begins_after_a_marker(s3, marker, wanted):
    bucket = s3.filled("bar", "baz", "foo")
    equal(page(s3.s3, bucket, 1, Marker=marker)[0], wanted)
    equal(page(s3.s3, bucket, 2, StartAfter=marker)[0], wanted)


@case
def a_prefix_as_marker_leaves_out_what_it_stands_for(s3):
    bucket = s3.filled("a/1", "a/2", "b/1", "c")
    equal(page(s3.s3, bucket, 1, Delimiter="/", Marker="a/")[:2], (["c"], ["b/"]))


@case
def a_token_goes_before_start_after(s3):
    bucket = s3.filled("a", "b", "c", "d")
    token = s3.s3.list_objects_v2(Bucket=bucket, MaxKeys=2)["NextContinuationToken"]
    said = s3.s3.list_objects_v2(Bucket=bucket, ContinuationToken=token, StartAfter="c")
    equal([entry["Key"] for entry in said["Contents"]], ["c", "d"])
    equal(said["ContinuationToken"], token)


@case
def a_token_that_is_none_is_refused(s3):
    refused(400, "InvalidArgument", s3.s3.list_objects_v2, Bucket=s3.bucket(), ContinuationToken="%%%")


@case
def objects_deleted_between_pages_do_no_harm(s3):
    bucket = s3.filled("a", "b", "c", "d")
    token = s3.s3.list_objects_v2(Bucket=bucket, MaxKeys=2)["NextContinuationToken"]
    s3.s3.delete_object(Bucket=bucket, Key="b")
    equal(page(s3.s3, bucket, 2, ContinuationToken=token)[0], ["c", "d"])


@case
def an_encoding_makes_keys_fit_into_xml(s3):
    bucket = s3.filled("foo+1/bar", "quux ab/thud", "a\u0001b")
    for call in (s3.s3.list_objects, s3.s3.list_objects_v2):
        said = call(Bucket=bucket, Delimiter="/", EncodingType="url")
        equal([entry["Key"] for entry in said["Contents"]], ["a%01b"])
        equal([entry["Prefix"] for entry in said["CommonPrefixes"]], ["foo%2B1/", "quux%20ab/"])
        equal(said["EncodingType"], "url")
    answer = s3.main.ask("GET", f"/{bucket}", "encoding-type=other&list-type=2")
    equal((answer.status, answer.code), (400, "InvalidArgument"))


@case
def without_an_encoding_keys_are_written_as_they_are(s3):
    bucket = s3.filled("ä <&>'\"+")
    answer = s3.main.ask("GET", f"/{bucket}", "list-type=2")
    assert "<Key>ä &lt;&amp;&gt;" in answer.body.decode(), answer
    assert b"EncodingType" not in answer.body


@case
def an_owner_is_told_where_it_is_asked_for(s3):
    bucket = s3.filled("x")
    assert "Owner" not in s3.s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    owner = s3.s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]["Owner"]["ID"]
    equal(s3.s3.list_objects(Bucket=bucket)["Contents"][0]["Owner"]["ID"], owner)
    equal(owner, s3.main.instance)


@case
def entries_tell_what_heads_tell(s3):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"12345", ChecksumAlgorithm="SHA256")
    head = s3.s3.head_object(Bucket=bucket, Key="x")
    entry = s3.s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    equal((entry["ETag"], entry["Size"], entry["StorageClass"]), (head["ETag"], 5, "STANDARD"))
    equal(entry["LastModified"].replace(microsecond=0), head["LastModified"])
    equal(entry["ChecksumAlgorithm"], ["SHA256"])


@case
def paginators_walk_through_more_than_one_page(s3):
    bucket = s3.filled(*(f"{number:03}" for number in range(25)))
    for name in ("list_objects", "list_objects_v2"):
        pages = s3.s3.get_paginator(name).paginate(Bucket=bucket, PaginationConfig={"PageSize": 10})
        equal([entry["Key"] for said in pages for entry in said["Contents"]], [f"{number:03}" for number in range(25)])


@each(1, 2)
def a_bucket_that_is_not_there_lists_nothing(s3, version):
    call = s3.s3.list_objects if version == 1 else s3.s3.list_objects_v2
    refused(404, "NoSuchBucket", call, Bucket=s3.name())


@case
def a_token_tells_no_more_than_a_key(s3):
    bucket = s3.filled("a", "b")
    token = s3.s3.list_objects_v2(Bucket=bucket, MaxKeys=1)["NextContinuationToken"]
    forged = base64.urlsafe_b64encode(b"\xff\xfe").decode().rstrip("=")
    refused(400, "InvalidArgument", s3.s3.list_objects_v2, Bucket=bucket, ContinuationToken=forged)
    refused(403, "AccessDenied", s3.other.client.list_objects_v2, Bucket=bucket, ContinuationToken=token)
