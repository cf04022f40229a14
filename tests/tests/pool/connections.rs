//! Who is connected to a running pool, and what happens in it, as the API tells while it happens.

use protocol::noise::AuthoritySecretKey;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tests::miner::{Miner, MinerConfig, PoolAddress, Record};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use crate::{
    api::Api,
    site::{PATIENCE, Site, eventually, standard},
};

/// A stream of events, as a client reads it.
struct Events {
    response: Response,
    unread: String,
}

impl Events {
    async fn follow(api: &Api) -> Events {
        let request = api.request(Method::GET, "/api/v1/events").timeout(10 * PATIENCE);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { response, unread: String::new() }
    }

    /// The next event: its kind and what it says. None at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                let told = field("event:").zip(field("data:"));
                let told = told.map(|(kind, data)| (kind.to_owned(), serde_json::from_str(data).unwrap()));
                self.unread = rest.to_owned();
                if told.is_some() {
                    return told;
                }
                continue;
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("the stream is never silent for long");
            self.unread.push_str(std::str::from_utf8(&chunk.unwrap()?).unwrap());
        }
    }

    /// Waits for an event of a kind of which something is true.
    async fn wait_for(&mut self, kind: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let (seen, data) = self.next().await.expect("the stream goes on");
                if seen == kind && is_it(&data) {
                    return data;
                }
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no such event of kind {kind}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_miner_does_is_told_as_it_happens_until_the_pool_ends() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let api = Api::of(&site);
    let mut events = Events::follow(&api).await;
    events.wait_for("shares", |shares| shares["accepted"] == 0).await;

    let address = site.new_address();
    let miner = site.miner_with(standard(&address, 40.0).max_shares(3)).await;
    events.wait_for("connection", |told| told["begun"].as_u64() >= Some(1)).await;
    for (state, before, answer) in [
        ("found", Value::Null, Value::Null),
        ("submitted", json!("found"), json!("accepted")),
        ("immature", json!("submitted"), Value::Null),
    ] {
        let block = events.wait_for("block", |block| block["height"] == 2).await;
        assert_eq!((&block["state"], &block["before"], &block["answer"]), (&json!(state), &before, &answer), "{block}");
    }
    miner.wait_for_judged(3, PATIENCE).await.unwrap();
    let accepted = miner.read(Record::accepted_count);
    let shares = events.wait_for("shares", |shares| shares["accepted_total"] == accepted).await;
    assert!(shares["hash_rate"].as_f64().unwrap() > 0.0, "{shares}");

    let channels = api.read(&format!("/api/v1/channels?account={address}")).await;
    let channel = &channels["items"][0];
    assert_eq!((&channel["accepted"], &channel["kind"]), (&json!(accepted), &json!("standard")), "{channels}");
    assert!(channel["best_difficulty"].as_f64() >= channel["difficulty"].as_f64(), "{channels}");
    assert!(channel["account"].is_i64() && channel["last_share_at_ms"].is_i64(), "{channels}");
    let connections = api.read("/api/v1/connections").await;
    assert_eq!((&connections["items"][0]["channels"], &connections["next"]), (&json!(1), &Value::Null));

    miner.close().await;
    let told = events.wait_for("connection", |told| told["ended_count"] == 1).await;
    assert_eq!(told["ended"][0]["code"], "closed", "{told}");
    let ended = api.read(&format!("/api/v1/connections/{}", told["ended"][0]["connection"])).await;
    assert_eq!(ended["connection"]["set_up"]["vendor"], "adit", "{ended}");

    site.pool.stop().unwrap();
    while events.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_to_nothing_is_told_of_in_plain_words() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let (api, address) = (Api::of(&site), site.pool.address().unwrap());
    let v1 = br#"{"id":1,"method":"mining.subscribe","params":["cgminer/4.11.1"]}"#;
    let mut silent = Vec::new();
    for bytes in
        [&v1[..], b"GET / HTTP/1.1\r\nhost: pool.example.com\r\nuser-agent: a browser of somebody\r\n\r\n", b""]
    {
        let mut stream = TcpStream::connect((address.host.as_str(), address.port)).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        silent.push(stream);
    }
    let other = AuthoritySecretKey::generate().public_key();
    let pinned = Miner::connect(MinerConfig::new(PoolAddress { authority: Some(other), ..address })).await;
    assert!(pinned.is_err());
    let told = eventually("all to be told of", async || {
        let ended = api.read("/api/v1/connections/ended").await;
        let mut codes: Vec<_> =
            ended["failures"].as_array()?.iter().map(|it| it["code"].as_str().unwrap().to_owned()).collect();
        codes.sort();
        (codes.len() == 4).then_some(codes)
    });
    assert_eq!(told.await, ["another_key", "http", "silent", "stratum_v1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_list_drain_and_kick_connections() {
    let mut site = Site::signet();
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    assert_eq!(site.pool.ask(&["connections", "list"]).unwrap(), "Connections listed: 0 of 0.\n");
    let (api, address) = (Api::of(&site), site.new_address());
    let first = site.miner_with(standard(&address, 200.0)).await;
    let listed = async || {
        let listed = site.pool.ask(&["connections", "list", "--json"]).unwrap();
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let one = listed["connections"]["connections"][0].clone();
        (one["channels"] == 1).then_some(one)
    };
    let one = eventually("the connection with its channel", listed).await;
    let by_api = api.read("/api/v1/connections").await["items"][0].clone();
    for told in ["connection", "peer", "stage", "set_up", "arrived_at_ms"] {
        assert_eq!(one[told], by_api[told], "{told}");
    }
    let table = site.pool.ask(&["connections", "list"]).unwrap();
    assert!(table.contains("127.0.0.1:") && table.contains("adit"), "{table}");
    let after = site.pool.ask(&["connections", "list", "--after", "1", "--limit", "1"]).unwrap();
    assert_eq!(after, "Connections listed: 0 of 1.\n");

    let ended = async |connection: u32| {
        let detail = api.read(&format!("/api/v1/connections/{connection}")).await;
        detail["connection"]["ended"]["code"].as_str().map(str::to_owned)
    };
    assert_eq!(site.pool.ask(&["connections", "drain", "1"]).unwrap(), "Connection 1 was told.\n");
    assert_eq!(eventually("the first to end", async || ended(1).await).await, "moved");
    drop(first);
    let _second = site.miner_with(standard(&address, 200.0)).await;
    site.pool.ask(&["connections", "kick", "2"]).unwrap();
    assert_eq!(eventually("the second to end", async || ended(2).await).await, "kicked");
    let refused = site.pool.ask(&["connections", "kick", "2"]).unwrap_err().to_string();
    assert!(refused.contains("no connection 2 is open"), "{refused}");
    let audit = api.read("/api/v1/audit?actor=user").await.to_string();
    assert!(audit.contains("end connection 2") && !audit.contains("\"connections\""), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_traces_steers_and_ends_connections() {
    let mut site = Site::signet();
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let api = Api::of(&site);
    let address = site.new_address();
    let miner = site.miner_with(standard(&address, 200.0)).await;
    let channel = async || api.read(&format!("/api/v1/channels?account={address}")).await["items"][0].clone();
    eventually("a share", async || (channel().await["accepted"].as_u64()? > 0).then_some(())).await;
    assert_eq!(api.post("/api/v1/connections/1/trace", None, &Value::Null).await.0, 202);

    // Harder, so that the shares which come next are no reason for another.
    let before = channel().await["difficulty"].as_f64().unwrap();
    let body = json!({"difficulty": before * 4.0});
    let request = api.request(Method::PUT, "/api/v1/connections/1/difficulty").json(&body);
    assert_eq!(request.send().await.unwrap().status(), 202);
    eventually("its cause", async || (channel().await["difficulty_cause"] == "operator").then_some(())).await;
    let told = async || {
        let trace = api.read("/api/v1/connections/1/trace").await;
        let said = |from: &str, what: &str| {
            let messages = trace["messages"].as_array().unwrap();
            messages.iter().any(|it| it["from"] == from && it["text"].as_str().unwrap().contains(what))
        };
        (said("client", "SubmitSharesStandard") && said("pool", "SetTarget") && said("pool", "SubmitSharesSuccess"))
            .then_some(())
    };
    eventually("both sides in the trace", told).await;

    assert_eq!(api.post("/api/v1/connections/1/drain", None, &Value::Null).await.0, 202);
    let ended = async |connection: u32| {
        let detail = api.read(&format!("/api/v1/connections/{connection}")).await;
        detail["connection"]["ended"]["code"].as_str().map(str::to_owned)
    };
    assert_eq!(eventually("the first to end", async || ended(1).await).await, "moved");
    let trace = api.read("/api/v1/connections/1/trace").await;
    assert!(trace.to_string().contains("Reconnect"), "{trace}");
    drop(miner);

    let _miner = site.miner_with(standard(&address, 40.0)).await;
    assert_eq!(api.post("/api/v1/connections/2/kick", None, &Value::Null).await.0, 202);
    assert_eq!(eventually("the second to end", async || ended(2).await).await, "kicked");
    let (status, problem) = api.post("/api/v1/bans", None, &json!({"address": "127.0.0.1", "seconds": 60})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("conflict")), "its own machine: {problem}");
}
