//! Handshake to drain: what a connection must bear, and in which order it is answered.

use std::{io::Write, thread, time::Duration};

use protocol::{
    codec::{B0_32, Seq0_64K, Str0_255, U256},
    framing::Header,
    messages::{
        Message,
        common::{SetupConnection, SetupConnectionError, SetupConnectionSuccess},
        extensions::{RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess},
        mining::{
            CloseChannel, NewMiningJob, OpenExtendedMiningChannel, OpenStandardMiningChannelSuccess, SetNewPrevHash,
            SetTarget, SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, UpdateChannel,
        },
    },
};

use super::{STANDARD_JOBS, VERSION_ROLLING, running_regtest};
use crate::{
    site::{PATIENCE, Site, standard},
    wire::{Frame, Wire, connect, open_extended, open_standard, payload_of, setup},
};

fn names(frames: &[Frame]) -> Vec<&'static str> {
    frames.iter().map(Frame::name).collect()
}

/// An update that changes nothing on a channel that [`open_standard`] has opened.
fn update(channel_id: u32) -> UpdateChannel {
    UpdateChannel { channel_id, nominal_hash_rate: 1e6, maximum_target: U256::MAX }
}

/// A share of a job that the channel was never given.
fn made_up_share(channel_id: u32) -> SubmitSharesStandard {
    SubmitSharesStandard { channel_id, sequence_number: 1, job_id: 999, nonce: 0, ntime: 0, version: 0 }
}

fn channel_bit(frame: &Frame) -> bool {
    frame.header[1] & 0x80 != 0
}

#[tokio::test(flavor = "multi_thread")]
async fn authority_key_outlives_a_restart() {
    let (mut site, before) = running_regtest();
    site.pool.stop().unwrap();
    let after = site.pool.start().unwrap();
    assert!(before.authority.is_some());
    assert_eq!(before.authority, after.authority);
    // As a miner whose URL was pasted before the restart.
    Wire::set_up(&before, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_is_read_frame_by_frame_however_it_is_cut() {
    let (site, pool) = running_regtest();
    let mut wire = Wire::new(&pool);
    for byte in wire.seal_message(&setup(&pool)).concat() {
        wire.stream.write_all(&[byte]).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    wire.next().read::<SetupConnectionSuccess>();

    // As devices do that write the header, and then the payload.
    let [header, payload] = wire.seal_message(&open_standard(&site.new_address().to_string()));
    wire.stream.write_all(&header).unwrap();
    assert_eq!(names(&wire.read_for(Duration::from_millis(300))), [""; 0]);
    wire.stream.write_all(&payload).unwrap();
    let channel_id = wire.next().read::<OpenStandardMiningChannelSuccess>().channel_id;
    wire.read_until(|frame| frame.name() == SetNewPrevHash::NAME);

    // Several frames at once, and the last in two parts.
    let frames = [0; 5].map(|_| wire.seal_message(&update(channel_id)).concat()).concat();
    let (most, rest) = frames.split_at(frames.len() - 20);
    wire.stream.write_all(most).unwrap();
    for _ in 0..4 {
        wire.next().read::<SetTarget>();
    }
    wire.stream.write_all(rest).unwrap();
    wire.next().read::<SetTarget>();
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_ready_leave_in_one_write() {
    let (site, pool) = running_regtest();
    let mut wire = Wire::set_up(&pool, 0);
    wire.send(&open_standard(&site.new_address().to_string()));
    let came = wire.frames_of_one_read();
    assert_eq!(names(&came), [OpenStandardMiningChannelSuccess::NAME, NewMiningJob::NAME, SetNewPrevHash::NAME]);
    site.node.mine(1).unwrap();
    assert_eq!(names(&wire.frames_of_one_read()), [NewMiningJob::NAME, SetNewPrevHash::NAME]);
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_of_a_setup_are_never_echoed_and_named_when_refused() {
    let (site, pool) = running_regtest();
    for flags in [0, STANDARD_JOBS, VERSION_ROLLING, STANDARD_JOBS | VERSION_ROLLING] {
        let mut wire = Wire::new(&pool);
        wire.send(&SetupConnection { flags, ..setup(&pool) });
        let answer = wire.next().read::<SetupConnectionSuccess>();
        assert_eq!((answer.used_version, answer.flags), (2, 0), "{flags:#b}");
    }
    // Bits that no version of the specification has given a meaning.
    for unsupported in [1 << 3, 1 << 31, 1 << 4 | 1 << 30] {
        let flags = unsupported | STANDARD_JOBS | VERSION_ROLLING;
        let mut wire = Wire::new(&pool);
        wire.send(&SetupConnection { flags, ..setup(&pool) });
        // What such a client has sent on without waiting must not cost it the reason.
        wire.send(&open_standard(&site.new_address().to_string()));
        let answer = wire.next().read::<SetupConnectionError>();
        assert_eq!((answer.error_code.to_str(), answer.flags), (Some("unsupported-feature-flags"), unsupported));
        assert!(wire.next_or_end().is_none());
    }
    assert!(site.pool.log().contains("setup refused: unsupported-feature-flags"), "devices do not show it");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_first_although_jobs_come_all_the_time() {
    const BLOCKS: u64 = 60;

    let (site, pool) = running_regtest();
    let identity = site.new_address().to_string();
    let mut rounds = 0;
    thread::scope(|scope| {
        let tips = scope.spawn(|| {
            for _ in 0..BLOCKS {
                site.node.mine(1).unwrap();
                thread::sleep(Duration::from_millis(20));
            }
        });
        while !tips.is_finished() {
            let mut wire = Wire::new(&pool);
            wire.send(&setup(&pool));
            wire.next().read::<SetupConnectionSuccess>();
            thread::sleep(Duration::from_millis(rounds % 40));
            wire.send(&open_standard(&identity));
            let opened = wire.next().read::<OpenStandardMiningChannelSuccess>();
            let job = wire.next().read::<NewMiningJob>();
            let tip = wire.next().read::<SetNewPrevHash>();
            assert_eq!((job.channel_id, job.min_ntime), (opened.channel_id, None));
            assert_eq!((tip.channel_id, tip.job_id), (opened.channel_id, job.job_id));
            rounds += 1;
        }
    });
    assert!(rounds >= 10, "{rounds} rounds in {BLOCKS} blocks");
}

#[tokio::test(flavor = "multi_thread")]
async fn channel_bit_is_always_set_and_never_asked_for() {
    let (site, pool) = running_regtest();
    let mut wire = Wire::set_up(&pool, 0);
    wire.send(&open_standard(&site.new_address().to_string()));
    let opened = wire.next();
    assert!(!channel_bit(&opened), "an answer to an open belongs to no channel yet");
    let channel_id = opened.read::<OpenStandardMiningChannelSuccess>().channel_id;
    let jobs = wire.read_until(|frame| frame.name() == SetNewPrevHash::NAME);
    assert!(jobs.iter().all(channel_bit), "{jobs:?}");

    for bit in [0x00, 0x80] {
        let payload = payload_of(&update(channel_id));
        let mut header = Header::of::<UpdateChannel>(payload.len()).unwrap().to_bytes();
        header[1] = bit;
        wire.send_frame(header, &payload);
        let answer = wire.next();
        answer.read::<SetTarget>();
        assert!(channel_bit(&answer));

        let payload = payload_of(&made_up_share(channel_id));
        let mut header = Header::of::<SubmitSharesStandard>(payload.len()).unwrap().to_bytes();
        header[1] = bit;
        wire.send_frame(header, &payload);
        let answer = wire.next();
        answer.read::<SubmitSharesError>();
        assert!(channel_bit(&answer));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_extensions_and_fields_are_ignored() {
    let (site, pool) = running_regtest();
    let mut wire = Wire::new(&pool);
    let unknown = |channel_bit: u8| [0x07, 0x40 | channel_bit, 0x05, 3, 0, 0];
    wire.send_frame(unknown(0), b"???");
    wire.send(&setup(&pool));
    wire.next().read::<SetupConnectionSuccess>();
    wire.send_frame(unknown(0), b"???");
    wire.send(&RequestExtensions { request_id: 1, requested_extensions: Seq0_64K::new([0x0002]).unwrap() });
    wire.next().read::<RequestExtensionsSuccess>();
    // Fields of a later version behind the request itself.
    let open = [payload_of(&open_extended(&site.new_address().to_string(), 4)), vec![0x40, 0x07, 0x01, 0, 1, 9]];
    wire.send_payload::<OpenExtendedMiningChannel>(&open.concat());
    wire.read_until(|frame| frame.name() == SetNewPrevHash::NAME);
    wire.send_frame(unknown(0x80), b"???");

    let share = SubmitSharesExtended {
        channel_id: 2,
        sequence_number: 1,
        job_id: 999,
        nonce: 0,
        ntime: 0,
        version: 0,
        extranonce: B0_32::new(&[0; 4]).unwrap(),
    };
    // Big-endian as specified, and little-endian as the reference's proxies write.
    for field in [[0x40, 0x07, 0x01, 0, 1, 9], [0x07, 0x40, 0x01, 1, 0, 9]] {
        let payload = [payload_of(&share), field.to_vec()].concat();
        wire.send_payload::<SubmitSharesExtended>(&payload);
        assert_eq!(wire.next().read::<SubmitSharesError>().error_code.to_str(), Some("invalid-job-id"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn extensions_refused_are_asked_for_again_with_the_next_id() {
    let (_site, pool) = running_regtest();
    let mut wire = Wire::set_up(&pool, VERSION_ROLLING);
    let request = |request_id, requested: &[u16]| RequestExtensions {
        request_id,
        requested_extensions: Seq0_64K::new(requested).unwrap(),
    };
    wire.send(&request(1, &[0x0003]));
    let refused = wire.next().read::<RequestExtensionsError>();
    assert_eq!((refused.request_id, refused.unsupported_extensions.as_slice()), (1, &[0x0003][..]));
    assert_eq!(refused.required_extensions.as_slice(), [0; 0]);
    wire.send(&request(2, &[0x0002]));
    let granted = wire.next().read::<RequestExtensionsSuccess>();
    assert_eq!((granted.request_id, granted.supported_extensions.as_slice()), (2, &[0x0002][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn client_may_open_its_channel_sixteen_seconds_after_its_setup() {
    let (site, pool) = running_regtest();
    let mut wire = Wire::set_up(&pool, 0);
    let came = wire.read_for(Duration::from_secs(16));
    assert_eq!(names(&came), [""; 0], "nothing is said to a client without a channel");
    wire.send(&open_standard(&site.new_address().to_string()));
    wire.next().read::<OpenStandardMiningChannelSuccess>();
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_not_held_against_their_address() {
    let mut site = Site::signet();
    let pool = site.pool.start().unwrap();
    for _ in 0..100 {
        drop(connect(&pool));
    }
    for _ in 0..30 {
        drop(Wire::set_up(&pool, 0));
    }
    let miner = site.miner_with(standard(&site.new_address(), 20_000.0)).await;
    miner.wait_for_accepted(2, PATIENCE).await.unwrap();
    assert_eq!(miner.close().await.faults, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_device_is_told_to_move_and_a_drain_closes_the_socket() {
    const NEVER: [&str; 5] =
        ["Reconnect", "ChannelEndpointChanged", "SetExtranoncePrefix", "SetGroupChannel", CloseChannel::NAME];

    let (mut site, pool) = running_regtest();
    let identity = site.new_address().to_string();
    let mut wire = Wire::set_up(&pool, 0);
    wire.send(&open_standard(&identity));
    wire.send(&open_extended(&identity, 8));
    wire.send(&open_extended(&identity, 2));
    wire.send(&open_standard("nobody"));
    wire.send(&UpdateChannel { channel_id: 3, nominal_hash_rate: 1e9, maximum_target: U256::MAX });
    wire.send(&made_up_share(2));
    let mut frames = wire.read_until(|frame| frame.name() == SubmitSharesError::NAME);
    site.node.mine(1).unwrap();
    frames.extend(wire.read_until(|frame| frame.name() == SetNewPrevHash::NAME));
    wire.send(&CloseChannel { channel_id: 3, reason_code: Str0_255::from_static("enough") });
    site.node.mine(1).unwrap();
    frames.extend(wire.read_until(|frame| frame.name() == SetNewPrevHash::NAME));

    site.pool.stop().unwrap();
    while let Some(frame) = wire.next_or_end() {
        frames.push(frame);
    }
    let sent = names(&frames);
    assert!(sent.len() > 12 && !sent.iter().any(|name| NEVER.contains(name)), "{sent:?}");
}
