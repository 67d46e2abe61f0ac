//! Image names, tags and digests, parsed once and then always right.

use std::fmt;
use std::str::FromStr;

/// Why a name, tag or digest is none. The sentence names what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub String);

fn malformed<T>(why: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError(why.into()))
}

/// `registry/repository` without tag or digest, such as `ghcr.io/org/app`.
///
/// The grammar is that of the distribution reference (github.com/distribution/reference), with
/// Docker's defaults: no registry means Docker Hub, one word there means `library/word`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageName {
    registry: String,
    repository: String,
}

impl ImageName {
    /// The registry as it is written in references: `ghcr.io`, `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository inside the registry: `org/app`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The host that speaks the distribution protocol; Docker Hub's differs from its name.
    pub fn api_host(&self) -> &str {
        if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry }
    }

    /// Whether the registry is on this machine's loopback: Docker then speaks http, and so do we.
    pub fn is_loopback(&self) -> bool {
        let host = self.registry.rsplit_once(':').map_or(self.registry.as_str(), |(host, _)| host);
        host == "localhost"
            || host == "[::1]"
            || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    }

    /// `name:tag`.
    pub fn with_tag(&self, tag: &ImageTag) -> String {
        format!("{self}:{tag}")
    }

    /// `name@digest`: the one reference that nobody can move.
    pub fn with_digest(&self, digest: &Digest) -> String {
        format!("{self}@{digest}")
    }
}

impl FromStr for ImageName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.contains('@') {
            return malformed("a name without a digest");
        }
        if text.contains("://") {
            return malformed("a name without a scheme such as https://");
        }
        let (first, rest) = match text.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => ("docker.io", text),
        };
        if rest.contains(':') {
            return malformed("a name without a tag (the version is the tag)");
        }
        let registry = if first == "index.docker.io" { "docker.io" } else { first };
        if !is_host(registry) {
            return malformed("a registry host, with a port if needed, before the first `/`");
        }
        let repository = if registry == "docker.io" && !rest.contains('/') {
            format!("library/{rest}")
        } else {
            rest.to_owned()
        };
        if !repository.split('/').all(is_path_component) {
            return malformed(
                "lower-case letters, digits and single separators (`.`, `_`, `__`, `-`) in each part of the \
                 repository",
            );
        }
        if repository.len() > 255 || registry.len() > 255 {
            return malformed("a registry and a repository of at most 255 characters each");
        }
        Ok(Self { registry: registry.to_owned(), repository })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)
    }
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    // Rust reads `+5000` as a number, too.
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let port_fits = port.is_none_or(|port| digits(port) && port.parse::<u16>().is_ok_and(|port| port > 0));
    let host_fits = if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        inner.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        !host.is_empty()
            && host.split('.').all(|label| {
                !label.is_empty()
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            })
    };
    port_fits && host_fits
}

/// `[a-z0-9]+` runs joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let mut separator = String::new();
    let mut seen_word = false;
    for character in text.chars() {
        if character.is_ascii_lowercase() || character.is_ascii_digit() {
            let joins = matches!(separator.as_str(), "" | "." | "_" | "__")
                || separator.chars().all(|character| character == '-');
            if !joins || (!seen_word && !separator.is_empty()) {
                return false;
            }
            separator.clear();
            seen_word = true;
        } else if matches!(character, '.' | '_' | '-') {
            separator.push(character);
        } else {
            return false;
        }
    }
    seen_word && separator.is_empty()
}

/// A tag of an image: `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}` (distribution specification, "Pulling manifests").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageTag(String);

impl ImageTag {
    /// The tag that follows the newest release.
    pub fn latest() -> Self {
        Self("latest".to_owned())
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageTag {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut bytes = text.bytes();
        let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if first
            && text.len() <= 128
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        {
            Ok(Self(text.to_owned()))
        } else {
            malformed("a letter, digit or `_`, then at most 127 letters, digits, `.`, `_` or `-`")
        }
    }
}

impl fmt::Display for ImageTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `sha256:` and 64 lower-case hexadecimal digits: the name of some bytes.
///
/// Other algorithms of the OCI image specification are refused: no registry of today hands them out,
/// and a digest that cannot be recomputed here cannot be checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use fmt::Write as _;
        use sha2::{Digest as _, Sha256};
        let mut text = String::from("sha256:");
        for byte in Sha256::digest(bytes) {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// With its algorithm: `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 hexadecimal digits, for tags and for people.
    pub fn short(&self) -> &str {
        &self.0["sha256:".len()..][..12]
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.strip_prefix("sha256:") {
            Some(hex)
                if hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => malformed("`sha256:` and 64 lower-case hexadecimal digits"),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_docker_does() {
        for (text, full, host) in [
            ("ghcr.io/org/app", "ghcr.io/org/app", "ghcr.io"),
            ("app", "docker.io/library/app", "registry-1.docker.io"),
            ("org/app", "docker.io/org/app", "registry-1.docker.io"),
            ("index.docker.io/org/app", "docker.io/org/app", "registry-1.docker.io"),
            ("localhost/app", "localhost/app", "localhost"),
            ("127.0.0.1:5000/a/b__c/d--e", "127.0.0.1:5000/a/b__c/d--e", "127.0.0.1:5000"),
            ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000"),
            ("[::1]/app", "[::1]/app", "[::1]"),
        ] {
            let name: ImageName = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((name.to_string().as_str(), name.api_host()), (full, host), "{text}");
            assert_eq!(format!("{}/{}", name.registry(), name.repository()), full);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "/",
            "ghcr.io/",
            "ghcr.io/org/App",
            "ghcr.io/org/app:1",
            "ghcr.io/org/app@sha256:0",
            "https://ghcr.io/org/app",
            "ghcr.io//app",
            "org/a..b",
            "org/_a",
            "org/a_",
            "org/a___b",
            "ghcr.io:0/app",
            "ghcr.io:x/app",
            "ghcr.io:+5000/app",
            "gh cr.io/app",
            "org/a b",
            "org/a/",
            "-a.io/x",
            "org/ä",
        ] {
            assert!(text.parse::<ImageName>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn registry_and_repository_have_255_characters_each() {
        let host = |length: usize| format!("{}.io", "h".repeat(length - ".io".len()));
        let name = |registry: usize, repository: usize| {
            format!("{}/{}", host(registry), "r".repeat(repository)).parse::<ImageName>()
        };
        assert!(name(255, 255).is_ok());
        for (registry, repository) in [(255, 256), (256, 255), (9, 300), (300, 9)] {
            assert!(name(registry, repository).is_err(), "{registry} and {repository}");
        }
    }

    #[test]
    fn loopback_is_known_in_each_spelling() {
        for (text, loopback) in [
            ("localhost:5000/a", true),
            ("127.3.2.1/a", true),
            ("[::1]:5/a", true),
            ("128.0.0.1/a", false),
            ("ghcr.io/a", false),
            ("localhost.example/a", false),
        ] {
            assert_eq!(text.parse::<ImageName>().expect(text).is_loopback(), loopback, "{text}");
        }
    }

    #[test]
    fn tags_and_digests() {
        assert_eq!("1.2.3-rc.1".parse::<ImageTag>().unwrap().as_str(), "1.2.3-rc.1");
        assert_eq!("1.2.3-rc.1".parse::<ImageTag>().unwrap().to_string(), "1.2.3-rc.1");
        assert!("_x".parse::<ImageTag>().is_ok());
        for text in ["", ".a", "-a", "1.0.0+build", "a b", &"a".repeat(129)] {
            assert!(text.parse::<ImageTag>().is_err(), "{text:?}");
        }
        // The digest of nothing is FIPS 180's own example.
        let empty = Digest::of(b"");
        assert_eq!(empty.as_str(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!((empty.short(), empty.to_string().as_str()), ("e3b0c44298fc", empty.as_str()));
        let name: ImageName = "ghcr.io/org/app".parse().unwrap();
        assert_eq!(name.with_digest(&empty), format!("ghcr.io/org/app@{empty}"));
        assert_eq!(empty.as_str().parse::<Digest>(), Ok(empty));
        for text in [
            "sha256:",
            "sha512:00",
            "e3b0",
            "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text:?}");
        }
    }
}
