//! Bytes as a proof: whatever verifies under the roots of an honest tree says what that tree says
//! of the person, also where a forger has made everything fit that can be made to fit.

use std::sync::LazyLock;

use twzrd_domain::batch::Group;
use twzrd_domain::epoch::Epoch;
use twzrd_domain::identity::{Channel, Login, Name, Node, UserHash, Wallet, keccak256};
use twzrd_domain::leaf;
use twzrd_domain::merkle::{MAX_PROOF_NODES, MerkleTree, proof_length, root_of};
use twzrd_domain::proof::{FORMAT, PresenceProof, ProofMaterial, prove};
use twzrd_domain::seal::{Participant, freeze};
use twzrd_domain::weight::Arithmetic;

/// The longest text of a fault: it is one line of a report.
const MAX_TOLD: usize = 1000;

/// A tree that was really built, with the proofs of all who are in it.
pub(crate) struct Honest {
    participation: Node,
    claim: Node,
    pub(crate) proofs: Vec<PresenceProof>,
}

/// Trees of each shape: of one leaf, whole, odd at the bottom, odd further up, and with ids that
/// are too long for the login.
pub(crate) static HONEST: LazyLock<Vec<Honest>> = LazyLock::new(|| {
    let long = "c".repeat(60);
    let shapes = [
        (1, "tea"),
        (2, "tea"),
        (3, "tea"),
        (5, "a_channel_of_24_bytes_xx"),
        (8, "tea"),
        (11, long.as_str()),
    ];
    let epochs = (1_760_000_400..).step_by(3600);
    shapes
        .into_iter()
        .zip(epochs)
        .map(|((people, channel), epoch)| honest(people, channel, Epoch(epoch)))
        .collect()
});

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn honest(people: u64, channel: &str, epoch: Epoch) -> Honest {
    let channel = name(channel);
    let logins: Vec<Login> = (0..people).map(|n| name(&format!("viewer_{n}"))).collect();
    let person = |(n, login): (u64, &Login)| Participant {
        user: UserHash::of_login(login),
        first_seen: epoch.0 + n,
        login: Some(login.clone()),
        wallet: if n % 2 == 0 {
            Wallet::UNBOUND
        } else {
            Wallet(keccak256(&[login.as_str().as_bytes()]))
        },
        sums: None,
        group: Group::default(),
    };
    let participants = (0..).zip(&logins).map(person).collect();
    let frozen = freeze(epoch, &channel, 0, &Arithmetic::default(), participants);
    let frozen = frozen.expect("in order").expect("not empty");
    let presence = frozen.participants.iter();
    let presence = presence.map(|p| leaf::participation(p.user, &channel, epoch));
    let claims = frozen.participants.iter().map(|p| p.claim_leaf);
    let root = |leaves: Vec<_>| MerkleTree::new(leaves).expect("distinct leaves").root();
    let (participation_root, claim_root) = (root(presence.collect()), root(claims.collect()));
    let material = ProofMaterial {
        epoch,
        channel,
        participation_root,
        claim_root,
        participants: frozen.participants,
    };
    let proofs = logins.iter().map(|login| prove(&material, login));
    Honest {
        participation: Node(material.participation_root),
        claim: Node(material.claim_root),
        proofs: proofs.collect::<Result<_, _>>().expect("all took part"),
    }
}

pub(crate) fn check(data: &[u8]) {
    let Ok(proof) = serde_json::from_slice::<PresenceProof>(data) else {
        return;
    };
    judged(&proof);
    let written = serde_json::to_vec(&proof).expect("a proof can be written");
    let again: PresenceProof = serde_json::from_slice(&written).expect("and read");
    assert_eq!(again, proof);
    for (keeps_hash, keeps_id) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut forged = proof.clone();
        forge_fields(&mut forged, keeps_hash, keeps_id);
        judged(&forged);
        for tree in HONEST.iter() {
            let mut claimed = forged.clone();
            claimed.participation.root = tree.participation;
            claimed.claim.root = tree.claim;
            judged(&claimed);
            borrowed(&claimed, tree);
        }
        for keeps_length in [true, false] {
            forge_roots(&mut forged, keeps_length);
            judged(&forged);
        }
    }
}

/// Makes the leaves follow from the fields that a person reads, and these from one another.
fn forge_fields(proof: &mut PresenceProof, keeps_hash: bool, keeps_id: bool) {
    FORMAT.clone_into(&mut proof.format);
    if !keeps_hash {
        proof.user_hash = UserHash::of_login(&proof.user);
    }
    let presence = leaf::participation(proof.user_hash, &proof.channel, proof.epoch);
    proof.participation.leaf = Node(presence);
    let claim = &mut proof.claim;
    if !keeps_id {
        claim.id = leaf::claim_id(&proof.channel, Some(&proof.user), proof.user_hash);
    }
    claim.leaf = Node(leaf::claim(
        claim.claimer,
        proof.index,
        claim.amount,
        &claim.id,
    ));
}

/// Makes both proofs lead somewhere, in a tree of its own.
fn forge_roots(proof: &mut PresenceProof, keeps_length: bool) {
    let length = proof_length(proof.participants);
    let mut fits = length <= MAX_PROOF_NODES;
    for (leaf, nodes, root) in [
        (
            proof.participation.leaf,
            &mut proof.participation.proof,
            &mut proof.participation.root,
        ),
        (
            proof.claim.leaf,
            &mut proof.claim.proof,
            &mut proof.claim.root,
        ),
    ] {
        if !keeps_length {
            nodes.resize(length.min(64), leaf);
        }
        fits &= nodes.len() == length;
        *root = Node(root_of(leaf.0, nodes.iter().map(|node| node.0)));
    }
    let is_person = proof.user_hash == UserHash::of_login(&proof.user) && has_id_of_person(proof);
    let is_possible = u64::from(proof.index) < proof.participants && fits && is_person;
    assert_eq!(proof.verify().is_ok(), is_possible, "{:?}", proof.verify());
}

/// `twitch:<channel>:<login>` in at most 64 bytes, or the beginning of the hash.
fn has_id_of_person(proof: &PresenceProof) -> bool {
    let full = format!("twitch:{}:{}", proof.channel, proof.user);
    let short = proof.user_hash.to_string()[..16].to_owned();
    (full.len() <= 64 && proof.claim.id == full) || proof.claim.id == short
}

/// With the nodes of each honest proof, somebody else is as little in the tree.
fn borrowed(claimed: &PresenceProof, tree: &Honest) {
    for honest in &tree.proofs {
        let mut borrowed = claimed.clone();
        borrowed.participants = honest.participants;
        borrowed
            .participation
            .proof
            .clone_from(&honest.participation.proof);
        borrowed.claim.proof.clone_from(&honest.claim.proof);
        judged(&borrowed);
        borrowed.index = honest.index;
        forge_fields(&mut borrowed, true, true);
        judged(&borrowed);
    }
}

fn judged(proof: &PresenceProof) {
    let verdict = proof.verify();
    assert_eq!(verdict, proof.verify(), "judged otherwise again");
    if let Err(error) = verdict {
        let told = error.to_string();
        assert!(
            told.len() <= MAX_TOLD && !told.contains(char::is_control),
            "{told}"
        );
        return;
    }
    follows(proof);
    for tree in HONEST.iter() {
        if proof.participation.root == tree.participation {
            let same = tree.proofs.iter().find(|honest| honest.user == proof.user);
            let honest = same.expect("somebody who took no part is in the tree");
            assert_eq!(
                (&proof.channel, proof.epoch),
                (&honest.channel, honest.epoch)
            );
            assert_eq!(proof.participation, honest.participation);
        }
        if proof.claim.root == tree.claim {
            let at = usize::try_from(proof.index).expect("an index");
            let honest = tree.proofs.get(at).expect("a claim that nobody has");
            assert_eq!(proof.claim, honest.claim);
        }
        if (proof.participation.root, proof.claim.root) == (tree.participation, tree.claim) {
            let at = usize::try_from(proof.index).expect("an index");
            let mut honest = tree.proofs[at].clone();
            // How many took part shows in a tree only by its height. It is published beside it.
            let (found, published) = (proof.participants, honest.participants);
            assert_eq!(proof_length(found), proof_length(published));
            honest.participants = found;
            assert_eq!(*proof, honest);
        }
    }
}

/// What verifies follows from its fields, by the words of the format.
fn follows(proof: &PresenceProof) {
    let PresenceProof { channel, user, .. } = proof;
    let channel: &Channel = channel;
    assert_eq!(proof.user_hash.0, keccak256(&[user.as_str().as_bytes()]));
    let presence = [
        proof.user_hash.as_bytes(),
        channel.as_str().as_bytes(),
        &proof.epoch.0.to_le_bytes(),
    ];
    assert_eq!(proof.participation.leaf.0, keccak256(&presence));
    let index = proof.index.to_le_bytes();
    let claim = [
        proof.claim.claimer.as_bytes(),
        index.as_slice(),
        &proof.claim.amount.to_le_bytes(),
        proof.claim.id.as_bytes(),
    ];
    assert_eq!(proof.claim.leaf.0, keccak256(&claim));
    assert!(has_id_of_person(proof));
    assert!(u64::from(proof.index) < proof.participants);
    for (leaf, nodes, root) in [
        (
            proof.participation.leaf,
            &proof.participation.proof,
            proof.participation.root,
        ),
        (proof.claim.leaf, &proof.claim.proof, proof.claim.root),
    ] {
        let up = nodes.iter().fold(leaf.0, |node, other| {
            keccak256(&[&node.min(other.0), &node.max(other.0)])
        });
        assert_eq!(
            (up, nodes.len()),
            (root.0, proof_length(proof.participants))
        );
    }
}
