//! The Template Distribution Protocol (SV2 7): block templates from a node.

use crate::codec::{B0_16M, B0_64K, B0_255, Seq0_64K, Seq0_255, Str0_255, U256};

messages! {
    extension 0x0000;

    /// Says what room in the coinbase transaction a template must leave (SV2 7.1).
    #[derive(Copy)]
    CoinbaseOutputConstraints = "CoinbaseOutputConstraints", 0x70, connection {
        /// The most bytes that the client's outputs will take.
        coinbase_output_max_additional_size: u32,
        /// The most signature operations that they will take.
        coinbase_output_max_additional_sigops: u16,
    }

    /// Gives a template (SV2 7.2).
    NewTemplate = "NewTemplate", 0x71, connection {
        /// The template's id; ids only grow.
        template_id: u64,
        /// Whether the template waits for a [`SetNewPrevHash`].
        future_template: bool,
        /// The block version.
        version: u32,
        /// The coinbase transaction's version.
        coinbase_tx_version: u32,
        /// What the coinbase input's script starts with: up to 8 bytes.
        coinbase_prefix: B0_255,
        /// The coinbase input's sequence number.
        coinbase_tx_input_sequence: u32,
        /// What the client's outputs may pay in all, in satoshis.
        coinbase_tx_value_remaining: u64,
        /// How many outputs the template itself brings.
        coinbase_tx_outputs_count: u32,
        /// These outputs, serialised as in a transaction, without their count. They come last.
        coinbase_tx_outputs: B0_64K,
        /// The coinbase transaction's lock time.
        coinbase_tx_locktime: u32,
        /// The hashes that lead from the coinbase's txid to the merkle root, deepest first.
        merkle_path: Seq0_255<U256>,
    }

    /// Turns to a new block, and activates a future template on it (SV2 7.3).
    #[derive(Copy)]
    SetNewPrevHash = "SetNewPrevHash", 0x72, connection {
        /// The future template.
        template_id: u64,
        /// The new tip's hash.
        prev_hash: U256,
        /// The time to start at, in Unix seconds; not the earliest valid one.
        header_timestamp: u32,
        /// The block's target, compact as in its header.
        nbits: u32,
        /// The greatest hash that the server takes for a block.
        target: U256,
    }

    /// Asks for a template's transactions (SV2 7.4).
    #[derive(Copy)]
    RequestTransactionData = "RequestTransactionData", 0x73, connection {
        /// The template.
        template_id: u64,
    }

    /// Gives a template's transactions (SV2 7.5).
    RequestTransactionDataSuccess = "RequestTransactionData.Success", 0x74, connection {
        /// The template.
        template_id: u64,
        /// What else a pool may need to validate the work; not to be interpreted.
        excess_data: B0_64K,
        /// The transactions in block order, without the coinbase.
        transaction_list: Seq0_64K<B0_16M>,
    }

    /// Refuses a template's transactions (SV2 7.6).
    RequestTransactionDataError = "RequestTransactionData.Error", 0x75, connection {
        /// The template.
        template_id: u64,
        /// The reason.
        error_code: Str0_255,
    }

    /// Hands over a block that was found on a template (SV2 7.7).
    SubmitSolution = "SubmitSolution", 0x76, connection {
        /// The template.
        template_id: u64,
        /// The version of the block header.
        version: u32,
        /// The time of the block header, in Unix seconds.
        header_timestamp: u32,
        /// The nonce of the block header.
        header_nonce: u32,
        /// The whole coinbase transaction, with witness data.
        coinbase_tx: B0_64K,
    }
}

message_sets! {
    /// What a client sends in the Template Distribution Protocol.
    ClientMessage {
        CoinbaseOutputConstraints,
        RequestTransactionData,
        SubmitSolution,
    }

    /// What a server sends in the Template Distribution Protocol.
    ServerMessage {
        NewTemplate,
        SetNewPrevHash,
        RequestTransactionDataSuccess,
        RequestTransactionDataError,
    }
}
