//! Blocks on request: mining, invalidating, reorganising. The process that does it is in `node`.

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::rand::{Rng, thread_rng};
use bitcoin::{Address, BlockHash, Script, ScriptBuf, Txid, WPubkeyHash};
use bitcoincore_rpc::RpcApi;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::node::Node;
use crate::options::Chain;

/// How many nonces one call may try: more than any call here needs, where the node's default would end the
/// search for a signet block early.
const MAX_TRIES: u64 = 1 << 40;

/// What a reorganisation did, each branch from its lowest block to its tip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reorganisation {
    /// The blocks that left the active chain.
    pub orphaned: Vec<BlockHash>,
    /// The blocks that took their place.
    pub mined: Vec<BlockHash>,
}

impl Node {
    /// Mines blocks with what the mempool holds. Each call pays to a script that nobody has the key of and
    /// that no other call uses, so that two branches never share a block by chance.
    ///
    /// # Errors
    /// When the node refuses, or is gone.
    pub fn mine(&self, count: u32) -> Result<Vec<BlockHash>> {
        self.mine_to(&throwaway_script(), count)
    }

    /// Mines blocks with what the mempool holds, paying to `script`.
    ///
    /// After an invalidation, mining to a script again within the same second can make the very block that
    /// was invalidated, which the node then refuses: take another script.
    ///
    /// # Errors
    /// When the node refuses, or is gone.
    pub fn mine_to(&self, script: &Script, count: u32) -> Result<Vec<BlockHash>> {
        // A call must end within its time limit: on signet a block is seconds of work.
        let batch = match self.chain() {
            Chain::Regtest => 200,
            Chain::Signet => 1,
        };
        let mut hashes = Vec::new();
        while (hashes.len() as u32) < count {
            let asked = batch.min(count - hashes.len() as u32);
            let mined: Vec<BlockHash> =
                self.request("generatetodescriptor", &[asked.into(), descriptor(script).into(), MAX_TRIES.into()])?;
            if mined.is_empty() {
                return Err(Error::TooFewBlocks { asked: count, mined: hashes.len() as u32 });
            }
            hashes.extend(mined);
        }
        Ok(hashes)
    }

    /// Mines blocks to an address; otherwise as [`mine_to`](Self::mine_to).
    ///
    /// # Errors
    /// When the node refuses, or is gone.
    pub fn mine_to_address(&self, address: &Address, count: u32) -> Result<Vec<BlockHash>> {
        self.mine_to(&address.script_pubkey(), count)
    }

    /// Mines blocks with no transaction but the coinbase, so that the mempool stays as it is. On regtest
    /// only: the node's search for such a block is too short for signet.
    ///
    /// # Errors
    /// When the node refuses, or is gone.
    pub fn mine_empty(&self, count: u32) -> Result<Vec<BlockHash>> {
        self.mine_chosen(&throwaway_script(), &[], count)
    }

    /// Mines one block with exactly these transactions of the mempool, in this order. On regtest only.
    ///
    /// # Errors
    /// When the node refuses, for instance because a transaction is not in its mempool, or is gone.
    pub fn mine_transactions(&self, transactions: &[Txid]) -> Result<BlockHash> {
        let hashes = self.mine_chosen(&throwaway_script(), transactions, 1)?;
        hashes.first().copied().ok_or(Error::TooFewBlocks { asked: 1, mined: 0 })
    }

    fn mine_chosen(&self, script: &Script, transactions: &[Txid], count: u32) -> Result<Vec<BlockHash>> {
        #[derive(serde::Deserialize)]
        struct Generated {
            hash: BlockHash,
        }
        let parameters = [descriptor(script).into(), json!(transactions)];
        (0..count)
            .map(|_| self.request::<Generated>("generateblock", &parameters).map(|generated| generated.hash))
            .collect()
    }

    /// The hash of the best block.
    ///
    /// # Errors
    /// When the node is gone.
    pub fn tip(&self) -> Result<BlockHash> {
        self.request("getbestblockhash", &[])
    }

    /// The height of the best block; the genesis block has 0.
    ///
    /// # Errors
    /// When the node is gone.
    pub fn height(&self) -> Result<u32> {
        self.request("getblockcount", &[])
    }

    /// The hash of the block at a height of the active chain.
    ///
    /// # Errors
    /// When the chain does not reach that height, or the node is gone.
    pub fn block_hash(&self, height: u32) -> Result<BlockHash> {
        self.request("getblockhash", &[height.into()])
    }

    /// A block with its transactions, also one that is not in the active chain.
    ///
    /// # Errors
    /// When the node does not know the block, or is gone.
    pub fn block(&self, hash: BlockHash) -> Result<bitcoin::Block> {
        self.rpc().get_block(&hash).map_err(Error::rpc("getblock"))
    }

    /// How many blocks of the active chain lie on top of a block, and itself; -1 when it is not in there.
    ///
    /// # Errors
    /// When the node does not know the block, or is gone.
    pub fn confirmations(&self, hash: BlockHash) -> Result<i64> {
        #[derive(serde::Deserialize)]
        struct Header {
            confirmations: i64,
        }
        self.request::<Header>("getblockheader", &[json!(hash)]).map(|header| header.confirmations)
    }

    /// The transactions of the mempool, in no order.
    ///
    /// # Errors
    /// When the node is gone.
    pub fn mempool(&self) -> Result<Vec<Txid>> {
        self.request("getrawmempool", &[])
    }

    /// Makes the node hold a block and all that build on it for invalid. Their transactions go back to the
    /// mempool as far as they are still valid.
    ///
    /// # Errors
    /// When the node does not know the block, or is gone.
    pub fn invalidate(&self, hash: BlockHash) -> Result<()> {
        self.request::<Value>("invalidateblock", &[json!(hash)]).map(drop)
    }

    /// Takes an [`invalidate`](Self::invalidate) back; the branch with the most work becomes active.
    ///
    /// # Errors
    /// When the node does not know the block, or is gone.
    pub fn reconsider(&self, hash: BlockHash) -> Result<()> {
        self.request::<Value>("reconsiderblock", &[json!(hash)]).map(drop)
    }

    /// Replaces the last `depth` blocks by `new_length` others.
    ///
    /// The new blocks hold what the orphaned ones gave back to the mempool. The orphaned branch stays valid
    /// but shorter, as after a reorganisation among peers: to bring it back, [`invalidate`](Self::invalidate)
    /// the first new block. Unlike among peers, an observer can see the chain at the fork for a moment.
    ///
    /// # Errors
    /// When the new branch would not be longer, when the chain is shorter than `depth`, or the node is gone.
    pub fn reorganise(&self, depth: u32, new_length: u32) -> Result<Reorganisation> {
        if new_length <= depth {
            return Err(Error::BranchTooShort { depth, new_length });
        }
        let height = self.height()?;
        if depth > height {
            return Err(Error::ChainTooShort { depth, height });
        }
        let orphaned: Vec<BlockHash> =
            (height - depth + 1..=height).map(|at| self.block_hash(at)).collect::<Result<_>>()?;
        let Some(&lowest) = orphaned.first() else {
            return Ok(Reorganisation { orphaned, mined: self.mine(new_length)? });
        };
        self.invalidate(lowest)?;
        let mined = self.mine(new_length)?;
        self.reconsider(lowest)?;
        Ok(Reorganisation { orphaned, mined })
    }

    pub(crate) fn request<T: DeserializeOwned>(&self, method: &'static str, parameters: &[Value]) -> Result<T> {
        self.rpc().call(method, parameters).map_err(Error::rpc(method))
    }
}

/// A script of the usual form whose key nobody has.
pub(crate) fn throwaway_script() -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array(thread_rng().r#gen()))
}

fn descriptor(script: &Script) -> String {
    format!("raw({})", script.to_hex_string())
}
