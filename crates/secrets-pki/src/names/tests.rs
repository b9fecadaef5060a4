use proptest::prelude::{any, prop_assert, proptest};
use proptest::sample::select;

use super::{AskedName, Rules, hostname};

const STRICT: Rules<'_> = Rules {
    allowed_domains: &[],
    allow_bare_domains: false,
    allow_subdomains: false,
    allow_glob_domains: false,
    allow_wildcard_certificates: true,
    allow_any_name: false,
    allow_localhost: false,
    enforce_hostnames: true,
};

fn allowed(name: &str, rules: &Rules<'_>) -> bool {
    AskedName::parse(name).is_some_and(|name| name.is_allowed(rules))
}

#[test]
fn each_kind_of_name_has_its_own_switch() {
    let domains = ["example.com".to_owned()];
    let closed = Rules { allowed_domains: &domains, ..STRICT };
    let bare = Rules { allow_bare_domains: true, ..closed };
    let sub = Rules { allow_subdomains: true, ..closed };
    // name, closed, bare, sub
    let table = [
        ("example.com", false, true, false),
        ("EXAMPLE.com", false, true, false),
        ("a.example.com", false, false, true),
        ("A.Example.COM", false, false, true),
        ("a.b.example.com", false, false, true),
        ("*.example.com", false, false, true),
        ("a*.example.com", false, false, true),
        ("*.a.example.com", false, false, true),
        ("user@example.com", false, true, false),
        ("user@a.example.com", false, false, true),
        ("bücher.example.com", false, false, true),
    ];
    for (name, in_closed, in_bare, in_sub) in table {
        assert_eq!(allowed(name, &closed), in_closed, "{name} closed");
        assert_eq!(allowed(name, &bare), in_bare, "{name} bare");
        assert_eq!(allowed(name, &sub), in_sub, "{name} sub");
    }
    assert!(!allowed("*.example.com", &Rules { allow_wildcard_certificates: false, allow_any_name: true, ..sub }));
}

#[test]
fn attacks_get_nowhere() {
    let domains = ["example.com".to_owned()];
    let open = Rules {
        allowed_domains: &domains,
        allow_bare_domains: true,
        allow_subdomains: true,
        allow_glob_domains: true,
        ..STRICT
    };
    let attacks = [
        "*.example.com.evil.org",
        "example.com.evil.org",
        "example.com\0.evil.org",
        "evil.org\0.example.com",
        "evil.org\n.example.com",
        "evilexample.com",
        ".example.com",
        "..example.com",
        "a..example.com",
        "example.com.",
        "a.example.com.",
        "*",
        "*.com",
        "*.*.example.com",
        "a.*.example.com",
        "**.example.com",
        "*@example.com",
        "user@evil.org@example.com",
        "@example.com",
        "user@",
        "user@*.example.com",
        "evil.org/.example.com",
        "evil.org,.example.com",
        "evil.org .example.com",
        "-a.example.com",
        "a-.example.com",
        "a_b.example.com",
        // A Cyrillic е, and a Kelvin sign where a role allows none.
        "\u{435}xample.com",
        "a.\u{435}xample.com",
        "ex\u{430}mple.com",
        "xn--xample-2of.com",
        "xn--a.example.com",
        "example.com:443",
        "",
    ];
    for name in attacks {
        assert!(!allowed(name, &open), "{name:?}");
    }
    let long = format!("{}.example.com", "a".repeat(64));
    assert!(!allowed(&long, &open));
    // Control characters stay out even where host names are not enforced.
    let loose = Rules { enforce_hostnames: false, allow_any_name: true, ..open };
    assert!(!allowed("evil.org\0.example.com", &loose) && allowed("Vault integration tests", &loose));
}

#[test]
fn other_letters_for_the_same_host_become_that_host() {
    // A full-width letter and an ideographic full stop mean the ASCII ones to IDNA; so says the certificate then.
    let name = AskedName::parse("ｗｗｗ。example.com").unwrap();
    assert_eq!(name.certified().as_deref(), Some("www.example.com"));
    assert_eq!(hostname("BÜCHER.example").as_deref(), Some("xn--bcher-kva.example"));
    assert_eq!(AskedName::parse("*.Example.com").unwrap().certified().as_deref(), Some("*.example.com"));
    assert_eq!(AskedName::parse("Vault integration tests").unwrap().certified(), None);
}

#[test]
fn localhost_has_its_switch_and_globs_match_whole_names() {
    let local = Rules { allow_localhost: true, ..STRICT };
    assert!(allowed("localhost", &local) && allowed("root@localhost", &local) && !allowed("a.localhost", &local));
    assert!(!allowed("*.localhost", &local) && !allowed("localhost", &STRICT));
    assert!(allowed("a.localhost", &Rules { allow_subdomains: true, ..local }));

    let domains = ["ftp*.example.com".to_owned()];
    let globs = Rules { allowed_domains: &domains, allow_glob_domains: true, ..STRICT };
    assert!(allowed("ftp1.example.com", &globs) && !allowed("www.example.com", &globs));
    assert!(!allowed("ftp1.example.com.evil.org", &globs));
    assert!(!allowed("ftp1.example.com", &Rules { allow_glob_domains: false, ..globs }));
    let empty = [String::new(), ".".to_owned()];
    assert!(!allowed("a.evil.org", &Rules { allowed_domains: &empty, allow_subdomains: true, ..STRICT }));
}

/// What a TLS client makes of it: some label sequence below a domain, written out without anything of ours.
fn reference(name: &str, domains: &[&str]) -> bool {
    let host = name.rsplit('@').next().unwrap_or(name);
    let labels: Vec<&str> = host.split('.').collect();
    domains.iter().any(|domain| {
        let wanted: Vec<&str> = domain.split('.').collect();
        labels.len() >= wanted.len() && labels[labels.len() - wanted.len()..] == wanted[..]
    })
}

proptest! {
    #[test]
    fn no_certified_name_is_outside_the_allowed_domains(
        start in "[a-cA-C.*@_ \u{0}xn。ｅéе-]{0,12}",
        end in select(&["", "example.com", ".example.com", "EXAMPLE.com.", "ехample.com", ".example.com.evil.org"][..]),
        bare in any::<bool>(), sub in any::<bool>(), glob in any::<bool>(), enforce in any::<bool>(),
    ) {
        let domains = ["example.com".to_owned(), "b.c".to_owned()];
        let rules = Rules {
            allowed_domains: &domains, allow_bare_domains: bare, allow_subdomains: sub, allow_glob_domains: glob,
            enforce_hostnames: enforce, ..STRICT
        };
        let name = AskedName::parse(&format!("{start}{end}"));
        if let Some(certified) = name.filter(|name| name.is_allowed(&rules)).and_then(|name| name.certified()) {
            prop_assert!(reference(&certified, &["example.com", "b.c"]), "{}", certified);
            prop_assert!(certified.is_ascii() && !certified.contains("..") && !certified.ends_with('.'));
        }
    }
}
