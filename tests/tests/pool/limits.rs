//! Each limit of the miners' port is reached by somebody who deserves it, counted, and felt by nobody else.

use std::{
    fs,
    io::Write,
    net::{Ipv4Addr, TcpStream},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use protocol::{
    framing::Header,
    messages::mining::{
        OpenMiningChannelError, OpenStandardMiningChannelSuccess, SubmitSharesError, SubmitSharesStandard,
    },
};
use tests::miner::PoolAddress;

use crate::{
    rude::{Rude, connect_from, counted, is_closed_within},
    site::{PATIENCE, Site, eventually, standard},
    wire::open_standard,
};

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const TWO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const THREE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);
/// What takes longer than this does not happen at once.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A site whose limits hold for this machine too, with these settings of the section.
fn site(limits: &[(&str, u64)]) -> (Site, PoolAddress) {
    let mut site = Site::signet();
    site.pool.set("ADIT__LIMITS__UNLIMITED_ADDRESSES", "[]");
    for (name, value) in limits {
        site.pool.set(&format!("ADIT__LIMITS__{}", name.to_ascii_uppercase()), value);
    }
    let pool = site.pool.start().unwrap();
    (site, pool)
}

fn refused(site: &Site, reason: &str) -> u64 {
    counted(&site.pool, &format!("adit_connections_refused_total{{reason=\"{reason}\"}}"))
}

fn ended(site: &Site, reason: &str) -> u64 {
    counted(&site.pool, &format!("adit_connections_ended_total{{reason=\"{reason}\"}}"))
}

/// A connection that has begun to say something.
fn begun(source: Ipv4Addr, pool: &PoolAddress) -> TcpStream {
    let mut stream = connect_from(source, pool).unwrap();
    stream.write_all(&[1]).unwrap();
    stream
}

fn share(sequence_number: u32) -> SubmitSharesStandard {
    SubmitSharesStandard { channel_id: 99, sequence_number, job_id: 1, nonce: 0, ntime: 0, version: 0x2000_0000 }
}

/// Hands in shares of a channel that it has not got, until it is closed for that. Tells whether it was served at all.
fn misbehave(source: Ipv4Addr, pool: &PoolAddress) -> bool {
    let Ok(mut rude) = Rude::set_up(source, pool, 0) else { return false };
    for number in 0..12 {
        rude.prepare(&share(number));
    }
    rude.flush().unwrap();
    assert!(is_closed_within(&rude.stream, AT_ONCE));
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn address_has_a_bounded_number_of_connections_and_handshakes() {
    let (site, pool) = site(&[("connections_per_address", 4), ("handshakes_per_address", 3)]);
    let miner = site.miner_with(standard(&site.new_address(), 20_000.0)).await;
    let handshakes: Vec<_> = (0..3).map(|_| begun(ONE, &pool)).collect();
    // Until the pool has taken note of them.
    sleep(Duration::from_millis(500));
    assert!(is_closed_within(&begun(ONE, &pool), AT_ONCE));
    assert_eq!(refused(&site, "handshakes_per_address"), 1);

    let _set_up: Vec<_> = (0..4).map(|_| Rude::set_up(TWO, &pool, 0).unwrap()).collect();
    assert!(Rude::set_up(TWO, &pool, 0).is_err());
    assert_eq!(refused(&site, "connections_per_address"), 1);
    Rude::set_up(THREE, &pool, 0).unwrap();

    drop(handshakes);
    eventually("room for another", async || Rude::set_up(ONE, &pool, 0).ok()).await;
    let accepted = miner.read(|record| record.accepted_count());
    miner.wait_for_accepted(accepted + 3, PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_do_not_lock_out_others_of_their_address_nor_others() {
    let (site, pool) = site(&[("handshakes", 6), ("handshakes_per_address", 4)]);
    let silent: Vec<_> = [ONE, TWO].iter().flat_map(|source| [*source; 3]).collect();
    let _silent: Vec<_> = silent.into_iter().map(|source| connect_from(source, &pool).unwrap()).collect();
    let begun = Instant::now();
    for source in [ONE, TWO, THREE] {
        eventually("a handshake in spite of them", async || Rude::set_up(source, &pool, 0).ok()).await;
    }
    // Before their time was over.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(ended(&site, "displaced") >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_channel_gives_way_when_all_places_are_taken() {
    let mut site = Site::signet();
    site.pool.set("ADIT__LIMITS__UNLIMITED_ADDRESSES", "[]").set("ADIT__STRATUM__MAX_CONNECTIONS", 3);
    let pool = site.pool.start().unwrap();
    let miner = site.miner_with(standard(&site.new_address(), 20_000.0)).await;
    let idle: Vec<_> = (0..2).map(|_| Rude::set_up(ONE, &pool, 0).unwrap()).collect();
    let mut newcomer = Rude::set_up(TWO, &pool, 0).unwrap();
    newcomer.send(&open_standard(&site.new_address().to_string())).unwrap();
    newcomer.read_until::<OpenStandardMiningChannelSuccess>().unwrap();
    assert!(is_closed_within(&idle[0].stream, AT_ONCE));
    assert_eq!(ended(&site, "displaced"), 1);

    let mut last = Rude::set_up(THREE, &pool, 0);
    if let Ok(last) = &mut last {
        last.send(&open_standard(&site.new_address().to_string())).unwrap();
        last.read_until::<OpenStandardMiningChannelSuccess>().unwrap();
    }
    // All have channels now.
    assert!(Rude::set_up(ONE, &pool, 0).is_err());
    assert_eq!(refused(&site, "connections"), 1);
    let accepted = miner.read(|record| record.accepted_count());
    miner.wait_for_accepted(accepted + 3, PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn address_is_banned_for_invalid_shares_until_the_ban_is_lifted_and_probes_never_are() {
    let (site, pool) = site(&[("invalid_shares", 10)]);
    for _ in 0..100 {
        drop(connect_from(TWO, &pool).unwrap());
        drop(Rude::set_up(TWO, &pool, 0).unwrap());
    }
    let miner = Rude::set_up(ONE, &pool, 0).unwrap();
    for strike in 1..=3 {
        assert_eq!(site.pool.ask(&["bans", "list"]).unwrap(), "No address is banned.\n", "before strike {strike}");
        assert!(misbehave(ONE, &pool));
    }
    assert!(!misbehave(ONE, &pool), "it is banned");
    assert!(refused(&site, "banned") >= 1);
    assert_eq!((counted(&site.pool, "adit_bans_total"), ended(&site, "invalid_shares")), (1, 3));
    let listed = site.pool.ask(&["bans", "list"]).unwrap();
    assert!(listed.contains(&ONE.to_string()) && !listed.contains(&TWO.to_string()), "{listed}");
    // Others, and whoever is connected already, notice nothing.
    Rude::set_up(TWO, &pool, 0).unwrap();
    assert!(!is_closed_within(&miner.stream, Duration::from_millis(500)));

    let lifted = site.pool.ask(&["bans", "lift", &ONE.to_string()]).unwrap();
    assert_eq!(lifted, format!("{ONE} may connect again.\n"));
    Rude::set_up(ONE, &pool, 0).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_over_its_rate_is_read_more_slowly_and_answered_all_the_same() {
    const SHARES: u32 = 600;

    let (site, pool) = site(&[("messages_per_second", 50), ("invalid_shares", 1_000_000)]);
    let miner = site.miner_with(standard(&site.new_address(), 20_000.0)).await;
    let mut fast = Rude::set_up(ONE, &pool, 0).unwrap();
    fast.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let begun = Instant::now();
    for number in 0..SHARES {
        fast.prepare(&share(number));
    }
    fast.flush().unwrap();
    for number in 0..SHARES {
        assert_eq!(fast.read_until::<SubmitSharesError>().unwrap().sequence_number, number);
    }
    // 200 at once; of the last read, which are up to 264, none waited for its own kind.
    assert!(begun.elapsed() > Duration::from_secs((u64::from(SHARES) - 200 - 264) / 50), "{:?}", begun.elapsed());
    assert!(counted(&site.pool, "adit_connections_slowed_total") >= 1);
    assert_eq!(ended(&site, "too_fast"), 0);
    let accepted = miner.read(|record| record.accepted_count());
    miner.wait_for_accepted(accepted + 3, PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn frame_over_the_limit_and_frame_that_does_not_end_and_idleness_end_a_connection() {
    let (site, pool) = site(&[("idle_seconds", 15), ("frame_bytes", 16_384)]);
    let idle = Rude::set_up(ONE, &pool, 0).unwrap();
    let since = Instant::now();

    let mut huge = Rude::set_up(ONE, &pool, 0).unwrap();
    huge.prepare_frame(Header::new(0, 0x10, 16_385).unwrap(), &[]);
    huge.flush().unwrap();
    assert!(is_closed_within(&huge.stream, AT_ONCE));
    assert_eq!(ended(&site, "frame_too_large"), 1);

    let mut slow = Rude::set_up(ONE, &pool, 0).unwrap();
    slow.send(&open_standard(&site.new_address().to_string())).unwrap();
    slow.read_until::<OpenStandardMiningChannelSuccess>().unwrap();
    slow.prepare_frame(Header::new(0, 0x10, 16_000).unwrap(), &[]);
    slow.flush().unwrap();
    // So much that it would be a burden if many did so.
    slow.stream.write_all(&[0; 10_000]).unwrap();

    assert!(is_closed_within(&idle.stream, PATIENCE));
    let waited = since.elapsed();
    assert!(waited > Duration::from_secs(13), "{waited:?}");
    assert_eq!(ended(&site, "no_channel"), 1);
    while ended(&site, "slow_frame") == 0 {
        assert!(since.elapsed() < PATIENCE + Duration::from_secs(30), "the frame may go on for ever");
        let _ = slow.stream.write_all(&[0]);
        sleep(Duration::from_millis(500));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_beyond_the_limit_are_refused_and_counted() {
    const OPEN: &str = "adit_channels{kind=\"standard\"}";

    let mut site = Site::signet();
    site.pool.set("ADIT__STRATUM__MAX_CHANNELS_PER_CONNECTION", 2);
    let pool = site.pool.start().unwrap();
    let mut rude = Rude::set_up(ONE, &pool, 0).unwrap();
    let open = open_standard(&site.new_address().to_string());
    for _ in 0..2 {
        rude.send(&open).unwrap();
        rude.read_until::<OpenStandardMiningChannelSuccess>().unwrap();
    }
    rude.send(&open).unwrap();
    let refused = rude.read_until::<OpenMiningChannelError>().unwrap();
    assert_eq!(refused.error_code.to_string(), "channel-capacity-exhausted");
    eventually("the refusal to be counted", async || {
        let counts = ["adit_channels_refused_total", OPEN].map(|series| counted(&site.pool, series));
        (counts == [1, 2]).then_some(())
    })
    .await;
    drop(rude);
    eventually("the channels to be gone", async || (counted(&site.pool, OPEN) == 0).then_some(())).await;
}

/// Needs `prlimit`, which is on every Linux: the limit must fall while the pool runs, for at its start it sees to it that
/// there are enough.
#[tokio::test(flavor = "multi_thread")]
async fn pool_without_a_free_file_descriptor_goes_on_and_accepts_again_when_there_is_one() {
    let (mut site, pool) = site(&[]);
    let miner = site.miner_with(standard(&site.new_address(), 20_000.0)).await;
    miner.wait_for_accepted(2, PATIENCE).await.unwrap();
    let process = site.pool.pid().unwrap();
    let set_limit = |files: usize| {
        let done =
            Command::new("prlimit").args([format!("--pid={process}"), format!("--nofile={files}:")]).status().unwrap();
        assert!(done.success());
    };
    let open = fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
    set_limit(open + 4);
    let crowd: Vec<_> = (0..40).map(|_| connect_from(ONE, &pool).unwrap()).collect();
    // The miner is served all the while.
    let accepted = miner.read(|record| record.accepted_count());
    miner.wait_for_accepted(accepted + 20, PATIENCE).await.unwrap();
    eventually("the pool to run out of them", async || {
        site.pool.log().contains("cannot accept connections").then_some(())
    })
    .await;
    drop(crowd);
    eventually("a new miner to be served", async || Rude::set_up(TWO, &pool, 0).ok()).await;
    let errors = counted(&site.pool, "adit_accept_errors_total");
    // One for each pause of 200 ms, and one for each connection that ended: without the pause it would be millions.
    assert!((1..1_000).contains(&errors), "{errors}");
    set_limit(1_024);
    site.pool.stop().unwrap();
}
