"""Lifecycle rules, as they are put and told; what they do is tested where time can be chosen."""

import datetime

from case import case, each, equal, refused

DAY = datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc)


def put(s3, bucket, *rules):
    s3.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})


@each(
    {"ID": "one", "Status": "Enabled", "Filter": {"Prefix": "a/"}, "Expiration": {"Days": 30}},
    {"ID": "two", "Status": "Disabled", "Filter": {}, "Expiration": {"Date": DAY}},
    {"ID": "three", "Status": "Enabled", "Filter": {"Tag": {"Key": "a", "Value": "b"}}, "Expiration": {"Days": 1}},
    {"ID": "four", "Status": "Enabled", "Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": {"NoncurrentDays": 2, "NewerNoncurrentVersions": 3}},
    {"ID": "five", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"ExpiredObjectDeleteMarker": True}},
    {"ID": "six", "Status": "Enabled", "Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}},
    {"ID": "seven", "Status": "Enabled", "Filter": {"ObjectSizeGreaterThan": 500}, "Expiration": {"Days": 1}},
    {"ID": "eight", "Status": "Enabled", "Expiration": {"Days": 1}, "Filter": {"And": {
        "Prefix": "x", "ObjectSizeLessThan": 64000, "Tags": [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "d"}]}}},
    {"ID": "nine", "Status": "Enabled", "Prefix": "old/", "Expiration": {"Days": 1}},
)
def a_rule_is_put_told_and_deleted(s3, rule):
    bucket = s3.bucket()
    refused(404, "NoSuchLifecycleConfiguration", s3.s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    put(s3, bucket, rule)
    equal(s3.s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"], [rule])
    s3.s3.delete_bucket_lifecycle(Bucket=bucket)
    refused(404, "NoSuchLifecycleConfiguration", s3.s3.get_bucket_lifecycle_configuration, Bucket=bucket)


@case
def a_rule_without_a_name_gets_one(s3):
    bucket = s3.bucket()
    put(s3, bucket, {"Status": "Enabled", "Filter": {"Prefix": "a"}, "Expiration": {"Days": 1}},
        {"Status": "Enabled", "Filter": {"Prefix": "b"}, "Expiration": {"Days": 1}})
    names = [rule["ID"] for rule in s3.s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]]
    assert all(names) and len(set(names)) == 2, names


@each(
    (400, [{"ID": "a" * 256, "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]),
    (400, [{"ID": "same", "Status": "Enabled", "Filter": {"Prefix": "a"}, "Expiration": {"Days": 1}},
           {"ID": "same", "Status": "Enabled", "Filter": {"Prefix": "b"}, "Expiration": {"Days": 1}}]),
    (400, [{"ID": "a", "Status": "enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]),
    (400, [{"ID": "a", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 0}}]),
    (400, [{"ID": "a", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Date": DAY.replace(hour=3)}}]),
    (400, [{"ID": "a", "Status": "Enabled", "Filter": {"Prefix": ""}}]),
    (501, [{"ID": "a", "Status": "Enabled", "Filter": {"Prefix": ""}, "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}]),
)
def a_rule_that_is_none_is_refused(s3, status, rules):
    bucket = s3.bucket()
    try:
        put(s3, bucket, *rules)
    except s3.s3.exceptions.ClientError as error:
        equal(error.response["ResponseMetadata"]["HTTPStatusCode"], status, error)
    else:
        raise AssertionError("it should have been refused")
    refused(404, "NoSuchLifecycleConfiguration", s3.s3.get_bucket_lifecycle_configuration, Bucket=bucket)


@case
def an_object_tells_when_it_goes(s3):
    bucket = s3.bucket()
    put(s3, bucket, {"ID": "soon", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 3}})
    said = s3.s3.put_object(Bucket=bucket, Key="tmp/x", Body=b"")
    assert 'rule-id="soon"' in said["Expiration"] and "expiry-date=" in said["Expiration"], said
    equal(s3.s3.head_object(Bucket=bucket, Key="tmp/x")["Expiration"], said["Expiration"])
    assert "Expiration" not in s3.s3.put_object(Bucket=bucket, Key="x", Body=b"")
