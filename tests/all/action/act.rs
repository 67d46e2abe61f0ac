//! action.yml as a runner reads it, and outputs as later steps and jobs get them.

use crate::action::runner::{self, leftovers::Leftovers};
use testkit::github::Double;
use testkit::processes::act::{Act, ClonedRepository, Event, action};
use testkit::registry::{Auth, Registry};

/// `IMAGE` and `LABEL` are replaced. Every `run` ends its job if it finds something else than it
/// should; the image itself says, by a label that its build set, which version it is.
const WORKFLOW: &str = r#"
name: release
on: push
jobs:
  release:
    runs-on: ubuntu-latest
    outputs:
      version: ${{ steps.release.outputs.version }}
      digest: ${{ steps.release.outputs.digest }}
      image-ref: ${{ steps.release.outputs.image-ref }}
    steps:
      - uses: actions/checkout@v4
      - id: broken
        uses: ./
        continue-on-error: true
        with: { image: IMAGE, labels: LABEL, bump: huge }
      - run: test "$FOUND" = "failure success failed" && echo "seen by a step - $FOUND"
        env:
          FOUND: ${{ steps.broken.outcome }} ${{ steps.broken.conclusion }} ${{ steps.broken.outputs.outcome }}
      - id: release
        uses: ./
        with: { image: IMAGE, labels: LABEL }
      - run: |
          test "$VERSION" = 0.0.2
          test "$PREVIOUS $TAG $OUTCOME" = "0.0.1 v0.0.2 released"
          test "$REF" = "IMAGE@$DIGEST"
          docker pull --quiet "$REF"
          test "$(docker image inspect --format '{{ .Config.Labels.built }}' "$REF")" = "as 0.0.2"
          echo "seen by a step - $DIGEST"
        env:
          VERSION: ${{ steps.release.outputs.version }}
          PREVIOUS: ${{ steps.release.outputs.previous-version }}
          TAG: ${{ steps.release.outputs.tag }}
          OUTCOME: ${{ steps.release.outputs.outcome }}
          DIGEST: ${{ steps.release.outputs.digest }}
          REF: ${{ steps.release.outputs.image-ref }}
  deploy:
    needs: release
    runs-on: ubuntu-latest
    steps:
      - run: |
          test "$VERSION" = 0.0.2
          test "$REF" = "IMAGE@$DIGEST"
          docker pull --quiet "$REF"
          echo "seen by a job - $DIGEST"
        env:
          VERSION: ${{ needs.release.outputs.version }}
          DIGEST: ${{ needs.release.outputs.digest }}
          REF: ${{ needs.release.outputs.image-ref }}
"#;

#[test]
fn a_workflows_later_steps_and_jobs_get_the_outputs() {
    let leftovers = Leftovers::new();
    let registry = Registry::start(&Auth::None);
    let directory = tempfile::tempdir().expect("a directory");
    let image = registry.image("org/app");
    let repository = ClonedRepository::new(directory.path(), "org/app");
    repository.file("app", "first\n");
    repository.commit("feat: begin");
    repository.git(&["tag", "v0.0.1"]);
    repository.file("Dockerfile", "FROM scratch\nARG VERSION\nLABEL built=\"as $VERSION\"\nCOPY app /\n");
    repository.file("action.yml", &action(&runner::image(), &[]));
    let workflow = WORKFLOW.replace("IMAGE", &image.to_string()).replace("LABEL", leftovers.label());
    repository.workflow("release.yml", &workflow);
    repository.commit("feat: release");
    let github = Double::import_git(repository.directory());

    let log = Act::new(&github, leftovers.label()).run(&repository, "release.yml", &Event::push());

    let digest = registry.digest("org/app", "0.0.2").expect("0.0.2 is published");
    for words in [
        "by a step - failure success failed",
        &format!("by a step - {digest}"),
        &format!("by a job - {digest}"),
    ] {
        assert!(log.contains(&format!("| seen {words}")), "{words:?} is missing:\n{log}");
    }
    assert!(
        log.contains("Released [v0.0.2]"),
        "the summary:
{log}"
    );
    assert_eq!(registry.digest("org/app", "latest"), Some(digest));
    assert!(github.read_ref("refs/tags/v0.0.2").is_some());
}
