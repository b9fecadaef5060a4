//! Certificates of the authority, held against a verifier that is not ours.

use std::process::Command;

use mainstay_authority::Authority;
use secrecy::ExposeSecret;

#[test]
fn openssl_verifies_what_is_issued() {
    let authority = Authority::generate().unwrap();
    let again = Authority::from_pem(authority.certificate(), &authority.key()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("ca.pem"), authority.certificate()).unwrap();
    for issuer in [&authority, &again] {
        let issued = issuer.issue(&"redis-1".parse().unwrap(), "127.0.0.1".parse().unwrap()).unwrap();
        assert!(issued.key.expose_secret().starts_with("-----BEGIN PRIVATE KEY-----"));
        std::fs::write(at("server.pem"), &issued.certificate).unwrap();
        let verify = |arguments: &[&str]| {
            let mut command = Command::new("openssl");
            command.arg("verify").arg("-x509_strict").arg("-CAfile").arg(at("ca.pem")).args(arguments);
            command.arg(at("server.pem")).output().unwrap().status.success()
        };
        assert!(verify(&["-purpose", "sslserver", "-verify_ip", "127.0.0.1"]));
        assert!(verify(&["-purpose", "sslserver", "-verify_hostname", "localhost"]));
        assert!(!verify(&["-verify_ip", "127.0.0.2"]), "it is for one address");
        assert!(!verify(&["-purpose", "sslclient"]), "it is for a server");
    }
    let stranger = Authority::generate().unwrap();
    assert!(Authority::from_pem(stranger.certificate(), &"no key".into()).is_err());
    assert!(!format!("{authority:?}").contains("PRIVATE"));
}
