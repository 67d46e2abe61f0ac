//! `Link`: where the next page is (RFC 8288, 3).

use super::grammar::Scanner;
use crate::adapters::http_error::excerpt;

/// One link of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    /// As it is written; may be relative.
    target: String,
    /// The relation types, which are separated by blanks.
    relation: String,
}

/// Why the next page cannot be found; the words say what is wrong with the header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadLink(String);

/// The target of `rel="next"` in all of an answer's `Link` headers; `None` where this is the last page.
///
/// A header that cannot be read is an error: taken for "no further page" it would cut the list short.
pub fn next<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Option<String>, BadLink> {
    related(values, "next")
}

/// The same for any relation; GitHub also says which page is the `last`.
pub fn related<'a>(
    values: impl IntoIterator<Item = &'a str>,
    relation: &str,
) -> Result<Option<String>, BadLink> {
    let mut found: Option<String> = None;
    for value in values {
        for link in parse(value)? {
            if !link.relation.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case(relation)) {
                continue;
            }
            match &found {
                Some(other) if *other != link.target => {
                    return Err(BadLink(format!(
                        "two {relation} pages: {} and {}",
                        excerpt(other),
                        excerpt(&link.target)
                    )));
                }
                _ => found = Some(link.target),
            }
        }
    }
    Ok(found)
}

fn parse(value: &str) -> Result<Vec<Link>, BadLink> {
    let bad = || BadLink(format!("not a list of links: {}", excerpt(value)));
    let mut scanner = Scanner::new(value);
    let mut links = Vec::new();
    loop {
        scanner.skip_commas();
        if scanner.at_end() {
            return Ok(links);
        }
        if !scanner.eat('<') {
            return Err(bad());
        }
        let target = scanner.take_while(|character| character != '>').trim().to_owned();
        if !scanner.eat('>') {
            return Err(bad());
        }
        links.push(Link { target, relation: relation(&mut scanner).ok_or_else(bad)? });
        if !scanner.at_end() && !scanner.rest().starts_with(',') {
            return Err(bad());
        }
    }
}

/// Reads a link's parameters and gives `rel`: the first one counts (RFC 8288, 3.3); empty without one.
fn relation(scanner: &mut Scanner) -> Option<String> {
    let mut relation = None;
    loop {
        scanner.skip_blanks();
        if !scanner.eat(';') {
            return Some(relation.unwrap_or_default());
        }
        scanner.skip_blanks();
        let name = scanner.token();
        scanner.skip_blanks();
        if scanner.eat('=') {
            scanner.skip_blanks();
            let value = scanner.value(&[',', ';'])?;
            if name.eq_ignore_ascii_case("rel") {
                relation.get_or_insert(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        for (values, expected) in [
            (&[][..], None),
            (&[""], None),
            (&["</v2/a/tags/list?last=b&n=100>; rel=\"next\""], Some("/v2/a/tags/list?last=b&n=100")),
            (&["<https://x/v2/a/tags/list?last=b>; rel=next"], Some("https://x/v2/a/tags/list?last=b")),
            (&["<?last=b>;REL=\"Next\""], Some("?last=b")),
            (&["<a>;rel=\"prev next\""], Some("a")),
            (&["<a> ; title=\"x, <y>; rel=\\\"next\\\"\" ; rel = \"prev\""], None),
            (&["<a>; rel=prev, <b>; title=\"t;u,v\"; rel=next"], Some("b")),
            (&["<a>; rel=first", "<b>; rel=next"], Some("b")),
            (&["<b>; rel=next", "<b>; rel=next"], Some("b")),
            // Commas and semicolons are allowed in a URL.
            (&["<a;b,c>; rel=next"], Some("a;b,c")),
            // Only the first `rel` counts.
            (&["<a>; rel=prev; rel=next"], None),
            (&["<a>"], None),
            (&["<a>; rel"], None),
            (&["<a>;; rel=next;"], Some("a")),
            (&["<>; rel=next"], Some("")),
            (&["<nextish>; rel=\"nextish\""], None),
        ] {
            assert_eq!(next(values.iter().copied()), Ok(expected.map(str::to_owned)), "{values:?}");
        }
    }

    #[test]
    fn a_header_that_cannot_be_read_is_no_last_page() {
        for values in [
            &["/v2/a; rel=next"][..],
            &["<a; rel=next"],
            &["<a>; rel=\"next"],
            &["<a> rel=next"],
            &["<a>; rel=prev; <b>; rel=next"],
            &["<a>; rel=next, b"],
            &["<a>; rel=next, <b>; rel=next"],
            &["<a>; rel=next", "<b>; rel=next"],
        ] {
            assert!(next(values.iter().copied()).is_err(), "{values:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic_or_loop(value in "(<|>|rel|next|[ -~é]|[=;,\"\\\\ \t]){0,30}") {
            let _ = next([value.as_str()]);
        }

        #[test]
        fn any_target_is_found_among_others(target in "[!-;=?-~]{1,40}", title in "[ !#-\\[\\]-~]{0,20}") {
            let value = format!("<x>; rel=prev, <{target}>; title=\"{title}\"; rel=\"next\", <y>; rel=last");
            proptest::prop_assert_eq!(next([value.as_str()]), Ok(Some(target)));
        }
    }
}
