"""Checksums, of whole bodies and of parts, told by headers and by trailers."""

import base64
import hashlib
import zlib

from case import case, each, equal, refused, status_of

BODY = b"The quick brown fox jumps over the lazy dog"
# Digests of BODY: published ones, or computed by independent programs.
KNOWN = {
    "CRC32": base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode(),
    "CRC32C": base64.b64encode(bytes.fromhex("22620404")).decode(),
    "SHA1": base64.b64encode(hashlib.sha1(BODY).digest()).decode(),
    "SHA256": base64.b64encode(hashlib.sha256(BODY).digest()).decode(),
    "CRC64NVME": None,
}


def crc64nvme(data):
    """Bit by bit, as the NVM Express specification defines it (reflected, all ones in and out)."""
    value = 0xFFFFFFFFFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x9A6C9329AC4BC9B5 if value & 1 else 0)
    return base64.b64encode((value ^ 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")).decode()


KNOWN["CRC64NVME"] = crc64nvme(BODY)


@each(*KNOWN)
def a_checksum_is_compared_kept_and_told(s3, algorithm):
    bucket, field = s3.bucket(), f"Checksum{algorithm}"
    put = s3.s3.put_object(Bucket=bucket, Key="x", Body=BODY, **{field: KNOWN[algorithm]})
    equal((put[field], put["ChecksumType"]), (KNOWN[algorithm], "FULL_OBJECT"))
    head = s3.s3.head_object(Bucket=bucket, Key="x", ChecksumMode="ENABLED")
    equal(head[field], KNOWN[algorithm])
    assert field not in s3.s3.head_object(Bucket=bucket, Key="x")
    got = s3.s3.get_object(Bucket=bucket, Key="x", ChecksumMode="ENABLED")
    equal((got[field], got["Body"].read()), (KNOWN[algorithm], BODY))


@each(*KNOWN)
def a_wrong_checksum_is_refused(s3, algorithm):
    bucket, field = s3.bucket(), f"Checksum{algorithm}"
    size = len(base64.b64decode(KNOWN[algorithm]))
    wrong = base64.b64encode(b"\x01" * size).decode()
    refused(400, "BadDigest", s3.s3.put_object, Bucket=bucket, Key="x", Body=BODY, **{field: wrong})
    refused(400, "InvalidRequest", s3.s3.put_object, Bucket=bucket, Key="x", Body=BODY, **{field: "bm9uc2Vuc2Uh"})
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)


def chunked(body, algorithm, value, sizes=(16,)):
    """A body in chunks that are not signed, with its checksum behind it."""
    written, at = b"", 0
    for size in [*sizes, len(body)]:
        chunk = body[at : at + size]
        at += len(chunk)
        if chunk:
            written += f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n"
    return written + f"0\r\nx-amz-checksum-{algorithm.lower()}:{value}\r\n\r\n".encode()


def put_with_trailer(s3, bucket, algorithm, value, body=BODY, **more):
    headers = {
        "x-amz-trailer": f"x-amz-checksum-{algorithm.lower()}",
        "x-amz-decoded-content-length": str(len(body)),
        "content-encoding": "aws-chunked",
    } | more
    sent = chunked(body, algorithm, value)
    return s3.main.ask("PUT", f"/{bucket}/x", headers=headers, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER", sent=sent)


@each(*KNOWN)
def a_checksum_can_come_behind_the_body(s3, algorithm):
    bucket = s3.bucket()
    answer = put_with_trailer(s3, bucket, algorithm, KNOWN[algorithm])
    equal(answer.status, 200, repr(answer))
    got = s3.s3.get_object(Bucket=bucket, Key="x", ChecksumMode="ENABLED")
    equal((got["Body"].read(), got[f"Checksum{algorithm}"]), (BODY, KNOWN[algorithm]))
    assert "ContentEncoding" not in got


@each(*KNOWN)
def a_wrong_one_behind_the_body_is_refused(s3, algorithm):
    bucket = s3.bucket()
    wrong = base64.b64encode(b"\x01" * len(base64.b64decode(KNOWN[algorithm]))).decode()
    answer = put_with_trailer(s3, bucket, algorithm, wrong)
    equal((answer.status, answer.code), (400, "BadDigest"))
    refused(404, None, s3.s3.head_object, Bucket=bucket, Key="x")


@case
def a_trailer_has_to_be_the_one_that_was_announced(s3):
    bucket = s3.bucket()
    answer = put_with_trailer(s3, bucket, "CRC32", KNOWN["CRC32"], **{"x-amz-trailer": "x-amz-checksum-sha256"})
    equal(answer.status, 400, repr(answer))
    answer = put_with_trailer(s3, bucket, "CRC32", KNOWN["CRC32"], **{"x-amz-trailer": "x-amz-checksum-md4"})
    equal(answer.status, 400, repr(answer))
    refused(404, None, s3.s3.head_object, Bucket=bucket, Key="x")


@case
def chunks_that_do_not_come_to_what_was_declared_are_refused(s3):
    bucket = s3.bucket()
    for length in (len(BODY) - 1, len(BODY) + 1):
        answer = put_with_trailer(s3, bucket, "CRC32", KNOWN["CRC32"], **{"x-amz-decoded-content-length": str(length)})
        equal(answer.status, 400, repr(answer))
    refused(404, None, s3.s3.head_object, Bucket=bucket, Key="x")


@case
def content_md5_is_compared(s3):
    bucket = s3.bucket()
    right = base64.b64encode(hashlib.md5(BODY).digest()).decode()
    s3.s3.put_object(Bucket=bucket, Key="x", Body=BODY, ContentMD5=right)
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    refused(400, "BadDigest", s3.s3.put_object, Bucket=bucket, Key="y", Body=BODY, ContentMD5=wrong)
    for none in ("YWJyYWNhZGFicmE=", "no base64 at all"):
        refused(400, "InvalidDigest", s3.s3.put_object, Bucket=bucket, Key="y", Body=BODY, ContentMD5=none)
    equal(s3.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 1)


@case
def the_digest_that_is_signed_is_compared(s3):
    bucket = s3.bucket()
    answer = s3.main.ask("PUT", f"/{bucket}/x", body=b"signed", sent=b"forged")
    equal((answer.status, answer.code), (400, "XAmzContentSHA256Mismatch"))
    refused(404, None, s3.s3.head_object, Bucket=bucket, Key="x")


@case
def who_says_nothing_gets_a_crc(s3):
    bucket = s3.bucket()
    answer = s3.main.ask("PUT", f"/{bucket}/x", body=BODY)
    equal(answer.status, 200)
    head = s3.s3.head_object(Bucket=bucket, Key="x", ChecksumMode="ENABLED")
    equal(head["ChecksumCRC64NVME"], KNOWN["CRC64NVME"])


@case
def two_checksums_are_one_too_many(s3):
    bucket = s3.bucket()
    headers = {"x-amz-checksum-crc32": KNOWN["CRC32"], "x-amz-checksum-sha1": KNOWN["SHA1"]}
    answer = s3.main.ask("PUT", f"/{bucket}/x", headers=headers, body=BODY)
    equal((answer.status, answer.code), (400, "InvalidRequest"))


@case
def a_body_of_xml_is_compared_too(s3):
    bucket = s3.filled("x")
    body = b"<Delete><Object><Key>x</Key></Object></Delete>"
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    answer = s3.main.ask("POST", f"/{bucket}", "delete=", headers={"content-md5": wrong}, body=body)
    equal((answer.status, answer.code), (400, "BadDigest"))
    answer = s3.main.ask("POST", f"/{bucket}", "delete=", headers={"x-amz-checksum-crc32": "AAAAAA=="}, body=body)
    equal((answer.status, answer.code), (400, "BadDigest"))
    equal(s3.read(bucket, "x"), b"x")


def upload(s3, bucket, bodies, algorithm, **begin):
    client, key = s3.s3, "x"
    begun = client.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm=algorithm, **begin)
    parts = []
    for number, body in enumerate(bodies, 1):
        said = client.upload_part(
            Bucket=bucket, Key=key, UploadId=begun["UploadId"], PartNumber=number, Body=body, ChecksumAlgorithm=algorithm
        )
        field = f"Checksum{algorithm}"
        parts.append({"PartNumber": number, "ETag": said["ETag"], field: said[field]})
    return begun["UploadId"], parts


PARTS = [b"a" * (5 << 20), b"b" * (5 << 20), b"c" * 1000]


@each("SHA256", "SHA1", "CRC32", "CRC32C")
def the_checksum_of_parts_is_one_of_their_checksums(s3, algorithm):
    bucket, field = s3.bucket(), f"Checksum{algorithm}"
    id, parts = upload(s3, bucket, PARTS[1:], algorithm, ChecksumType="COMPOSITE")
    done = s3.s3.complete_multipart_upload(Bucket=bucket, Key="x", UploadId=id, MultipartUpload={"Parts": parts})
    raw = b"".join(base64.b64decode(part[field]) for part in parts)
    if algorithm.startswith("SHA"):
        digest = hashlib.new(algorithm.lower(), raw).digest()
        equal(done[field], base64.b64encode(digest).decode() + "-2")
    assert done[field].endswith("-2"), done
    head = s3.s3.head_object(Bucket=bucket, Key="x", ChecksumMode="ENABLED")
    equal((head[field], head["ChecksumType"]), (done[field], "COMPOSITE"))


@each("CRC64NVME", "CRC32", "CRC32C")
def a_checksum_of_all_is_put_together_from_those_of_parts(s3, algorithm):
    bucket, field = s3.bucket(), f"Checksum{algorithm}"
    id, parts = upload(s3, bucket, PARTS[1:], algorithm, ChecksumType="FULL_OBJECT")
    more = {"ChecksumType": "FULL_OBJECT"}
    if algorithm == "CRC32":
        more[field] = base64.b64encode(zlib.crc32(b"".join(PARTS[1:])).to_bytes(4, "big")).decode()
    done = s3.s3.complete_multipart_upload(Bucket=bucket, Key="x", UploadId=id, MultipartUpload={"Parts": parts}, **more)
    equal(done["ChecksumType"], "FULL_OBJECT")
    s3.s3.put_object(Bucket=bucket, Key="whole", Body=b"".join(PARTS[1:]), ChecksumAlgorithm=algorithm)
    whole = s3.s3.head_object(Bucket=bucket, Key="whole", ChecksumMode="ENABLED")
    equal(done[field], whole[field])


@case
def a_wrong_checksum_of_all_completes_nothing(s3):
    bucket = s3.bucket()
    id, parts = upload(s3, bucket, [b"only"], "CRC32", ChecksumType="FULL_OBJECT")
    told = refused(
        400, "BadDigest", s3.s3.complete_multipart_upload,
        Bucket=bucket, Key="x", UploadId=id, MultipartUpload={"Parts": parts}, ChecksumCRC32="AAAAAA==",
        ChecksumType="FULL_OBJECT",
    )
    assert told
    refused(404, None, s3.s3.head_object, Bucket=bucket, Key="x")


@case
def a_wrong_checksum_of_a_part_completes_nothing(s3):
    bucket = s3.bucket()
    id, parts = upload(s3, bucket, [b"only"], "SHA256")
    parts[0]["ChecksumSHA256"] = base64.b64encode(bytes(32)).decode()
    refused(400, "InvalidPart", s3.s3.complete_multipart_upload,
            Bucket=bucket, Key="x", UploadId=id, MultipartUpload={"Parts": parts})
    refused(400, "BadDigest", s3.s3.upload_part, Bucket=bucket, Key="x", UploadId=id, PartNumber=1, Body=b"x",
            ChecksumSHA256=base64.b64encode(bytes(32)).decode())


@case
def digests_of_sha_have_no_checksum_of_all(s3):
    refused(400, "InvalidRequest", s3.s3.create_multipart_upload, Bucket=s3.bucket(), Key="x",
            ChecksumAlgorithm="SHA256", ChecksumType="FULL_OBJECT")


@case
def large_bodies_with_a_checksum_of_their_own_have_no_md5(s3):
    bucket, body = s3.bucket(), b"m" * (8 << 20)
    put = s3.s3.put_object(Bucket=bucket, Key="x", Body=body, ChecksumAlgorithm="CRC32")
    assert put["ETag"].endswith('-1"') and len(put["ETag"]) == 36, put["ETag"]
    put = s3.s3.put_object(Bucket=bucket, Key="y", Body=body, ContentMD5=base64.b64encode(hashlib.md5(body).digest()).decode())
    equal(put["ETag"], f'"{hashlib.md5(body).hexdigest()}"')
    equal(status_of(s3.s3.get_object(Bucket=bucket, Key="x", IfMatch=s3.s3.head_object(Bucket=bucket, Key="x")["ETag"])), 200)
