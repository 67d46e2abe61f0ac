//! What the Engine's troubles mean for a step.

use crate::state::StepError;
use autotag_base::{CallError, CallErrorKind, Cause};
use autotag_protocol::FailureCode;

/// What failed outside, and what to do about it.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(crate) fn words(error: CallError) -> StepError {
    of_call_error(&error, FailureCode::Docker)
}

/// The same for a call whose failure means something else where nothing more is known.
pub(crate) fn of_call_error(error: &CallError, otherwise: FailureCode) -> StepError {
    let why = match &error.remedy {
        Some(remedy) => format!("{error}. {remedy}"),
        None => error.to_string(),
    };
    StepError::new(code_of(error).unwrap_or(otherwise), why)
}

/// What the Engine's side knows of it; only a pull asks a registry.
pub(crate) fn code_of(error: &CallError) -> Option<FailureCode> {
    match (error.cause, error.kind) {
        (Some(Cause::NoEngine), _) => Some(FailureCode::DockerUnavailable),
        (Some(Cause::DiskFull), _) => Some(FailureCode::DiskFull),
        (Some(Cause::PortInUse), _) => Some(FailureCode::PortInUse),
        (Some(Cause::NoImage), _) => Some(FailureCode::NoImage),
        (Some(Cause::Platform), _) => Some(FailureCode::Platform),
        (None, CallErrorKind::Denied) => Some(FailureCode::PullRefused),
        (None, CallErrorKind::Throttled) => Some(FailureCode::RegistryLimit),
        (None, CallErrorKind::Unreachable) => Some(FailureCode::RegistryUnreachable),
        (
            None,
            CallErrorKind::Rejected
            | CallErrorKind::InvalidResponse
            | CallErrorKind::Build
            | CallErrorKind::Input,
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_of_the_engine_has_its_code() {
        let cause = |cause| CallError::new(CallErrorKind::Rejected, "pulling", "words").caused_by(cause);
        let kind = |kind| CallError::new(kind, "pulling", "words");
        for (error, code) in [
            (cause(Cause::NoEngine), FailureCode::DockerUnavailable),
            (cause(Cause::DiskFull), FailureCode::DiskFull),
            (cause(Cause::PortInUse), FailureCode::PortInUse),
            (cause(Cause::NoImage), FailureCode::NoImage),
            (cause(Cause::Platform), FailureCode::Platform),
            (kind(CallErrorKind::Denied), FailureCode::PullRefused),
            (kind(CallErrorKind::Throttled), FailureCode::RegistryLimit),
            (kind(CallErrorKind::Unreachable), FailureCode::RegistryUnreachable),
            (kind(CallErrorKind::Rejected), FailureCode::DoesNotStart),
            (kind(CallErrorKind::InvalidResponse), FailureCode::DoesNotStart),
        ] {
            assert_eq!(of_call_error(&error, FailureCode::DoesNotStart).code, code, "{error:?}");
        }
    }
}
