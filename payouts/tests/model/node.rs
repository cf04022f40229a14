//! The node's JSON-RPC over a [`Chain`], as far as payouts ask: production code talks to it through its own client.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bitcoin::{
    Amount, BlockHash, FeeRate, OutPoint, Transaction, Txid,
    consensus::encode::{deserialize_hex, serialize, serialize_hex},
};
use bitcoincore_rpc::{
    Client,
    jsonrpc::{self, Request, Response, Transport, error::RpcError},
};
use serde_json::{Value, json, value::RawValue};

use crate::{
    chain::{BranchBlock, Chain},
    faults::{Call, Faults, Harm},
};

/// Bitcoin Core's code for a block or transaction that it does not know.
const RPC_INVALID_ADDRESS_OR_KEY: i32 = -5;
/// Bitcoin Core's code for a height that is not there.
const RPC_INVALID_PARAMETER: i32 = -8;
/// Bitcoin Core's code while it starts.
const RPC_IN_WARMUP: i32 = -28;

/// A chain that the test changes and nodes answer from.
pub(crate) type SharedChain = Arc<Mutex<Chain>>;

pub(crate) fn locked(chain: &SharedChain) -> MutexGuard<'_, Chain> {
    chain.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns a client whose calls reach the chain, unless a fault comes between.
pub(crate) fn client(chain: &SharedChain, faults: &Arc<Faults>) -> Arc<Client> {
    let node = Node { chain: Arc::clone(chain), faults: Arc::clone(faults) };
    Arc::new(Client::from_jsonrpc(jsonrpc::Client::with_transport(node)))
}

struct Node {
    chain: SharedChain,
    faults: Arc<Faults>,
}

type Answer = Result<Value, (i32, String)>;

impl Transport for Node {
    fn send_request(&self, request: Request<'_>) -> Result<Response, jsonrpc::Error> {
        let call = if request.method == "sendrawtransaction" { Call::Send } else { Call::Node };
        let harm = self.faults.next(call);
        let silence = || jsonrpc::Error::Transport(Box::new(io::Error::from(io::ErrorKind::TimedOut)));
        match harm {
            Some(Harm::Refused) => return Err(silence()),
            Some(Harm::Crash) => {
                self.faults.die();
                return Err(silence());
            }
            Some(Harm::Busy) => return response(&request, Err((RPC_IN_WARMUP, "Loading block index…".to_owned()))),
            Some(Harm::Lost | Harm::CrashAfter) | None => {}
        }
        let params: Vec<Value> = match request.params {
            Some(params) => serde_json::from_str(params.get())?,
            None => Vec::new(),
        };
        let answer = answer(&mut locked(&self.chain), request.method, &params);
        match harm {
            None => response(&request, answer),
            Some(harm) => {
                if harm == Harm::CrashAfter {
                    self.faults.die();
                }
                Err(silence())
            }
        }
    }

    fn send_batch(&self, _: &[Request<'_>]) -> Result<Vec<Response>, jsonrpc::Error> {
        panic!("payouts send no batches of calls");
    }

    fn fmt_target(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a simulated node")
    }
}

fn response(request: &Request<'_>, answer: Answer) -> Result<Response, jsonrpc::Error> {
    let (result, error) = match answer {
        Ok(value) => (Some(RawValue::from_string(value.to_string())?), None),
        Err((code, message)) => (None, Some(RpcError { code, message, data: None })),
    };
    Ok(Response { result, error, id: request.id.clone(), jsonrpc: Some("2.0".to_owned()) })
}

fn answer(chain: &mut Chain, method: &str, params: &[Value]) -> Answer {
    match method {
        "getblockcount" => Ok(json!(chain.height())),
        "getbestblockhash" => Ok(json!(chain.tip())),
        "getblockchaininfo" => Ok(json!({ "blocks": chain.height(), "bestblockhash": chain.tip() })),
        "getblockhash" => {
            let height = parameter::<u32>(params, 0);
            let out_of_range = || (RPC_INVALID_PARAMETER, "Block height out of range".to_owned());
            chain.hash_at(height).map(|hash| json!(hash)).ok_or_else(out_of_range)
        }
        "getblock" => {
            let block = known(chain, parameter(params, 0))?;
            Ok(match params.get(1).and_then(Value::as_u64) {
                Some(0) => json!(serialize_hex(&block.block)),
                _ => described(chain, block),
            })
        }
        "getblockheader" => Ok(described(chain, known(chain, parameter(params, 0))?)),
        "getrawtransaction" => {
            let (txid, block) = (parameter::<Txid>(params, 0), known(chain, parameter(params, 2))?);
            let place = block.txids.iter().position(|known| *known == txid);
            let unknown = || (RPC_INVALID_ADDRESS_OR_KEY, "No such transaction found in the provided block".to_owned());
            place.map(|place| json!(serialize_hex(&block.block.txdata[place]))).ok_or_else(unknown)
        }
        "gettxout" => {
            let coin = chain.coin(OutPoint::new(parameter(params, 0), parameter(params, 1)));
            Ok(coin.map_or(Value::Null, |coin| json!({ "value": bitcoins(coin.output.value) })))
        }
        "sendrawtransaction" => {
            let tx: Transaction = deserialize_hex(&parameter::<String>(params, 0)).expect("payouts send whole ones");
            chain.accept(&tx).map(|txid| json!(txid)).map_err(|refusal| {
                let (code, message) = refusal.answer();
                (code, message.to_owned())
            })
        }
        "estimatesmartfee" => Ok(match chain.estimate {
            Some(rate) => json!({ "feerate": per_kvb(rate), "blocks": 2 }),
            None => json!({ "errors": ["Insufficient data or no feerate found"], "blocks": 0 }),
        }),
        "getmempoolinfo" => Ok(json!({
            "loaded": true,
            "mempoolminfee": per_kvb(chain.floor),
            "incrementalrelayfee": per_kvb(FeeRate::BROADCAST_MIN),
        })),
        unknown => panic!("the simulated node does not know {unknown}"),
    }
}

fn known(chain: &Chain, hash: BlockHash) -> Result<&BranchBlock, (i32, String)> {
    let unknown = || (RPC_INVALID_ADDRESS_OR_KEY, "Block not found".to_owned());
    chain.block(hash).map(AsRef::as_ref).ok_or_else(unknown)
}

/// A block as `getblock` and `getblockheader` describe it.
fn described(chain: &Chain, block: &BranchBlock) -> Value {
    let header = &block.block.header;
    let confirmations = chain.confirmations(block.hash);
    let mut described = json!({
        "hash": block.hash,
        "confirmations": confirmations.map_or(-1, i64::from),
        "size": serialize(header).len(),
        "weight": serialize(header).len() * 4,
        "height": block.height,
        "version": header.version.to_consensus(),
        "merkleroot": header.merkle_root,
        "tx": block.txids,
        "time": header.time,
        "mediantime": header.time,
        "nonce": header.nonce,
        "bits": format!("{:08x}", header.bits.to_consensus()),
        "difficulty": 1.0,
        "chainwork": "00",
        "nTx": block.txids.len(),
    });
    if block.height > 0 {
        described["previousblockhash"] = json!(header.prev_blockhash);
    }
    if confirmations.is_some()
        && let Some(next) = chain.hash_at(block.height + 1)
    {
        described["nextblockhash"] = json!(next);
    }
    described
}

fn parameter<T: serde::de::DeserializeOwned>(params: &[Value], index: usize) -> T {
    serde_json::from_value(params[index].clone()).expect("payouts ask in Bitcoin Core's form")
}

fn per_kvb(rate: FeeRate) -> f64 {
    bitcoins(Amount::from_sat(rate.to_sat_per_kwu() * 4))
}

fn bitcoins(amount: Amount) -> f64 {
    amount.to_btc()
}
