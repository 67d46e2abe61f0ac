//! The pieces that header values are made of (RFC 9110, 5.6).

/// Reads a header value from left to right.
#[derive(Debug, Clone, Copy)]
pub struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// Begins at the start of the value.
    pub fn new(value: &'a str) -> Self {
        Self { rest: value }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a str {
        self.rest
    }

    /// Whether all is read.
    pub fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Passes over blanks.
    pub fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// Passes over blanks and empty list elements (RFC 9110, 5.6.1.2).
    pub fn skip_commas(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', ',']);
    }

    /// Passes over this character, if it is the next one.
    pub fn eat(&mut self, character: char) -> bool {
        let rest = self.rest.strip_prefix(character);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes the longest run of characters that fit; it may be empty.
    pub fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|character| !fits(character)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// Takes a `token`; empty where none begins here.
    pub fn token(&mut self) -> &'a str {
        self.take_while(is_token)
    }

    /// Takes a `quoted-string`, its escapes resolved; `None`, and nothing taken, where none begins here
    /// or where it never ends.
    pub fn quoted(&mut self) -> Option<String> {
        let mut characters = self.rest.strip_prefix('"')?.chars();
        let mut text = String::new();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => text.push(characters.next()?),
                character => text.push(character),
            }
        }
        self.rest = characters.as_str();
        Some(text)
    }

    /// Takes the value of a parameter: quoted, or everything up to a blank or one of `ends`.
    ///
    /// Unquoted values may hold characters that only quoted ones should (`realm=https://…`): servers
    /// write them, and nothing else could be meant.
    pub fn value(&mut self, ends: &[char]) -> Option<String> {
        if self.rest.starts_with('"') {
            return self.quoted();
        }
        Some(
            self.take_while(|character| !matches!(character, ' ' | '\t' | '"') && !ends.contains(&character))
                .to_owned(),
        )
    }
}

/// `tchar`.
fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}
