//! A small honest chain: blocks and branches, coins with maturity, a mempool, and what Bitcoin Core would answer.
//!
//! Owns which block is best, which coins are unspent and whether a transaction may spend them, signatures included.
//! There is no proof of work: branches become best when they are told to. How it is asked is in [`crate::node`].

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, FeeRate, Network, OutPoint, Script, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Txid, Witness, Wtxid,
    absolute::LockTime,
    block::{Header, Version},
    constants::genesis_block,
    hashes::Hash,
    script::Builder,
    secp256k1::{Secp256k1, VerifyOnly},
    transaction,
};
use payouts::ChainPosition;

mod mempool;

pub(crate) use mempool::Refusal;

/// How deep another transaction must be that has a batch's coins, until the payer gives the batch up.
const CONFLICT_DEPTH: u32 = 100;
/// Seconds between blocks.
const BLOCK_INTERVAL_S: u32 = 600;

/// A block of any branch.
pub(crate) struct BranchBlock {
    pub(crate) block: Block,
    pub(crate) hash: BlockHash,
    pub(crate) height: u32,
    pub(crate) txids: Vec<Txid>,
}

/// A coin that is unspent in the best chain.
#[derive(Clone)]
pub(crate) struct Coin {
    pub(crate) output: TxOut,
    height: u32,
    is_coinbase: bool,
}

/// The chain as one node knows it.
pub(crate) struct Chain {
    blocks: HashMap<BlockHash, Arc<BranchBlock>>,
    /// The best chain by height.
    best: Vec<BlockHash>,
    coins: HashMap<OutPoint, Coin>,
    /// What each block of the best chain spent.
    spent: Vec<Vec<(OutPoint, Coin)>>,
    /// In an order in which they can be mined.
    mempool: Vec<Transaction>,
    /// Every transaction that was ever given to the node, taken or not.
    offered: BTreeMap<Txid, Transaction>,
    verified: HashSet<Wtxid>,
    /// Transactions by which others pay the pool.
    deposits: HashSet<Txid>,
    /// Transactions that spend the pool's coins, and are not its payer's.
    thefts: HashSet<Txid>,
    coinbases: u32,
    /// What the node estimates, if it can.
    pub(crate) estimate: Option<FeeRate>,
    /// The least that the mempool takes.
    pub(crate) floor: FeeRate,
    secp: Secp256k1<VerifyOnly>,
}

impl Chain {
    /// Begins a regtest chain.
    pub(crate) fn new() -> Self {
        let mut chain = Self {
            blocks: HashMap::new(),
            best: Vec::new(),
            coins: HashMap::new(),
            spent: Vec::new(),
            mempool: Vec::new(),
            offered: BTreeMap::new(),
            verified: HashSet::new(),
            deposits: HashSet::new(),
            thefts: HashSet::new(),
            coinbases: 0,
            estimate: None,
            floor: FeeRate::BROADCAST_MIN,
            secp: Secp256k1::verification_only(),
        };
        let genesis = chain.keep(genesis_block(Network::Regtest), 0);
        chain.connect(genesis);
        chain
    }

    pub(crate) fn height(&self) -> u32 {
        u32::try_from(self.best.len()).expect("heights are small") - 1
    }

    pub(crate) fn tip(&self) -> BlockHash {
        *self.best.last().expect("there is always the first block")
    }

    pub(crate) fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.best.get(height as usize).copied()
    }

    pub(crate) fn block(&self, hash: BlockHash) -> Option<&Arc<BranchBlock>> {
        self.blocks.get(&hash)
    }

    /// Returns the number of confirmations of a block; nothing if it is not in the best chain.
    pub(crate) fn confirmations(&self, hash: BlockHash) -> Option<u32> {
        let height = self.blocks.get(&hash)?.height;
        (self.hash_at(height)? == hash).then(|| self.height() - height + 1)
    }

    pub(crate) fn position(&self, hash: BlockHash) -> ChainPosition {
        let confirmed = |confirmations| ChainPosition::Confirmed { confirmations };
        self.confirmations(hash).map_or(ChainPosition::NotInBestChain, confirmed)
    }

    pub(crate) fn coin(&self, outpoint: OutPoint) -> Option<&Coin> {
        self.coins.get(&outpoint)
    }

    pub(crate) fn coins(&self) -> impl Iterator<Item = (&OutPoint, &TxOut)> {
        self.coins.iter().map(|(outpoint, coin)| (outpoint, &coin.output))
    }

    pub(crate) fn mempool(&self) -> &[Transaction] {
        &self.mempool
    }

    pub(crate) fn offered(&self) -> impl Iterator<Item = &Transaction> {
        self.offered.values()
    }

    /// Returns the transactions of the best chain by which the pool pays, with what each pays the network.
    pub(crate) fn payments(&self) -> impl Iterator<Item = (&Transaction, Amount)> {
        let is_foreign = |txid| self.deposits.contains(&txid) || self.thefts.contains(&txid);
        self.transactions().map(|(_, tx, fee)| (tx, fee)).filter(move |(tx, _)| !is_foreign(tx.compute_txid()))
    }

    /// Returns what others paid to a script, in the best chain.
    pub(crate) fn deposited(&self, to: &Script) -> Amount {
        let deposits = self.transactions().filter(|(_, tx, _)| self.deposits.contains(&tx.compute_txid()));
        let outputs = deposits.flat_map(|(_, tx, _)| &tx.output);
        outputs.filter(|output| *output.script_pubkey == *to).map(|output| output.value).sum()
    }

    /// Returns the coins that were stolen and are too deep to come back, with the height of the theft and their value.
    pub(crate) fn lost(&self) -> impl Iterator<Item = (OutPoint, u32, Amount)> {
        self.stolen().filter(|(_, height, _)| self.height() + 1 - height >= CONFLICT_DEPTH)
    }

    /// Returns the coins that were stolen in the best chain, with the height of the theft and their value.
    pub(crate) fn stolen(&self) -> impl Iterator<Item = (OutPoint, u32, Amount)> {
        self.transactions().filter(|(_, tx, _)| self.thefts.contains(&tx.compute_txid())).map(|(height, tx, fee)| {
            let value = fee + tx.output.iter().map(|output| output.value).sum();
            (tx.input[0].previous_output, height, value)
        })
    }

    /// Returns the transactions of the best chain that are no coinbases, with their heights and what each pays the
    /// network.
    fn transactions(&self) -> impl Iterator<Item = (u32, &Transaction, Amount)> {
        self.best.iter().zip(&self.spent).flat_map(|(hash, spent)| {
            let height = self.blocks[hash].height;
            self.blocks[hash].block.txdata.iter().skip(1).map(move |tx| {
                let inputs = tx.input.iter().map(|input| {
                    let coin = spent.iter().find(|(outpoint, _)| *outpoint == input.previous_output);
                    coin.expect("a block's inputs are kept").1.output.value
                });
                (height, tx, inputs.sum::<Amount>() - tx.output.iter().map(|output| output.value).sum())
            })
        })
    }

    /// Mines a block on the tip, with what waits if `filled`.
    pub(crate) fn mine(&mut self, payee: &Script, value: Amount, filled: bool) -> BlockHash {
        self.mine_paying(vec![TxOut { value, script_pubkey: payee.to_owned() }], filled)
    }

    /// As [`Chain::mine`], with a coinbase of several outputs.
    pub(crate) fn mine_paying(&mut self, outputs: Vec<TxOut>, filled: bool) -> BlockHash {
        let (parent, height) = (self.tip(), self.height() + 1);
        let transactions = if filled { std::mem::take(&mut self.mempool) } else { Vec::new() };
        let block = self.build(parent, height, outputs, transactions);
        self.connect(Arc::clone(&block));
        block.hash
    }

    /// Mines an empty rival of the tip, which stays outside the best chain.
    pub(crate) fn mine_rival(&mut self, payee: &Script, value: Amount) -> BlockHash {
        let height = self.height();
        let parent = self.best[height as usize - 1];
        self.build(parent, height, vec![TxOut { value, script_pubkey: payee.to_owned() }], Vec::new()).hash
    }

    /// Takes blocks off the tip; what they held waits again.
    pub(crate) fn disconnect(&mut self, depth: u32) {
        let mut returned = Vec::new();
        for _ in 0..depth {
            let block = self.disconnect_tip();
            returned.splice(0..0, block.block.txdata.iter().skip(1).cloned());
        }
        returned.append(&mut self.mempool);
        self.refill(returned);
    }

    /// Returns the height of the last block that a branch has in common with the best chain.
    pub(crate) fn fork_height(&self, mut hash: BlockHash) -> u32 {
        while self.confirmations(hash).is_none() {
            hash = self.blocks[&hash].block.header.prev_blockhash;
        }
        self.blocks[&hash].height
    }

    /// Makes the branch that ends in a block the best chain.
    pub(crate) fn activate(&mut self, hash: BlockHash) {
        let fork = self.fork_height(hash);
        let mut branch = Vec::new();
        let mut next = Arc::clone(&self.blocks[&hash]);
        while next.height > fork {
            let parent = next.block.header.prev_blockhash;
            branch.push(next);
            next = Arc::clone(&self.blocks[&parent]);
        }
        let mut returned = Vec::new();
        while self.height() > fork {
            let block = self.disconnect_tip();
            returned.splice(0..0, block.block.txdata.iter().skip(1).cloned());
        }
        branch.into_iter().rev().for_each(|block| self.connect(block));
        returned.append(&mut self.mempool);
        self.refill(returned);
    }

    fn build(
        &mut self,
        parent: BlockHash,
        height: u32,
        outputs: Vec<TxOut>,
        mut transactions: Vec<Transaction>,
    ) -> Arc<BranchBlock> {
        self.coinbases += 1;
        // The height (BIP 34), and a number that no other coinbase has.
        let script_sig = Builder::new().push_int(height.into()).push_int(self.coinbases.into()).into_script();
        let input = TxIn {
            previous_output: OutPoint::null(),
            script_sig,
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0; 32]]),
        };
        let coinbase = Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![input],
            output: outputs,
        };
        transactions.insert(0, coinbase);
        let genesis_time = self.blocks[&self.best[0]].block.header.time;
        let header = Header {
            version: Version::TWO,
            prev_blockhash: parent,
            merkle_root: TxMerkleNode::all_zeros(),
            time: genesis_time + height * BLOCK_INTERVAL_S,
            bits: CompactTarget::from_consensus(0x207f_ffff),
            nonce: 0,
        };
        let mut block = Block { header, txdata: transactions };
        block.header.merkle_root = block.compute_merkle_root().expect("there is a coinbase");
        self.keep(block, height)
    }

    fn keep(&mut self, block: Block, height: u32) -> Arc<BranchBlock> {
        let hash = block.block_hash();
        let txids = block.txdata.iter().map(Transaction::compute_txid).collect();
        let kept = Arc::new(BranchBlock { block, hash, height, txids });
        self.blocks.insert(hash, Arc::clone(&kept));
        kept
    }

    fn connect(&mut self, block: Arc<BranchBlock>) {
        let mut spent = Vec::new();
        for (tx, &txid) in block.block.txdata.iter().zip(&block.txids) {
            let is_coinbase = tx.is_coinbase();
            if !is_coinbase {
                for input in &tx.input {
                    let coin = self.coins.remove(&input.previous_output).expect("blocks spend what is there");
                    spent.push((input.previous_output, coin));
                }
            }
            for (vout, output) in (0..).zip(&tx.output) {
                let coin = Coin { output: output.clone(), height: block.height, is_coinbase };
                self.coins.insert(OutPoint::new(txid, vout), coin);
            }
        }
        self.best.push(block.hash);
        self.spent.push(spent);
    }

    fn disconnect_tip(&mut self) -> Arc<BranchBlock> {
        let block = Arc::clone(&self.blocks[&self.best.pop().expect("the first block stays")]);
        // Backwards, for a transaction may spend one of the same block.
        for (outpoint, coin) in self.spent.pop().expect("every block has its list") {
            self.coins.insert(outpoint, coin);
        }
        for (tx, &txid) in block.block.txdata.iter().zip(&block.txids) {
            for vout in 0..tx.output.len() as u32 {
                self.coins.remove(&OutPoint::new(txid, vout));
            }
        }
        block
    }
}
