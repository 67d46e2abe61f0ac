//! What the Engine's troubles mean for a step.

use crate::state::StepError;
use autotag_base::{Cause, Trouble, TroubleKind};
use autotag_protocol::FailureCode;

/// What failed outside, and what to do about it.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(crate) fn words(trouble: Trouble) -> StepError {
    of_trouble(&trouble, FailureCode::Docker)
}

/// The same for a call whose failure means something else where nothing more is known.
pub(crate) fn of_trouble(trouble: &Trouble, otherwise: FailureCode) -> StepError {
    let why = match &trouble.remedy {
        Some(remedy) => format!("{trouble}. {remedy}"),
        None => trouble.to_string(),
    };
    StepError::new(code_of(trouble).unwrap_or(otherwise), why)
}

/// What the Engine's side knows of it; only a pull asks a registry.
pub(crate) fn code_of(trouble: &Trouble) -> Option<FailureCode> {
    match (trouble.cause, trouble.kind) {
        (Some(Cause::NoEngine), _) => Some(FailureCode::DockerUnavailable),
        (Some(Cause::DiskFull), _) => Some(FailureCode::DiskFull),
        (Some(Cause::PortInUse), _) => Some(FailureCode::PortInUse),
        (Some(Cause::NoImage), _) => Some(FailureCode::NoImage),
        (Some(Cause::Platform), _) => Some(FailureCode::Platform),
        (None, TroubleKind::Denied) => Some(FailureCode::PullRefused),
        (None, TroubleKind::Throttled) => Some(FailureCode::RegistryLimit),
        (None, TroubleKind::Unreachable) => Some(FailureCode::RegistryUnreachable),
        (None, TroubleKind::Rejected | TroubleKind::Garbled | TroubleKind::Build | TroubleKind::Input) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_of_the_engine_has_its_code() {
        let cause = |cause| Trouble::new(TroubleKind::Rejected, "pulling", "words").caused_by(cause);
        let kind = |kind| Trouble::new(kind, "pulling", "words");
        for (trouble, code) in [
            (cause(Cause::NoEngine), FailureCode::DockerUnavailable),
            (cause(Cause::DiskFull), FailureCode::DiskFull),
            (cause(Cause::PortInUse), FailureCode::PortInUse),
            (cause(Cause::NoImage), FailureCode::NoImage),
            (cause(Cause::Platform), FailureCode::Platform),
            (kind(TroubleKind::Denied), FailureCode::PullRefused),
            (kind(TroubleKind::Throttled), FailureCode::RegistryLimit),
            (kind(TroubleKind::Unreachable), FailureCode::RegistryUnreachable),
            (kind(TroubleKind::Rejected), FailureCode::DoesNotStart),
            (kind(TroubleKind::Garbled), FailureCode::DoesNotStart),
        ] {
            assert_eq!(of_trouble(&trouble, FailureCode::DoesNotStart).code, code, "{trouble:?}");
        }
    }
}
