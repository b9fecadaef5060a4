"""Object lock: retention in both modes, legal holds, defaults."""

import datetime

from case import case, each, equal, refused


def soon(seconds=3600):
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(seconds=seconds)


def locked(s3):
    return s3.bucket(ObjectLockEnabledForBucket=True)


def put(s3, bucket, mode=None, until=None, hold=None):
    more = {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": until, "ObjectLockLegalHoldStatus": hold}
    more = {name: value for name, value in more.items() if value}
    return s3.s3.put_object(Bucket=bucket, Key="x", Body=b"x", **more)["VersionId"]


def delete(s3, bucket, version, **more):
    return s3.s3.delete_object(Bucket=bucket, Key="x", VersionId=version, **more)


def retain(s3, bucket, mode, until, **more):
    s3.s3.put_object_retention(Bucket=bucket, Key="x", Retention={"Mode": mode, "RetainUntilDate": until}, **more)


@case
def a_bucket_with_locks_has_versions(s3):
    bucket = locked(s3)
    equal(s3.s3.get_bucket_versioning(Bucket=bucket)["Status"], "Enabled")
    equal(s3.s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"], {"ObjectLockEnabled": "Enabled"})
    refused(409, "InvalidBucketState", s3.s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})


@case
def without_locks_nothing_is_locked(s3):
    bucket = s3.filled("x")
    refused(404, "ObjectLockConfigurationNotFoundError", s3.s3.get_object_lock_configuration, Bucket=bucket)
    refused(400, "InvalidRequest", retain, s3, bucket, "GOVERNANCE", soon())
    refused(400, "InvalidRequest", s3.s3.put_object_legal_hold, Bucket=bucket, Key="x", LegalHold={"Status": "ON"})
    refused(400, "InvalidRequest", put, s3, bucket, "GOVERNANCE", soon())
    refused(400, "InvalidRequest", s3.s3.get_object_retention, Bucket=bucket, Key="x")


@case
def governance_is_for_those_who_may_go_round_it(s3):
    bucket = locked(s3)
    version = put(s3, bucket, "GOVERNANCE", soon())
    refused(403, "AccessDenied", delete, s3, bucket, version)
    refused(403, "AccessDenied", retain, s3, bucket, "GOVERNANCE", soon(60))
    retain(s3, bucket, "GOVERNANCE", soon(7200))
    retain(s3, bucket, "GOVERNANCE", soon(60), BypassGovernanceRetention=True)
    delete(s3, bucket, version, BypassGovernanceRetention=True)
    refused(404, "NoSuchVersion", s3.s3.get_object, Bucket=bucket, Key="x", VersionId=version)


@case
def compliance_is_for_nobody(s3):
    bucket = locked(s3)
    version = put(s3, bucket, "COMPLIANCE", soon())
    refused(403, "AccessDenied", delete, s3, bucket, version)
    refused(403, "AccessDenied", delete, s3, bucket, version, BypassGovernanceRetention=True)
    refused(403, "AccessDenied", retain, s3, bucket, "COMPLIANCE", soon(60), BypassGovernanceRetention=True)
    refused(403, "AccessDenied", retain, s3, bucket, "GOVERNANCE", soon(7200), BypassGovernanceRetention=True)
    until = soon(7200)
    retain(s3, bucket, "COMPLIANCE", until)
    said = s3.s3.get_object_retention(Bucket=bucket, Key="x")["Retention"]
    equal(said, {"Mode": "COMPLIANCE", "RetainUntilDate": until})
    said = s3.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "x", "VersionId": version}]},
                                BypassGovernanceRetention=True)
    equal(said["Errors"][0]["Code"], "AccessDenied")
    equal(s3.read(bucket, "x", VersionId=version), b"x")


@case
def a_legal_hold_stays_until_it_is_taken_away(s3):
    bucket = locked(s3)
    version = put(s3, bucket, hold="ON")
    equal(s3.s3.get_object_legal_hold(Bucket=bucket, Key="x")["LegalHold"], {"Status": "ON"})
    refused(403, "AccessDenied", delete, s3, bucket, version, BypassGovernanceRetention=True)
    s3.s3.put_object_legal_hold(Bucket=bucket, Key="x", LegalHold={"Status": "OFF"})
    delete(s3, bucket, version)


@case
def a_lock_lets_markers_and_new_versions_be(s3):
    bucket = locked(s3)
    version = put(s3, bucket, "COMPLIANCE", soon())
    marker = s3.s3.delete_object(Bucket=bucket, Key="x")
    assert marker["DeleteMarker"]
    put(s3, bucket)
    delete(s3, bucket, marker["VersionId"])
    equal(s3.read(bucket, "x", VersionId=version), b"x")
    refused(409, "BucketNotEmpty", s3.s3.delete_bucket, Bucket=bucket)


@case
def a_default_locks_what_comes(s3):
    bucket = locked(s3)
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 2}}
    configuration = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    s3.s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=configuration)
    equal(s3.s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"], configuration)
    version = put(s3, bucket)
    head = s3.s3.head_object(Bucket=bucket, Key="x")
    equal(head["ObjectLockMode"], "GOVERNANCE")
    left = head["ObjectLockRetainUntilDate"] - datetime.datetime.now(datetime.timezone.utc)
    assert abs(left.total_seconds() - 2 * 86_400) < 120, left
    refused(403, "AccessDenied", delete, s3, bucket, version)
    upload = s3.s3.create_multipart_upload(Bucket=bucket, Key="y")["UploadId"]
    part = s3.s3.upload_part(Bucket=bucket, Key="y", UploadId=upload, PartNumber=1, Body=b"y")["ETag"]
    s3.s3.complete_multipart_upload(Bucket=bucket, Key="y", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
    s3.s3.copy_object(Bucket=bucket, Key="z", CopySource={"Bucket": bucket, "Key": "x"})
    for key in ("y", "z"):
        equal(s3.s3.get_object_retention(Bucket=bucket, Key=key)["Retention"]["Mode"], "GOVERNANCE")


@case
def locks_can_be_switched_on_later(s3):
    bucket = s3.versioned()
    configuration = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 1}}}
    s3.s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=configuration)
    equal(s3.s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"], configuration)
    refused(409, "InvalidBucketState", s3.s3.put_object_lock_configuration, Bucket=s3.bucket(), ObjectLockConfiguration=configuration)


@each(
    ({"Mode": "GOVERNANCE", "Days": 0}, "InvalidRetentionPeriod"), ({"Mode": "GOVERNANCE", "Years": -1}, "InvalidRetentionPeriod"),
    ({"Mode": "GOVERNANCE", "Days": 1, "Years": 1}, "MalformedXML"), ({"Mode": "abc", "Days": 1}, "MalformedXML"),
    ({"Mode": "GOVERNANCE"}, "MalformedXML"),
)
def a_default_that_is_none_is_refused(s3, default, code):
    bucket = locked(s3)
    configuration = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": default}}
    refused(400, code, s3.s3.put_object_lock_configuration, Bucket=bucket, ObjectLockConfiguration=configuration)


@case
def a_retention_lies_in_the_future_and_has_a_mode(s3):
    bucket = locked(s3)
    refused(400, "InvalidArgument", put, s3, bucket, "GOVERNANCE", soon(-60))
    refused(400, "InvalidArgument", put, s3, bucket, "GOVERNANCE")
    refused(400, "InvalidArgument", put, s3, bucket, None, soon())
    version = put(s3, bucket)
    refused(400, "MalformedXML", retain, s3, bucket, "Perhaps", soon())
    refused(400, "InvalidArgument", retain, s3, bucket, "GOVERNANCE", soon(-60))
    delete(s3, bucket, version)


@case
def nothing_is_told_of_locks_that_are_not_there(s3):
    bucket = locked(s3)
    put(s3, bucket)
    refused(404, "NoSuchObjectLockConfiguration", s3.s3.get_object_retention, Bucket=bucket, Key="x")
    head = s3.s3.head_object(Bucket=bucket, Key="x")
    assert "ObjectLockMode" not in head and head.get("ObjectLockLegalHoldStatus", "OFF") == "OFF"


@case
def another_cannot_go_round_governance(s3):
    import json

    bucket = locked(s3)
    version = put(s3, bucket, "GOVERNANCE", soon())
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:DeleteObjectVersion", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    for client in (s3.other.client, s3.client_of_nobody):
        refused(403, "AccessDenied", client.delete_object, Bucket=bucket, Key="x", VersionId=version, BypassGovernanceRetention=True)
    equal(s3.read(bucket, "x"), b"x")


@case
def a_lifecycle_does_not_break_a_lock(s3):
    bucket = locked(s3)
    put(s3, bucket, "COMPLIANCE", soon())
    rule = {"ID": "all", "Status": "Enabled", "Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}
    s3.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    equal(s3.read(bucket, "x"), b"x")
