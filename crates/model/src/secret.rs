//! A value that never prints: tokens, passwords, keys.

use std::fmt;

/// A secret. `Debug` and `Display` print `***`; only [`Secret::reveal`] gives the value, so that
/// every place that uses one can be found by that name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the value as it is, white space at the ends removed: a pasted secret often ends with
    /// a line break that no server accepts.
    ///
    /// `None` where nothing is left: an empty secret is a missing one.
    pub fn new(value: &str) -> Option<Self> {
        let trimmed = value.trim();
        (!trimmed.is_empty()).then(|| Self(trimmed.to_owned()))
    }

    /// Takes the value to the letter: an application's environment may be empty, or begin with a space.
    pub fn verbatim(value: String) -> Self {
        Self(value)
    }

    /// The value itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A user name and a password for one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user, as the registry knows it; not secret.
    pub username: String,
    /// The password or token.
    pub password: Secret,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::new(" hunter2\n").expect("not empty");
        assert_eq!(secret.reveal(), "hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(Secret::new(" \n"), None);
        assert_eq!(Secret::verbatim(" a ".to_owned()).reveal(), " a ");
    }
}
