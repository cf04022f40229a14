//! The Job Declaration Protocol (SV2 6): miners' own block templates.

use crate::codec::{B0_16M, B0_32, B0_64K, B0_255, Seq0_64K, Str0_255, U256};

/// Client flag: the template's transactions will be revealed (SV2 6.4.1).
pub const DECLARE_TX_DATA: u32 = 1 << 0;

messages! {
    extension 0x0000;

    /// Asks for a token for a future job (SV2 6.4.2).
    AllocateMiningJobToken = "AllocateMiningJobToken", 0x50, connection {
        /// Whom to credit; its form is the server's choice.
        user_identifier: Str0_255,
        /// Pairs the response with the request.
        request_id: u32,
    }

    /// Gives a token and the outputs that the pool wants (SV2 6.4.3).
    AllocateMiningJobTokenSuccess = "AllocateMiningJobToken.Success", 0x51, connection {
        /// From the request.
        request_id: u32,
        /// Names one job to come.
        mining_job_token: B0_255,
        /// The pool's coinbase outputs, serialised as in a transaction, with their count; the first is its payout.
        coinbase_tx_outputs: B0_64K,
    }

    /// Asks for transactions that the server has not seen (SV2 6.4.7).
    ProvideMissingTransactions = "ProvideMissingTransactions", 0x55, connection {
        /// From the declaration.
        request_id: u32,
        /// Their positions in [`DeclareMiningJob::wtxid_list`], from zero.
        unknown_tx_position_list: Seq0_64K<u16>,
    }

    /// Gives transactions that the server has not seen (SV2 6.4.8).
    ProvideMissingTransactionsSuccess = "ProvideMissingTransactions.Success", 0x56, connection {
        /// From the declaration.
        request_id: u32,
        /// The transactions, in the order asked for.
        transaction_list: Seq0_64K<B0_16M>,
    }

    /// Declares a job by its transactions (SV2 6.4.4).
    DeclareMiningJob = "DeclareMiningJob", 0x57, connection {
        /// Pairs the response with the request.
        request_id: u32,
        /// The token allocated for the job.
        mining_job_token: B0_255,
        /// The block version.
        version: u32,
        /// The coinbase transaction before the extranonce, with witness data.
        coinbase_tx_prefix: B0_64K,
        /// The coinbase transaction after the extranonce, with witness data.
        coinbase_tx_suffix: B0_64K,
        /// The transactions' wtxids in block order, without the coinbase.
        wtxid_list: Seq0_64K<U256>,
        /// What else the pool may need to validate the work.
        excess_data: B0_64K,
    }

    /// Accepts a declared job (SV2 6.4.5).
    DeclareMiningJobSuccess = "DeclareMiningJob.Success", 0x58, connection {
        /// From the declaration.
        request_id: u32,
        /// The token under which the job is then set at the pool.
        new_mining_job_token: B0_255,
    }

    /// Refuses a declared job (SV2 6.4.6).
    DeclareMiningJobError = "DeclareMiningJob.Error", 0x59, connection {
        /// From the declaration.
        request_id: u32,
        /// The reason.
        error_code: Str0_255,
        /// Further details, if any.
        error_details: B0_64K,
    }

    /// Hands a block over, for the server to spread it too (SV2 6.4.9).
    #[derive(Copy)]
    PushSolution = "PushSolution", 0x60, connection {
        /// The whole extranonce.
        extranonce: B0_32,
        /// The tip's hash.
        prev_hash: U256,
        /// The nonce of the block header.
        nonce: u32,
        /// The time of the block header, in Unix seconds.
        ntime: u32,
        /// The block's target, compact as in its header.
        nbits: u32,
        /// The version of the block header.
        version: u32,
    }
}

message_sets! {
    /// What a client sends in the Job Declaration Protocol.
    ClientMessage {
        AllocateMiningJobToken,
        DeclareMiningJob,
        ProvideMissingTransactionsSuccess,
        PushSolution,
    }

    /// What a server sends in the Job Declaration Protocol.
    ServerMessage {
        AllocateMiningJobTokenSuccess,
        DeclareMiningJobSuccess,
        DeclareMiningJobError,
        ProvideMissingTransactions,
    }
}
