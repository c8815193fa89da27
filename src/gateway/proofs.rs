//! Proofs that a person took part.
//!
//! What is sealed never changes, so a proof may be kept for ever, here and by whoever asked for
//! it; an opt-out takes a name out of the tables, not a leaf out of a tree.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::identity::{Channel, Login};
use twzrd_domain::proof::{ProofMaterial, ProveError, prove};
use twzrd_domain::seal::FrozenParticipant;
use utoipa::ToSchema;

use super::app::App;
use super::known::{NoAnswer, Stamped};
use super::params::Query;
use super::problem::{self, Details, Problem};

/// What a participant takes in memory, with a login that is too long to stand inline.
const PARTICIPANT_BYTES: usize = size_of::<FrozenParticipant>() + 16;

/// For how long a proof may be kept: a year, the longest that is of use.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// A proof that a person took part in a channel in an epoch, as `twzrd verify` takes it.
///
/// The form of `twzrd_domain::proof::PresenceProof`.
#[derive(ToSchema)]
#[schema(as = PresenceProof)]
#[expect(dead_code, reason = "describes what the domain writes")]
pub(super) struct PresenceProofForm {
    /// The format.
    #[schema(pattern = "^twzrd-presence-proof-v1$")]
    format: String,
    /// The epoch, by the Unix second of its start.
    epoch: u64,
    /// The channel.
    channel: String,
    /// The person, by login.
    user: String,
    /// The person, by hash.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    user_hash: String,
    /// The person's place in the sealed order.
    index: u32,
    /// How many leaves each tree has.
    participants: u64,
    /// Presence.
    participation: ParticipationForm,
    /// The claim.
    claim: ClaimForm,
}

/// The part of a proof in the participation tree.
#[derive(ToSchema)]
#[schema(as = ParticipationProof)]
#[expect(dead_code, reason = "describes what the domain writes")]
pub(super) struct ParticipationForm {
    /// The leaf.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    leaf: String,
    /// From the leaf's sibling upwards.
    proof: Vec<String>,
    /// The root.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    root: String,
}

/// The part of a proof in the claim tree.
#[derive(ToSchema)]
#[schema(as = ClaimProof)]
#[expect(dead_code, reason = "describes what the domain writes")]
pub(super) struct ClaimForm {
    /// The wallet that may claim; all zero where none was bound.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    claimer: String,
    /// The amount, in the token's smallest unit.
    amount: u64,
    /// The id in the leaf.
    id: String,
    /// The leaf.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    leaf: String,
    /// From the leaf's sibling upwards.
    proof: Vec<String>,
    /// The root.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    root: String,
}

/// The proof that a person took part
///
/// The answer never changes. It is also given while the store is away, where the channel was
/// asked for before; `Age` then says how long ago it was read.
#[utoipa::path(get, path = "/api/v1/proofs", tag = "data",
    params(
        ("epoch" = u64, Query, description = "The Unix second in which the epoch began", maximum = 253_402_300_799i64),
        ("channel" = String, Query, description = "The channel", pattern = r"^[^\s\x00-\x1f\x7f-\x9f]+$", min_length = 1, max_length = 64),
        ("user" = String, Query, description = "The person's login", pattern = r"^[^\s\x00-\x1f\x7f-\x9f]+$", min_length = 1, max_length = 64)),
    responses(
        (status = 200, description = "The proof", body = PresenceProofForm),
        (status = 404, description = "The channel is not sealed in this epoch, or the person took no part", body = Details, content_type = "application/problem+json")))]
pub(super) async fn proof(
    State(app): State<Arc<App>>,
    mut query: Query,
) -> Result<Response, Problem> {
    let epoch = query.epoch()?;
    let (channel, user) = (query.name("channel")?, query.name("user")?);
    query.finish()?;
    let Some(channel) = channel else {
        let detail = format!("no channel has so long a name, in epoch {epoch} or any other");
        return Err(Problem::new(problem::EPOCH_NOT_SEALED, detail));
    };
    let Some(user) = user else {
        let detail = "nobody has so long a login".to_owned();
        return Err(Problem::new(problem::NOT_PARTICIPANT, detail));
    };
    let key = (epoch, channel.clone(), user.clone());
    if let Some(known) = app.known.proofs.get(&key) {
        return Ok(app.sealed_answer(known, true));
    }
    let material = app.material(epoch, channel).await?;
    let (value, at) = (
        app.make(Arc::clone(&material.value), user).await?,
        material.at,
    );
    let made = Stamped { value, at };
    let bytes = made.value.len() + size_of_val(&key) + size_of_val(&made);
    app.known.proofs.put(key, made.clone(), bytes);
    let is_old = app.health.database_away().is_some();
    Ok(app.sealed_answer(made, is_old))
}

impl App {
    /// What proofs of a channel are made of. One that was read is never read again while there is
    /// room for it.
    async fn material(
        &self,
        epoch: Epoch,
        channel: Channel,
    ) -> Result<Stamped<Arc<ProofMaterial>>, Problem> {
        let key = (epoch, channel);
        if let Some(known) = self.known.materials.get(&key) {
            return Ok(known);
        }
        // Never closed, so there is always a permit to wait for.
        let _permit = self.loads.acquire().await;
        if let Some(known) = self.known.materials.get(&key) {
            return Ok(known);
        }
        let found = self
            .ask(self.view.store.proof_material(epoch, &key.1))
            .await;
        let Some(value) = found.map_err(|none: NoAnswer| Problem::from(none))? else {
            let detail = format!("{} has no sealed epoch {epoch} with its trees built", key.1);
            return Err(Problem::new(problem::EPOCH_NOT_SEALED, detail));
        };
        let bytes = value.participants.len() * PARTICIPANT_BYTES + size_of::<ProofMaterial>();
        let material = Stamped {
            value: Arc::new(value),
            at: self.view.clock.now(),
        };
        self.known.materials.put(key, material.clone(), bytes);
        Ok(material)
    }

    /// Makes a proof, off the threads that answer requests: a large tree takes a while. The permit
    /// goes with the work, so that a client that has gone does not make room for more of it.
    async fn make(&self, material: Arc<ProofMaterial>, user: Login) -> Result<Bytes, Problem> {
        let permit = Arc::clone(&self.builds).acquire_owned().await;
        let made = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            prove(&material, &user).map(|proof| serde_json::to_vec(&proof))
        });
        match made.await {
            Ok(Ok(Ok(body))) => Ok(Bytes::from(body)),
            Ok(Err(absent @ ProveError::Absent { .. })) => {
                Err(Problem::new(problem::NOT_PARTICIPANT, absent.to_string()))
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "what is sealed contradicts itself");
                Err(Problem::internal())
            }
            Ok(Ok(Err(error))) => {
                tracing::error!(%error, "a proof cannot be written");
                Err(Problem::internal())
            }
            Err(error) => {
                tracing::error!(%error, "the making of a proof ended");
                Err(Problem::internal())
            }
        }
    }

    fn sealed_answer(&self, proof: Stamped<Bytes>, is_kept: bool) -> Response {
        let mut response = proof.value.into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(FOR_EVER));
        if is_kept {
            headers.insert(AGE, self.age(proof.at));
        }
        response
    }
}
