//! Lists that come in pages.

/// The addresses of pages 2 to the last, by the last one's `page=`.
pub(super) fn numbered(last: &str) -> Option<Vec<String>> {
    let url = url::Url::parse(last).ok()?;
    let count: usize = url.query_pairs().find(|(key, _)| key == "page")?.1.parse().ok()?;
    // GitHub has no list of more pages; a number from nowhere must not make requests without end.
    if !(2..=10_000).contains(&count) {
        return None;
    }
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(key, _)| key != "page")
        .map(|(key, value)| (key.into(), value.into()))
        .collect();
    let at = |page: usize| {
        let mut url = url.clone();
        url.query_pairs_mut().clear().extend_pairs(&others).append_pair("page", &page.to_string());
        url.to_string()
    };
    Some((2..=count).map(at).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_numbered_from_the_last() {
        let urls = numbered("https://api.example/repos/o/r/tags?per_page=100&page=4").unwrap();
        assert_eq!(urls.len(), 3);
        assert_eq!(urls[2], "https://api.example/repos/o/r/tags?per_page=100&page=4");
        for odd in
            ["https://a/?page=x", "https://a/", "https://a/?page=1", "https://a/?page=99999999", "nonsense"]
        {
            assert_eq!(numbered(odd), None, "{odd}");
        }
    }
}
