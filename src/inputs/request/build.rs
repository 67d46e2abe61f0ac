//! The inputs of the build.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{BuildSettings, Cache, ImageSource};
use crate::inputs::reader::Reader;
use crate::inputs::run::Run;
use autotag_model::reference::Digest;

/// As the Dockerfile reference and every shell have it; nothing could ask for another one.
fn is_argument(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Reader<'_> {
    pub(super) fn source(&mut self, run: &Run) -> ImageSource {
        let digest: Option<Digest> = self.parsed("image-digest");
        let build = self.build(run);
        digest.map_or(ImageSource::Build(build), ImageSource::Digest)
    }

    fn build(&mut self, run: &Run) -> BuildSettings {
        // Without the `.` of the default, which would stand in every message.
        let context: PathBuf = run.workspace.join(self.raw.text("context")).components().collect();
        let dockerfile = match self.raw.given("file") {
            Some(file) => run.workspace.join(file),
            None => context.join("Dockerfile"),
        };
        let version_arg = self.version_arg();
        let cache = self.word("cache") == Some(Cache::Inline);
        BuildSettings {
            context,
            dockerfile,
            target: self.raw.given("target").map(ToOwned::to_owned),
            platform: self.platform(),
            build_args: self.build_args(version_arg.as_deref()),
            version_arg,
            labels: self.labels(),
            cache,
            no_cache: self.flag("no-cache"),
            pull: self.flag("pull"),
        }
    }

    fn platform(&mut self) -> Option<String> {
        let text = self.raw.given("platforms")?;
        if text.contains([',', '\n']) {
            self.errors.of_input("platforms", text, "one platform: images for several are not built yet");
            return None;
        }
        let parts: Vec<&str> = text.split('/').collect();
        let word = |part: &&str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(word) {
            self.errors.of_input("platforms", text, "`os/architecture` or `os/architecture/variant`");
            return None;
        }
        Some(text.to_owned())
    }

    /// The name of the build argument for the version; `none` gives it as none.
    fn version_arg(&mut self) -> Option<String> {
        let name = self.raw.given("version-build-arg").filter(|name| *name != "none")?.to_owned();
        if is_argument(&name) {
            return Some(name);
        }
        self.errors.of_input("version-build-arg", &name, "a name of letters, digits and `_`, or `none`");
        None
    }

    fn build_args(&mut self, version_arg: Option<&str>) -> BTreeMap<String, String> {
        self.pairs("build-args", &|key| {
            if !is_argument(key) {
                Some("a name of letters, digits and `_` before the `=`")
            } else if version_arg == Some(key) {
                Some("another name than that of `version-build-arg`, which is set to the version")
            } else {
                None
            }
        })
    }

    fn labels(&mut self) -> BTreeMap<String, String> {
        self.pairs("labels", &|key| {
            if key.contains(['"', '\'', '`', '#', ',']) || key.contains(char::is_control) {
                Some("a label's name without quotes, `#` and commas")
            } else if autotag_model::labels::is_reserved(key) {
                Some("another label: this one is set from what is released")
            } else {
                None
            }
        })
    }
}
