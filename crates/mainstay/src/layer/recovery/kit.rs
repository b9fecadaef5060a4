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
            It asks for the key above. Credentials of the repository go into Recovery__Username and\n\
            Recovery__Password, or Recovery__AccessKeyId and Recovery__SecretAccessKey.\n\
         3. mainstay up --data-dir /var/lib/mainstay\n",
        key.fingerprint(),
        in_lines(&text),
    )
    .into()
}

/// The groups of the key, four in a line, as eyes and hands follow best.
fn in_lines(text: &str) -> String {
    let groups: Vec<&str> = text.split('-').collect();
    groups.chunks(4).map(|line| format!("    {}\n", line.join("-"))).collect()
}
