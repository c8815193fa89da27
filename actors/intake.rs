//! The gate in front of the journal: what a collector does with the lines that it has read.
//!
//! Lines are screened, appended, and accepted once the journal has answered. While the suppression
//! filter or the journal is away the gate waits, and so does the feed behind it: nothing is
//! accepted unscreened, and nothing is lost, because the same stretch of a source is accepted once
//! however often it is offered.

use std::sync::Arc;
use std::time::Duration;

use twzrd_domain::ports::JournalError;
use twzrd_domain::record::{Accepted, Append, Intake};
use twzrd_supervision::{ChildRef, RefError, waiting_for};

use crate::journal::JournalMsg;
use crate::suppression_filter::SuppressionFilterMsg;

/// How long an answer is waited for before the question is asked again.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The wait before a refused append is offered again.
const OFFER_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The gate in front of the journal.
#[derive(Clone)]
pub struct Gate {
    /// Screens.
    pub filter: ChildRef<SuppressionFilterMsg>,
    /// Writes.
    pub journal: ChildRef<JournalMsg>,
    /// How long to go on offering what is refused for now; none for as long as it takes.
    pub patience: Option<Duration>,
}

/// The journal did not take what was offered.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// It refused, for good or for longer than the gate's patience.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal or the filter was away for longer than the gate's patience.
    #[error("{0}")]
    Away(RefError),
}

impl Gate {
    /// Screens lines and appends what may be kept. Answers once that is synced.
    ///
    /// # Errors
    /// Where the journal refuses for good, or the gate's patience ends.
    pub async fn accept(&self, intake: Intake) -> Result<Accepted, GateError> {
        let intake = self.screen(intake).await?;
        self.append(Append::Intake(intake)).await
    }

    async fn screen(&self, intake: Intake) -> Result<Intake, GateError> {
        let intake = Arc::new(intake);
        let ask = || {
            let intake = Arc::clone(&intake);
            let question = |reply| SuppressionFilterMsg::Screen(intake, reply);
            let asked = self.filter.call(question, ANSWER_WITHIN);
            async { asked.await.map_err(Refusal::Away) }
        };
        let suppressed = self.until_answered("suppression_filter", ask).await?;
        let mut intake = Arc::unwrap_or_clone(intake);
        intake.suppress(&suppressed);
        Ok(intake)
    }

    /// Appends records or screened lines. Answers once they are synced.
    ///
    /// # Errors
    /// As [`Gate::accept`].
    pub async fn append(&self, append: Append) -> Result<Accepted, GateError> {
        let ask = || {
            let append = append.clone();
            let question = |reply| JournalMsg::Append(append, reply);
            let asked = self.journal.call(question, ANSWER_WITHIN);
            async {
                match asked.await {
                    Ok(Ok(accepted)) => Ok(accepted),
                    Ok(Err(error)) => Err(Refusal::Journal(error)),
                    Err(away) => Err(Refusal::Away(away)),
                }
            }
        };
        self.until_answered("journal", ask).await
    }

    async fn until_answered<T, F: Future<Output = Result<T, Refusal>>>(
        &self,
        whom: &'static str,
        ask: impl Fn() -> F,
    ) -> Result<T, GateError> {
        let begun = tokio::time::Instant::now();
        let _waiting = waiting_for(whom);
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(Refusal::Journal(error)) if error.is_transient() => GateError::Journal(error),
                Err(Refusal::Journal(error)) => return Err(GateError::Journal(error)),
                Err(Refusal::Away(error)) => GateError::Away(error),
            };
            if self
                .patience
                .is_some_and(|patience| begun.elapsed() >= patience)
            {
                return Err(error);
            }
            let again = tokio::time::sleep(OFFER_AGAIN_AFTER);
            match error {
                GateError::Journal(_) => again.await,
                // A child that is away comes back as soon as it is restarted.
                GateError::Away(_) if whom == "journal" => {
                    let _ = self.journal.wait_running(OFFER_AGAIN_AFTER).await;
                }
                GateError::Away(_) => {
                    let _ = self.filter.wait_running(OFFER_AGAIN_AFTER).await;
                }
            }
        }
    }
}

/// Why one question had no answer.
enum Refusal {
    Journal(JournalError),
    Away(RefError),
}
