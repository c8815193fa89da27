//! A connection on which no answer is waited for without end.
//!
//! The server calls a statement off that takes too long. But a network may swallow what it says,
//! and a driver that waits for an answer that never comes waits for ever.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr,
    SqlxError, Statement,
};

/// A connection, or a transaction, that calls a statement off where no answer comes in time.
///
/// Whether that statement took effect is not known. The connection is not used again before it
/// has answered.
#[derive(Clone, Debug)]
pub struct Bounded<C> {
    inner: C,
    within: Option<Duration>,
}

impl<C> Bounded<C> {
    /// None is no bound: a database without a network between answers in any case.
    pub(crate) const fn new(inner: C, within: Option<Duration>) -> Self {
        Self { inner, within }
    }

    pub(crate) const fn inner(&self) -> &C {
        &self.inner
    }

    /// Puts the bound on what is derived from this connection.
    pub(crate) const fn like<D>(&self, inner: D) -> Bounded<D> {
        let within = self.within;
        Bounded { inner, within }
    }

    /// Waits for an answer.
    pub(crate) async fn answer<T>(
        &self,
        work: impl Future<Output = Result<T, DbErr>> + Send,
    ) -> Result<T, DbErr> {
        in_time(self.within, work).await
    }
}

impl Bounded<DatabaseTransaction> {
    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        in_time(self.within, self.inner.commit()).await
    }
}

async fn in_time<T>(
    within: Option<Duration>,
    work: impl Future<Output = Result<T, DbErr>> + Send,
) -> Result<T, DbErr> {
    let Some(within) = within else {
        return work.await;
    };
    let answered = tokio::time::timeout(within, work).await;
    answered.unwrap_or_else(|_| {
        let error = SqlxError::Io(silence(within));
        Err(DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error))))
    })
}

pub(crate) fn silence(within: Duration) -> io::Error {
    let why = format!("no answer within {within:?}");
    io::Error::new(io::ErrorKind::TimedOut, why)
}

#[async_trait]
impl<C: ConnectionTrait> ConnectionTrait for Bounded<C> {
    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.answer(self.inner.execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.answer(self.inner.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.answer(self.inner.query_one_raw(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.answer(self.inner.query_all_raw(statement)).await
    }

    fn support_returning(&self) -> bool {
        self.inner.support_returning()
    }
}
