"""What an instance may hold: `small` has five objects and 64 KiB."""

from case import case, equal, refused

# The account has one bucket, so that its cases are one.


@case
def a_quota_is_kept(s3):
    client, bucket = s3.small.client, s3.small.bucket
    refused(403, "QuotaExceeded", client.put_object, Bucket=bucket, Key="large", Body=bytes(65_537))
    client.put_object(Bucket=bucket, Key="0", Body=bytes(60_000))
    refused(403, "QuotaExceeded", client.put_object, Bucket=bucket, Key="1", Body=bytes(10_000))
    equal([entry["Key"] for entry in client.list_objects_v2(Bucket=bucket)["Contents"]], ["0"])

    # What is overwritten makes room for what takes its place.
    client.put_object(Bucket=bucket, Key="0", Body=bytes(64_000))
    client.put_object(Bucket=bucket, Key="0", Body=bytes(10))
    for number in range(1, 5):
        client.put_object(Bucket=bucket, Key=str(number), Body=b"x")
    refused(403, "QuotaExceeded", client.put_object, Bucket=bucket, Key="5", Body=b"x")
    refused(403, "QuotaExceeded", client.copy_object, Bucket=bucket, Key="5", CopySource={"Bucket": bucket, "Key": "0"})
    client.put_object(Bucket=bucket, Key="4", Body=b"overwritten")
    client.delete_object(Bucket=bucket, Key="4")

    # Parts of an upload count before it is complete.
    upload = client.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    client.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=bytes(60_000))
    refused(403, "QuotaExceeded", client.upload_part, Bucket=bucket, Key="parts", UploadId=upload, PartNumber=2, Body=bytes(6_000))
    refused(403, "QuotaExceeded", client.put_object, Bucket=bucket, Key="0", Body=bytes(6_000))
    client.abort_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload)
    client.put_object(Bucket=bucket, Key="0", Body=bytes(6_000))

    # Versions count, and delete markers too, so that nobody keeps more than was agreed.
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.put_object(Bucket=bucket, Key="0", Body=b"second version")
    refused(403, "QuotaExceeded", client.put_object, Bucket=bucket, Key="0", Body=b"third version")

    # Deleting is always possible.
    for entry in client.list_object_versions(Bucket=bucket)["Versions"]:
        client.delete_object(Bucket=bucket, Key=entry["Key"], VersionId=entry["VersionId"])
    for entry in client.list_object_versions(Bucket=bucket).get("DeleteMarkers", []):
        client.delete_object(Bucket=bucket, Key=entry["Key"], VersionId=entry["VersionId"])
    client.put_object(Bucket=bucket, Key="0", Body=bytes(64_000))
