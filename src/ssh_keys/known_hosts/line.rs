//! One line: what it says, or what is wrong with it. The text itself stays out of faults, since somebody
//! may have pasted a secret.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::hmac;

/// One accepted key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A key of which the fingerprint is known, and the hosts that have it; any, where none is named.
    Fingerprint { names: Option<Names>, sha256: [u8; 32], key_type: Option<&'static str> },
    /// A key, and the hosts that have it.
    Key { names: Names, key_type: String, blob: Vec<u8> },
}

/// The hosts of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Names {
    /// Names with `*` and `?`; one that begins with `!` excludes.
    Patterns(Vec<String>),
    /// One name that cannot be read, but compared.
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

impl Entry {
    /// The key's type, where it is known.
    pub(super) fn key_type(&self) -> Option<&str> {
        match self {
            Self::Fingerprint { key_type, .. } => *key_type,
            Self::Key { key_type, .. } => Some(key_type),
        }
    }
}

impl Names {
    /// Whether the line is about this host, written in lower case.
    pub(super) fn contain(&self, host: &str) -> bool {
        match self {
            Self::Patterns(patterns) => {
                let (not, yes): (Vec<_>, Vec<_>) =
                    patterns.iter().partition(|pattern| pattern.starts_with('!'));
                yes.iter().any(|pattern| fits(pattern.as_bytes(), host.as_bytes()))
                    && !not.iter().any(|pattern| fits(&pattern.as_bytes()[1..], host.as_bytes()))
            }
            Self::Hashed { salt, hash } => {
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
                hmac::verify(&key, host.as_bytes(), hash).is_ok()
            }
        }
    }
}

/// Whether a pattern with `*` and `?` fits. Linear in time for each star, so that no line can stall it.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                // The star takes one byte more, from which it is met again.
                let Some((star_at, taken)) = star else { return false };
                (at, from) = (star_at, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// `None` for an empty line or a comment. The fault goes on after "line N is".
pub(super) fn parse(line: &str) -> Result<Option<Entry>, &'static str> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    match fields.as_slice() {
        [] => Ok(None),
        [first, ..] if first.starts_with('#') => Ok(None),
        ["@cert-authority", ..] => {
            Err("of a certificate authority (`@cert-authority`), and certificates are \
            not checked here: give the host's own key, as `ssh-keyscan HOST` prints it")
        }
        ["@revoked", ..] => Err("a revoked key (`@revoked`): leave it out, only listed keys are accepted"),
        [first, ..] if first.starts_with('@') => {
            Err("marked by an unknown word with `@`: leave the mark out")
        }
        [first, ..] if first.starts_with("-----BEGIN") => {
            Err("the start of a key file: the host's public key belongs here, after the host's name")
        }
        _ if fields.iter().any(|field| field.starts_with("MD5:")) => {
            Err("an MD5 fingerprint, which somebody can forge: give the one that begins with `SHA256:`")
        }
        [print] if print.starts_with("SHA256:") => fingerprint(None, print, None).map(Some),
        [bits, print, rest @ ..]
            if print.starts_with("SHA256:") && bits.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            fingerprint(None, print, rest.last().and_then(|kind| type_of(bits, kind))).map(Some)
        }
        [host, print] if print.starts_with("SHA256:") => {
            fingerprint(Some(names(host)?), print, None).map(Some)
        }
        // What `ssh-keygen -l` prints, behind the host's name.
        [host, bits, print, rest @ ..] if print.starts_with("SHA256:") => {
            fingerprint(Some(names(host)?), print, rest.last().and_then(|kind| type_of(bits, kind))).map(Some)
        }
        [key_type, rest @ ..]
            if is_key_type(key_type) && !rest.first().is_some_and(|next| is_key_type(next)) =>
        {
            Err("a key without its host: put the host's name and a space before it")
        }
        [_, bits, ..] if fields.len() >= 4 && bits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err("a key of SSH 1, which is obsolete")
        }
        [names, key_type, blob, ..] => key(names, key_type, blob).map(Some),
        _ => Err("neither of them (`HOST ssh-ed25519 AAAA...`)"),
    }
}

fn fingerprint(
    names: Option<Names>,
    text: &str,
    key_type: Option<&'static str>,
) -> Result<Entry, &'static str> {
    let code = text.trim_start_matches("SHA256:").trim_end_matches('=');
    let bytes = STANDARD_NO_PAD.decode(code).ok();
    let sha256 = bytes.and_then(|bytes| bytes.try_into().ok());
    let sha256 =
        sha256.ok_or("a fingerprint that is cut short or mistyped: 43 characters after `SHA256:`")?;
    Ok(Entry::Fingerprint { names, sha256, key_type })
}

/// The type that `ssh-keygen -l` writes as bits and a word: `256 SHA256:... comment (ED25519)`.
fn type_of(bits: &str, word: &str) -> Option<&'static str> {
    match (word, bits) {
        ("(ED25519)", _) => Some("ssh-ed25519"),
        ("(RSA)", _) => Some("ssh-rsa"),
        ("(ECDSA)", "256") => Some("ecdsa-sha2-nistp256"),
        ("(ECDSA)", "384") => Some("ecdsa-sha2-nistp384"),
        ("(ECDSA)", "521") => Some("ecdsa-sha2-nistp521"),
        _ => None,
    }
}

fn is_key_type(word: &str) -> bool {
    let families = ["ssh-ed25519", "ssh-rsa", "ssh-dss", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
    families.iter().any(|family| word.starts_with(family))
}

fn key(names: &str, key_type: &str, blob: &str) -> Result<Entry, &'static str> {
    if !is_key_type(key_type) {
        return Err("neither of them (`HOST ssh-ed25519 AAAA...`)");
    }
    let blob = STANDARD.decode(blob).map_err(|_| "a key that is cut short or mistyped")?;
    if named_type(&blob) != Some(key_type.as_bytes()) {
        return Err("a key of another type than it says, or one that is cut short");
    }
    Ok(Entry::Key { names: self::names(names)?, key_type: key_type.to_owned(), blob })
}

/// The type inside of a key's blob, which is a row of fields, each with its length before it (RFC 4253, 6.6);
/// `None` where the row is cut short.
fn named_type(blob: &[u8]) -> Option<&[u8]> {
    let mut fields = Vec::new();
    let mut rest = blob;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (field, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        fields.push(field);
        rest = after;
    }
    fields.first().copied().filter(|_| fields.len() > 1)
}

fn names(field: &str) -> Result<Names, &'static str> {
    let Some(hashed) = field.strip_prefix('|') else {
        let patterns: Vec<String> = field.split(',').map(str::to_ascii_lowercase).collect();
        let empty = patterns.iter().any(|pattern| pattern.is_empty() || pattern == "!");
        if field.contains(['"', '\'', '`']) {
            return Err("with a quote in the host's name, which no host has: leave the quotes out");
        }
        return if empty { Err("without a host's name at a comma") } else { Ok(Names::Patterns(patterns)) };
    };
    let parts: Vec<&str> = hashed.split('|').collect();
    let decoded = |text: &str| STANDARD.decode(text).ok().filter(|bytes| bytes.len() == 20);
    match parts.as_slice() {
        ["1", salt, hash] => decoded(salt)
            .zip(decoded(hash))
            .map(|(salt, hash)| Names::Hashed { salt, hash })
            .ok_or("a hashed host name that is cut short or mistyped"),
        _ => Err("a host name hashed in an unknown way (`|1|salt|hash` is known)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprints_type_is_known_by_word_and_bits() {
        for (bits, word, expected) in [
            ("256", "(ED25519)", Some("ssh-ed25519")),
            ("3072", "(RSA)", Some("ssh-rsa")),
            ("256", "(ECDSA)", Some("ecdsa-sha2-nistp256")),
            ("384", "(ECDSA)", Some("ecdsa-sha2-nistp384")),
            ("521", "(ECDSA)", Some("ecdsa-sha2-nistp521")),
            ("512", "(ECDSA)", None),
            ("1024", "(DSA)", None),
            ("256", "ED25519", None),
        ] {
            assert_eq!(type_of(bits, word), expected, "{bits} {word}");
        }
    }

    #[test]
    fn a_key_is_its_type_and_something_behind_it() {
        let fields = |all: &[&[u8]]| -> Vec<u8> {
            let field = |field: &&[u8]| [&u32::try_from(field.len()).unwrap().to_be_bytes(), *field].concat();
            all.iter().flat_map(field).collect()
        };
        let whole = fields(&[b"ssh-ed25519", b"key"]);
        assert_eq!(named_type(&whole), Some(&b"ssh-ed25519"[..]));
        assert_eq!(named_type(&whole[..whole.len() - 1]), None, "cut short");
        assert_eq!(named_type(&fields(&[b"ssh-ed25519"])), None, "a type alone");
        assert_eq!(named_type(b""), None);
    }

    #[test]
    fn stars_and_question_marks_fit_as_in_opensshs_patterns() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("*", "", true),
            ("*", "abc", true),
            ("**", "a", true),
            ("*b", "aaab", true),
            ("*b", "aaabc", false),
            ("*ab", "aab", true),
            ("a*a", "a", false),
            ("a*b*c", "axbxbxc", true),
            ("a*b*c", "axcxb", false),
            ("?", "a", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
