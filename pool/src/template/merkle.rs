//! The merkle path of the coinbase. Owns nothing but this arithmetic.

use bitcoin::{
    TxMerkleNode, Txid,
    hashes::{Hash, HashEngine},
};

/// The hashes that lead from the coinbase's txid to the merkle root, deepest first, given the txids after it.
///
/// The coinbase is not among them and may change freely: it is always on the left of what it is hashed with.
pub fn coinbase_path(txids: &[Txid]) -> Vec<TxMerkleNode> {
    let mut level: Vec<TxMerkleNode> =
        txids.iter().map(|txid| TxMerkleNode::from_raw_hash(txid.to_raw_hash())).collect();
    let mut path = Vec::new();
    // `level` lacks its first node, the one above the coinbase.
    while let Some((sibling, rest)) = level.split_first() {
        path.push(*sibling);
        level = rest.chunks(2).map(|pair| parent(pair[0], *pair.last().expect("chunks are not empty"))).collect();
    }
    path
}

/// The node above two; above one alone when it is given twice.
fn parent(left: TxMerkleNode, right: TxMerkleNode) -> TxMerkleNode {
    let mut engine = TxMerkleNode::engine();
    engine.input(left.as_byte_array());
    engine.input(right.as_byte_array());
    TxMerkleNode::from_engine(engine)
}

#[cfg(test)]
mod tests {
    use bitcoin::merkle_tree;
    use proptest::prelude::*;

    use super::*;

    fn root(coinbase: Txid, path: &[TxMerkleNode]) -> TxMerkleNode {
        path.iter().fold(TxMerkleNode::from_raw_hash(coinbase.to_raw_hash()), |node, sibling| parent(node, *sibling))
    }

    #[test]
    fn block_of_a_coinbase_alone_has_no_path() {
        assert!(coinbase_path(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn path_leads_to_the_root_of_the_whole_tree(ids in prop::collection::vec(any::<[u8; 32]>(), 1..70)) {
            let txids: Vec<Txid> = ids.into_iter().map(Txid::from_byte_array).collect();
            let whole = merkle_tree::calculate_root(txids.iter().map(|txid| txid.to_raw_hash()));
            let path = coinbase_path(&txids[1..]);
            prop_assert_eq!(Some(root(txids[0], &path).to_raw_hash()), whole);
        }
    }
}
