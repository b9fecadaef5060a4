"""Versions and delete markers."""

from case import case, each, equal, refused


def put(s3, bucket, key, *bodies):
    return [s3.s3.put_object(Bucket=bucket, Key=key, Body=body)["VersionId"] for body in bodies]


def listed(s3, bucket, **asked):
    said = s3.s3.list_object_versions(Bucket=bucket, **asked)
    kinds = [("version", entry) for entry in said.get("Versions", [])]
    kinds += [("marker", entry) for entry in said.get("DeleteMarkers", [])]
    return said, [(entry["Key"], entry["VersionId"], kind, entry["IsLatest"]) for kind, entry in kinds]


@case
def versioning_is_switched(s3):
    bucket = s3.bucket()
    assert "Status" not in s3.s3.get_bucket_versioning(Bucket=bucket)
    for status in ("Enabled", "Suspended", "Enabled"):
        s3.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        equal(s3.s3.get_bucket_versioning(Bucket=bucket)["Status"], status)


@case
def every_put_is_a_version(s3):
    bucket = s3.versioned()
    ids = put(s3, bucket, "x", b"one", b"two", b"three")
    equal(len(set(ids)), 3)
    for version, body in zip(ids, (b"one", b"two", b"three")):
        equal(s3.read(bucket, "x", VersionId=version), body)
        equal(s3.s3.head_object(Bucket=bucket, Key="x", VersionId=version)["VersionId"], version)
    equal(s3.s3.get_object(Bucket=bucket, Key="x")["VersionId"], ids[-1])
    found = listed(s3, bucket)[1]
    equal(found, [("x", ids[2], "version", True), ("x", ids[1], "version", False), ("x", ids[0], "version", False)])


@case
def a_delete_leaves_a_marker(s3):
    bucket = s3.versioned()
    (version,) = put(s3, bucket, "x", b"one")
    gone = s3.s3.delete_object(Bucket=bucket, Key="x")
    assert gone["DeleteMarker"] and gone["VersionId"] != version
    told = refused(404, "NoSuchKey", s3.s3.get_object, Bucket=bucket, Key="x")
    headers = told["ResponseMetadata"]["HTTPHeaders"]
    equal((headers.get("x-amz-delete-marker"), headers.get("x-amz-version-id")), ("true", gone["VersionId"]))
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)
    equal(s3.read(bucket, "x", VersionId=version), b"one")
    equal(listed(s3, bucket)[1], [("x", version, "version", False), ("x", gone["VersionId"], "marker", True)])


@case
def a_marker_cannot_be_read(s3):
    bucket = s3.versioned()
    put(s3, bucket, "x", b"one")
    marker = s3.s3.delete_object(Bucket=bucket, Key="x")["VersionId"]
    told = refused(405, "MethodNotAllowed", s3.s3.get_object, Bucket=bucket, Key="x", VersionId=marker)
    equal(told["ResponseMetadata"]["HTTPHeaders"].get("allow"), "DELETE")
    refused(405, None, s3.s3.head_object, Bucket=bucket, Key="x", VersionId=marker)


@case
def taking_a_marker_away_brings_back_what_was_before(s3):
    bucket = s3.versioned()
    put(s3, bucket, "x", b"one")
    marker = s3.s3.delete_object(Bucket=bucket, Key="x")["VersionId"]
    gone = s3.s3.delete_object(Bucket=bucket, Key="x", VersionId=marker)
    equal((gone["DeleteMarker"], gone["VersionId"]), (True, marker))
    equal(s3.read(bucket, "x"), b"one")


@case
def taking_the_newest_away_brings_back_the_one_before(s3):
    bucket = s3.versioned()
    ids = put(s3, bucket, "x", b"one", b"two", b"three")
    equal(s3.s3.delete_object(Bucket=bucket, Key="x", VersionId=ids[2])["VersionId"], ids[2])
    equal(s3.read(bucket, "x"), b"two")
    s3.s3.delete_object(Bucket=bucket, Key="x", VersionId=ids[0])
    equal(s3.read(bucket, "x"), b"two")
    s3.s3.delete_object(Bucket=bucket, Key="x", VersionId=ids[1])
    refused(404, "NoSuchKey", s3.s3.get_object, Bucket=bucket, Key="x")
    equal(listed(s3, bucket)[1], [])


@case
def what_was_there_before_versioning_is_the_null_version(s3):
    bucket = s3.filled("x")
    s3.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    equal(s3.read(bucket, "x", VersionId="null"), b"x")
    (version,) = put(s3, bucket, "x", b"new")
    equal(listed(s3, bucket)[1], [("x", version, "version", True), ("x", "null", "version", False)])
    s3.s3.delete_object(Bucket=bucket, Key="x", VersionId="null")
    refused(404, "NoSuchVersion", s3.s3.get_object, Bucket=bucket, Key="x", VersionId="null")
    equal(s3.read(bucket, "x"), b"new")


@case
def while_suspended_only_the_null_version_is_overwritten(s3):
    bucket = s3.versioned()
    kept = put(s3, bucket, "x", b"one", b"two")
    s3.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    for body in (b"three", b"four"):
        equal(s3.s3.put_object(Bucket=bucket, Key="x", Body=body)["VersionId"], "null")
    equal(s3.read(bucket, "x", VersionId="null"), b"four")
    equal([found[1] for found in listed(s3, bucket)[1]], ["null", kept[1], kept[0]])
    gone = s3.s3.delete_object(Bucket=bucket, Key="x")
    equal((gone["DeleteMarker"], gone["VersionId"]), (True, "null"))
    found = sorted(entry[1:3] for entry in listed(s3, bucket)[1])
    equal(found, sorted([("null", "marker"), (kept[1], "version"), (kept[0], "version")]))


@case
def ids_that_are_none_are_refused(s3):
    bucket = s3.versioned()
    put(s3, bucket, "x", b"one")
    refused(400, "InvalidArgument", s3.s3.get_object, Bucket=bucket, Key="x", VersionId="../etc/passwd")
    refused(404, "NoSuchVersion", s3.s3.get_object, Bucket=bucket, Key="x", VersionId="0" * 32)
    # Deleting what is not there succeeds, also for versions.
    s3.s3.delete_object(Bucket=bucket, Key="x", VersionId="0" * 32)
    equal(s3.read(bucket, "x"), b"one")


@case
def a_version_belongs_to_its_key(s3):
    bucket = s3.versioned()
    (version,) = put(s3, bucket, "x", b"one")
    put(s3, bucket, "y", b"two")
    refused(404, "NoSuchVersion", s3.s3.get_object, Bucket=bucket, Key="y", VersionId=version)
    s3.s3.delete_object(Bucket=bucket, Key="y", VersionId=version)
    equal(s3.read(bucket, "x"), b"one")


@each(1, 2, 3, 1000)
def pages_of_versions_put_together_are_everything(s3, length):
    bucket = s3.versioned()
    wanted = []
    for key in ("a/1", "b", "c/1", "c/2"):
        wanted += [(key, version) for version in reversed(put(s3, bucket, key, b"1", b"2"))]
        marker = s3.s3.delete_object(Bucket=bucket, Key=key)["VersionId"]
        wanted.insert(-2, (key, marker))
    found, more = [], {}
    while True:
        said, entries = listed(s3, bucket, MaxKeys=length, **more)
        found += [entry[:2] for entry in sorted(entries, key=lambda entry: wanted.index(entry[:2]))]
        if not said["IsTruncated"]:
            break
        equal(len(entries), length)
        more = {"KeyMarker": said["NextKeyMarker"], "VersionIdMarker": said["NextVersionIdMarker"]}
    equal(found, wanted)
    latest = [entry for entry in listed(s3, bucket)[1] if entry[3]]
    equal([(key, kind) for key, _, kind, _ in latest], [(key, "marker") for key in ("a/1", "b", "c/1", "c/2")])


@case
def versions_are_grouped_too(s3):
    bucket = s3.versioned()
    for key in ("a/1", "a/2", "b", "c/1"):
        put(s3, bucket, key, b"1", b"2")
    said, entries = listed(s3, bucket, Delimiter="/")
    equal([group["Prefix"] for group in said["CommonPrefixes"]], ["a/", "c/"])
    equal([entry[0] for entry in entries], ["b", "b"])
    equal([entry[0] for entry in listed(s3, bucket, Prefix="a/2")[1]], ["a/2", "a/2"])
    equal([entry[0] for entry in listed(s3, bucket, KeyMarker="b")[1]], ["c/1", "c/1"])


@case
def a_version_marker_needs_a_key_marker(s3):
    bucket = s3.versioned()
    (version,) = put(s3, bucket, "x", b"one")
    refused(400, "InvalidArgument", s3.s3.list_object_versions, Bucket=bucket, VersionIdMarker=version)


@case
def without_versioning_there_are_null_versions(s3):
    bucket = s3.filled("a", "b")
    equal(listed(s3, bucket)[1], [("a", "null", "version", True), ("b", "null", "version", True)])
    assert "VersionId" not in s3.s3.put_object(Bucket=bucket, Key="a", Body=b"")


@case
def versions_are_deleted_together(s3):
    bucket = s3.versioned()
    ids = put(s3, bucket, "x", b"one", b"two")
    said = s3.s3.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": "x", "VersionId": version} for version in ids] + [{"Key": "y"}]}
    )
    equal(sorted(gone.get("VersionId", "") for gone in said["Deleted"]), sorted([*ids, ""]))
    marker = next(gone for gone in said["Deleted"] if gone["Key"] == "y")
    assert marker["DeleteMarker"] and marker["DeleteMarkerVersionId"]
    equal([entry[0] for entry in listed(s3, bucket)[1]], ["y"])


@case
def versioning_has_no_other_states(s3):
    bucket = s3.bucket()
    body = b"<VersioningConfiguration><Status>Perhaps</Status></VersioningConfiguration>"
    answer = s3.main.ask("PUT", f"/{bucket}", "versioning=", body=body)
    assert answer.status == 400, answer
    body = b"<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>"
    answer = s3.main.ask("PUT", f"/{bucket}", "versioning=", body=body)
    equal((answer.status, answer.code), (501, "NotImplemented"))
    assert "Status" not in s3.s3.get_bucket_versioning(Bucket=bucket)


@case
def an_upload_in_parts_is_a_version(s3):
    bucket = s3.versioned()
    (first,) = put(s3, bucket, "x", b"one")
    upload = s3.s3.create_multipart_upload(Bucket=bucket, Key="x")["UploadId"]
    part = s3.s3.upload_part(Bucket=bucket, Key="x", UploadId=upload, PartNumber=1, Body=b"two")["ETag"]
    done = s3.s3.complete_multipart_upload(
        Bucket=bucket, Key="x", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]}
    )
    equal(s3.read(bucket, "x", VersionId=done["VersionId"]), b"two")
    equal(s3.read(bucket, "x", VersionId=first), b"one")
