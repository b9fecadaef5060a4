"""Buckets themselves."""

from case import case, each, equal, refused, status_of


@case
def a_bucket_is_made_listed_and_deleted(s3):
    name = s3.name()
    equal(s3.s3.create_bucket(Bucket=name)["Location"], f"/{name}")
    assert name in [bucket["Name"] for bucket in s3.s3.list_buckets()["Buckets"]]
    equal(status_of(s3.s3.head_bucket(Bucket=name)), 200)
    equal(status_of(s3.s3.delete_bucket(Bucket=name)), 204)
    refused(404, None, s3.s3.head_bucket, Bucket=name)
    refused(404, "NoSuchBucket", s3.s3.delete_bucket, Bucket=name)
    assert name not in [bucket["Name"] for bucket in s3.s3.list_buckets()["Buckets"]]


@case
def a_bucket_with_something_in_it_stays(s3):
    bucket = s3.filled("x")
    refused(409, "BucketNotEmpty", s3.s3.delete_bucket, Bucket=bucket)
    s3.s3.delete_object(Bucket=bucket, Key="x")
    s3.s3.delete_bucket(Bucket=bucket)


@case
def a_bucket_with_a_delete_marker_stays(s3):
    bucket = s3.versioned()
    marker = s3.s3.delete_object(Bucket=bucket, Key="x")["VersionId"]
    refused(409, "BucketNotEmpty", s3.s3.delete_bucket, Bucket=bucket)
    s3.s3.delete_object(Bucket=bucket, Key="x", VersionId=marker)
    s3.s3.delete_bucket(Bucket=bucket)


@case
def a_deleted_bucket_begins_anew(s3):
    bucket = s3.filled("x")
    s3.s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.s3.delete_object(Bucket=bucket, Key="x")
    s3.s3.delete_bucket(Bucket=bucket)
    s3.s3.create_bucket(Bucket=bucket)
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)
    refused(404, "NoSuchTagSet", s3.s3.get_bucket_tagging, Bucket=bucket)


@case
def one_name_is_one_bucket(s3):
    bucket = s3.filled("x")
    refused(409, "BucketAlreadyOwnedByYou", s3.s3.create_bucket, Bucket=bucket)
    refused(409, "BucketAlreadyExists", s3.other.client.create_bucket, Bucket=bucket)
    equal(s3.read(bucket, "x"), b"x")


@each(
    "aa", "a" * 64, "UPPER", "under_score", ".dot", "dot.", "-dash", "dash-", "a..b", "a.-b", "a-.b", "192.168.5.123", "sp%20ace",
    "xn--bucket", "bucket-s3alias",
)
def names_of_buckets_have_rules(s3, name):
    answer = s3.main.ask("PUT", f"/{name}")
    equal((answer.status, answer.code), (400, "InvalidBucketName"))


@each("abc", "a" * 60, "1-2-3", "a.b.c", "a-b.c-d")
def what_the_rules_allow_is_a_name(s3, start):
    suffix = s3.name()[-3:].replace("-", "0")
    name = f"{start}{suffix}"
    s3.s3.create_bucket(Bucket=name)
    s3.s3.put_object(Bucket=name, Key="x", Body=b"x")
    equal(s3.read(name, "x"), b"x")


@case
def a_location_is_told(s3):
    bucket = s3.bucket()
    # The first region of Amazon's has no name here, as everywhere.
    named = None if s3.region == "us-east-1" else s3.region
    equal(s3.s3.get_bucket_location(Bucket=bucket)["LocationConstraint"], named)
    equal(s3.s3.head_bucket(Bucket=bucket)["BucketRegion"], s3.region)
    s3.bucket(CreateBucketConfiguration={"LocationConstraint": s3.region})
    refused(
        400,
        "InvalidLocationConstraint",
        s3.s3.create_bucket,
        Bucket=s3.name(),
        CreateBucketConfiguration={"LocationConstraint": "eu-west-1"},
    )


@case
def an_account_lists_its_own_buckets(s3):
    mine, others = s3.bucket(), s3.bucket(s3.other)
    listed = [bucket["Name"] for bucket in s3.s3.list_buckets()["Buckets"]]
    assert mine in listed and others not in listed and s3.main.bucket in listed
    equal(s3.s3.list_buckets()["Owner"]["ID"], s3.main.instance)
    assert sorted(listed) == listed
    equal([bucket["Name"] for bucket in s3.small.client.list_buckets()["Buckets"]], [s3.small.bucket])


@case
def buckets_are_listed_in_pages(s3):
    names = sorted(s3.bucket() for _ in range(3))
    prefix = names[0][:5]
    assert all(name.startswith(prefix) for name in names)
    found, more = [], {}
    while True:
        said = s3.s3.list_buckets(MaxBuckets=2, Prefix=prefix, **more)
        assert len(said["Buckets"]) <= 2
        found += [bucket["Name"] for bucket in said["Buckets"]]
        if "ContinuationToken" not in said:
            break
        more = {"ContinuationToken": said["ContinuationToken"]}
    assert set(names) <= set(found) and len(found) == len(set(found))


@case
def nobody_lists_no_buckets(s3):
    refused(403, "AccessDenied", s3.client_of_nobody.list_buckets)


@case
def an_instance_of_one_bucket_makes_no_other(s3):
    refused(400, "TooManyBuckets", s3.small.client.create_bucket, Bucket=s3.name())


@each("private", "bucket-owner-full-control")
def an_acl_that_gives_nothing_away_is_taken(s3, acl):
    bucket = s3.bucket()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=b"x", ACL=acl)
    equal(s3.read(bucket, "x"), b"x")


@each("public-read", "public-read-write", "authenticated-read")
def an_acl_that_gives_something_away_is_refused(s3, acl):
    bucket = s3.bucket()
    refused(400, "AccessControlListNotSupported", s3.s3.put_object, Bucket=bucket, Key="x", Body=b"x", ACL=acl)
    refused(400, "AccessControlListNotSupported", s3.s3.put_bucket_acl, Bucket=bucket, ACL=acl)
    refused(400, "AccessControlListNotSupported", s3.s3.create_bucket, Bucket=s3.name(), ACL=acl)
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)


@case
def the_owner_has_all_rights_and_nobody_else_any(s3):
    bucket = s3.filled("x")
    for said in (s3.s3.get_bucket_acl(Bucket=bucket), s3.s3.get_object_acl(Bucket=bucket, Key="x")):
        equal(said["Owner"]["ID"], s3.main.instance)
        equal([(grant["Grantee"]["ID"], grant["Permission"]) for grant in said["Grants"]], [(s3.main.instance, "FULL_CONTROL")])


@case
def ownership_is_the_buckets(s3):
    bucket = s3.bucket(ObjectOwnership="BucketOwnerEnforced")
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    s3.s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules)
    equal(s3.s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"], rules)
    for other in ("ObjectWriter", "BucketOwnerPreferred"):
        refused(
            400,
            "AccessControlListNotSupported",
            s3.s3.put_bucket_ownership_controls,
            Bucket=bucket,
            OwnershipControls={"Rules": [{"ObjectOwnership": other}]},
        )
    s3.s3.delete_bucket_ownership_controls(Bucket=bucket)
    refused(404, "OwnershipControlsNotFoundError", s3.s3.get_bucket_ownership_controls, Bucket=bucket)


@case
def the_owner_that_a_client_expects_is_compared(s3):
    bucket = s3.filled("x")
    s3.s3.get_object(Bucket=bucket, Key="x", ExpectedBucketOwner=s3.main.instance)
    refused(403, "AccessDenied", s3.s3.get_object, Bucket=bucket, Key="x", ExpectedBucketOwner=s3.other.instance)
    refused(403, "AccessDenied", s3.s3.put_object, Bucket=bucket, Key="x", Body=b"y", ExpectedBucketOwner="1")
    equal(s3.read(bucket, "x"), b"x")
