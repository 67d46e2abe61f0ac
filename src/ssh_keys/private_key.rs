//! The key that logs in: what people paste into a secret, made whole again, or said what is wrong with it. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use autotag_model::reference::ParseError;
use autotag_model::secret::Secret;

/// How OpenSSH's own format begins, decoded; the cipher's name follows (PROTOCOL.key).
const OPENSSH_MAGIC: &[u8] = b"openssh-key-v1\0";

/// How many characters a line of the key has. OpenSSL takes at most 76.
const LINE: usize = 64;

/// A private key without a passphrase, in OpenSSH's or PEM form, in lines that every reader takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateKey(Secret);

impl PrivateKey {
    /// Takes what was pasted. Lost or changed line breaks are mended: CRLF, a missing one at the end, all of
    /// it in one line, or `\n` written out.
    ///
    /// The fault names what was expected, and nothing of what was found.
    pub fn parse(pasted: &Secret) -> Result<Self, ParseError> {
        let text = pasted.reveal().replace("\\n", "\n");
        let text = text.trim();
        if let Some(kind) = other_kind(text) {
            return expected(kind);
        }
        let Some((label, body)) = armoured(text) else {
            return expected(
                "what was found has no lines `-----BEGIN ... PRIVATE KEY-----` and `-----END ...`, or is \
                 cut short",
            );
        };
        if body.contains(':') || label.starts_with("ENCRYPTED") {
            return encrypted();
        }
        let code: String = body.chars().filter(|character| !character.is_whitespace()).collect();
        if code.is_empty() {
            return expected("what was found is cut short");
        }
        let Ok(bytes) = STANDARD.decode(&code) else {
            return expected("what was found is cut short, or has characters that no key has");
        };
        if label == "OPENSSH PRIVATE KEY" {
            match cipher(&bytes) {
                Some(b"none") => {}
                Some(_) => return encrypted(),
                None => return expected("what was found is cut short"),
            }
        }
        Ok(Self(Secret::verbatim(in_lines(label, &code))))
    }

    /// The key's text, with a line break at the end.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

fn expected<T>(found: &str) -> Result<T, ParseError> {
    Err(ParseError(format!("a private key as `ssh-keygen -t ed25519 -N ''` writes it; {found}")))
}

fn encrypted<T>() -> Result<T, ParseError> {
    expected(
        "what was found is protected by a passphrase, which nobody can type here: make a separate key for \
         deployments, without one",
    )
}

/// What people paste in place of a private key.
fn other_kind(text: &str) -> Option<&'static str> {
    let starts = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
    if text.starts_with("PuTTY-User-Key-File-") {
        return Some(
            "what was found is in PuTTY's format: in PuTTYgen choose Conversions, Export OpenSSH key",
        );
    }
    if starts(&[
        "ssh-",
        "ecdsa-",
        "sk-",
        "---- BEGIN SSH2 PUBLIC",
        "-----BEGIN PUBLIC",
        "-----BEGIN RSA PUBLIC",
    ]) {
        return Some("what was found is the public key: paste the file without `.pub`");
    }
    starts(&["-----BEGIN CERTIFICATE"]).then_some("what was found is a certificate")
}

/// The label and what stands between the two lines of dashes.
fn armoured(text: &str) -> Option<(&str, &str)> {
    let (label, rest) = text.strip_prefix("-----BEGIN ")?.split_once("-----")?;
    let (body, end) = rest.split_once("-----END ")?;
    let plain = label.len() <= 40 && label.bytes().all(|byte| byte == b' ' || byte.is_ascii_uppercase());
    (plain && label.ends_with("PRIVATE KEY") && end.strip_prefix(label)? == "-----").then_some((label, body))
}

/// The cipher's name in OpenSSH's format.
fn cipher(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.strip_prefix(OPENSSH_MAGIC)?.split_first_chunk::<4>()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

fn in_lines(label: &str, code: &str) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (index, character) in code.chars().enumerate() {
        if index > 0 && index % LINE == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of a key file as OpenSSH writes it, with noise for the rest.
    fn openssh(cipher: &str) -> String {
        let mut bytes = OPENSSH_MAGIC.to_vec();
        bytes.extend(u32::try_from(cipher.len()).expect("short").to_be_bytes());
        bytes.extend(cipher.bytes());
        bytes.extend(0..=255);
        let code = STANDARD
            .encode(bytes)
            .as_bytes()
            .chunks(70)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect::<Vec<_>>()
            .join("\n");
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{code}\n-----END OPENSSH PRIVATE KEY-----\n")
    }

    fn parse(text: &str) -> Result<PrivateKey, ParseError> {
        PrivateKey::parse(&Secret::new(text).expect("not empty"))
    }

    #[test]
    fn line_breaks_lost_by_pasting_are_restored() {
        let key = openssh("none");
        let whole = parse(&key).expect("a key");
        assert!(whole.reveal().ends_with("-----END OPENSSH PRIVATE KEY-----\n"));
        assert!(
            whole.reveal().lines().all(|line| line.len() <= 76),
            "{} lines",
            whole.reveal().lines().count()
        );
        for pasted in [
            key.trim_end().to_owned(),
            key.replace('\n', "\r\n"),
            key.replace('\n', "\\n"),
            key.replace('\n', " "),
            key.replace('\n', "\n    "),
        ] {
            assert_eq!(parse(&pasted).as_ref(), Ok(&whole), "{pasted:?}");
        }
    }

    #[test]
    fn unusable_keys_are_explained_and_never_shown() {
        let pem =
            |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        let key = openssh("none");
        let half = &key[..key.len() / 2];
        let all = [
            openssh("aes256-ctr"),
            pem("ENCRYPTED PRIVATE KEY", "MIIC"),
            pem("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMIIC"),
            "ssh-ed25519 AAAAC3 me@workstation".to_owned(),
            pem("PUBLIC KEY", "MIIC"),
            "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none".to_owned(),
            half.to_owned(),
            pem("OPENSSH PRIVATE KEY", "b3BlbnNzaC1rZXk"),
            pem("RSA PRIVATE KEY", "MI*IC"),
            "hunter2".to_owned(),
        ]
        .map(|pasted| {
            let ParseError(fault) = parse(&pasted).expect_err("it is not usable");
            assert!(
                !fault.contains("AAAAC3") && !fault.contains("b3Blb") && !fault.contains("hunter2"),
                "{fault}"
            );
            format!("{}\n    {fault}", pasted.lines().next().expect("a line"))
        });
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn both_boundary_lines_of_a_key_have_one_label() {
        let between = |label: &str, end: &str| {
            armoured(&format!("-----BEGIN {label}-----AAAA-----END {end}")).is_some()
        };
        let longest = format!("{} PRIVATE KEY", "A".repeat(28));
        for label in ["PRIVATE KEY", "OPENSSH PRIVATE KEY", &longest] {
            assert!(between(label, &format!("{label}-----")), "{label}");
        }
        let (too_long, whole) = (format!("A{longest}"), "PRIVATE KEY-----");
        for (label, end) in [
            (too_long.as_str(), format!("{too_long}-----")),
            ("rsa PRIVATE KEY", "rsa PRIVATE KEY-----".to_owned()),
            ("PUBLIC KEY", "PUBLIC KEY-----".to_owned()),
            ("RSA PRIVATE KEY", whole.to_owned()),
            ("PRIVATE KEY", "PRIVATE KEY----".to_owned()),
            ("PRIVATE KEY", format!("{whole} and more")),
        ] {
            assert!(!between(label, &end), "{label}, {end}");
        }
    }

    #[test]
    fn pem_of_every_label_is_taken() {
        for label in ["RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY"] {
            let text = format!("-----BEGIN {label}-----\nTUlJ\n-----END {label}-----");
            assert_eq!(parse(&text).expect("a key").reveal(), format!("{text}\n"));
        }
        assert_eq!(format!("{:?}", parse(&openssh("none")).expect("a key")), "PrivateKey(***)");
    }
}
