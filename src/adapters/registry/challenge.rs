//! `WWW-Authenticate`: how a registry wants to be asked (RFC 9110, 11.6.1; distribution's token
//! authentication specification).

use std::collections::BTreeMap;

use super::grammar::Scanner;

/// One challenge of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// In lower case: `bearer`, `basic`.
    pub scheme: String,
    /// Names in lower case; of one that comes twice the first counts.
    pub parameters: BTreeMap<String, String>,
}

/// All challenges of one header value. What does not parse ends the list: the challenges before it stand.
pub fn parse(value: &str) -> Vec<Challenge> {
    let mut scanner = Scanner::new(value);
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        scanner.skip_commas();
        let name = scanner.token().to_ascii_lowercase();
        if name.is_empty() {
            break;
        }
        if equals_sign(&mut scanner) {
            let (Some(challenge), Some(value)) = (challenges.last_mut(), scanner.value(&[','])) else {
                // A parameter of no challenge, or a string that never ends: drop what it belongs to.
                challenges.pop();
                break;
            };
            challenge.parameters.entry(name).or_insert(value);
        } else {
            scanner.skip_blanks();
            skip_token68(&mut scanner);
            challenges.push(Challenge { scheme: name, parameters: BTreeMap::new() });
        }
    }
    challenges
}

/// Whether `=` follows, blanks around it allowed, which makes the word before it a parameter's name.
fn equals_sign(scanner: &mut Scanner) -> bool {
    let mut ahead = *scanner;
    ahead.skip_blanks();
    let found = ahead.eat('=');
    if found {
        ahead.skip_blanks();
        *scanner = ahead;
    }
    found
}

/// Passes over the `token68` that some schemes (Negotiate) have in the place of parameters. It is one
/// only if nothing follows it: `a=` is, `a=b` is a parameter.
fn skip_token68(scanner: &mut Scanner) {
    let mut ahead = *scanner;
    ahead.take_while(|character| character.is_ascii_alphanumeric() || "-._~+/".contains(character));
    ahead.take_while(|character| character == '=');
    ahead.skip_blanks();
    if ahead.at_end() || ahead.rest().starts_with(',') {
        *scanner = ahead;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scheme(name=value,…)` of each challenge.
    fn shown(value: &str) -> String {
        let challenges = parse(value).into_iter().map(|challenge| {
            let parameters: Vec<String> =
                challenge.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{}({})", challenge.scheme, parameters.join(" "))
        });
        challenges.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn challenges_as_servers_write_them() {
        for (value, expected) in [
            ("", ""),
            (" , ,", ""),
            ("Basic", "basic()"),
            ("Basic realm=\"basic-realm\"", "basic(realm=basic-realm)"),
            ("BASIC Realm=x", "basic(realm=x)"),
            (
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:library/app:pull,push\"",
                "bearer(realm=https://auth.docker.io/token scope=repository:library/app:pull,push service=registry.docker.io)",
            ),
            ("Bearer realm=https://x/token, service=y", "bearer(realm=https://x/token service=y)"),
            ("Bearer realm = \"a\" , scope\t=\t\"b c\"", "bearer(realm=a scope=b c)"),
            ("Bearer realm=\"a\\\"b\\\\c\"", "bearer(realm=a\"b\\c)"),
            ("Bearer realm=\"a\", realm=\"b\"", "bearer(realm=a)"),
            (
                "Basic realm=\"a\", Bearer realm=\"b\",error=\"invalid_token\"",
                "basic(realm=a) bearer(error=invalid_token realm=b)",
            ),
            ("Negotiate, Basic realm=a", "negotiate() basic(realm=a)"),
            ("Negotiate YWJj==, Basic realm=a", "negotiate() basic(realm=a)"),
            (
                "Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\", Basic realm=\"simple\"",
                "newauth(realm=apps title=Login to \"apps\" type=1) basic(realm=simple)",
            ),
            // RFC 9110 asks readers to bear empty elements.
            (",,Basic ,realm=\"a\",,", "basic(realm=a)"),
            // Not challenges.
            ("realm=\"a\"", ""),
            ("Basic realm=\"a", ""),
            ("Basic realm=\"a\", Bearer realm=\"b", "basic(realm=a)"),
            ("Basic realm=\"a\\", ""),
            ("\"Basic\"", ""),
        ] {
            assert_eq!(shown(value), expected, "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic_or_loop(value in "(Bearer|Basic|[ -~é]|[=,\"\\\\ \t]){0,30}") {
            let _ = parse(&value);
        }

        #[test]
        fn what_is_quoted_comes_back(realm in "[ -~]{0,40}", scope in "[ -~]{0,40}") {
            let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let challenges =
                parse(&format!("Basic realm=x, Bearer realm=\"{}\", scope=\"{}\"", quote(&realm), quote(&scope)));
            proptest::prop_assert_eq!(challenges.len(), 2);
            proptest::prop_assert_eq!(&challenges[1].parameters["realm"], &realm);
            proptest::prop_assert_eq!(&challenges[1].parameters["scope"], &scope);
        }
    }
}
