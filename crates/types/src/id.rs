//! Ids that the layer makes: a letter that says what it is, and 60 random bits in Crockford's base 32.
//!
//! They are short enough to be typed and say nothing about the consumer, so that they can stand in names that
//! other tenants may see (databases and roles of a shared cluster). A collision is refused when the command that
//! carries the id is decided, and the caller draws another.

use crate::text::text_type;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 12;

fn has_form(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|suffix| suffix.len() == LENGTH && suffix.bytes().all(|byte| ALPHABET.contains(&byte)))
}

macro_rules! id_type {
    ($(#[$meta:meta])* $name:ident, $what:literal, $prefix:literal, $check:ident) => {
        fn $check(text: &str) -> Result<(), &'static str> {
            if has_form(text, $prefix) {
                Ok(())
            } else {
                Err(concat!("it begins with '", $prefix, "-' and 12 letters or digits follow, as in the listing"))
            }
        }

        text_type!($(#[$meta])* $name, $what, $check);

        impl $name {
            /// The id made of the lowest 60 of 64 bits, which the caller draws from the operating system.
            pub fn from_random(bits: u64) -> Self {
                let suffix = (0..LENGTH).map(|place| char::from(ALPHABET[(bits >> (5 * place)) as usize % 32]));
                Self(format!("{}-{}", $prefix, suffix.collect::<String>()).into())
            }

            /// The id without the letter and the dash: fit for the names of databases and roles.
            pub fn suffix(&self) -> &str {
                &self.0[$prefix.len() + 1..]
            }
        }
    };
}

id_type!(
    /// An instance. Unlike its name it is never used again, and it does not tell what the instance is called.
    InstanceId, "instance id", "i", instance_id
);
id_type!(
    /// A binding.
    BindingId, "binding id", "b", binding_id
);
id_type!(
    /// An operation: one piece of long work that somebody asked for.
    OperationId, "operation id", "op", operation_id
);
id_type!(
    /// A backup: one recovery point, with the log that follows on it where there is one.
    BackupId, "backup id", "bk", backup_id
);
id_type!(
    /// A token's public half, by which it is listed and revoked.
    TokenId, "token id", "t", token_id
);

#[cfg(test)]
mod tests {
    use super::{BindingId, InstanceId};

    #[test]
    fn an_id_is_its_bits() {
        assert_eq!(InstanceId::from_random(0).as_str(), "i-000000000000");
        assert_eq!(InstanceId::from_random(u64::MAX).as_str(), "i-zzzzzzzzzzzz");
        assert_eq!(BindingId::from_random(33).as_str(), "b-110000000000");
        assert_eq!(BindingId::from_random(33).suffix(), "110000000000");
    }

    #[test]
    fn only_its_own_form_is_parsed() {
        assert!("i-00000000000z".parse::<InstanceId>().is_ok());
        for bad in ["b-000000000000", "i-", "i-00000000000", "i-0000000000000", "i-00000000000u", "i-00000000000Z", ""]
        {
            assert!(bad.parse::<InstanceId>().is_err(), "{bad:?} should be refused");
        }
    }
}
