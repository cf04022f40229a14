//! What real clients depend on and the specification does not make obvious, and the tests that hold it.
//!
//! Learnt from the reference implementation's miner, translator proxy and job declarator client, from Braiins OS, AxeOS
//! and NerdQAxe; each line has cost somebody a day. A test is named by its crate, its module and its function; what no
//! test can hold says why behind "not tested".
//!
//! The pool's side is held, and the devices' where their profiles in the test miner show it; what the reference's
//! programs make of the pool is shown by those programs themselves (`make test-interop`).
//!
//! # Connection
//!
//! 1. The handshake, where implementations differ.
//!    - Act 1 has 64 bytes, act 2 has 234, and others' implementations agree:
//!      `protocol::noise::tests::our_client_understands_another_server`,
//!      `protocol::noise::tests::our_server_is_understood_by_another_client`
//!    - A shared secret is BIP 324's, so each key knows its role:
//!      `protocol::noise::primitives::shared_secrets_are_those_of_bip_324`,
//!      `protocol::noise::primitives::two_equal_roles_do_not_agree`
//!    - The certificate signs version, dates and the x-only static key:
//!      `protocol::noise::certificate::certificate_holds_for_its_authority_key_and_dates_only`,
//!      `protocol::noise::certificate::another_encoding_of_the_same_static_key_is_still_certified`,
//!      `protocol::noise::certificate::certificate_survives_its_bytes`
//!    - The authority key is written in base58check behind the bytes 1, 0:
//!      `protocol::noise::certificate::public_key_reads_and_writes_as_specified`,
//!      `protocol::noise::certificate::public_key_with_a_typing_error_or_another_prefix_is_refused`
//! 2. Whom miners trust stays the same.
//!    - The authority key outlives a restart: `tests::pool::practice::connection::authority_key_outlives_a_restart`
//!    - A certificate is renewed long before its end, without a restart:
//!      `pool::stratum::listener::certificate_is_renewed_under_the_same_authority_when_half_of_its_time_is_over`
//!    - It begins in the past, for clocks that are behind:
//!      `pool::stratum::listener::client_whose_clock_is_behind_accepts_a_certificate_just_made`
//! 3. Frames and the stream.
//!    - The header's length is that of the plaintext, and chunks have 65,519 bytes:
//!      `protocol::framing::each_chunk_of_a_payload_has_its_own_mac`,
//!      `protocol::connection::tests::payloads_around_the_chunk_limit_pass`
//!    - Header and payload may come apart, a byte at a time or many frames in one read:
//!      `tests::pool::practice::connection::stream_is_read_frame_by_frame_however_it_is_cut`,
//!      `protocol::connection::tests::shares_survive_any_cutting_of_the_stream`
//!    - All frames that are ready leave in one write:
//!      `tests::pool::practice::connection::frames_that_are_ready_leave_in_one_write`
//!    - Small writes are not held back (TCP_NODELAY):
//!      `pool::stratum::listener::small_writes_leave_an_accepted_socket_at_once`
//! 4. The answer to the setup.
//!    - Its flags are the server's own, never an echo of the client's:
//!      `protocol::connection::tests::the_clients_flags_are_not_echoed`,
//!      `tests::pool::practice::connection::flags_of_a_setup_are_never_echoed_and_named_when_refused`
//!    - Standard jobs and version rolling may be required; exactly the flags that cannot be served come back with
//!      `unsupported-feature-flags`:
//!      `tests::pool::practice::connection::flags_of_a_setup_are_never_echoed_and_named_when_refused`
//!    - Work selection, which job declarator clients require, is served:
//!      `tests::pool::work_selection::client_that_selects_its_work_gets_a_target_and_no_job`,
//!      `tests::pool::devices::job_declarator_client_keeps_its_channel_without_jobs_until_its_own_job_is_refused`
//!    - Another protocol and another version are refused by their names:
//!      `tests::pool::bad_input::setup_for_another_protocol_or_version_is_refused_by_name`,
//!      `protocol::connection::tests::setup_is_refused_with_the_reason`
//!    - The refusal arrives before the end, whatever the client has sent on:
//!      `tests::pool::practice::connection::flags_of_a_setup_are_never_echoed_and_named_when_refused`
//! 5. The frame behind a setup is its answer, and the frame behind an open is its answer, also when a job comes
//!    between.
//!    - `tests::pool::practice::connection::answers_come_first_although_jobs_come_all_the_time`,
//!      `pool::mining::session::answer_to_an_open_comes_first_and_open_channels_get_the_job_that_a_new_one_starts_with`
//!    - A device that gets anything else leaves:
//!      `tests::devices::small_devices_take_only_the_success_as_the_next_frame_and_leave_after_silence`
//! 6. What clients leave out or add.
//!    - The channel bit is not needed, and always set on what is sent:
//!      `tests::pool::practice::connection::channel_bit_is_always_set_and_never_asked_for`,
//!      `protocol::connection::tests::the_channel_bit_is_optional_from_the_peer_and_always_sent`
//!    - A device that gets a message without it leaves:
//!      `tests::devices::braiins_os_leaves_at_what_it_does_not_know_and_after_five_seconds_without_an_answer`
//!    - Unknown extensions and unknown fields are ignored:
//!      `tests::pool::practice::connection::unknown_extensions_and_fields_are_ignored`,
//!      `protocol::messages::extensions::an_unknown_field_is_skipped_in_the_order_of_bytes_of_the_reference_too`
//! 7. The negotiation of extensions.
//!    - A client that was refused asks again with the next id:
//!      `tests::pool::practice::connection::extensions_refused_are_asked_for_again_with_the_next_id`
//!    - One that asks for nothing hears nothing of it:
//!      `tests::pool::practice::connection::client_may_open_its_channel_sixteen_seconds_after_its_setup`
//!    - Types and lengths of fields are big-endian:
//!      `protocol::messages::extensions::the_example_of_the_specification_is_read_and_written`
//! 8. Clients that take their time, and those that never open a channel.
//!    - Sixteen seconds between setup and open are no reason to leave (handshake and setup have ten each, before which
//!      no client measures anything):
//!      `tests::pool::practice::connection::client_may_open_its_channel_sixteen_seconds_after_its_setup`
//!    - Connects without a word and setups without a channel cost their address nothing:
//!      `tests::pool::practice::connection::probes_are_not_held_against_their_address`
//! 9. Nobody can connect before there is work.
//!    - `tests::pool::start::pool_waits_for_a_node_that_is_down_and_listens_when_it_comes_up`,
//!      `tests::pool::start::node_of_another_network_is_named_and_nobody_is_served`
//! 10. Messages that devices ignore or fall over are never sent, and a drain closes the socket.
//!     - `tests::pool::practice::connection::no_device_is_told_to_move_and_a_drain_closes_the_socket`,
//!       `tests::pool::shutdown::sigterm_acknowledges_all_that_is_stored_and_then_closes`
//!     - Devices ignore them or crash:
//!       `tests::devices::small_devices_ignore_what_they_do_not_know_and_their_shares_are_lost`,
//!       `tests::devices::translator_leaves_at_grants_and_jobs_of_no_use_and_crashes_at_a_reconnect`
//!
//! # Channels and jobs
//!
//! 11. The order of jobs.
//!     - After an open: a future job for the channel, then its tip; later jobs on the tip start at once:
//!       `pool::mining::session::standard_channel_gets_a_future_job_and_then_the_prev_hash`,
//!       `tests::pool::practice::connection::answers_come_first_although_jobs_come_all_the_time`,
//!       `tests::pool::jobs::job_is_refreshed_although_nothing_happens`
//!     - No tip names a job that has started already; the test miner notices one that does:
//!       `tests::pool::jobs::tip_made_elsewhere_comes_as_a_future_job_and_its_prev_hash_and_makes_old_shares_stale`,
//!       `tests::miner::channel::server_that_breaks_the_order_of_jobs_is_noticed`
//!     - Devices leave at one or hash on for nothing:
//!       `tests::devices::small_devices_hash_on_after_a_tip_for_an_unknown_job_and_their_shares_are_stale`,
//!       `tests::devices::translator_leaves_at_grants_and_jobs_of_no_use_and_crashes_at_a_reconnect`
//! 12. Groups.
//!     - The group is 1, channels begin at 2:
//!       `tests::pool::practice::channels_and_jobs::group_is_1_and_channels_begin_at_2`
//!     - Members have one size of full extranonce:
//!       `tests::pool::practice::channels_and_jobs::extranonce_has_the_size_asked_for_and_its_shares_count`
//!     - A client that requires standard jobs gets no group message and no extended channel:
//!       `tests::pool::jobs::connection_that_requires_standard_jobs_gets_one_for_each_channel`,
//!       `pool::mining::session::no_group_message_goes_to_a_client_that_requires_standard_jobs`
//!     - Any other gets one job and one tip for all its channels:
//!       `tests::pool::jobs::channels_of_one_connection_get_one_job_for_their_group`,
//!       `tests::pool::jobs::shares_on_a_group_job_are_accepted_from_each_channel`
//!     - A channel alone in its group is addressed by its own id:
//!       `pool::mining::session::one_message_serves_the_group_and_a_lone_channel_is_addressed_itself`
//! 13. The extranonce.
//!     - 2, 4, 6, 8 and 10 bytes are granted as asked, and their shares count:
//!       `tests::pool::practice::channels_and_jobs::extranonce_has_the_size_asked_for_and_its_shares_count`
//!     - A share with another size is refused: `tests::pool::shares::wrong_share_is_answered_with_what_is_wrong_with_it`
//!     - Prefix and grant are 32 bytes at most, the script is 100 at most, and its length byte is right:
//!       `pool::mining::session::extended_channel_gets_the_size_it_asked_for`,
//!       `pool::mining::coinbase::the_longest_tag_fits_and_a_bad_one_is_refused`
//! 14. Witness data.
//!     - The coinbase of an extended job has none:
//!       `tests::pool::practice::channels_and_jobs::coinbase_of_a_job_is_a_transaction_without_witness`
//!     - The block that goes to the node has it:
//!       `pool::mining::coinbase::both_serialisations_are_the_same_transaction`,
//!       `tests::pool::blocks::block_of_an_extended_channel_is_accepted_with_all_transactions_and_pays_the_pool`
//!     - In `DeclareMiningJob` it stays; not tested: the pool takes no declared jobs.
//! 15. What a miner may roll.
//!     - The version, on every extended job: `pool::mining::session::version_may_be_rolled_on_every_extended_job`
//!     - Devices that may not leave:
//!       `tests::devices::nerdqaxe_leaves_a_pool_that_fixes_the_version_and_drops_jobs_that_do`
//!     - The 24 bits of BIP 323, of which devices roll 16, and no other:
//!       `pool::mining::channel::all_24_bits_of_bip_323_roll_and_no_other`,
//!       `tests::pool::practice::channels_and_jobs::shares_with_a_rolled_version_count`
//!     - The time, from the job's first to two hours later: `pool::mining::channel::fields_out_of_range_are_named`
//! 16. Silence and repetition.
//!     - A job comes every 30 seconds at least, with the node and without it:
//!       `tests::pool::jobs::job_is_refreshed_although_nothing_happens`,
//!       `tests::pool::practice::channels_and_jobs::jobs_come_although_the_node_is_away_and_each_is_other_work`,
//!       `pool::jobs::job_is_renewed_with_a_later_time_when_the_node_gives_no_template`,
//!       `pool::config::tests::template_refresh_is_never_longer_than_devices_bear`
//!     - No work comes twice under two ids:
//!       `tests::pool::practice::channels_and_jobs::jobs_come_although_the_node_is_away_and_each_is_other_work`,
//!       `pool::mining::session::job_given_again_begins_later_than_anything_hashed_before`,
//!       `tests::pool::shares::miner_that_starts_anew_on_a_new_target_finds_no_share_twice`
//!     - Devices bear the pool longer than their patience, leave a silent one, and lose their pipeline to repeated work:
//!       `tests::pool::devices::every_device_is_served_from_its_first_share_to_a_new_tip_and_through_a_long_silence_of_its_own`,
//!       `tests::devices::small_devices_take_only_the_success_as_the_next_frame_and_leave_after_silence`,
//!       `tests::devices::braiins_os_loses_its_pipeline_to_work_that_is_repeated`
//! 17. No payload is over 2,048 bytes, the least that devices take.
//!     - `pool::mining::session::messages_fit_into_the_smallest_frames_that_devices_take`,
//!       `tests::pool::devices::job_of_a_full_block_fits_the_smallest_buffers`
//!     - A device whose buffer is too small leaves:
//!       `tests::devices::small_devices_leave_at_frames_that_do_not_fit_their_buffers`
//!
//! # Targets and shares
//!
//! 18. 256-bit numbers are little-endian.
//!     - `tests::pool::practice::targets_and_shares::target_is_little_endian_on_the_wire_in_both_directions`,
//!       `pool::mining::session::targets_are_little_endian_both_ways`,
//!       `protocol::codec::u256_is_ordered_as_a_number_and_shown_big_endian`
//! 19. Targets.
//!     - A hash equal to the target is a share: `pool::mining::difficulty::hash_equal_to_the_target_meets_it`
//!     - A share is judged by the target that its job was given with:
//!       `pool::mining::channel::late_share_is_judged_by_the_target_of_its_own_job`,
//!       `tests::pool::shares::miner_faster_than_it_claims_gets_a_harder_target_within_seconds_and_credit_for_it`
//!     - A new target comes without a new tip:
//!       `tests::pool::practice::targets_and_shares::device_that_claims_more_than_it_does_is_eased_by_silence_alone`,
//!       `pool::mining::session::update_is_answered_with_a_target_and_a_job_for_it`
//!     - Every update is answered:
//!       `tests::pool::practice::targets_and_shares::every_update_is_answered_with_a_target_and_never_with_a_new_tip`
//!     - A `max_target` of zero is refused, and none above it is ever given:
//!       `tests::pool::practice::targets_and_shares::open_is_refused_by_code`,
//!       `pool::mining::session::update_never_assigns_a_target_above_the_clients`,
//!       `pool::mining::session::silence_never_eases_beyond_what_the_client_takes`,
//!       `pool::mining::difficulty::a_target_above_max_target_is_never_assigned`
//! 20. Difficulties are powers of two, rounded up.
//!     - `pool::mining::difficulty::each_step_halves_the_target`, `pool::mining::difficulty::hash_rate_rounds_up`
//!     - Devices that cut fractions off lose shares to them:
//!       `tests::devices::devices_with_whole_difficulties_lose_shares_at_a_fractional_one`
//! 21. How a difficulty is found.
//!     - A claimed hash rate is a hint:
//!       `pool::mining::vardiff::claim_is_only_where_the_search_for_the_real_rate_begins`,
//!       `tests::pool::practice::targets_and_shares::device_that_claims_more_than_it_does_is_eased_by_silence_alone`
//!     - Accepted shares count, others do not: `pool::mining::session::wrong_shares_say_nothing_of_a_miners_speed`
//!     - A share is judged when it comes, not at the next minute:
//!       `pool::mining::vardiff::fast_miner_is_raised_within_seconds`
//!     - Silence eases: `pool::mining::session::silence_eases_the_target_before_the_next_job`
//!     - What so many shares a minute tell of a hash rate; not tested: it is arithmetic for the operator, who sets the
//!       number with `stratum.shares_per_minute`.
//! 22. Identities.
//!     - `address.worker`, up to 127 characters: `pool::accounting::identity::worker_follows_the_first_dot`,
//!       `pool::accounting::identity::text_is_printable_and_of_bounded_length`
//!     - Cut at 63 characters it still names its address:
//!       `pool::accounting::identity::identity_that_firmware_has_cut_at_63_characters_names_the_same_address`
//!     - The worker's field of a share holds 32 bytes:
//!       `protocol::messages::extensions::a_name_over_32_bytes_or_not_utf8_or_cut_short_is_an_error`
//!     - `account.worker`: `tests::pool::identity::work_for_a_name_is_credited_to_the_account_that_is_called_so`
//!     - A difficulty wished for is kept to: `tests::pool::identity::difficulty_that_a_user_wishes_for_is_kept_to`,
//!       `pool::mining::session::wish_is_where_a_channel_starts_whatever_hash_rate_it_claims`,
//!       `pool::accounting::identity::difficulty_is_rounded_up_to_a_power_of_two`
//!     - What is wrong is told by its code:
//!       `tests::pool::identity::every_wrong_identity_gets_its_code_and_the_connection_goes_on`
//! 23. Acknowledgements.
//!     - Within a second, also for a share that nothing follows:
//!       `tests::pool::shares::share_of_a_slow_miner_is_acknowledged_within_a_second`
//!     - The last of a burst too:
//!       `tests::pool::practice::targets_and_shares::last_share_of_a_burst_is_acknowledged_within_a_second`
//! 24. Codes that clients know.
//!     - `stale-share`, `duplicate-share`, `bad-extranonce-size`:
//!       `tests::pool::shares::wrong_share_is_answered_with_what_is_wrong_with_it`
//!     - `invalid-job-id`, `invalid-channel-id`, `difficulty-too-low`, `invalid-share`,
//!       `invalid-non-rollable-version-bit`, of updates `invalid-channel-id` and `max-target-out-of-range`, of custom jobs
//!       `jd-not-supported`:
//!       `tests::pool::practice::targets_and_shares::update_share_and_custom_job_are_refused_by_code`
//!     - Of opens: `unknown-user`, `invalid-user-identity`, `invalid-nominal-hashrate`, `max-target-out-of-range`,
//!       `min-extranonce-size-too-large`, `channel-capacity-exhausted`,
//!       `extended-channels-not-supported-for-standard-jobs`:
//!       `tests::pool::practice::targets_and_shares::open_is_refused_by_code`
//!     - `version-rolling-not-allowed`; not tested: every job allows it, see 15.
//!     - `standard-channels-not-supported-for-custom-work`:
//!       `tests::pool::work_selection::client_that_selects_its_work_gets_a_target_and_no_job`
//!     - `share-not-stored`, the pool's own, while too many shares wait for a database that is away:
//!       `tests::pool::outages::a_block_reaches_the_node_behind_more_shares_than_can_wait_for_the_database`
//!     - A device has words for each code that it is answered:
//!       `tests::pool::devices::small_device_has_words_for_each_code_that_it_can_be_answered`
//!     - `invalid-mining-job-token`, `stale-chain-tip` and the codes of single fields of a custom job; not tested: every
//!       custom job is refused with `jd-not-supported`.
//!     - Devices do not show why a setup or an open was refused, so the log has it:
//!       `tests::pool::practice::connection::flags_of_a_setup_are_never_echoed_and_named_when_refused`,
//!       `tests::pool::practice::targets_and_shares::open_is_refused_by_code`

use std::{
    fs,
    path::{Path, PathBuf},
};

use tests::miner::PoolAddress;

use crate::site::Site;

mod channels_and_jobs;
mod connection;
mod targets_and_shares;

/// REQUIRES_STANDARD_JOBS.
const STANDARD_JOBS: u32 = 0b001;
/// REQUIRES_VERSION_ROLLING.
const VERSION_ROLLING: u32 = 0b100;

/// How many lines there are.
const LINES: usize = 24;

/// A pool on a node whose first block is mined, and where it is.
fn running_regtest() -> (Site, PoolAddress) {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    // Where each frame counts, none comes at a time of its own; `job_ahead` is about those.
    site.pool.set("ADIT__STRATUM__JOB_AHEAD", false);
    let pool = site.pool.start().unwrap();
    (site, pool)
}

/// A line of the list above, or a point of one.
struct Entry {
    number: Option<usize>,
    words: String,
}

/// Reads the list at the top of this file.
fn entries() -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let doc = include_str!("practice.rs").lines().map_while(|line| line.strip_prefix("//!"));
    for line in doc.map(str::trim).filter(|line| !line.starts_with('#')) {
        let numbered = line.split_once(". ").and_then(|(number, words)| Some((number.parse().ok()?, words)));
        match (numbered, line.strip_prefix("- ")) {
            (Some((number, words)), _) => entries.push(Entry { number: Some(number), words: words.to_owned() }),
            (None, Some(words)) => entries.push(Entry { number: None, words: words.to_owned() }),
            (None, None) => {
                if let Some(entry) = entries.last_mut() {
                    entry.words.push(' ');
                    entry.words.push_str(line);
                }
            }
        }
    }
    entries
}

/// The tests that a text names.
fn tests_in(words: &str) -> impl Iterator<Item = &str> {
    words.split('`').skip(1).step_by(2).filter(|code| code.contains("::"))
}

/// The file in which a test such as `pool::mining::vardiff::steady_miner_is_left_alone` should stand.
fn file_of(test: &str) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut path = test.split("::");
    let package = workspace.join(path.next().unwrap());
    let modules: Vec<&str> = path.collect();
    let (_, modules) = modules.split_last().unwrap();
    let file = modules.join("/") + ".rs";
    ["src", "tests"]
        .map(|folder| package.join(folder).join(&file))
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{test}: there is no {file} in {}", package.display()))
}

#[test]
fn every_line_is_held_by_tests_that_exist() {
    let entries = entries();
    let numbers: Vec<usize> = entries.iter().filter_map(|entry| entry.number).collect();
    assert_eq!(numbers, (1..=LINES).collect::<Vec<_>>());
    let mut named = 0;
    for (at, Entry { number, words }) in entries.iter().enumerate() {
        if number.is_some() {
            let follows = entries.get(at + 1).is_some_and(|next| next.number.is_none());
            assert!(follows, "nothing holds {number:?}, {words}");
            continue;
        }
        let tests: Vec<&str> = tests_in(words).collect();
        assert!(!tests.is_empty() || words.contains("not tested: "), "no test and no reason: {words}");
        for test in tests {
            let name = test.rsplit("::").next().unwrap();
            let source = fs::read_to_string(file_of(test)).unwrap();
            let (before, _) = source.split_once(&format!("fn {name}(")).unwrap_or_else(|| panic!("there is no {test}"));
            let attribute = before.rsplit_once("#[").map_or("", |(_, attribute)| attribute);
            assert!(attribute.contains("test") && !attribute.contains('}'), "{test} is no test");
            named += 1;
        }
    }
    assert!(named > 2 * LINES, "only {named} tests are named");
}
