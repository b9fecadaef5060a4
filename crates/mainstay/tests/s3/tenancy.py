"""What one tenant's access keys, and nobody's, may do to the buckets of another: nothing.

Every operation that boto3 knows is tried, so that none is forgotten.
"""

import datetime

from botocore import xform_name

from case import case, each, equal, refused
from forms import post, signed
from presigned import url

# Their endpoints are other hosts than the one that is tested.
ELSEWHERE = {"WriteGetObjectResponse", "ListDirectoryBuckets", "ListBuckets"}


def operations(client):
    """All calls that name a bucket."""
    model = client.meta.service_model
    shapes = ((name, model.operation_model(name).input_shape) for name in model.operation_names)
    return [name for name, shape in shapes if shape is not None and "Bucket" in shape.members and name not in ELSEWHERE]


def arguments_of(client, name, bucket, key, **more):
    """Arguments of the right shape, and no more of them than have to be there."""
    shape = client.meta.service_model.operation_model(name).input_shape
    given = {"Bucket": bucket, "Key": key, "CopySource": {"Bucket": bucket, "Key": key}} | more
    wanted = [member for member in shape.members if member in shape.required_members or member in more]
    made = {member: given.get(member, None) or any_of(shape.members[member], member) for member in wanted}
    # The one structure that some bodies have may be left out; they mean nothing without it.
    for member, inner in shape.members.items():
        if member not in made and shape.serialization.get("payload") == member and inner.type_name == "structure":
            made[member] = any_of(inner, member)
    return made


def any_of(shape, name, depth=0):
    match shape.type_name:
        case "structure":
            members = shape.required_members if depth else (shape.required_members or list(shape.members))
            return {member: any_of(shape.members[member], member, depth + 1) for member in members}
        case "list":
            return [any_of(shape.member, name, depth + 1)]
        case "map":
            return {"a": "b"}
        case "string":
            return shape.enum[0] if getattr(shape, "enum", None) else "x" * shape.metadata.get("min", 1)
        case "integer" | "long":
            return 1
        case "boolean":
            return True
        case "timestamp":
            return datetime.datetime(2040, 1, 1, tzinfo=datetime.timezone.utc)
        case "blob":
            return b"x"
    raise AssertionError(f"{name} is a {shape.type_name}")


def treasure(s3):
    """A bucket with something of everything in it."""
    bucket = s3.bucket(ObjectLockEnabledForBucket=True)
    version = s3.s3.put_object(Bucket=bucket, Key="x", Body=b"treasure", Tagging="a=b")["VersionId"]
    upload = s3.s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = s3.s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    s3.s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "own", "Value": "er"}]})
    return bucket, version, upload, part


def state(s3, bucket):
    """All that its owner sees of it."""
    seen = {}
    for name, more in [
        ("list_object_versions", {}), ("list_multipart_uploads", {}), ("get_bucket_tagging", {}), ("get_bucket_versioning", {}),
        ("get_object_lock_configuration", {}), ("get_object_tagging", {"Key": "x"}), ("get_bucket_policy", {}),
        ("get_bucket_lifecycle_configuration", {}), ("get_bucket_cors", {}), ("get_bucket_encryption", {}),
        ("get_bucket_notification_configuration", {}), ("get_public_access_block", {}), ("get_bucket_ownership_controls", {}),
        ("get_object_legal_hold", {"Key": "x"}), ("get_object_retention", {"Key": "x"}),
    ]:
        try:
            said = getattr(s3.s3, name)(Bucket=bucket, **more)
            said.pop("ResponseMetadata")
        except s3.s3.exceptions.ClientError as error:
            said = error.response["Error"]["Code"]
        seen[name] = said
    return seen


@each("other", "small", "nobody")
def every_operation_on_anothers_bucket_is_refused(s3, who):
    client = s3.client_of_nobody if who == "nobody" else getattr(s3, who).client
    bucket, version, upload, part = treasure(s3)
    before, wrong = state(s3, bucket), {}
    for name in operations(client):
        # Nobody's attempt to make the bucket again is another refusal.
        if name == "CreateBucket":
            continue
        shape = client.meta.service_model.operation_model(name).input_shape
        attempts = [{"UploadId": upload, "PartNumber": 1}] if "UploadId" in shape.members else [{}]
        attempts += [{"VersionId": version}, {"VersionId": "null"}] if "VersionId" in shape.members else []
        attempts += [{"BypassGovernanceRetention": True}] if "BypassGovernanceRetention" in shape.members else []
        for more in attempts:
            key = "parts" if "UploadId" in more else "x"
            more = {member: value for member, value in more.items() if member in shape.members}
            try:
                wrong[name] = getattr(client, xform_name(name))(**arguments_of(client, name, bucket, key, **more))
            except client.exceptions.ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (403, 501):
                    wrong[name] = error
    # Each key of a deletion of many is refused by itself, inside of an answer.
    said = wrong.pop("DeleteObjects", {"Errors": [{"Code": "AccessDenied"}]})
    if isinstance(said, dict):
        equal([error["Code"] for error in said["Errors"]], ["AccessDenied"])
        assert not said.get("Deleted"), said
    equal(wrong, {})
    equal(state(s3, bucket), before)
    equal(s3.read(bucket, "x"), b"treasure")


@each("other", "nobody")
def refusals_tell_nothing_of_what_is_there(s3, who):
    client = s3.client_of_nobody if who == "nobody" else s3.other.client
    bucket, version, upload, _ = treasure(s3)
    for key in ("x", "nothing"):
        for more in ({}, {"VersionId": version}, {"VersionId": "0" * 32}, {"IfMatch": "*"}, {"Range": "bytes=900-"}):
            told = refused(403, "AccessDenied", client.get_object, Bucket=bucket, Key=key, **more)
            equal(told["Error"]["Message"], "Access Denied")
        refused(403, None, client.head_object, Bucket=bucket, Key=key)
        refused(403, "AccessDenied", client.put_object, Bucket=bucket, Key=key, Body=b"", IfNoneMatch="*")
        refused(403, "AccessDenied", client.list_parts, Bucket=bucket, Key=key, UploadId=upload)


@case
def what_another_may_not_read_it_may_not_copy(s3):
    bucket, version, _, _ = treasure(s3)
    other, into = s3.other.client, s3.other.bucket
    upload = other.create_multipart_upload(Bucket=into, Key="loot")["UploadId"]
    for source in ({"Bucket": bucket, "Key": "x"}, {"Bucket": bucket, "Key": "x", "VersionId": version},
                   {"Bucket": bucket, "Key": "nothing"}):
        refused(403, "AccessDenied", other.copy_object, Bucket=into, Key="loot", CopySource=source)
        refused(403, "AccessDenied", other.copy_object, Bucket=into, Key="loot", CopySource=source, CopySourceIfMatch="*")
        refused(403, "AccessDenied", other.upload_part_copy, Bucket=into, Key="loot", CopySource=source, UploadId=upload, PartNumber=1)
    for source in (f"{into}/../{bucket}/x", f"/{into}/..%2F{bucket}%2Fx", f"{bucket}%2Fx", f"%2F{bucket}/x"):
        answer = s3.other.ask("PUT", f"/{into}/loot", headers={"x-amz-copy-source": source})
        assert 400 <= answer.status < 500, (source, answer)
    refused(404, None, other.head_object, Bucket=into, Key="loot")


@case
def what_another_may_not_write_it_may_not_copy_to(s3):
    bucket, _, upload, _ = treasure(s3)
    other = s3.other.client
    other.put_object(Bucket=s3.other.bucket, Key="trojan", Body=b"horse")
    source = {"Bucket": s3.other.bucket, "Key": "trojan"}
    refused(403, "AccessDenied", other.copy_object, Bucket=bucket, Key="x", CopySource=source)
    refused(403, "AccessDenied", other.upload_part_copy, Bucket=bucket, Key="parts", CopySource=source, UploadId=upload, PartNumber=1)
    equal(s3.read(bucket, "x"), b"treasure")


@case
def an_upload_belongs_to_its_bucket(s3):
    bucket, _, upload, part = treasure(s3)
    other, own = s3.other.client, s3.other.bucket
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    for key in ("parts", "x"):
        refused(404, "NoSuchUpload", other.upload_part, Bucket=own, Key=key, UploadId=upload, PartNumber=2, Body=b"x")
        refused(404, "NoSuchUpload", other.list_parts, Bucket=own, Key=key, UploadId=upload)
        refused(404, "NoSuchUpload", other.abort_multipart_upload, Bucket=own, Key=key, UploadId=upload)
        refused(404, "NoSuchUpload", other.complete_multipart_upload, Bucket=own, Key=key, UploadId=upload, MultipartUpload=parts)
    s3.s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload=parts)
    equal(s3.read(bucket, "parts"), b"part")


@case
def a_version_belongs_to_its_bucket(s3):
    _, version, _, _ = treasure(s3)
    own = s3.bucket(s3.other, ObjectLockEnabledForBucket=True)
    other = s3.other.client
    other.put_object(Bucket=own, Key="x", Body=b"own")
    refused(404, "NoSuchVersion", other.get_object, Bucket=own, Key="x", VersionId=version)
    refused(404, "NoSuchVersion", other.get_object_tagging, Bucket=own, Key="x", VersionId=version)
    refused(404, "NoSuchVersion", other.copy_object, Bucket=own, Key="y", CopySource={"Bucket": own, "Key": "x", "VersionId": version})
    other.delete_object(Bucket=own, Key="x", VersionId=version)
    equal(other.get_object(Bucket=own, Key="x")["Body"].read(), b"own")


@case
def urls_and_forms_of_another_open_nothing(s3):
    bucket, version, upload, _ = treasure(s3)
    for call, method, more in [
        ("get_object", "GET", {}), ("get_object", "GET", {"VersionId": version}), ("put_object", "PUT", {}), ("delete_object", "DELETE", {}),
        ("head_object", "HEAD", {}), ("get_object_tagging", "GET", {}), ("upload_part", "PUT", {"UploadId": upload, "PartNumber": 1}),
        ("delete_object", "DELETE", {"VersionId": version}),
    ]:
        answer = s3.ask(method, *url(s3, call, s3.other, Bucket=bucket, Key="x", **more))
        equal((answer.status, answer.code), (403, "" if method == "HEAD" else "AccessDenied"), f"{call} {more}")
    answer = post(s3, bucket, signed(s3, bucket, account=s3.other))
    equal((answer.status, answer.code), (403, "AccessDenied"))
    # A form's own field does not choose another bucket than its address.
    answer = post(s3, bucket, signed(s3, s3.other.bucket, account=s3.other) | {"bucket": s3.other.bucket})
    equal(answer.status, 403)
    equal(s3.read(bucket, "x"), b"treasure")


@case
def a_host_that_names_another_bucket_changes_nothing(s3):
    bucket, *_ = treasure(s3)
    port = s3.address.rpartition(":")[2]
    for host in (f"{bucket}.localhost:{port}", f"{bucket.upper()}.localhost:{port}"):
        answer = s3.other.ask("GET", "/x", headers={"host": host})
        equal((answer.status, answer.code), (403, "AccessDenied"))
    # The path of an address with a bucket in its host is a key, and no other bucket.
    answer = s3.other.ask("GET", f"/{bucket}/x", headers={"host": f"{s3.other.bucket}.localhost:{port}"})
    equal((answer.status, answer.code), (404, "NoSuchKey"))


@case
def one_tenants_names_are_not_told_to_another(s3):
    bucket, *_ = treasure(s3)
    assert bucket not in str(s3.other.client.list_buckets())
    refused(403, None, s3.other.client.head_bucket, Bucket=bucket)
    refused(403, None, s3.other.client.head_bucket, Bucket=s3.main.bucket)


@case
def identical_content_is_nobodys_secret(s3):
    """What two tenants keep once at rest is two objects: one is deleted, the other stays."""
    body = b"the same bytes in two tenants" * 1000
    s3.s3.put_object(Bucket=s3.main.bucket, Key="same", Body=body)
    s3.other.client.put_object(Bucket=s3.other.bucket, Key="same", Body=body)
    s3.s3.delete_object(Bucket=s3.main.bucket, Key="same")
    assert s3.other.client.get_object(Bucket=s3.other.bucket, Key="same")["Body"].read() == body
