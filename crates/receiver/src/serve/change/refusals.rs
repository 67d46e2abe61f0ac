//! What is wrong with the server, as refusals.

use crate::execute::errors::code_of;
use crate::state::{Failure, StepError};
use autotag_base::CallError;
use autotag_protocol::{FailureCode, RefusalCode, Refused};

/// What was found wrong before anything was begun.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn host(error: StepError) -> Refused {
    let text = format!("{}. Nothing was started; what runs keeps running", error.why);
    Refused::new(error.code.of_host(), text)
}

pub(super) fn host_error(error: &CallError) -> Refused {
    host(StepError::new(code_of(error).unwrap_or(FailureCode::Docker), error.to_string()))
}

pub(super) fn unrecorded(why: impl Into<String>) -> Refused {
    host(StepError::new(FailureCode::Storage, why))
}

pub(super) fn not_finished(failure: &Failure) -> Refused {
    let text = format!("an earlier deployment could not be finished ({})", failure.why);
    Refused::new(RefusalCode::Unfinished, text)
}
