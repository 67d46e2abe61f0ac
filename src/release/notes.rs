//! A release's text: what GitHub generates or the user wrote, and a marked block of ours.
//!
//! Between its marks the block is rewritten by every run; everything else in the text belongs to people.
//! Each image has a block of its own, so that several images of one version share a release.

use semver::Version;

use autotag_model::reference::{Digest, ImageName};

/// What the block says.
#[derive(Debug, Clone)]
pub struct Block<'a> {
    /// The image.
    pub image: &'a ImageName,
    /// Its version.
    pub version: &'a Version,
    /// Its digest.
    pub digest: &'a Digest,
    /// The version before, and the address that compares the two.
    pub previous: Option<(&'a Version, String)>,
}

impl Block<'_> {
    fn start(&self) -> String {
        format!("<!-- autotag-deploy {} -->", self.image)
    }

    fn end(&self) -> String {
        format!("<!-- /autotag-deploy {} -->", self.image)
    }

    fn text(&self) -> String {
        let reference = self.image.with_digest(self.digest);
        let mut text = format!(
            "{start}\n### Image\n\n| | |\n|---|---|\n| Image | `{image}:{version}` |\n| Digest | `{digest}` \
             |\n",
            start = self.start(),
            image = self.image,
            version = self.version,
            digest = self.digest,
        );
        if let Some((version, address)) = &self.previous {
            text.push_str(&format_previous(version, address));
        }
        text.push_str("\n```sh\ndocker pull ");
        text.push_str(&reference);
        text.push_str("\n```\n");
        text.push_str(&self.end());
        text
    }

    /// The text with this block in it: in place of the one that was there, else at the end.
    ///
    /// A start without an end (somebody edited the text by hand) is left alone, and the block put at the end.
    pub fn put_into(&self, text: &str) -> String {
        let block = self.text();
        let (start, end) = (self.start(), self.end());
        let mut before = 0;
        for (at, _) in text.match_indices(&end) {
            // The nearest start: between one without an end and our own there are people's words.
            if let Some(begun) = text[before..at].rfind(&start) {
                return format!("{}{block}{}", &text[..before + begun], &text[at + end.len()..]);
            }
            before = at + end.len();
        }
        let before = text.trim_end();
        if before.is_empty() { block } else { format!("{before}\n\n{block}") }
    }
}

impl Block<'_> {
    /// The text without this block.
    pub fn taken_out_of(&self, text: &str) -> String {
        let with = self.put_into(text);
        let block = self.text();
        match with.find(&block) {
            Some(at) => format!("{}{}", &with[..at], &with[at + block.len()..]).trim_end().to_owned(),
            None => text.to_owned(),
        }
    }
}

/// GitHub refuses a longer text: so many characters.
pub const LONGEST: usize = 125_000;

/// What stands at the end of a text that was cut.
const CUT: &str = "\n\n(cut: GitHub accepts no longer text)";

/// The text with these blocks in it. Where that is longer than GitHub takes, the end of what others wrote goes:
/// the blocks say what was released, and stay whole.
pub fn with_blocks(blocks: &[Block<'_>], text: &str) -> String {
    let put = |text: &str| blocks.iter().fold(text.to_owned(), |text, block| block.put_into(&text));
    let whole = put(text);
    if whole.chars().count() <= LONGEST {
        return whole;
    }
    let others = blocks.iter().fold(text.to_owned(), |text, block| block.taken_out_of(&text));
    // An empty line stands between the text and the blocks.
    let taken = put("").chars().count() + CUT.chars().count() + 2;
    let kept: String = others.chars().take(LONGEST.saturating_sub(taken)).collect();
    put(&format!("{}{CUT}", kept.trim_end()))
}

fn format_previous(version: &Version, address: &str) -> String {
    format!("| Previous version | [{version}]({address}) |\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block<'a>(image: &'a ImageName, version: &'a Version, digest: &'a Digest) -> Block<'a> {
        Block { image, version, digest, previous: None }
    }

    #[test]
    fn only_the_own_block_is_rewritten() {
        let (app, api): (ImageName, ImageName) =
            ("ghcr.io/org/app".parse().unwrap(), "ghcr.io/org/api".parse().unwrap());
        let version = Version::new(1, 2, 3);
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        let notes = "## What's Changed\r\n* all by @me";
        let first = block(&app, &version, &old).put_into(notes);
        let both = block(&api, &version, &old).put_into(&first);
        let edited = both.replace("all by @me", "edited by a person") + "\n\nand a postscript";
        let after = block(&app, &version, &new).put_into(&edited);
        assert!(after.contains("edited by a person") && after.ends_with("and a postscript"), "{after}");
        assert_eq!(after.matches(new.as_str()).count(), 2, "{after}");
        assert_eq!(after.matches(old.as_str()).count(), 2, "the other image's block stays: {after}");
        assert_eq!(block(&app, &version, &new).put_into(&after), after, "a second time changes nothing");
    }

    #[test]
    fn a_broken_block_is_left_to_people() {
        let app: ImageName = "ghcr.io/org/app".parse().unwrap();
        let version = Version::new(1, 2, 3);
        let digest = Digest::of(b"x");
        let block = block(&app, &version, &digest);
        let broken = format!("{}\nno end", block.start());
        let first = block.put_into(&broken);
        assert!(first.starts_with(&broken));
        assert_eq!(block.put_into(&first), first, "nor does the next run take it away");
    }

    #[test]
    fn an_end_without_a_start_is_left_alone() {
        let app: ImageName = "ghcr.io/org/app".parse().unwrap();
        let (version, digest) = (Version::new(1, 2, 3), Digest::of(b"x"));
        let block = block(&app, &version, &digest);
        for words in ["", "somebody cut the start of the block away, and left "] {
            let stray = format!("{words}{}", block.end());
            let first = block.put_into(&stray);
            assert!(first.starts_with(&stray) && first.len() > stray.len(), "{first}");
            assert_eq!(block.put_into(&first), first, "a second time changes nothing");
        }
    }

    // case A12; broken by: the text is cut without room for the blocks; the end with the blocks is cut
    #[test]
    fn a_text_at_githubs_limit_keeps_its_blocks_whole() {
        let (app, api): (ImageName, ImageName) =
            ("ghcr.io/org/app".parse().unwrap(), "ghcr.io/org/api".parse().unwrap());
        let version = Version::new(1, 2, 3);
        let digest = Digest::of(b"x");
        let blocks = [block(&app, &version, &digest), block(&api, &version, &digest)];
        for (text, is_cut) in [
            (String::new(), false),
            ("short".to_owned(), false),
            ("x".repeat(LONGEST - 2000), false),
            ("x".repeat(LONGEST - 10), true),
            ("x".repeat(LONGEST), true),
            ("\u{1f600}".repeat(LONGEST), true),
            ("a line\r\n".repeat(LONGEST), true),
            // Somebody wrote on below the blocks of an earlier run.
            (format!("{}\n\n{}", with_blocks(&blocks, "before"), "x".repeat(LONGEST - 10)), true),
        ] {
            let whole = with_blocks(&blocks, &text);
            assert!(whole.chars().count() <= LONGEST, "{}", whole.chars().count());
            assert!(blocks.iter().all(|block| whole.matches(&block.text()).count() == 1));
            assert_eq!(whole.contains(CUT), is_cut);
            assert_eq!(with_blocks(&blocks, &whole), whole, "a second time changes nothing");
        }
    }

    #[test]
    fn the_block_reads_well() {
        let app: ImageName = "ghcr.io/org/app".parse().unwrap();
        let (version, before) = (Version::new(1, 2, 3), Version::new(1, 2, 2));
        let digest = Digest::of(b"x");
        let previous = Some((&before, "https://github.com/org/app/compare/v1.2.2...v1.2.3".to_owned()));
        let text = Block { image: &app, version: &version, digest: &digest, previous }.put_into("");
        insta::assert_snapshot!(text);
    }
}
