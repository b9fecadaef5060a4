//! Policies as clients write them, and what they mean.

use mainstay_types::{InstanceId, Timestamp};

use super::{Action, Caller, Context, Decision, Policy, Request, allows};
use crate::{BucketName, ObjectKey, PublicAccessBlock, Settings, Tags};

const NOW: Timestamp = Timestamp::from_micros(1_795_262_400_000_000); // 2026-11-21T12:00:00Z

/// A request by somebody else's access key, over plain HTTP, from 192.0.2.7.
struct Asked {
    action: Action,
    key: Option<ObjectKey>,
    anonymous: bool,
    owner: bool,
    context: Context<'static>,
}

impl Asked {
    fn new(action: Action, key: &str) -> Self {
        let context = Context {
            source_ip: "192.0.2.7".parse().unwrap(),
            secure: false,
            now: NOW,
            headers: &[],
            prefix: None,
            delimiter: None,
            max_keys: None,
            version_id: None,
            existing_tags: None,
            request_tags: None,
        };
        let key = (!key.is_empty()).then(|| key.parse().unwrap());
        Self { action, key, anonymous: false, owner: false, context }
    }

    fn with(mut self, change: impl FnOnce(&mut Context<'static>)) -> Self {
        change(&mut self.context);
        self
    }

    fn ask<T>(&self, answer: impl FnOnce(&Request<'_>) -> T) -> T {
        let instance = InstanceId::from_random(if self.owner { 1 } else { 2 });
        let caller = if self.anonymous {
            Caller::Anonymous
        } else {
            Caller::Account { instance: &instance, access_key: "b_330000000000_4" }
        };
        let bucket = bucket();
        answer(&Request {
            caller,
            action: self.action,
            bucket: &bucket,
            key: self.key.as_ref(),
            context: &self.context,
        })
    }
}

fn bucket() -> BucketName {
    "photos".parse().unwrap()
}

fn get(key: &str) -> Asked {
    Asked::new(Action::GetObject, key)
}

/// A policy of one statement that allows; `rest` are further members, or others in place of the usual ones.
fn policy(rest: &str) -> Policy {
    Policy::parse(&document("Allow", rest), &bucket()).unwrap_or_else(|error| panic!("{rest}: {error}"))
}

fn document(effect: &str, rest: &str) -> String {
    let mut members = vec![format!("\"Effect\": \"{effect}\"")];
    for (name, usual) in
        [("Principal", "\"*\""), ("Action", "\"s3:GetObject\""), ("Resource", "\"arn:aws:s3:::photos/*\"")]
    {
        if !rest.contains(&format!("\"{name}\"")) && !rest.contains(&format!("\"Not{name}\"")) {
            members.push(format!("\"{name}\": {usual}"));
        }
    }
    if !rest.is_empty() {
        members.push(rest.to_owned());
    }
    format!("{{\"Version\": \"2012-10-17\", \"Statement\": [{{{}}}]}}", members.join(", "))
}

fn decide(rest: &str, asked: &Asked) -> Decision {
    asked.ask(|request| policy(rest).decide(request))
}

#[test]
fn principals_actions_and_resources_are_matched() {
    use Decision::{Allow, Silent};
    let list = || Asked::new(Action::ListBucket, "");
    let anonymous = || Asked { anonymous: true, ..get("a") };
    let cases = [
        ("", get("a/b"), Allow),
        ("", anonymous(), Allow),
        ("", list(), Silent),
        ("\"Principal\": {\"AWS\": \"*\"}", anonymous(), Allow),
        ("\"Principal\": {\"AWS\": \"i-200000000000\"}", get("a"), Allow),
        ("\"Principal\": {\"AWS\": \"i-200000000000\"}", anonymous(), Silent),
        ("\"Principal\": {\"AWS\": [\"i-500000000000\", \"arn:aws:iam::i-200000000000:root\"]}", get("a"), Allow),
        ("\"Principal\": {\"AWS\": \"arn:aws:iam::i-200000000000:user/b_330000000000_4\"}", get("a"), Allow),
        ("\"Principal\": {\"AWS\": \"arn:aws:iam::i-500000000000:user/b_330000000000_4\"}", get("a"), Silent),
        ("\"Principal\": {\"AWS\": \"arn:aws:iam:::user/i-200000000000\"}", get("a"), Allow),
        ("\"Principal\": {\"AWS\": \"b_330000000000_4\"}", get("a"), Allow),
        ("\"Principal\": {\"AWS\": \"b_330000000000_3\"}", get("a"), Silent),
        // A binding, whichever access key it has now.
        ("\"Principal\": {\"AWS\": \"b-330000000000\"}", get("a"), Allow),
        ("\"Principal\": {\"CanonicalUser\": \"i-200000000000\"}", get("a"), Allow),
        ("\"NotPrincipal\": {\"AWS\": \"i-200000000000\"}", get("a"), Silent),
        ("\"NotPrincipal\": {\"AWS\": \"i-200000000000\"}", anonymous(), Allow),
        ("\"Action\": \"s3:Get*\"", get("a"), Allow),
        ("\"Action\": \"S3:getobject\"", get("a"), Allow),
        ("\"Action\": \"*\"", get("a"), Allow),
        ("\"Action\": [\"s3:PutObject\", \"s3:Get?bject\"]", get("a"), Allow),
        ("\"NotAction\": \"s3:GetObject\"", get("a"), Silent),
        ("\"NotAction\": \"s3:PutObject\"", get("a"), Allow),
        ("\"Resource\": \"*\"", get("a"), Allow),
        ("\"Resource\": \"arn:aws:s3:::*\"", get("a"), Allow),
        ("\"Resource\": \"arn:aws:s3::*:photos/*\"", get("a"), Allow),
        ("\"Resource\": \"arn:aws:s3:::photos\"", get("a"), Silent),
        ("\"Resource\": \"arn:aws:s3:::photos/public/*\"", get("private/a"), Silent),
        ("\"Resource\": \"arn:aws:s3:::photos/*.jpg\"", get("x/y.jpg"), Allow),
        ("\"NotResource\": \"arn:aws:s3:::photos/private/*\"", get("private/a"), Silent),
        ("\"NotResource\": \"arn:aws:s3:::photos/private/*\"", get("public/a"), Allow),
        (
            "\"Action\": \"s3:ListBucket\", \"Resource\": [\"arn:aws:s3:::photos\", \"arn:aws:s3:::photos/*\"]",
            list(),
            Allow,
        ),
    ];
    for (rest, asked, expected) in cases {
        assert_eq!(decide(rest, &asked), expected, "{rest}");
    }
}

#[test]
fn conditions_are_asked() {
    use Decision::{Allow, Silent};
    let tagged = |pair: &'static [(&'static str, &'static str)]| {
        let tags = Tags::of_object(pair.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))).unwrap();
        get("a").with(|context| context.existing_tags = Some(Box::leak(Box::new(tags))))
    };
    let headers = |headers: &'static [(&'static str, &'static str)]| get("a").with(|context| context.headers = headers);
    let listed = |prefix: &'static str| get("a").with(|context| context.prefix = Some(prefix));
    let from = |address: &'static str| get("a").with(|context| context.source_ip = address.parse().unwrap());
    let cases = [
        ("\"StringEquals\": {\"s3:ExistingObjectTag/security\": \"public\"}", tagged(&[("security", "public")]), Allow),
        (
            "\"StringEquals\": {\"s3:ExistingObjectTag/security\": \"public\"}",
            tagged(&[("security", "private")]),
            Silent,
        ),
        (
            "\"StringEquals\": {\"s3:ExistingObjectTag/security\": \"public\"}",
            tagged(&[("security1", "public")]),
            Silent,
        ),
        ("\"StringEquals\": {\"s3:ExistingObjectTag/security\": \"public\"}", get("a"), Silent),
        (
            "\"StringLike\": {\"s3:x-amz-copy-source\": \"photos/public/*\"}",
            headers(&[("x-amz-copy-source", "photos/public/a")]),
            Allow,
        ),
        (
            "\"StringLike\": {\"s3:x-amz-copy-source\": \"photos/public/*\"}",
            headers(&[("x-amz-copy-source", "photos/x/a")]),
            Silent,
        ),
        ("\"StringEquals\": {\"s3:x-amz-metadata-directive\": \"COPY\"}", headers(&[]), Silent),
        ("\"StringNotEquals\": {\"s3:x-amz-acl\": \"public-read\"}", headers(&[]), Allow),
        ("\"StringNotEquals\": {\"s3:x-amz-acl\": \"public-read\"}", headers(&[("x-amz-acl", "public-read")]), Silent),
        ("\"StringEqualsIgnoreCase\": {\"aws:UserAgent\": \"Curl\"}", headers(&[("user-agent", "cURL")]), Allow),
        ("\"StringLikeIfExists\": {\"aws:Referer\": \"http://www.example.com/*\"}", headers(&[]), Allow),
        (
            "\"StringLikeIfExists\": {\"aws:Referer\": \"http://www.example.com/*\"}",
            headers(&[("referer", "http://example.com")]),
            Silent,
        ),
        ("\"Null\": {\"s3:x-amz-server-side-encryption\": \"true\"}", headers(&[]), Allow),
        (
            "\"Null\": {\"s3:x-amz-server-side-encryption\": true}",
            headers(&[("x-amz-server-side-encryption", "AES256")]),
            Silent,
        ),
        ("\"Null\": {\"s3:if-match\": \"false\"}", headers(&[("if-match", "*")]), Allow),
        ("\"StringEquals\": {\"s3:prefix\": [\"a/\", \"b/\"]}", listed("b/"), Allow),
        ("\"StringEquals\": {\"s3:prefix\": [\"a/\", \"b/\"]}", listed("c/"), Silent),
        ("\"StringNotEquals\": {\"s3:prefix\": [\"a/\", \"b/\"]}", listed("b/"), Silent),
        (
            "\"NumericLessThanEquals\": {\"s3:max-keys\": 100}",
            get("a").with(|context| context.max_keys = Some(100)),
            Allow,
        ),
        (
            "\"NumericLessThanEquals\": {\"s3:max-keys\": \"100\"}",
            get("a").with(|context| context.max_keys = Some(101)),
            Silent,
        ),
        ("\"IpAddress\": {\"aws:SourceIp\": [\"198.51.100.0/24\", \"192.0.2.0/24\"]}", from("192.0.2.7"), Allow),
        ("\"IpAddress\": {\"aws:SourceIp\": \"192.0.2.7\"}", from("::ffff:192.0.2.7"), Allow),
        ("\"IpAddress\": {\"aws:SourceIp\": \"2001:db8::/32\"}", from("2001:db8::7"), Allow),
        ("\"NotIpAddress\": {\"aws:SourceIp\": \"192.0.2.0/24\"}", from("192.0.2.7"), Silent),
        ("\"Bool\": {\"aws:SecureTransport\": \"true\"}", get("a"), Silent),
        ("\"Bool\": {\"aws:SecureTransport\": false}", get("a"), Allow),
        ("\"DateLessThan\": {\"aws:CurrentTime\": \"2026-11-21T12:00:01Z\"}", get("a"), Allow),
        ("\"DateLessThan\": {\"aws:CurrentTime\": \"2026-11-21\"}", get("a"), Silent),
        ("\"NumericGreaterThan\": {\"aws:EpochTime\": \"1795262399\"}", get("a"), Allow),
        ("\"StringEquals\": {\"aws:PrincipalAccount\": \"i-200000000000\"}", get("a"), Allow),
        (
            "\"StringEquals\": {\"aws:PrincipalAccount\": \"i-200000000000\"}",
            Asked { anonymous: true, ..get("a") },
            Silent,
        ),
        // All conditions must hold.
        ("\"StringEquals\": {\"s3:prefix\": \"b/\", \"s3:delimiter\": \"/\"}", listed("b/"), Silent),
        ("\"ForAllValues:StringEquals\": {\"s3:RequestObjectTagKeys\": \"a\"}", get("a"), Allow),
        ("\"ForAnyValue:StringEquals\": {\"s3:RequestObjectTagKeys\": \"a\"}", get("a"), Silent),
        (
            "\"NumericLessThan\": {\"s3:object-lock-remaining-retention-days\": \"3\"}",
            headers(&[("x-amz-object-lock-retain-until-date", "2026-11-23T00:00:00Z")]),
            Allow,
        ),
    ];
    for (condition, asked, expected) in cases {
        assert_eq!(decide(&format!("\"Condition\": {{{condition}}}"), &asked), expected, "{condition}");
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    let condition = |text: &str| document("Allow", &format!("\"Condition\": {text}"));
    let cases = [
        (String::new(), "EOF"),
        ("[]".to_owned(), "invalid"),
        ("{\"Version\": \"2012-10-17\", \"Statement\": []}".to_owned(), "no statement"),
        ("{\"Version\": \"2013-10-17\", \"Statement\": {\"Effect\": \"Allow\"}}".to_owned(), "version"),
        (document("allow", ""), "effect"),
        (document("Allow", "\"Principle\": \"*\""), "unknown field"),
        (document("Allow", "\"Principal\": \"x\""), "principal"),
        (document("Allow", "\"Principal\": {\"Service\": \"s3.amazonaws.com\"}"), "Service"),
        (document("Allow", "\"Principal\": {\"AWS\": \"\"}"), "principal"),
        (document("Allow", "\"Principal\": {\"AWS\": \"arn:aws:iam:::root\"}"), "principal"),
        (document("Allow", "\"Principal\": {\"AWS\": []}"), "nobody"),
        (document("Allow", "\"Principal\": \"*\", \"NotPrincipal\": {\"AWS\": \"x\"}"), "one of `Principal`"),
        (document("Allow", "\"Action\": \"s3:Fly\""), "no action"),
        (document("Allow", "\"Action\": \"sqs:SendMessage\""), "none of S3's"),
        (document("Allow", "\"Action\": []"), "names nothing"),
        (document("Allow", "\"Action\": \"*\", \"NotAction\": \"s3:PutObject\""), "one of `Action`"),
        (document("Allow", "\"Resource\": \"arn:aws:s3:::others/*\""), "not in the bucket photos"),
        (document("Allow", "\"Resource\": \"photos/*\""), "does not begin"),
        (document("Allow", "\"Resource\": \"arn:aws:s3:::photos/${aws:username}/*\""), "variable"),
        (condition("{\"StringIs\": {\"s3:prefix\": \"a\"}}"), "operator"),
        (condition("{\"StringEquals\": {\"s3:color\": \"red\"}}"), "condition key"),
        (condition("{\"StringEquals\": {\"s3:prefix\": []}}"), "no value"),
        (condition("{\"StringEquals\": {\"s3:prefix\": {\"a\": 1}}}"), "Scalar"),
        (condition("{\"IpAddress\": {\"aws:SourceIp\": \"300.0.0.1\"}}"), "address or network"),
        (condition("{\"Bool\": {\"aws:SecureTransport\": \"yes\"}}"), "`true` or `false`"),
        (condition("{\"NumericEquals\": {\"s3:max-keys\": \"many\"}}"), "number"),
        (condition("{\"DateLessThan\": {\"aws:CurrentTime\": \"soon\"}}"), "time"),
        (condition("{\"ForNoValue:StringEquals\": {\"s3:prefix\": \"a\"}}"), "qualifier"),
        // Reading either one would forget the other.
        (condition("{\"Bool\": {\"aws:SecureTransport\": true}, \"Bool\": {\"aws:SecureTransport\": false}}"), "twice"),
        (condition("{\"StringEquals\": {\"s3:prefix\": \"a\", \"s3:prefix\": \"b\"}}"), "twice"),
        (document("Allow", &format!("\"Sid\": \"{}\"", "x".repeat(21_000))), "20480 are allowed"),
    ];
    for (text, reason) in cases {
        let error = Policy::parse(&text, &bucket()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn a_denial_goes_first() {
    let text = r#"{"Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::photos/*"},
        {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::photos/*",
         "Condition": {"StringLike": {"s3:x-amz-acl": "public*"}}}]}"#;
    let policy = Policy::parse(text, &bucket()).unwrap();
    let put = Asked::new(Action::PutObject, "a");
    assert_eq!(put.ask(|request| policy.decide(request)), Decision::Allow);
    let public = put.with(|context| context.headers = &[("x-amz-acl", "public-read")]);
    assert_eq!(public.ask(|request| policy.decide(request)), Decision::Deny);
}

#[test]
fn an_owner_may_what_is_not_denied_and_never_locks_himself_out() {
    let owner = InstanceId::from_random(1);
    let settings = |policy| Settings { policy, ..Settings::default() };
    let may = |settings: &Settings, asked: &Asked| asked.ask(|request| allows(settings, &owner, request));
    let own = |action, key: &str| Asked { owner: true, ..Asked::new(action, key) };
    let none = settings(None);
    assert!(may(&none, &own(Action::GetObject, "a")));
    assert!(!may(&none, &get("a")));
    assert!(!may(&none, &Asked { anonymous: true, ..get("a") }));

    let all = "\"Action\": \"*\", \"Resource\": [\"arn:aws:s3:::photos\", \"arn:aws:s3:::photos/*\"]";
    let closed = settings(Some(Policy::parse(&document("Deny", all), &bucket()).unwrap()));
    assert!(!may(&closed, &own(Action::GetObject, "a")));
    for action in [Action::GetBucketPolicy, Action::PutBucketPolicy, Action::DeleteBucketPolicy] {
        assert!(may(&closed, &own(action, "")), "{action}");
        assert!(!may(&closed, &Asked::new(action, "")), "{action}");
    }

    let mut open = settings(Some(policy("")));
    assert!(may(&open, &get("a")));
    open.public_access_block =
        Some(PublicAccessBlock { restrict_public_buckets: true, ..PublicAccessBlock::default() });
    assert!(!may(&open, &get("a")) && may(&open, &own(Action::GetObject, "a")));
}

#[test]
fn a_policy_is_public_where_it_lets_anybody_in() {
    let network = |network: &str| format!("\"Condition\": {{\"IpAddress\": {{\"aws:SourceIp\": \"{network}\"}}}}");
    let cases = [
        ("".to_owned(), true),
        ("\"Principal\": {\"AWS\": \"*\"}".to_owned(), true),
        ("\"NotPrincipal\": {\"AWS\": \"arn:aws:iam::s3tenant1:root\"}".to_owned(), true),
        ("\"Principal\": {\"AWS\": \"arn:aws:iam::s3tenant1:root\"}".to_owned(), false),
        (network("10.0.0.0/32"), false),
        (network("0.0.0.0/0"), true),
        ("\"Condition\": {\"StringEquals\": {\"s3:prefix\": \"a\"}}".to_owned(), true),
        ("\"Condition\": {\"StringEquals\": {\"aws:PrincipalAccount\": \"i-200000000000\"}}".to_owned(), false),
    ];
    for (rest, public) in cases {
        assert_eq!(policy(&rest).is_public(), public, "{rest}");
    }
    assert!(!Policy::parse(&document("Deny", ""), &bucket()).unwrap().is_public());
    assert!(!policy("").asks_for_existing_tags());
    assert!(policy("\"Condition\": {\"StringEquals\": {\"s3:ExistingObjectTag/a\": \"b\"}}").asks_for_existing_tags());
}

#[test]
fn every_action_can_be_named() {
    for action in Action::ALL {
        policy(&format!("\"Action\": \"{action}\""));
    }
}
