"""Encryption at rest, with keys of the layer's."""

from case import case, each, equal, refused


@each(0, 1, 100_000, 2_000_000)
def what_is_encrypted_comes_back(s3, size):
    bucket = s3.bucket()
    body = bytes(number % 253 for number in range(size))
    put = s3.s3.put_object(Bucket=bucket, Key="x", Body=body, ServerSideEncryption="AES256")
    equal(put["ServerSideEncryption"], "AES256")
    got = s3.s3.get_object(Bucket=bucket, Key="x")
    assert got["Body"].read() == body
    equal((got["ServerSideEncryption"], got["ContentLength"]), ("AES256", size))
    equal(s3.s3.head_object(Bucket=bucket, Key="x")["ServerSideEncryption"], "AES256")
    if size > 70_000:
        assert s3.read(bucket, "x", Range="bytes=65000-70000") == body[65_000:70_001]


@case
def a_bucket_encrypts_what_says_nothing(s3):
    bucket = s3.bucket()
    refused(404, "ServerSideEncryptionConfigurationNotFoundError", s3.s3.get_bucket_encryption, Bucket=bucket)
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    s3.s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=rules)
    told = s3.s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    equal(told["ApplyServerSideEncryptionByDefault"], {"SSEAlgorithm": "AES256"})
    equal(s3.s3.put_object(Bucket=bucket, Key="x", Body=b"x")["ServerSideEncryption"], "AES256")
    upload = s3.s3.create_multipart_upload(Bucket=bucket, Key="y")
    equal(upload["ServerSideEncryption"], "AES256")
    part = s3.s3.upload_part(Bucket=bucket, Key="y", UploadId=upload["UploadId"], PartNumber=1, Body=b"y")
    done = s3.s3.complete_multipart_upload(
        Bucket=bucket, Key="y", UploadId=upload["UploadId"],
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    equal((done["ServerSideEncryption"], s3.read(bucket, "y")), ("AES256", b"y"))
    s3.s3.delete_bucket_encryption(Bucket=bucket)
    assert "ServerSideEncryption" not in s3.s3.put_object(Bucket=bucket, Key="z", Body=b"z")
    equal(s3.read(bucket, "x"), b"x")


@case
def a_copy_encrypts_and_a_copy_of_that_stays_so(s3):
    bucket = s3.filled("plain")
    said = s3.s3.copy_object(Bucket=bucket, Key="x", CopySource={"Bucket": bucket, "Key": "plain"}, ServerSideEncryption="AES256")
    equal((said["ServerSideEncryption"], s3.read(bucket, "x")), ("AES256", b"plain"))
    s3.s3.copy_object(Bucket=bucket, Key="y", CopySource={"Bucket": bucket, "Key": "x"})
    equal((s3.read(bucket, "y"), s3.read(bucket, "plain")), (b"plain", b"plain"))
    # Onto itself it is a change, so it is done.
    s3.s3.copy_object(Bucket=bucket, Key="plain", CopySource={"Bucket": bucket, "Key": "plain"}, ServerSideEncryption="AES256")
    equal(s3.s3.head_object(Bucket=bucket, Key="plain")["ServerSideEncryption"], "AES256")


@each(
    {"x-amz-server-side-encryption": "aws:kms"},
    {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "k"},
    {"x-amz-server-side-encryption-customer-algorithm": "AES256",
     "x-amz-server-side-encryption-customer-key": "pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs=",
     "x-amz-server-side-encryption-customer-key-md5": "DWygnHRtgiJ77HCm+1rvHw=="},
    {"x-amz-server-side-encryption": "rot13"},
)
def other_encryption_is_refused_and_not_forgotten(s3, headers):
    bucket = s3.bucket()
    answer = s3.main.ask("PUT", f"/{bucket}/x", headers=headers, body=b"secret")
    assert (answer.status, answer.code) in ((501, "NotImplemented"), (400, "InvalidArgument")), answer
    answer = s3.main.ask("POST", f"/{bucket}/x", "uploads=", headers=headers)
    assert answer.status in (400, 501), answer
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)
    equal(s3.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []), [])


@case
def a_bucket_knows_no_other_encryption(s3):
    bucket = s3.bucket()
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "k"}}]}
    refused(501, "NotImplemented", s3.s3.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration=rules)
