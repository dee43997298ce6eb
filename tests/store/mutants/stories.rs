//! The histories that mutants are told.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use antigravity_proxy::config::Strategy as Selection;
use antigravity_proxy::store::host::ScriptHost;
use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::edges;
use super::golden::{Golden, Scribe};
use crate::agreement::stage::Stage;
use crate::agreement::steps::history;
use crate::harness::{T, telling};
use crate::histories;

/// Random histories of the pool's rules, which the model tells alike.
const OF_RULES: u8 = 28;
/// Random histories of everything.
const OF_ALL: u8 = 14;

/// All of them, the short ones first.
pub(super) fn goldens() -> Vec<Golden> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut goldens = Vec::new();
    for seed in 0..OF_RULES {
        let history = fixed(&history(), seed);
        let scribe = Scribe::new(T);
        let stage =
            Stage::new(Arc::clone(&scribe) as Arc<dyn ScriptHost>, "mutants", Some(scribe.clock()), &history);
        runtime.block_on(stage.tell(&history)).unwrap();
        goldens.push(scribe.golden(&format!("rules {seed}")));
    }
    for seed in 0..OF_ALL {
        let steps = fixed(&proptest::collection::vec(histories::step(), 1..160), seed);
        let scribe = Scribe::new(T);
        let strategy = if seed % 2 == 0 { Selection::Hybrid } else { Selection::RoundRobin };
        runtime.block_on(histories::tell(Arc::clone(&scribe) as Arc<dyn ScriptHost>, strategy, &steps));
        goldens.push(scribe.golden(&format!("all {seed}")));
    }
    goldens.extend(runtime.block_on(edges::goldens()));
    for (name, test) in TESTS {
        goldens.extend(of_test(name, *test));
    }
    goldens.sort_by_key(Golden::len);
    goldens
}

/// What `test` tells, each time to another store.
fn of_test(name: &str, test: fn()) -> Vec<Golden> {
    let scribes = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&scribes);
    telling(
        move || {
            // Not a whole second.
            let scribe = Scribe::new(T + 999);
            kept.borrow_mut().push(Arc::clone(&scribe));
            scribe
        },
        test,
    );
    let told = |(number, scribe): (usize, &Arc<Scribe>)| scribe.golden(&format!("{name} {number}"));
    scribes.borrow().iter().enumerate().map(told).collect()
}

/// The value of `strategy` that `seed` makes, always the same.
fn fixed<T: std::fmt::Debug>(strategy: &impl Strategy<Value = T>, seed: u8) -> T {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    strategy.new_tree(&mut runner).unwrap().current()
}

macro_rules! tests {
    ($($module:ident: $($test:ident)*;)*) => {
        &[$($((concat!(stringify!($module), " ", stringify!($test)), crate::$module::$test as fn())),*),*]
    };
}

/// Tests that tell a story to every host.
const TESTS: &[(&str, fn())] = tests! {
    room:
        an_account_serves_as_many_as_it_may
        a_limited_account_without_room_is_no_probe
        room_is_announced_once_and_only_where_there_was_none
        a_limit_that_ended_is_tried_step_by_step
        a_limit_that_a_success_lifts_is_tried_step_by_step_too
        lost_leases_and_conversations_are_counted_anew
        recovery_outlives_a_clock_that_steps_back
        a_damaged_record_keeps_nobody_from_being_counted
    ;
    presets:
        presets_are_kept_by_name_up_to_a_bound
        a_preset_is_changed_as_it_was_read_or_not_at_all
        what_is_removed_is_gone_built_in_or_not
        trackers_say_what_selection_goes_by
    ;
    census:
        every_account_counts_once_in_its_state
        limits_and_rests_end_to_the_millisecond
        limited_is_who_is_free_for_no_model_of_the_pool
        requests_in_flight_count_where_their_account_does
        every_kind_of_limit_counts_and_none_that_is_over
        the_bound_is_that_of_admission
    ;
    restore:
        an_account_comes_with_its_past
        quotas_from_elsewhere_are_as_old_as_they_are
        times_ahead_of_the_store_are_now
        an_account_stays_invalid_wherever_it_comes_from
        a_past_belongs_to_the_credential_it_came_with
        presets_are_merged_as_asked
        an_hour_counts_once
    ;
    capacity:
        ten_minutes_are_noted_once
        notes_of_several_days_are_one_history
    ;
    usage:
        a_request_counts_once_by_all_that_is_known_of_it
        a_request_that_none_answered_counts_once_too
        hours_and_days_are_those_of_utc_and_of_the_admission
        counters_live_as_long_as_they_are_asked_for
        what_cannot_be_read_is_counted_anew_and_left_out
        sums_stay_whole_numbers_whatever_the_upstream_says
        counters_are_read_as_they_were_counted
        what_another_program_counted_is_in_every_sum_once
    ;
    sticky:
        vectors_in_which_another_account_is_free
        vectors_in_which_nobody_is_free
        conversations_are_spread_and_stay
        a_conversation_moves_once_and_stays_there
        accounts_that_are_spared_get_no_new_conversation_but_keep_theirs
        a_conversation_may_wait_for_its_account
        an_account_just_tried_is_not_asked_again_while_another_is_free
        models_and_clients_have_their_own_accounts
        hybrid_prefers_the_conversations_last_account_by_its_weight
    ;
    explain:
        every_candidate_has_its_reason_and_its_score
        what_is_explained_is_what_is_done
        why_nobody_is_taken_is_explained_too
    ;
    large_pools:
        every_account_of_a_large_pool_gets_its_share
        the_only_usable_account_is_found_wherever_it_stands
        a_conversation_keeps_its_account_in_a_large_pool
        a_damaged_record_stops_nobody
    ;
    damage:
        an_account_whose_description_is_damaged_is_passed_over
        a_damaged_account_is_no_probe_either
        damaged_accounts_are_told_apart_and_can_be_removed
        a_record_without_a_place_takes_nothing_of_others_along
        a_new_credential_repairs_what_is_damaged
        what_is_lost_is_damaged_too
        attempts_end_also_when_their_account_is_damaged
        a_damaged_token_is_as_good_as_lost
    ;
    scores:
        small_differences_of_score_decide
        a_bucket_that_fills_slowly_fills_to_the_millisecond
        requests_in_flight_count_by_their_weight
        a_limit_that_ends_with_a_cooldown_is_told_as_the_cooldown
        an_unknown_strategy_is_hybrid_with_all_its_weights
        ties_go_to_the_oldest_account_wherever_it_stands
    ;
    vectors:
        hybrid_chooses_as_the_vectors_say
        v14_health_recovers_by_time
        v15_bucket_refills_by_time
        v16_waits_for_the_limit
        v18_hybrid_rotates
        v19_one_selection_per_request_uses_every_account
        round_robin_vectors
        v20_round_robin_skips_what_is_off
        v23_cursor_behind_a_shorter_list_starts_over
        trackers
    ;
    behaviour:
        admission_says_why_there_is_no_account
        admission_is_repeated_for_the_same_lease
        tried_accounts_come_last
        leases_are_the_requests_in_flight
        settlement_is_repeated_for_the_same_lease
        limits_are_only_extended
        a_short_reset_is_at_least_two_seconds
        limits_within_the_window_count_once
        limits_without_a_reset_follow_their_kind
        each_outcome_has_its_effect
        failures_in_a_row_rest_the_account_and_decay
        a_verdict_about_a_replaced_credential_changes_nothing
        an_account_is_cleared_of_what_was_seen_and_of_nothing_newer
        one_probe_at_a_time_tests_a_long_limit
        accounts_are_put_found_and_removed
        one_account_is_read_by_its_id_or_its_address
        the_pool_holds_at_most_max_accounts
        accounts_are_changed_only_when_they_exist_and_are_as_read
        lists_come_in_pages
        one_refresher_serves_all
        failed_refreshes_back_off_and_only_revocation_invalidates
        signatures_come_with_the_admission
        shared_settings_lie_between_file_and_flags
        quotas_are_replaced_as_a_whole
        catalogue_and_elections a_document_is_remembered_by_its_content
        usage_is_counted_in_the_hour_of_admission
        a_change_of_settings_is_made_whole_or_not_at_all
        changes_are_published
        without_a_fixed_time_the_store_uses_its_own
    ;
    leases:
        a_released_attempt_leaves_nothing_behind
        a_released_attempt_is_not_admitted_afterwards
        a_settled_attempt_stays_settled
        release_survives_what_happened_to_lease_and_account
        a_released_probe_lets_the_next_one_through
        many_attempts_end_in_one_round_trip_each_with_its_answer
        one_heartbeat_sweeps_all_leases_of_dead_holders
        heartbeats_come_in_chunks
        only_a_limit_that_still_held_is_lifted
    ;
    clients:
        keys_are_made_and_listed_once_per_generation
        a_change_is_whole_or_refused
        a_rotation_keeps_the_secret_before_for_its_grace
        a_revoked_key_stays_revoked_and_gives_its_name_back
        the_last_use_is_kept_to_the_minute_and_changes_no_generation
        records_of_a_later_layout_are_kept_and_damaged_ones_let_nobody_in
        beyond_the_most_the_one_revoked_first_is_forgotten
        changes_of_keys_are_published
    ;
    replicas:
        replicas_join_beat_and_leave
        a_replica_is_told_when_the_list_lacks_the_key_it_seals_with
        a_silent_replica_lapses_for_everybody_and_is_reported_once
        who_comes_and_goes_is_published
        replicas_of_a_later_layout_are_read_too
        a_host_name_that_would_break_the_record_is_refused
    ;
    asks:
        every_other_replica_that_is_alive_is_asked_and_answers
        what_was_read_does_not_stay
        questions_are_published_with_their_words
    ;
    refreshes:
        tokens_and_pauses_are_forgotten_of_those_accounts_alone
        what_was_looked_for_is_looked_for_anew_but_whoever_is_at_it_is_left_in_peace
        what_an_owner_has_verified_is_valid_again_and_nothing_else
        every_gateway_hears_of_it
        signatures_are_forgotten_by_their_names
    ;
    audit:
        a_change_and_its_record_are_one
        an_account_that_cannot_be_read_is_told_of_by_its_address
        what_was_refused_is_recorded_after_it_and_changes_nothing
        what_takes_many_calls_is_recorded_around_them
        the_trail_is_read_in_pages_from_its_end
        what_is_too_old_goes_with_what_comes
        strangers_push_nothing_out_but_each_other
    ;
    console:
        a_session_lasts_as_long_as_it_is_used_and_no_longer_than_a_week
        a_damaged_session_lets_nobody_in
        of_too_many_sessions_the_one_used_longest_ago_gives_way
        sessions_end_one_by_one_or_all_at_once
        the_password_changes_once_per_generation_and_ends_all_sessions
        a_setup_token_is_good_for_the_first_password_only
        setup_tokens_and_tickets_are_bounded
        a_ticket_is_good_once
        a_peer_tries_so_many_different_ones_in_a_minute
        many_at_a_time_are_no_more_than_one_after_the_other
        a_wrong_one_may_be_right_after_a_change_and_is_told_once_an_hour
    ;
    signins:
        a_sign_in_is_completed_by_one
        a_holder_that_is_silent_loses_it
        the_oldest_gives_way
        results_are_kept_for_a_while
        a_record_of_another_version_is_left_alone
    ;
};
