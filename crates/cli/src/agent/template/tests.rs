use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::ExposeSecret;
use serde_json::json;

use super::{Query, Rendered, Template, object};

fn query(path: &str, version: Option<u64>) -> Query {
    Query { path: path.parse().unwrap(), version }
}

/// What a template gives where `secret/app` and version 2 of it are known.
fn check(text: &str) -> Result<String, String> {
    let template = Template { file: "app.j2".into(), text: text.to_owned() };
    let data =
        json!({"password": "<p&w>\"", "port": 5432, "hosts": ["a", "b"], "tls": true, "none": null, "db-user": "u"});
    let old = json!({"password": "old"});
    let known = BTreeMap::from([
        (query("secret/app", None), object(data.as_object().unwrap())),
        (query("secret/app", Some(2)), object(old.as_object().unwrap())),
    ]);
    match template.check().and_then(|()| template.render(&Arc::new(known))) {
        Ok(Rendered::Text(text, _)) => Ok(text.expose_secret().to_owned()),
        Ok(Rendered::Missing(query)) => Err(format!("missing {query}")),
        Err(failure) => Err(failure.to_string()),
    }
}

#[test]
fn secrets_are_written_as_they_are() {
    for (text, expected) in [
        ("{{ secret('secret/app').password }}\n", "<p&w>\"\n"),
        ("{% set app = secret('/secret/app') %}{{ app['db-user'] }}:{{ app.port }}", "u:5432"),
        ("{{ secret('secret/app', version=2).password }}", "old"),
        ("{% for host in secret('secret/app').hosts %}{{ host }},{% endfor %}", "a,b,"),
        ("{{ secret('secret/app').none }} {{ secret('secret/app').tls }}", "null true"),
        ("{{ secret('secret/app').missing | default('d') }}", "d"),
        ("{{ secret('secret/app').hosts | tojson }}", r#"["a", "b"]"#),
        ("{% for key in secret('secret/app') %}{{ key }} {% endfor %}", "db-user hosts none password port tls "),
    ] {
        assert_eq!(check(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_not_known_yet_is_asked_for() {
    assert_eq!(check("{{ secret('a/b').x }}"), Err("missing a/b".to_owned()));
    assert_eq!(
        check("{{ secret('secret/app', version=1).x | default('x') }}"),
        Err("missing secret/app (version 1)".into())
    );
}

fn undefined(line: usize, expression: &str) -> String {
    let said = check_error(&format!("{}{{{{ {expression} }}}}", "\n".repeat(line - 1)));
    assert!(said.starts_with(&format!("template app.j2, line {line}, failed: undefined value")), "{said}");
    said
}

fn check_error(text: &str) -> String {
    check(text).unwrap_err()
}

#[test]
fn a_missing_key_names_template_line_and_key() {
    let said = undefined(3, "secret('secret/app').pasword");
    assert!(said.contains("pasword"), "{said}");
    assert!(undefined(1, "secret('secret/app').nothing.below").contains("nothing"));
    assert!(undefined(2, "nobody").contains("nobody"));
}

#[test]
fn mistakes_are_placed_and_values_not_repeated() {
    for (text, said) in [
        ("a\n{{ secret( }}", "line 2, failed: syntax error"),
        ("{{ secrte('x') }}", "line 1, failed: unknown function"),
        ("{{ secret('a//b') }}", "no part of a path may be empty"),
        ("{{ secret() }}", "failed: missing argument"),
        ("{{ secret('secret/app', versoin=2) }}", "the only option is version"),
        ("{% include 'other' %}", "failed: "),
        ("{{ secret('secret/app').password | int }}", "failed: "),
        ("{{ secret('secret/app').password + 1 }}", "failed: "),
        ("{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}", "failed: "),
    ] {
        let error = check_error(text);
        assert!(error.contains(said) && !error.contains("p&w"), "{text}: {error}");
    }
}
