//! The proof that a person took part, as it is handed out and checked without any store.

use serde::{Deserialize, Serialize};

use crate::epoch::Epoch;
use crate::identity::{Channel, Login, Node, UserHash, Wallet};
use crate::leaf;
use crate::merkle::{self, MAX_PROOF_NODES, MerkleError, MerkleTree};
use crate::seal::FrozenParticipant;

/// What a proof is made of: a frozen channel and its roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofMaterial {
    /// The epoch.
    pub epoch: Epoch,
    /// The channel.
    pub channel: Channel,
    /// The participants in sealed order.
    pub participants: Vec<FrozenParticipant>,
    /// The root of the participation tree.
    pub participation_root: [u8; 32],
    /// The root of the claim tree.
    pub claim_root: [u8; 32],
}

/// The format of [`PresenceProof`], so that a reader knows what it holds.
pub const FORMAT: &str = "twzrd-presence-proof-v1";

/// A proof that a person took part in a channel in an epoch, in both trees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresenceProof {
    /// [`FORMAT`].
    pub format: String,
    /// The epoch.
    pub epoch: Epoch,
    /// The channel.
    pub channel: Channel,
    /// The person, by login.
    pub user: Login,
    /// The person, by hash.
    pub user_hash: UserHash,
    /// The person's place in the sealed order.
    pub index: u32,
    /// How many leaves each tree has. It belongs to the root: two trees of different size can
    /// share one.
    pub participants: u64,
    /// Presence.
    pub participation: ParticipationProof,
    /// The claim.
    pub claim: ClaimProof,
}

/// The part of a proof in the participation tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParticipationProof {
    /// `K(user_hash ‖ channel ‖ epoch)`.
    pub leaf: Node,
    /// From the leaf's sibling upwards.
    pub proof: Vec<Node>,
    /// The root.
    pub root: Node,
}

/// The part of a proof in the claim tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimProof {
    /// The wallet that may claim; all zero where none was bound.
    pub claimer: Wallet,
    /// The amount, in the token's smallest unit.
    pub amount: u64,
    /// The id in the leaf.
    pub id: String,
    /// `K(claimer ‖ index ‖ amount ‖ id)`.
    pub leaf: Node,
    /// From the leaf's sibling upwards.
    pub proof: Vec<Node>,
    /// The root.
    pub root: Node,
}

/// Why there is no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError {
    /// The person is not among the participants.
    #[error("{login} is not among the {participants} participants of {channel} in epoch {epoch}")]
    Absent {
        /// Who was asked for.
        login: Login,
        /// The channel.
        channel: Channel,
        /// The epoch.
        epoch: Epoch,
        /// How many took part.
        participants: usize,
    },
    /// The stored participants do not give the stored root.
    #[error(
        "the {tree} tree of the stored participants has root {found}; the stored root is {expected}"
    )]
    RootMismatch {
        /// Which tree.
        tree: &'static str,
        /// What the participants give.
        found: Node,
        /// What is stored.
        expected: Node,
    },
    /// The stored leaf cannot be made from what is stored.
    #[error(
        "the stored claim leaf of {login} does not follow from its wallet, index, amount and id"
    )]
    LeafMismatch {
        /// Who was asked for.
        login: Login,
    },
    /// A tree could not be built.
    #[error(transparent)]
    Tree(#[from] MerkleError),
}

/// Makes the proof of a person's presence, and checks it before it is handed out.
///
/// # Errors
/// Where the person did not take part, and where what is stored contradicts itself.
pub fn prove(material: &ProofMaterial, login: &Login) -> Result<PresenceProof, ProveError> {
    let user = UserHash::of_login(login);
    let place = material.participants.iter().position(|p| p.user == user);
    let Some(place) = place else {
        return Err(ProveError::Absent {
            login: login.clone(),
            channel: material.channel.clone(),
            epoch: material.epoch,
            participants: material.participants.len(),
        });
    };
    let person = &material.participants[place];
    let index = u32::try_from(place).map_err(|_| MerkleError::NoSuchLeaf {
        index: place,
        leaves: 0,
    })?;
    let id = claim_id_of(material, person, login, index)?;
    let presence =
        |p: &FrozenParticipant| leaf::participation(p.user, &material.channel, material.epoch);
    let participation = tree_of(
        material.participants.iter().map(presence),
        "participation",
        material.participation_root,
    )?;
    let claims = tree_of(
        material.participants.iter().map(|p| p.claim_leaf),
        "claim",
        material.claim_root,
    )?;
    Ok(PresenceProof {
        format: FORMAT.to_owned(),
        epoch: material.epoch,
        channel: material.channel.clone(),
        user: login.clone(),
        user_hash: user,
        index,
        participants: material.participants.len() as u64,
        participation: ParticipationProof {
            leaf: Node(presence(person)),
            proof: nodes(participation.proof(place)?),
            root: Node(participation.root()),
        },
        claim: ClaimProof {
            claimer: person.claimer,
            amount: person.amount,
            id,
            leaf: Node(person.claim_leaf),
            proof: nodes(claims.proof(place)?),
            root: Node(claims.root()),
        },
    })
}

/// The id that was frozen into the leaf: with the login, or, where that was unknown, with the hash.
fn claim_id_of(
    material: &ProofMaterial,
    person: &FrozenParticipant,
    login: &Login,
    index: u32,
) -> Result<String, ProveError> {
    [Some(login), None]
        .into_iter()
        .map(|name| leaf::claim_id(&material.channel, name, person.user))
        .find(|id| leaf::claim(person.claimer, index, person.amount, id) == person.claim_leaf)
        .ok_or_else(|| ProveError::LeafMismatch {
            login: login.clone(),
        })
}

fn tree_of(
    leaves: impl Iterator<Item = [u8; 32]>,
    tree: &'static str,
    expected: [u8; 32],
) -> Result<MerkleTree, ProveError> {
    let built = MerkleTree::new(leaves.collect())?;
    if built.root() != expected {
        return Err(ProveError::RootMismatch {
            tree,
            found: Node(built.root()),
            expected: Node(expected),
        });
    }
    Ok(built)
}

fn nodes(proof: Vec<[u8; 32]>) -> Vec<Node> {
    proof.into_iter().map(Node).collect()
}

/// What is wrong with a proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It is of another format.
    #[error("format is {0:?}; expected {FORMAT:?}")]
    Format(String),
    /// The hash is not that of the login.
    #[error("user_hash is {found}; the hash of the login is {expected}")]
    UserHash {
        /// What the proof says.
        found: UserHash,
        /// What it should be.
        expected: UserHash,
    },
    /// The index is not below the number of participants.
    #[error("index is {index}; expected less than the {participants} participants")]
    Index {
        /// What the proof says.
        index: u32,
        /// How many there are.
        participants: u64,
    },
    /// A leaf does not follow from the fields beside it.
    #[error("the {tree} leaf is {found}; its fields give {expected}")]
    Leaf {
        /// Which tree.
        tree: &'static str,
        /// What the proof says.
        found: Node,
        /// What the fields give.
        expected: Node,
    },
    /// The number of nodes does not fit the number of participants.
    #[error("the {tree} proof has {found} nodes; a tree of so many participants has {expected}")]
    Length {
        /// Which tree.
        tree: &'static str,
        /// How many nodes there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// The nodes do not lead to the root.
    #[error("the {tree} proof leads to {found}, not to the root {expected}")]
    Root {
        /// Which tree.
        tree: &'static str,
        /// Where it leads.
        found: Node,
        /// The root.
        expected: Node,
    },
    /// The id of the claim is too long, or names another channel or person.
    #[error(
        "the claim's id is {found:?}; expected {expected:?}, or the first 16 characters of the user hash"
    )]
    ClaimId {
        /// What the proof says.
        found: String,
        /// What it should be.
        expected: String,
    },
}

impl PresenceProof {
    /// Checks everything that can be checked without a store: that both leaves follow from the
    /// fields, and that both proofs lead from their leaf to their root.
    ///
    /// That the roots are those which were published is for the caller to compare.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self) -> Result<(), VerifyError> {
        if self.format != FORMAT {
            return Err(VerifyError::Format(self.format.chars().take(80).collect()));
        }
        let expected = UserHash::of_login(&self.user);
        if self.user_hash != expected {
            return Err(VerifyError::UserHash {
                found: self.user_hash,
                expected,
            });
        }
        if u64::from(self.index) >= self.participants {
            return Err(VerifyError::Index {
                index: self.index,
                participants: self.participants,
            });
        }
        let full = leaf::claim_id(&self.channel, Some(&self.user), self.user_hash);
        if self.claim.id != full && self.claim.id != self.user_hash.short() {
            let found = self.claim.id.chars().take(80).collect();
            return Err(VerifyError::ClaimId {
                found,
                expected: full,
            });
        }
        let presence = leaf::participation(self.user_hash, &self.channel, self.epoch);
        let ParticipationProof { leaf, proof, root } = &self.participation;
        self.check("participation", presence, *leaf, proof, *root)?;
        let ClaimProof {
            claimer,
            amount,
            id,
            leaf,
            proof,
            root,
        } = &self.claim;
        let claim = leaf::claim(*claimer, self.index, *amount, id);
        self.check("claim", claim, *leaf, proof, *root)
    }

    fn check(
        &self,
        tree: &'static str,
        made: [u8; 32],
        leaf: Node,
        proof: &[Node],
        root: Node,
    ) -> Result<(), VerifyError> {
        if leaf.0 != made {
            return Err(VerifyError::Leaf {
                tree,
                found: leaf,
                expected: Node(made),
            });
        }
        let expected = merkle::proof_length(self.participants);
        if proof.len() != expected || expected > MAX_PROOF_NODES {
            return Err(VerifyError::Length {
                tree,
                found: proof.len(),
                expected,
            });
        }
        let found = merkle::root_of(leaf.0, proof.iter().map(|node| node.0));
        if found != root.0 {
            return Err(VerifyError::Root {
                tree,
                found: Node(found),
                expected: root,
            });
        }
        Ok(())
    }
}
