//! Every vector of the recorded formats that concerns hashes, leaves, trees and proofs.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation)]

use serde::Deserialize;
use twzrd_domain::epoch::Epoch;
use twzrd_domain::identity::{Name, Node, UserHash, Wallet, keccak256};
use twzrd_domain::leaf::{self, SubjectForm};
use twzrd_domain::merkle::{MerkleTree, root_of};

#[derive(Deserialize)]
struct Formats {
    user_hash_by_login: Vec<ByLogin>,
    user_hash_by_twitch_id: Vec<ById>,
    production_single_leaf_roots: Vec<Single>,
    participation_trees: Trees,
    claim_v0_trees: Trees,
    claim_v1_trees: Trees,
    subjects: Vec<Subject>,
    claim_channel_open: Claim,
}

#[derive(Deserialize)]
struct ByLogin {
    login: String,
    user_hash: UserHash,
}

#[derive(Deserialize)]
struct ById {
    twitch_id: serde_json::Value,
    user_hash: UserHash,
}

#[derive(Deserialize)]
struct Single {
    epoch: u64,
    channel: String,
    participants: Vec<String>,
    root: Node,
}

#[derive(Deserialize)]
struct Trees {
    trees: Vec<Tree>,
}

#[derive(Deserialize)]
struct Tree {
    n: u32,
    root: Node,
    #[serde(default)]
    proofs: Vec<Proof>,
}

#[derive(Deserialize)]
struct Proof {
    index: usize,
    leaf: Node,
    proof: Vec<Node>,
}

#[derive(Deserialize)]
struct Subject {
    channel: String,
    namespace: Option<String>,
    prefix: String,
    subject: Node,
}

#[derive(Deserialize)]
struct Claim {
    root: Node,
    index: u32,
    amount: u64,
    id: String,
    claimer: String,
    proof: Vec<Node>,
}

const CHANNEL: &str = "goldenchannel";
const EPOCH: Epoch = Epoch(1_761_854_400);

fn formats() -> Formats {
    serde_json::from_str(include_str!("golden/formats.json")).unwrap()
}

fn viewer(index: u32) -> Name {
    Name::parse(&format!("viewer_{index:05}")).unwrap()
}

fn check(trees: &Trees, leaf: impl Fn(u32) -> [u8; 32]) {
    assert_eq!(trees.trees.len(), 26);
    for golden in &trees.trees {
        let tree = MerkleTree::new((0..golden.n).map(&leaf).collect()).unwrap();
        assert_eq!(Node(tree.root()), golden.root, "{} leaves", golden.n);
        tree.verify_all_proofs().unwrap();
        for proof in &golden.proofs {
            assert_eq!(Node(leaf(proof.index as u32)), proof.leaf);
            let found: Vec<Node> = tree
                .proof(proof.index)
                .unwrap()
                .into_iter()
                .map(Node)
                .collect();
            assert_eq!(found, proof.proof, "leaf {} of {}", proof.index, golden.n);
        }
    }
}

fn claim_fields(index: u32) -> (Wallet, u64, String) {
    let claimer = Wallet(keccak256(&[format!("wallet_{index}").as_bytes()]));
    (
        claimer,
        80_000_000_000 + u64::from(index),
        format!("twitch:{CHANNEL}:{}", viewer(index)),
    )
}

#[test]
fn people_are_hashed_by_login_and_by_id() {
    for vector in formats().user_hash_by_login {
        assert_eq!(
            UserHash::of_login(&Name::parse(&vector.login).unwrap()),
            vector.user_hash
        );
    }
    for vector in formats().user_hash_by_twitch_id {
        let id = vector
            .twitch_id
            .to_string()
            .trim_matches('"')
            .parse()
            .unwrap();
        assert_eq!(UserHash::of_twitch_id(id), vector.user_hash);
    }
}

#[test]
fn roots_of_production_are_met() {
    for vector in formats().production_single_leaf_roots {
        let channel = Name::parse(&vector.channel).unwrap();
        let leaves = vector.participants.iter().map(|login| {
            let user = UserHash::of_login(&Name::parse(login).unwrap());
            leaf::participation(user, &channel, Epoch(vector.epoch))
        });
        assert_eq!(
            Node(MerkleTree::new(leaves.collect()).unwrap().root()),
            vector.root
        );
    }
}

#[test]
fn participation_trees_and_proofs_are_met() {
    let channel = Name::parse(CHANNEL).unwrap();
    check(&formats().participation_trees, |index| {
        leaf::participation(UserHash::of_login(&viewer(index)), &channel, EPOCH)
    });
}

#[test]
fn claim_trees_and_proofs_are_met() {
    check(&formats().claim_v0_trees, |index| {
        let (claimer, amount, id) = claim_fields(index);
        leaf::claim(claimer, index, amount, &id)
    });
    check(&formats().claim_v1_trees, |index| {
        let (claimer, amount, id) = claim_fields(index);
        leaf::claim_v1(leaf::subject(CHANNEL), EPOCH, claimer, index, amount, &id)
    });
}

#[test]
fn subjects_are_met() {
    let subjects = formats().subjects;
    assert_eq!(subjects.len(), 5);
    for vector in subjects {
        let form = match (vector.prefix.as_str(), vector.namespace.as_deref()) {
            ("channel:", None) => SubjectForm::Channel,
            ("channel:", Some(namespace)) => SubjectForm::Namespaced(namespace),
            _ => SubjectForm::Twitch,
        };
        assert_eq!(
            Node(leaf::subject_in(form, &vector.channel)),
            vector.subject,
            "{form:?}"
        );
    }
}

#[test]
fn the_proof_of_a_recorded_claim_leads_to_its_root() {
    let claim = formats().claim_channel_open;
    let claimer = Wallet(base58(&claim.claimer));
    let leaf = leaf::claim(claimer, claim.index, claim.amount, &claim.id);
    assert_eq!(
        Node(root_of(leaf, claim.proof.iter().map(|node| node.0))),
        claim.root
    );
}

/// Decodes a base58 key of 32 bytes.
fn base58(text: &str) -> [u8; 32] {
    const ALPHABET: &str = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes = [0u8; 32];
    for c in text.chars() {
        let mut carry = ALPHABET.find(c).unwrap();
        for byte in bytes.iter_mut().rev() {
            carry += usize::from(*byte) * 58;
            *byte = (carry % 256) as u8;
            carry /= 256;
        }
        assert_eq!(carry, 0);
    }
    bytes
}
