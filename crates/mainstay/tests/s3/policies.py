"""Bucket policies: another tenant's access keys, and nobody's."""

import json

from case import case, each, equal, refused


def put(s3, bucket, *statements):
    s3.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))


def allow(bucket, *actions, to="*", below="*", **more):
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/{below}"]
    principal = to if to == "*" else {"AWS": to}
    return {"Effect": "Allow", "Principal": principal, "Action": list(actions), "Resource": resources} | more


def deny(bucket, *actions, **more):
    return allow(bucket, *actions, **more) | {"Effect": "Deny"}


@case
def a_policy_is_put_told_and_deleted(s3):
    bucket = s3.bucket()
    refused(404, "NoSuchBucketPolicy", s3.s3.get_bucket_policy, Bucket=bucket)
    policy = {"Version": "2012-10-17", "Statement": [allow(bucket, "s3:GetObject")]}
    s3.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    equal(json.loads(s3.s3.get_bucket_policy(Bucket=bucket)["Policy"]), policy)
    s3.s3.delete_bucket_policy(Bucket=bucket)
    refused(404, "NoSuchBucketPolicy", s3.s3.get_bucket_policy, Bucket=bucket)


@case
def everybody_may_read_what_the_policy_says(s3):
    bucket = s3.filled("public/x", "private/x")
    put(s3, bucket, allow(bucket, "s3:GetObject", below="public/*"))
    for client in (s3.client_of_nobody, s3.other.client):
        equal(client.get_object(Bucket=bucket, Key="public/x")["Body"].read(), b"public/x")
        refused(403, "AccessDenied", client.get_object, Bucket=bucket, Key="private/x")
        refused(403, "AccessDenied", client.put_object, Bucket=bucket, Key="public/y", Body=b"")
        refused(403, "AccessDenied", client.delete_object, Bucket=bucket, Key="public/x")
        refused(403, "AccessDenied", client.list_objects_v2, Bucket=bucket)
    s3.s3.delete_bucket_policy(Bucket=bucket)
    refused(403, "AccessDenied", s3.client_of_nobody.get_object, Bucket=bucket, Key="public/x")


@case
def a_policy_names_an_instance_or_an_access_key(s3):
    for principal in (s3.other.instance, s3.other.access_key):
        bucket = s3.filled("x")
        put(s3, bucket, allow(bucket, "s3:GetObject", "s3:ListBucket", to=principal))
        equal(s3.other.client.get_object(Bucket=bucket, Key="x")["Body"].read(), b"x")
        equal(s3.other.client.list_objects_v2(Bucket=bucket)["KeyCount"], 1)
        refused(403, "AccessDenied", s3.small.client.get_object, Bucket=bucket, Key="x")
        refused(403, "AccessDenied", s3.client_of_nobody.get_object, Bucket=bucket, Key="x")


@case
def what_another_puts_belongs_to_the_bucket(s3):
    bucket = s3.bucket()
    put(s3, bucket, allow(bucket, "s3:PutObject", to=s3.other.instance))
    s3.other.client.put_object(Bucket=bucket, Key="x", Body=b"given")
    equal(s3.read(bucket, "x"), b"given")
    equal(s3.s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]["Owner"]["ID"], s3.main.instance)
    refused(403, "AccessDenied", s3.other.client.get_object, Bucket=bucket, Key="x")
    refused(403, "AccessDenied", s3.other.client.put_object, Bucket=bucket, Key="y", Body=b"", Tagging="a=b")


@case
def a_denial_goes_before_everything(s3):
    bucket = s3.filled("x")
    put(s3, bucket, allow(bucket, "s3:*"), deny(bucket, "s3:GetObject"))
    for client in (s3.s3, s3.other.client, s3.client_of_nobody):
        refused(403, "AccessDenied", client.get_object, Bucket=bucket, Key="x")
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"y")
    # Nobody can lock out the owner: the policy itself stays the owner's.
    put(s3, bucket, deny(bucket, "s3:*"))
    refused(403, "AccessDenied", s3.s3.list_objects_v2, Bucket=bucket)
    s3.s3.delete_bucket_policy(Bucket=bucket)
    equal(s3.read(bucket, "x"), b"y")


@case
def not_action_and_not_resource_are_the_rest(s3):
    bucket = s3.filled("x", "y")
    statement = allow(bucket) | {"NotAction": ["s3:DeleteObject", "s3:Put*"]}
    del statement["Action"]
    put(s3, bucket, statement)
    equal(s3.other.client.get_object(Bucket=bucket, Key="x")["Body"].read(), b"x")
    refused(403, "AccessDenied", s3.other.client.delete_object, Bucket=bucket, Key="x")
    refused(403, "AccessDenied", s3.other.client.put_object, Bucket=bucket, Key="x", Body=b"")
    statement = allow(bucket, "s3:GetObject") | {"NotResource": f"arn:aws:s3:::{bucket}/y"}
    del statement["Resource"]
    put(s3, bucket, statement)
    equal(s3.other.client.get_object(Bucket=bucket, Key="x")["Body"].read(), b"x")
    refused(403, "AccessDenied", s3.other.client.get_object, Bucket=bucket, Key="y")


@case
def listing_depends_on_the_prefix(s3):
    bucket = s3.filled("home/a", "else/b")
    put(s3, bucket, allow(bucket, "s3:ListBucket", Condition={"StringLike": {"s3:prefix": "home/*"}}))
    client = s3.other.client
    equal(client.list_objects_v2(Bucket=bucket, Prefix="home/")["KeyCount"], 1)
    for prefix in ({}, {"Prefix": ""}, {"Prefix": "else/"}, {"Prefix": "hom"}):
        refused(403, "AccessDenied", client.list_objects_v2, Bucket=bucket, **prefix)
        refused(403, "AccessDenied", client.list_objects, Bucket=bucket, **prefix)
    answer = s3.other.ask("GET", f"/{bucket}", "list-type=2&prefix=home%2F&prefix=else%2F")
    assert b"else/b" not in answer.body, answer


@case
def addresses_are_a_condition(s3):
    bucket = s3.filled("x")
    for network, may in (("127.0.0.0/8", True), ("10.0.0.0/8", False)):
        put(s3, bucket, allow(bucket, "s3:GetObject", Condition={"IpAddress": {"aws:SourceIp": network}}))
        if may:
            s3.client_of_nobody.get_object(Bucket=bucket, Key="x")
        else:
            refused(403, "AccessDenied", s3.client_of_nobody.get_object, Bucket=bucket, Key="x")
            headers = {"x-forwarded-for": "10.1.2.3", "forwarded": "for=10.1.2.3", "x-real-ip": "10.1.2.3"}
            equal(s3.ask("GET", f"/{bucket}/x", headers=headers).status, 403, "nobody chooses an address")


@case
def plain_http_can_be_denied(s3):
    bucket = s3.filled("x")
    put(s3, bucket, deny(bucket, "s3:GetObject", Condition={"Bool": {"aws:SecureTransport": "false"}}))
    refused(403, "AccessDenied", s3.s3.get_object, Bucket=bucket, Key="x")
    answer = s3.main.ask("GET", f"/{bucket}/x", headers={"x-forwarded-proto": "https"})
    equal(answer.status, 403, "nobody chooses a transport")


@case
def tags_that_are_there_are_a_condition(s3):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="yes", Body=b"", Tagging="security=public")
    s3.s3.put_object(Bucket=bucket, Key="no", Body=b"", Tagging="security=secret")
    s3.s3.put_object(Bucket=bucket, Key="none", Body=b"")
    condition = {"StringEquals": {"s3:ExistingObjectTag/security": "public"}}
    put(s3, bucket, allow(bucket, "s3:GetObject", "s3:GetObjectTagging", Condition=condition))
    s3.other.client.get_object(Bucket=bucket, Key="yes")
    s3.other.client.get_object_tagging(Bucket=bucket, Key="yes")
    for key in ("no", "none"):
        refused(403, "AccessDenied", s3.other.client.get_object, Bucket=bucket, Key=key)
    refused(403, "AccessDenied", s3.other.client.copy_object, Bucket=s3.other.bucket, Key="stolen",
            CopySource={"Bucket": bucket, "Key": "no"})


@case
def tags_that_come_are_a_condition(s3):
    bucket = s3.bucket()
    condition = {"StringEquals": {"s3:RequestObjectTag/security": "public"}}
    put(s3, bucket, allow(bucket, "s3:PutObject", "s3:PutObjectTagging", Condition=condition))
    s3.other.client.put_object(Bucket=bucket, Key="x", Body=b"", Tagging="security=public")
    for tags in ({}, {"Tagging": "security=secret"}):
        refused(403, "AccessDenied", s3.other.client.put_object, Bucket=bucket, Key="x", Body=b"", **tags)
    tagging = {"TagSet": [{"Key": "security", "Value": "secret"}]}
    refused(403, "AccessDenied", s3.other.client.put_object_tagging, Bucket=bucket, Key="x", Tagging=tagging)


@case
def headers_are_a_condition(s3):
    bucket = s3.bucket()
    missing = {"StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}}
    put(s3, bucket, deny(bucket, "s3:PutObject", Condition=missing))
    refused(403, "AccessDenied", s3.s3.put_object, Bucket=bucket, Key="x", Body=b"x")
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"x", ServerSideEncryption="AES256")
    put(s3, bucket, allow(bucket, "s3:PutObject", Condition={"StringLike": {"s3:x-amz-copy-source": f"{bucket}/public/*"}}))
    s3.s3.put_object(Bucket=bucket, Key="public/x", Body=b"")
    answer = s3.other.ask("PUT", f"/{bucket}/y", headers={"x-amz-copy-source": f"/{bucket}/public/x"})
    equal(answer.status, 403, "to read the source is another right")


@case
def versions_are_another_right(s3):
    bucket = s3.versioned()
    version = s3.s3.put_object(Bucket=bucket, Key="x", Body=b"1")["VersionId"]
    put(s3, bucket, allow(bucket, "s3:GetObject", "s3:DeleteObject"))
    client = s3.other.client
    client.get_object(Bucket=bucket, Key="x")
    refused(403, "AccessDenied", client.get_object, Bucket=bucket, Key="x", VersionId=version)
    refused(403, "AccessDenied", client.delete_object, Bucket=bucket, Key="x", VersionId=version)
    refused(403, "AccessDenied", client.list_object_versions, Bucket=bucket)
    said = client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "x", "VersionId": version}]})
    equal(said["Errors"][0]["Code"], "AccessDenied")
    client.delete_object(Bucket=bucket, Key="x")
    equal(s3.read(bucket, "x", VersionId=version), b"1")


@case
def many_deletes_ask_for_each(s3):
    bucket = s3.filled("mine/x", "yours/x")
    put(s3, bucket, allow(bucket, "s3:DeleteObject", below="yours/*"))
    said = s3.other.client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "mine/x"}, {"Key": "yours/x"}]})
    equal([(error["Key"], error["Code"]) for error in said["Errors"]], [("mine/x", "AccessDenied")])
    equal([gone["Key"] for gone in said["Deleted"]], ["yours/x"])
    equal(s3.read(bucket, "mine/x"), b"mine/x")


@each(
    ("no JSON", lambda bucket: "{"),
    ("no statement", lambda bucket: '{"Version":"2012-10-17"}'),
    ("another bucket", lambda bucket: [allow("another-bucket", "s3:GetObject")]),
    ("an unknown action", lambda bucket: [allow(bucket, "s3:Fly")]),
    ("another service", lambda bucket: [allow(bucket, "ec2:RunInstances")]),
    ("an unknown condition", lambda bucket: [allow(bucket, "s3:GetObject", Condition={"Moon": {"aws:SourceIp": "1.1.1.1"}})]),
    ("an unknown key", lambda bucket: [allow(bucket, "s3:GetObject", Condition={"StringEquals": {"aws:Moon": "full"}})]),
    ("an unknown effect", lambda bucket: [allow(bucket, "s3:GetObject") | {"Effect": "Perhaps"}]),
    ("an unknown element", lambda bucket: [allow(bucket, "s3:GetObject") | {"Unless": "sunday"}]),
    ("no principal", lambda bucket: [{key: value for key, value in allow(bucket, "s3:GetObject").items() if key != "Principal"}]),
    ("another kind of principal", lambda bucket: [allow(bucket, "s3:GetObject") | {"Principal": {"Service": "ec2.amazonaws.com"}}]),
)
def what_is_not_understood_is_refused(s3, what, statements):
    bucket = s3.bucket()
    statements = statements(bucket)
    policy = statements if isinstance(statements, str) else json.dumps({"Version": "2012-10-17", "Statement": statements})
    refused(400, "MalformedPolicy", s3.s3.put_bucket_policy, Bucket=bucket, Policy=policy)
    refused(404, "NoSuchBucketPolicy", s3.s3.get_bucket_policy, Bucket=bucket)


@case
def public_access_is_blocked(s3):
    bucket = s3.filled("x")
    put(s3, bucket, allow(bucket, "s3:GetObject"))
    assert s3.s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"]
    block = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}
    s3.s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
    equal(s3.s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"], block)
    refused(403, "AccessDenied", s3.client_of_nobody.get_object, Bucket=bucket, Key="x")
    refused(403, "AccessDenied", put, s3, bucket, allow(bucket, "s3:GetObject"))
    put(s3, bucket, allow(bucket, "s3:GetObject", to=s3.other.instance))
    s3.other.client.get_object(Bucket=bucket, Key="x")
    assert not s3.s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"]
    s3.s3.delete_public_access_block(Bucket=bucket)
    refused(404, "NoSuchPublicAccessBlockConfiguration", s3.s3.get_public_access_block, Bucket=bucket)


@case
def uploads_in_parts_are_a_right_like_puts(s3):
    bucket = s3.bucket()
    put(s3, bucket, allow(bucket, "s3:PutObject", to=s3.other.instance))
    client = s3.other.client
    upload = client.create_multipart_upload(Bucket=bucket, Key="x")["UploadId"]
    part = client.upload_part(Bucket=bucket, Key="x", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    refused(403, "AccessDenied", client.list_parts, Bucket=bucket, Key="x", UploadId=upload)
    refused(403, "AccessDenied", client.abort_multipart_upload, Bucket=bucket, Key="x", UploadId=upload)
    refused(403, "AccessDenied", client.list_multipart_uploads, Bucket=bucket)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    client.complete_multipart_upload(Bucket=bucket, Key="x", UploadId=upload, MultipartUpload=parts)
    equal(s3.read(bucket, "x"), b"x")


@case
def only_the_owner_changes_a_bucket(s3):
    bucket = s3.bucket()
    put(s3, bucket, allow(bucket, "s3:*", to=s3.other.instance))
    # Who was given everything may change the settings, as in Amazon S3 but for the policy, which stays the owner's.
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow(bucket, "s3:*")]})
    try:
        s3.other.client.put_bucket_policy(Bucket=bucket, Policy=policy)
    except s3.s3.exceptions.ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] in (403, 405), error
        return
    assert s3.s3.get_bucket_policy(Bucket=bucket)
