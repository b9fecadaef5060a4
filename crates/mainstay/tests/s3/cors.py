"""Pages of other origins."""

from case import case, each, equal, refused

RULE = {"AllowedOrigins": ["https://*.example.com"], "AllowedMethods": ["GET", "PUT"], "AllowedHeaders": ["x-amz-meta-*"],
        "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 300}


def with_cors(s3, *rules):
    bucket = s3.filled("x")
    s3.s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": list(rules)})
    return bucket


def preflight(s3, bucket, origin="https://a.example.com", method="PUT", headers=None, key="x"):
    asked = {"origin": origin, "access-control-request-method": method}
    if headers:
        asked["access-control-request-headers"] = headers
    return s3.ask("OPTIONS", f"/{bucket}/{key}", headers=asked)


@case
def rules_are_put_told_and_deleted(s3):
    bucket = s3.bucket()
    refused(404, "NoSuchCORSConfiguration", s3.s3.get_bucket_cors, Bucket=bucket)
    s3.s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [RULE]})
    equal(s3.s3.get_bucket_cors(Bucket=bucket)["CORSRules"], [RULE])
    s3.s3.delete_bucket_cors(Bucket=bucket)
    refused(404, "NoSuchCORSConfiguration", s3.s3.get_bucket_cors, Bucket=bucket)


@case
def a_browser_asks_beforehand(s3):
    bucket = with_cors(s3, RULE)
    answer = preflight(s3, bucket, headers="x-amz-meta-color, X-Amz-Meta-Size")
    equal(answer.status, 200, repr(answer))
    equal(answer.headers["access-control-allow-origin"], "https://a.example.com")
    assert "PUT" in answer.headers["access-control-allow-methods"]
    equal(answer.headers["access-control-max-age"], "300")
    allowed = answer.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
    equal(sorted(allowed), ["x-amz-meta-color", "x-amz-meta-size"])
    assert "Origin" in answer.headers["vary"]


@each(
    {"origin": "https://example.org"}, {"method": "DELETE"}, {"headers": "authorization"}, {"origin": "https://example.com.evil"},
    {"origin": "null"},
)
def what_no_rule_allows_is_refused(s3, asked):
    bucket = with_cors(s3, RULE)
    answer = preflight(s3, bucket, **asked)
    equal((answer.status, answer.code), (403, "AccessForbidden"))
    assert "access-control-allow-origin" not in answer.headers


@case
def without_rules_nothing_is_allowed(s3):
    equal(preflight(s3, s3.bucket()).status, 403)
    assert preflight(s3, s3.name()).status in (403, 404)
    equal(s3.ask("OPTIONS", f"/{s3.bucket()}/x").status, 400)


@case
def answers_carry_what_browsers_look_for(s3):
    bucket = with_cors(s3, RULE)
    answer = s3.main.ask("GET", f"/{bucket}/x", headers={"origin": "https://a.example.com"})
    equal((answer.status, answer.headers["access-control-allow-origin"]), (200, "https://a.example.com"))
    equal(answer.headers["access-control-expose-headers"], "ETag")
    answer = s3.main.ask("GET", f"/{bucket}/x", headers={"origin": "https://example.org"})
    equal((answer.status, answer.headers.get("access-control-allow-origin")), (200, None))
    # An error that a page may not read would be a riddle to whoever wrote it.
    answer = s3.ask("GET", f"/{bucket}/nothing", headers={"origin": "https://a.example.com"})
    equal((answer.status, answer.headers["access-control-allow-origin"]), (403, "https://a.example.com"))


@case
def any_origin_is_a_star_without_credentials(s3):
    bucket = with_cors(s3, {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]})
    answer = s3.main.ask("GET", f"/{bucket}/x", headers={"origin": "https://anywhere.example"})
    equal(answer.headers["access-control-allow-origin"], "*")
    assert "access-control-allow-credentials" not in answer.headers


@case
def the_first_rule_that_fits_answers(s3):
    bucket = with_cors(s3, {"AllowedOrigins": ["https://one.example"], "AllowedMethods": ["GET"]},
                       {"AllowedOrigins": ["https://*"], "AllowedMethods": ["DELETE"], "MaxAgeSeconds": 7})
    answer = preflight(s3, bucket, "https://one.example", "DELETE")
    equal((answer.status, answer.headers["access-control-max-age"]), (200, "7"))


@each(
    {"AllowedOrigins": ["*"], "AllowedMethods": ["FLY"]},
    {"AllowedOrigins": ["https://*.*.com"], "AllowedMethods": ["GET"]},
    {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"], "AllowedHeaders": ["x-*-y-*"]},
)
def rules_that_are_none_are_refused(s3, rule):
    bucket = s3.bucket()
    told = s3.s3.exceptions.ClientError
    try:
        s3.s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
        raise AssertionError("it should have been refused")
    except told as error:
        equal(error.response["ResponseMetadata"]["HTTPStatusCode"], 400)
