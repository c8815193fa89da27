//! The Merkle tree of both kinds of leaves, through merkle_light. The only file that names it.
//!
//! Source of the format: the deployed system and the program that verifies claims. A parent is
//! `K(min(a, b) ‖ max(a, b))`; the last node of an odd level is paired with itself, and the proof
//! then lists that node; leaves are not sorted. Because of the odd rule `[a, b, c]` and
//! `[a, b, c, c]` share a root: hence a duplicate leaf is an error, and the number of leaves goes
//! with the root wherever it goes.

use std::collections::HashSet;
use std::hash::Hasher;

use merkle_light::hash::Algorithm;

use crate::identity::{Node, keccak256};

/// The longest proof that the program takes: a tree of 1,048,576 leaves.
pub const MAX_PROOF_NODES: usize = 20;

/// Why there is no tree, or no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MerkleError {
    /// There are no leaves.
    #[error("a tree of no leaves; expected at least one")]
    Empty,
    /// The same leaf stands twice.
    #[error("leaf {leaf} stands at {first} and again at {second}; expected distinct leaves")]
    Duplicate {
        /// The leaf.
        leaf: Node,
        /// Where it stands first.
        first: usize,
        /// Where it stands again.
        second: usize,
    },
    /// The tree has no such leaf.
    #[error("no leaf {index} in a tree of {leaves}")]
    NoSuchLeaf {
        /// Which was asked for.
        index: usize,
        /// How many there are.
        leaves: usize,
    },
    /// The proof would be longer than the program takes.
    #[error("a proof of {0} nodes; expected at most {MAX_PROOF_NODES}")]
    ProofTooLong(usize),
    /// A node is not the hash of its children: the tree must not be used.
    #[error("node {index} of level {level} is not the hash of its children")]
    Inconsistent {
        /// The level, 0 for the leaves.
        level: usize,
        /// The node in it.
        index: usize,
    },
}

/// The parent of two nodes: `K(min ‖ max)`.
#[must_use]
pub fn parent(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    keccak256(&[low, high])
}

/// The root to which a proof leads from a leaf.
#[must_use]
pub fn root_of(leaf: [u8; 32], proof: impl IntoIterator<Item = [u8; 32]>) -> [u8; 32] {
    proof
        .into_iter()
        .fold(leaf, |node, sibling| parent(&node, &sibling))
}

/// How many nodes a proof has in a tree of so many leaves.
#[must_use]
pub const fn proof_length(leaves: u64) -> usize {
    if leaves <= 1 {
        0
    } else {
        (u64::BITS - (leaves - 1).leading_zeros()) as usize
    }
}

/// merkle_light's hashing, made to match: a leaf is taken as it is, a node is [`parent`].
#[derive(Debug, Default, Clone, Copy)]
struct SortedPairs;

impl Hasher for SortedPairs {
    /// Not used: leaves come hashed, and nodes are hashed by [`Algorithm::node`].
    fn finish(&self) -> u64 {
        0
    }
    fn write(&mut self, _: &[u8]) {}
}

impl Algorithm<[u8; 32]> for SortedPairs {
    fn hash(&mut self) -> [u8; 32] {
        [0; 32]
    }
    fn reset(&mut self) {}
    fn leaf(&mut self, leaf: [u8; 32]) -> [u8; 32] {
        leaf
    }
    fn node(&mut self, left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
        parent(&left, &right)
    }
}

/// A tree over at least one leaf.
#[derive(Debug, Clone)]
pub struct MerkleTree(Shape);

/// merkle_light takes no tree of one leaf, whose root is the leaf.
#[derive(Debug, Clone)]
enum Shape {
    One([u8; 32]),
    Many(merkle_light::merkle::MerkleTree<[u8; 32], SortedPairs>),
}

impl MerkleTree {
    /// Builds the tree over leaves in their order.
    ///
    /// # Errors
    /// Where there is no leaf, or one stands twice.
    pub fn new(leaves: Vec<[u8; 32]>) -> Result<Self, MerkleError> {
        let Some(&first) = leaves.first() else {
            return Err(MerkleError::Empty);
        };
        check_distinct(&leaves)?;
        if leaves.len() == 1 {
            return Ok(Self(Shape::One(first)));
        }
        Ok(Self(Shape::Many(merkle_light::merkle::MerkleTree::new(
            leaves,
        ))))
    }

    /// The root. Of one leaf, the leaf.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        match &self.0 {
            Shape::One(leaf) => *leaf,
            Shape::Many(tree) => tree.root(),
        }
    }

    /// How many leaves it has.
    #[must_use]
    pub fn leaves(&self) -> usize {
        match &self.0 {
            Shape::One(_) => 1,
            Shape::Many(tree) => tree.leafs(),
        }
    }

    /// The proof of a leaf, from its sibling upwards. It is verified before it is given out.
    ///
    /// # Errors
    /// Where there is no such leaf, where the proof would be longer than the program takes, and
    /// where it does not lead to the root, which would be a defect of the tree.
    pub fn proof(&self, index: usize) -> Result<Vec<[u8; 32]>, MerkleError> {
        let leaves = self.leaves();
        if index >= leaves {
            return Err(MerkleError::NoSuchLeaf { index, leaves });
        }
        let Shape::Many(tree) = &self.0 else {
            return Ok(Vec::new());
        };
        let length = proof_length(leaves as u64);
        if length > MAX_PROOF_NODES {
            return Err(MerkleError::ProofTooLong(length));
        }
        // merkle_light's lemma is the leaf, the siblings, and the root.
        let lemma = tree.gen_proof(index);
        let siblings = lemma.lemma()[1..=length].to_vec();
        if root_of(tree[index], siblings.iter().copied()) != tree.root() {
            return Err(MerkleError::Inconsistent { level: 0, index });
        }
        Ok(siblings)
    }

    /// The levels, the leaves first, the root last, without the doubled nodes of odd levels.
    #[must_use]
    pub fn levels(&self) -> Vec<Vec<[u8; 32]>> {
        let tree = match &self.0 {
            Shape::One(leaf) => return vec![vec![*leaf]],
            Shape::Many(tree) => tree,
        };
        let (mut levels, mut base, mut width) = (Vec::new(), 0, tree.leafs());
        loop {
            levels.push(tree[base..base + width].to_vec());
            if width == 1 {
                return levels;
            }
            base += width.next_multiple_of(2);
            width = width.div_ceil(2);
        }
    }

    /// Verifies the proof of every leaf at once: each node is checked to be the parent of the
    /// nodes below it. A proof is a walk over just these pairs, so all of them lead to the root
    /// exactly where every pair does; this costs one hash a node instead of one a proof's node.
    ///
    /// # Errors
    /// Names the first node that is not the hash of its children.
    pub fn verify_all_proofs(&self) -> Result<(), MerkleError> {
        let levels = self.levels();
        for (level, pair) in levels.windows(2).enumerate() {
            for (index, node) in pair[1].iter().enumerate() {
                let left = &pair[0][2 * index];
                let right = pair[0].get(2 * index + 1).unwrap_or(left);
                if parent(left, right) != *node {
                    return Err(MerkleError::Inconsistent {
                        level: level + 1,
                        index,
                    });
                }
            }
        }
        Ok(())
    }
}

fn check_distinct(leaves: &[[u8; 32]]) -> Result<(), MerkleError> {
    let mut seen = HashSet::with_capacity(leaves.len());
    let Some(second) = leaves.iter().position(|leaf| !seen.insert(leaf)) else {
        return Ok(());
    };
    let first = leaves
        .iter()
        .position(|leaf| *leaf == leaves[second])
        .unwrap_or(second);
    Err(MerkleError::Duplicate {
        leaf: Node(leaves[second]),
        first,
        second,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
mod tests {
    use super::*;

    fn leaves(n: u64) -> Vec<[u8; 32]> {
        (0..n).map(|i| keccak256(&[&i.to_le_bytes()])).collect()
    }

    /// The rule, written out without the library.
    fn plain_root(mut level: Vec<[u8; 32]>) -> [u8; 32] {
        while level.len() > 1 {
            level = level
                .chunks(2)
                .map(|p| parent(&p[0], p.get(1).unwrap_or(&p[0])))
                .collect();
        }
        level[0]
    }

    #[test]
    fn a_tree_of_none_is_an_error_and_of_one_its_leaf() {
        assert_eq!(MerkleTree::new(Vec::new()).unwrap_err(), MerkleError::Empty);
        let one = MerkleTree::new(leaves(1)).unwrap();
        assert_eq!(one.root(), leaves(1)[0]);
        assert_eq!(one.proof(0).unwrap(), Vec::<[u8; 32]>::new());
        assert_eq!(one.levels(), [leaves(1)]);
        assert_eq!(
            one.proof(1),
            Err(MerkleError::NoSuchLeaf {
                index: 1,
                leaves: 1
            })
        );
    }

    #[test]
    fn a_duplicate_leaf_is_refused_with_both_places() {
        let mut twice = leaves(5);
        twice[4] = twice[1];
        let error = MerkleTree::new(twice.clone()).unwrap_err();
        assert_eq!(
            error,
            MerkleError::Duplicate {
                leaf: Node(twice[1]),
                first: 1,
                second: 4
            }
        );
    }

    #[test]
    fn trees_follow_the_rule_and_every_proof_leads_to_the_root() {
        for n in 1..=130 {
            let tree = MerkleTree::new(leaves(n)).unwrap();
            assert_eq!(tree.root(), plain_root(leaves(n)), "{n} leaves");
            assert_eq!(tree.levels().last().unwrap(), &[tree.root()]);
            tree.verify_all_proofs().unwrap();
            for (index, leaf) in leaves(n).into_iter().enumerate() {
                let proof = tree.proof(index).unwrap();
                assert_eq!(proof.len(), proof_length(n));
                assert_eq!(root_of(leaf, proof), tree.root());
            }
        }
    }

    #[test]
    fn the_last_leaf_of_an_odd_level_is_its_own_sibling() {
        let tree = MerkleTree::new(leaves(3)).unwrap();
        assert_eq!(tree.proof(2).unwrap()[0], leaves(3)[2]);
    }

    #[test]
    fn trees_of_8192_and_of_a_million_leaves_work() {
        for n in [8192u64, 1_000_000] {
            let tree = MerkleTree::new(leaves(n)).unwrap();
            assert_eq!(tree.root(), plain_root(leaves(n)));
            for index in [0, 1, 4095, 8191, n as usize - 1] {
                assert_eq!(
                    root_of(leaves(n)[index], tree.proof(index).unwrap()),
                    tree.root()
                );
            }
        }
    }

    #[test]
    fn a_tree_beyond_the_longest_proof_gives_none_out() {
        let tree = MerkleTree::new(leaves((1 << 20) + 1)).unwrap();
        assert_eq!(tree.proof(0), Err(MerkleError::ProofTooLong(21)));
    }
}
