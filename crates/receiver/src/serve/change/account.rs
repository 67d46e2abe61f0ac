//! What the journal says of a request, and what it costs whoever has the key.

use super::Locked;
use crate::engine::Engine;
use crate::policy::admit::Asker;
use crate::serve::peer::Caller;
use crate::serve::queue::AppQueue;
use crate::serve::quota;
use crate::state::journal::What;
use autotag_protocol::End;

impl<E: Engine> Locked<'_, E> {
    /// Has the request in the journal, before anything is done for it.
    pub(super) fn note_asked(&mut self) {
        if let Some(asked) = self.asked.take() {
            self.driver.note(asked);
        }
    }

    /// Writes down how a change ended, and what it cost whoever has the key.
    pub(super) fn answered(&mut self, caller: &Caller, place: &AppQueue, end: &End) {
        let (now, nothing_done) = (self.server.queues.now(), self.asked.is_some());
        if caller.asker() == Asker::Key {
            if self.repeated {
                return;
            }
            let failed = matches!(end, End::Failed { .. }) && !nothing_done;
            place.spend(if failed { quota::FAILED } else { quota::CHEAP }, now);
            if let End::Refused { code, .. } = end
                && nothing_done
                && let Some(code) = code.known()
                && !place.refused(code, now)
            {
                return;
            }
        }
        self.note_asked();
        self.driver.note(What::Answered { end: end.clone() });
    }
}
