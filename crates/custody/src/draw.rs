//! New secrets.

use secrecy::SecretString;
use zeroize::Zeroizing;

/// How many letters and digits a generated secret has: 190 bits.
pub const SECRET_LENGTH: usize = 32;

/// Letters and digits only: such a secret stands in URIs, shells, configuration files and SQL without quoting.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Bytes from here on are thrown away, so that every symbol is equally likely: the largest multiple of 62 in a byte.
const UNBIASED: u8 = 248;

/// Draws a secret from the operating system's generator.
pub fn draw_secret() -> Result<SecretString, getrandom::Error> {
    let mut secret = Zeroizing::new(String::with_capacity(SECRET_LENGTH));
    // One byte in 32 is thrown away; twice as many as needed are all but always enough for one round.
    let mut random = Zeroizing::new([0u8; 2 * SECRET_LENGTH]);
    while secret.len() < SECRET_LENGTH {
        getrandom::fill(&mut *random)?;
        let missing = SECRET_LENGTH - secret.len();
        let symbols = random.iter().filter(|&&byte| byte < UNBIASED).map(|byte| ALPHABET[usize::from(byte % 62)]);
        secret.extend(symbols.take(missing).map(char::from));
    }
    Ok(SecretString::from(secret.as_str()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use secrecy::ExposeSecret;

    use super::{ALPHABET, SECRET_LENGTH, draw_secret};

    #[test]
    fn secrets_are_letters_and_digits_and_never_the_same() {
        let secrets: HashSet<String> = (0..1000).map(|_| draw_secret().unwrap().expose_secret().to_owned()).collect();
        assert_eq!(secrets.len(), 1000);
        let symbols: HashSet<char> = secrets.iter().flat_map(|secret| secret.chars()).collect();
        assert_eq!(symbols, ALPHABET.iter().map(|&byte| char::from(byte)).collect());
        assert!(secrets.iter().all(|secret| secret.len() == SECRET_LENGTH));
    }
}
