//! The recovery kit: what is printed and kept in a safe place.

use mainstay_repository::{Location, RecoveryKey};
use secrecy::SecretString;

/// The text, for a page of A4 in a font of fixed width.
pub(super) fn kit(key: &RecoveryKey, location: &Location, made_at: &str) -> SecretString {
    let text = key.to_text();
    format!(
        "MAINSTAY RECOVERY KIT\n\
         \n\
         Print this page and keep it where the machine's loss, its theft and its intruders do not reach.\n\
         Whoever has it and the repository can read every backup. Without it nobody can.\n\
         \n\
         Repository:   {location}\n\
         Fingerprint:  {}\n\
         Printed:      {made_at}\n\
         \n\
         Recovery key:\n\
         \n\
         {}\n\
         To bring everything back onto an empty machine:\n\
         \n\
         1. Install Mainstay and the engines: mainstay doctor\n\
         2. mainstay recover --repository {location} --to /var/lib/mainstay\n\
         \x20  It asks for the key above. Credentials of the repository go into Recovery__Username and\n\
         \x20  Recovery__Password, or Recovery__AccessKeyId and Recovery__SecretAccessKey.\n\
         3. mainstay up --data-dir /var/lib/mainstay\n",
        key.fingerprint(),
        in_lines(&text),
    )
    .into()
}

/// The groups of the key, four in a line, as eyes and hands follow best. The lines one after the other are the key.
fn in_lines(text: &str) -> String {
    let groups: Vec<&str> = text.split('-').collect();
    let lines: Vec<String> = groups.chunks(4).map(|line| format!("    {}", line.join("-"))).collect();
    lines.join("-\n") + "\n"
}

#[cfg(test)]
mod tests {
    use mainstay_repository::RecoveryKey;
    use secrecy::ExposeSecret;

    #[test]
    fn the_kit_has_the_key_as_it_is_read_again() {
        let key = RecoveryKey::from_bytes(&[7; 32]);
        let kit = super::kit(&key, &"/srv/repository".parse().unwrap(), "2026-11-21T12:00:00Z");
        let lines = kit.expose_secret().lines().filter(|line| line.starts_with("    "));
        let text: String = lines.collect();
        assert_eq!(RecoveryKey::parse(&text).unwrap().as_bytes(), &[7; 32]);
        assert!(kit.expose_secret().lines().all(|line| line.len() <= 100), "{}", kit.expose_secret());
    }
}
