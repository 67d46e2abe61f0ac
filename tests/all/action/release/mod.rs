//! The transaction: the real program against GitHub's double and a real registry.
//!
//! Where the build is not what is tested, images come by `image-digest`, so that a run takes milliseconds.

mod claims;
mod counterexamples;
mod github_answers;
mod manual_tags;
mod outcomes;
mod races;
mod registry_state;
mod resume;
mod triggers;

use autotag_deploy::versioning::claim::Claim;
use autotag_model::git::ObjectId;
use autotag_model::reference::{Digest, ImageName};

use crate::action::workflow::{Run, Workflow};
use testkit::github::Double;
use testkit::images::tiny_image::TinyImage;
use testkit::registry::{Auth, Registry};

/// A repository, its registry, and its workflow.
pub struct Project {
    pub github: Double,
    pub registry: Registry,
    pub workflow: Workflow,
}

impl Project {
    /// Nothing released yet.
    pub fn new() -> Self {
        let github = Double::start();
        let registry = Registry::start(&Auth::None);
        let workflow = Workflow::new(&github.url()).with("image", &registry.image("org/app").to_string());
        Self { github, registry, workflow }
    }

    pub fn image(&self) -> ImageName {
        self.registry.image("org/app")
    }

    /// A merge to main.
    pub fn merge(&self, title: &str) -> ObjectId {
        self.github.commit_on("main", title)
    }

    /// An image of this commit, built elsewhere and pushed.
    pub fn pushed(&self, repository: &str, commit: &ObjectId) -> Digest {
        let image = TinyImage::labelled(&[("org.opencontainers.image.revision", commit.as_str())]);
        self.registry.put(repository, &format!("ci-{}", commit.short()), &image)
    }

    /// A run for this commit with an image that was built elsewhere.
    pub fn release(&self, commit: &ObjectId) -> Run {
        let digest = self.pushed("org/app", commit);
        self.workflow.push(commit).with("image-digest", digest.as_str()).without_docker()
    }

    /// The claims, newest first.
    pub fn claims(&self) -> Vec<Claim> {
        self.claims_at("refs/autotag/v/head")
    }

    /// The claims that this ref begins, newest first.
    pub fn claims_at(&self, head: &str) -> Vec<Claim> {
        let mut claims = Vec::new();
        let mut next = self.github.read_ref(head);
        while let Some(id) = &next {
            let object = self.github.tag_object(id).expect("the claim's object");
            let claim = Claim::parse(&object.message).expect("a claim");
            next.clone_from(&claim.previous);
            claims.push(claim);
        }
        claims
    }

    /// Invariants 1 and 3, and that everything claimed agrees: one version a commit, versions rise along the
    /// claims, every published version is what was claimed, `latest` is the highest published one, GitHub's
    /// Latest the highest release.
    #[track_caller]
    pub fn assert_consistent(&self) {
        let claims = self.claims();
        for pair in claims.windows(2) {
            assert!(pair[0].version > pair[1].version, "claims fall: {claims:#?}");
            assert_ne!(pair[0].commit, pair[1].commit, "a commit has two versions: {claims:#?}");
        }
        let mut published = None;
        for claim in claims.iter().rev() {
            let version = claim.version.to_string();
            if let Some(digest) = self.registry.digest("org/app", &version) {
                assert_eq!(digest, claim.digest, "{version} is not what was claimed");
                published = Some(digest);
            }
            let tag = self.github.read_ref(&format!("refs/tags/v{version}")).expect("a claim has its tag");
            let object = self.github.tag_object(&tag).expect("an annotated tag");
            assert_eq!(object.target, claim.commit, "v{version} is another commit's");
        }
        assert_eq!(
            self.registry.digest("org/app", "latest"),
            published,
            "latest is not the highest published"
        );
        let shown = self.github.latest_release();
        let mut released: Vec<semver::Version> = self
            .github
            .releases()
            .iter()
            .filter_map(|release| release.tag.strip_prefix('v')?.parse().ok())
            .collect();
        released.sort();
        let tags: Vec<String> = released.iter().map(|version| format!("v{version}")).collect();
        assert_eq!(shown.as_ref(), tags.last(), "GitHub's Latest");
        let mut unique = tags.clone();
        unique.dedup();
        assert_eq!(unique, tags, "a version has two releases");
    }
}
