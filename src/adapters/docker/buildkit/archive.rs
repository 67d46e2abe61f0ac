//! A context that BuildKit gets as one archive: in its own words, an address that leads into the session, and the
//! unpacking of what is there.
//!
//! The frontend has an attribute for a context at an address, but looks for the Dockerfile in it as well. Given as an
//! input, it is the context and nothing else.

use std::collections::HashMap;

use bollard_buildkit_proto::pb::file_action::Action;
use bollard_buildkit_proto::pb::op::Op as Kind;
use bollard_buildkit_proto::pb::{
    Definition, FileAction, FileActionCopy, FileOp, Input, Op, OpMetadata, SourceOp,
};
use prost::Message as _;

use autotag_model::reference::Digest;

/// Its name inside of what was fetched.
const FILE: &str = "context";

/// How BuildKit gets the context, from the session of this id.
pub(super) fn context(id: &str) -> Definition {
    let identifier = format!("http://buildkit-session/{id}");
    let attrs = HashMap::from([("http.filename".to_owned(), FILE.to_owned())]);
    let fetch = Op { op: Some(Kind::Source(SourceOp { identifier, attrs })), ..Op::default() };
    let copy = FileActionCopy {
        src: format!("/{FILE}"),
        dest: "/".to_owned(),
        attempt_unpack_docker_compatibility: true,
        // As it is in the archive.
        mode: -1,
        timestamp: -1,
        ..FileActionCopy::default()
    };
    let action =
        FileAction { input: NOTHING, secondary_input: 0, output: 0, action: Some(Action::Copy(copy)) };
    let mut definition = Definition::default();
    let fetched = push(&mut definition, &fetch, "[internal] load build context");
    let unpack = Kind::File(FileOp { actions: vec![action] });
    let unpack = Op { inputs: vec![fetched], op: Some(unpack), ..Op::default() };
    let unpacked = push(&mut definition, &unpack, "[internal] unpack build context");
    // The last one names the result.
    definition.def.push(Op { inputs: vec![unpacked], ..Op::default() }.encode_to_vec());
    definition
}

/// The input of an action that begins with an empty directory.
const NOTHING: i64 = -1;

/// Adds an operation with the name that it has in the log; gives its result as the input of another one.
fn push(definition: &mut Definition, op: &Op, name: &str) -> Input {
    let op = op.encode_to_vec();
    let digest = Digest::of(&op).to_string();
    let description = HashMap::from([("llb.customname".to_owned(), name.to_owned())]);
    definition.metadata.insert(digest.clone(), OpMetadata { description, ..OpMetadata::default() });
    definition.def.push(op);
    Input { digest, index: 0 }
}
