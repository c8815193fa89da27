//! Work that takes a while, away from the threads that answer others.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinError;

/// Does something on a thread where it holds up nobody.
///
/// A runtime of one thread does it there: so in a simulation what happens follows from the seed
/// alone, and not from how fast another thread was.
pub(crate) async fn offload<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => Ok(work()),
        _ => tokio::task::spawn_blocking(work).await,
    }
}
