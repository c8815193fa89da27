//! The system's clock, behind the port. Nothing else reads the time.

use std::time::{SystemTime, UNIX_EPOCH};

use twzrd_domain::epoch::UnixMs;
use twzrd_domain::ports::Clock;

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place behind the port"
    )]
    fn now(&self) -> UnixMs {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
