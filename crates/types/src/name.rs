//! Names that people choose: DNS labels (RFC 1123, section 2.1).

use crate::text::text_type;

const DNS_LABEL: &str =
    "use 1 to 63 lowercase letters, digits and '-', beginning and ending with a letter or digit (RFC 1123)";

fn dns_label(text: &str) -> Result<(), &'static str> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = (1..=63).contains(&text.len()) && text.bytes().all(inner);
    if fits && !text.starts_with('-') && !text.ends_with('-') { Ok(()) } else { Err(DNS_LABEL) }
}

text_type!(
    /// What a consumer calls an instance. Unique within a tenant.
    InstanceName, "instance name", dns_label
);
text_type!(
    /// The isolation boundary that owns instances, bindings and tokens.
    TenantName, "tenant name", dns_label
);
text_type!(
    /// A named set of a tenant's instances: `dev`, `staging`, `prod`.
    EnvironmentName, "environment name", dns_label
);
text_type!(
    /// The application that a binding is made for.
    ConsumerName, "consumer name", dns_label
);
text_type!(
    /// A running deployment of an engine: `postgresql-shared`, `postgresql-4k7zq2m9xw1c`.
    ClusterName, "cluster name", dns_label
);
text_type!(
    /// The machine that a cluster is placed on.
    NodeName, "node name", dns_label
);

impl NodeName {
    /// The machine that the control plane itself runs on.
    pub fn local() -> Self {
        Self("local".into())
    }
}

impl InstanceName {
    /// The name that no other sorts before.
    pub fn first() -> Self {
        Self("0".into())
    }
}

impl TenantName {
    /// The name that no other sorts before.
    pub fn first() -> Self {
        Self("0".into())
    }

    /// The tenant of whoever names none.
    pub fn default_tenant() -> Self {
        Self("default".into())
    }
}

impl EnvironmentName {
    /// The environment of an instance that names none.
    pub fn default_environment() -> Self {
        Self("default".into())
    }
}

impl ClusterName {
    /// The one cluster of an engine that instances of plan `shared` live on.
    pub fn shared(engine: &crate::EngineName) -> Self {
        Self(format!("{engine}-shared").into())
    }

    /// The cluster that belongs to one instance of plan `dedicated`.
    pub fn dedicated(engine: &crate::EngineName, instance: &crate::InstanceId) -> Self {
        Self(format!("{engine}-{}", instance.suffix()).into())
    }

    /// The cluster that one instance of plan `dedicated` is moved to. The number tells moves apart, so that no name comes
    /// again while something is left of what had it.
    pub fn moved_to(engine: &crate::EngineName, instance: &crate::InstanceId, number: crate::Sequence) -> Self {
        Self(format!("{engine}-{}-{number}", instance.suffix()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::InstanceName;

    #[test]
    fn dns_labels() {
        for good in ["a", "0", "shop", "shop-2", "a--b", &"x".repeat(63)] {
            assert_eq!(good.parse::<InstanceName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "Shop", "a_b", "a.b", "ä", "a b", "a/../b", "a\0", &"x".repeat(64)] {
            assert!(bad.parse::<InstanceName>().is_err(), "{bad:?} should be refused");
        }
    }

    #[test]
    fn the_error_names_the_thing_and_the_rule() {
        let error = "Shop".parse::<InstanceName>().unwrap_err().to_string();
        assert!(error.starts_with("instance name \"Shop\" is not valid: use 1 to 63 lowercase"), "{error}");
        let long = "X".repeat(10_000).parse::<InstanceName>().unwrap_err();
        assert!(long.value.chars().count() <= 81);
    }
}
