//! Why a build failed, as BuildKit says it, or why there is no answer.

use std::error::Error as _;

use bollard::errors::Error;
use bollard_buildkit_proto::google::rpc;
use prost::Message as _;
use tonic::Status;

use autotag_docker::daemon::broken;

/// A build without a result.
#[derive(Debug)]
pub(crate) struct Failed {
    /// What BuildKit answered is an error of the stream; everything else is the connection's.
    pub(crate) error: Error,
    /// The Dockerfile's line that is at fault, where BuildKit names it. Old Engines name none.
    pub(crate) line: Option<usize>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, line: None }
    }
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        if status.source().is_some() {
            return broken(status).into();
        }
        let line = line(status.details());
        Self { error: Error::DockerStreamError { error: status.message().to_owned() }, line }
    }
}

/// Among the details is the source that the failed operation was made from, as JSON.
fn line(details: &[u8]) -> Option<usize> {
    let details = rpc::Status::decode(details).ok()?.details;
    let source = details.iter().find(|detail| detail.type_url.ends_with("errdefs.Source+json"))?;
    let source: serde_json::Value = serde_json::from_slice(&source.value).ok()?;
    source.pointer("/ranges/0/start/line")?.as_u64()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use bollard_buildkit_proto::google::protobuf::Any;

    use super::*;

    #[test]
    fn the_line_is_read_from_the_details() {
        let detail = |kind: &str, value: &str| Any {
            type_url: format!("github.com/moby/buildkit/{kind}+json"),
            value: value.as_bytes().to_vec(),
        };
        let source = r#"{"info":{"filename":"Dockerfile","data":"RlJPTQ=="},"ranges":[{"start":{"line":7},"end":{"line":9}}]}"#;
        for (details, line) in [
            (vec![detail("errdefs.Vertex", "{}"), detail("errdefs.Source", source)], Some(7)),
            (vec![detail("errdefs.Vertex", source)], None),
            (vec![detail("errdefs.Source", r#"{"ranges":[]}"#)], None),
            (vec![detail("errdefs.Source", r#"{"ranges":[{"start":{"line":-1}}]}"#)], None),
            (vec![detail("errdefs.Source", "{")], None),
            (Vec::new(), None),
        ] {
            let details = rpc::Status { details, ..rpc::Status::default() }.encode_to_vec();
            let status = Status::with_details(tonic::Code::Unknown, "it failed", details.into());
            let failed = Failed::from(status);
            assert_eq!(failed.line, line);
            assert!(matches!(failed.error, Error::DockerStreamError { error } if error == "it failed"));
        }
        assert_eq!(Failed::from(Status::unknown("it failed")).line, None);
        let garbled = Status::with_details(tonic::Code::Unknown, "it failed", vec![0xff; 9].into());
        assert_eq!(Failed::from(garbled).line, None);
    }
}
