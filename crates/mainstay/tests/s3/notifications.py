"""What happens to objects, on the feed of the layer."""

from case import case, each, equal, refused

FEED = "arn:mainstay:journal:::events"


def configured(s3, bucket, *events, target="QueueConfigurations", prefix=None, suffix=None, arn=FEED):
    wish = {"Id": "one", "Events": list(events)}
    wish[{"QueueConfigurations": "QueueArn", "TopicConfigurations": "TopicArn", "LambdaFunctionConfigurations": "LambdaFunctionArn"}[target]] = arn
    rules = [{"Name": name, "Value": value} for name, value in (("prefix", prefix), ("suffix", suffix)) if value]
    if rules:
        wish["Filter"] = {"Key": {"FilterRules": rules}}
    s3.s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={target: [wish]})


@each("QueueConfigurations", "TopicConfigurations", "LambdaFunctionConfigurations")
def wishes_are_put_told_and_taken_back(s3, target):
    bucket = s3.bucket()
    assert target not in s3.s3.get_bucket_notification_configuration(Bucket=bucket)
    configured(s3, bucket, "s3:ObjectCreated:*", target=target, prefix="a/", suffix=".jpg")
    (told,) = s3.s3.get_bucket_notification_configuration(Bucket=bucket)[target]
    equal((told["Id"], told["Events"]), ("one", ["s3:ObjectCreated:*"]))
    rules = {rule["Name"].lower(): rule["Value"] for rule in told["Filter"]["Key"]["FilterRules"]}
    equal(rules, {"prefix": "a/", "suffix": ".jpg"})
    s3.s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    assert target not in s3.s3.get_bucket_notification_configuration(Bucket=bucket)


@case
def puts_and_deletes_are_told(s3):
    bucket = s3.bucket()
    configured(s3, bucket, "s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*")
    put = s3.s3.put_object(Bucket=bucket, Key="ä b", Body=b"12345")
    s3.s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "ä b"})
    s3.s3.put_object_tagging(Bucket=bucket, Key="copy", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.s3.delete_object(Bucket=bucket, Key="ä b")
    first, second = s3.events("v1.object.created", bucket, 2)
    told = first
    equal((told["event"], told["key"], told["size"]), ("s3:ObjectCreated:Put", "ä b", 5))
    equal((told["etag"].strip('"'), told["configuration"], told["instance"]), (put["ETag"].strip('"'), "one", s3.main.instance))
    equal((second["event"], second["key"]), ("s3:ObjectCreated:Copy", "copy"))
    (removed,) = s3.events("v1.object.removed", bucket, 1)
    equal((removed["event"], removed["key"]), ("s3:ObjectRemoved:Delete", "ä b"))
    (tagged,) = s3.events("v1.object.tagged", bucket, 1)
    equal(tagged["key"], "copy")


@case
def uploads_and_markers_are_told(s3):
    bucket = s3.versioned()
    configured(s3, bucket, "s3:ObjectCreated:CompleteMultipartUpload", "s3:ObjectRemoved:DeleteMarkerCreated")
    s3.s3.put_object(Bucket=bucket, Key="untold", Body=b"")
    upload = s3.s3.create_multipart_upload(Bucket=bucket, Key="x")["UploadId"]
    part = s3.s3.upload_part(Bucket=bucket, Key="x", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    done = s3.s3.complete_multipart_upload(
        Bucket=bucket, Key="x", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]}
    )
    marker = s3.s3.delete_object(Bucket=bucket, Key="x")["VersionId"]
    (created,) = s3.events("v1.object.created", bucket, 1)
    equal((created["key"], created["version"]), ("x", done["VersionId"]))
    (removed,) = s3.events("v1.object.removed", bucket, 1)
    equal((removed["event"], removed["version"]), ("s3:ObjectRemoved:DeleteMarkerCreated", marker))


@case
def only_what_is_wished_for_is_told(s3):
    bucket = s3.bucket()
    configured(s3, bucket, "s3:ObjectCreated:*", prefix="in/", suffix=".txt")
    for key in ("out/1.txt", "in/1.jpg", "in/2.txt"):
        s3.s3.put_object(Bucket=bucket, Key=key, Body=b"")
    equal([event["key"] for event in s3.events("v1.object.created", bucket, 1)], ["in/2.txt"])


@case
def what_is_not_done_is_not_told(s3):
    bucket = s3.filled("x")
    configured(s3, bucket, "s3:ObjectCreated:*")
    refused(412, "PreconditionFailed", s3.s3.put_object, Bucket=bucket, Key="x", Body=b"", IfNoneMatch="*")
    s3.s3.put_object(Bucket=bucket, Key="last", Body=b"")
    equal([event["key"] for event in s3.events("v1.object.created", bucket, 1)], ["last"])


@case
def there_is_one_feed(s3):
    bucket = s3.bucket()
    for wrong in ("arn:aws:sqs:us-east-1:1:queue", "nonsense"):
        refused(400, "InvalidArgument", configured, s3, bucket, "s3:ObjectCreated:*", arn=wrong)
    refused(400, "InvalidArgument", configured, s3, bucket, "s3:ObjectDreamt:*")
