//! The program as its owner meets it, without Docker. Tests that need both programs stand in the root's `tests/`.

mod program;
