use super::*;
use crate::cloudcode::{LimitKind, TransportKind};

fn limits() -> Limits {
    Limits {
        endpoints: 2,
        attempts: 5,
        calls: 10,
        capacity_retries: 5,
        capacity_tiers: [5, 10, 20, 30, 60].map(Duration::from_secs).to_vec(),
        capacity_budget: Duration::from_mins(1),
        capacity_jitter_ms: 0,
        remaining: Duration::from_mins(3),
    }
}

fn failure(class: FailureClass) -> Failure {
    Failure { class, status: None, reset: None, message: None }
}

fn limited(reset_ms: Option<u64>) -> Failure {
    Failure {
        reset: reset_ms.map(Duration::from_millis),
        ..failure(FailureClass::RateLimited { kind: LimitKind::Unknown })
    }
}

/// Plays the same failure until the policy gives the account or the request up.
fn steps(failure: &Failure) -> Vec<Step> {
    let limits = limits();
    let mut history = History::default();
    history.begin_attempt();
    let mut steps = Vec::new();
    loop {
        history.calls += 1;
        let step = next(&history, failure, &limits);
        history.record(failure, &step, &limits);
        let done = !matches!(step, Step::RetrySame { .. } | Step::RefreshToken | Step::NextEndpoint);
        steps.push(step);
        if done {
            return steps;
        }
    }
}

fn same(ms: u64) -> Step {
    Step::RetrySame { after: Duration::from_millis(ms) }
}

#[test]
fn every_row_of_the_table() {
    use Step::{AnswerEmpty, AnswerRefusal, Fail, NextAccount, NextEndpoint, RefreshToken};
    let transport = |kind| failure(FailureClass::Transport { kind });
    for (row, failure, expected) in [
        ("client error", failure(FailureClass::Client), vec![Fail]),
        ("transient 401", failure(FailureClass::Unauthorized), vec![RefreshToken, NextAccount]),
        ("revoked", failure(FailureClass::CredentialRevoked), vec![NextAccount]),
        ("banned", failure(FailureClass::Banned), vec![NextAccount]),
        ("verification", failure(FailureClass::VerificationRequired { url: None }), vec![NextAccount]),
        ("other 403", failure(FailureClass::Forbidden), vec![NextEndpoint, NextAccount]),
        ("404", failure(FailureClass::NotFound), vec![NextEndpoint, NextAccount]),
        ("429, 600 ms", limited(Some(600)), vec![same(600), same(600), same(600), NextAccount]),
        ("429, 999 ms", limited(Some(999)), vec![same(999), same(999), same(999), NextAccount]),
        ("429, 1 s", limited(Some(1000)), vec![NextAccount]),
        ("429 without reset", limited(None), vec![NextAccount]),
        (
            "capacity",
            failure(FailureClass::Capacity),
            vec![NextEndpoint, same(5_000), same(10_000), same(20_000), NextAccount],
        ),
        (
            "capacity that asks for an hour",
            Failure { reset: Some(Duration::from_hours(1)), ..failure(FailureClass::Capacity) },
            vec![NextEndpoint, NextAccount],
        ),
        ("5xx", failure(FailureClass::Server), vec![NextEndpoint, NextAccount]),
        ("connect", transport(TransportKind::Connect), vec![NextEndpoint, NextAccount]),
        ("cut before the first event", transport(TransportKind::Reset), vec![NextEndpoint, NextAccount]),
        ("empty", failure(FailureClass::Empty), vec![same(500), same(1000), AnswerEmpty]),
        ("blocked", failure(FailureClass::Blocked { reason: "SAFETY".into() }), vec![AnswerRefusal]),
    ] {
        assert_eq!(steps(&failure), expected, "{row}");
    }
}

#[test]
fn a_second_account_that_does_not_know_the_model_is_the_last() {
    let history =
        History { attempts: 2, calls: 4, moved_endpoint: true, not_found_accounts: 1, ..History::default() };
    assert_eq!(next(&history, &failure(FailureClass::NotFound), &limits()), Step::Fail);
}

#[test]
fn a_fifth_account_that_forbids_the_request_is_the_last() {
    let history = |forbidden_accounts| History {
        attempts: 2,
        calls: 4,
        moved_endpoint: true,
        forbidden_accounts,
        ..History::default()
    };
    assert_eq!(next(&history(3), &failure(FailureClass::Forbidden), &limits()), Step::NextAccount);
    assert_eq!(next(&history(4), &failure(FailureClass::Forbidden), &limits()), Step::Fail);
}

#[test]
fn a_request_that_fails_everywhere_does_not_walk_the_pool() {
    let history =
        History { attempts: 2, calls: 4, moved_endpoint: true, failed_accounts: 1, ..History::default() };
    for class in [FailureClass::Server, FailureClass::Transport { kind: TransportKind::Reset }] {
        assert_eq!(next(&history, &failure(class), &limits()), Step::Fail);
    }
}

#[test]
fn budgets_end_the_request() {
    let server = failure(FailureClass::Server);
    let spent_calls = History { attempts: 1, calls: 10, ..History::default() };
    assert_eq!(next(&spent_calls, &server, &limits()), Step::Fail);
    let spent_attempts = History { attempts: 5, calls: 6, moved_endpoint: true, ..History::default() };
    assert_eq!(next(&spent_attempts, &server, &limits()), Step::Fail);
    let out_of_time = Limits { remaining: Duration::ZERO, ..limits() };
    assert_eq!(next(&History::default(), &server, &out_of_time), Step::Fail);
}

#[test]
fn a_pause_never_outlasts_the_deadline() {
    let short = Limits { remaining: Duration::from_millis(400), ..limits() };
    let history = History { attempts: 1, calls: 1, moved_endpoint: true, ..History::default() };
    assert_eq!(next(&history, &limited(Some(600)), &short), Step::NextAccount);
    assert_eq!(next(&history, &failure(FailureClass::Capacity), &short), Step::NextAccount);
    assert_eq!(next(&history, &failure(FailureClass::Empty), &short), Step::AnswerEmpty);
}

#[test]
fn capacity_pauses_are_moved_by_a_third_at_most_and_stay_within_their_bounds() {
    let no_capacity = |reset: Option<u64>| Failure {
        reset: reset.map(Duration::from_millis),
        ..failure(FailureClass::Capacity)
    };
    let pause = |retries, jitter_ms, reset| {
        let history = History {
            attempts: 1,
            calls: 2,
            moved_endpoint: true,
            capacity_retries: retries,
            ..History::default()
        };
        let limits =
            Limits { capacity_jitter_ms: jitter_ms, capacity_budget: Duration::from_mins(2), ..limits() };
        next(&history, &no_capacity(reset), &limits)
    };
    for (retries, jitter_ms, reset, expected) in [
        (0, -5000, None, same(3334)),
        (0, 0, None, same(5000)),
        (0, 4999, None, same(6666)),
        (1, -5000, None, same(6667)),
        (3, 2500, None, same(35_000)),
        // Never above the longest tier.
        (4, 4999, None, same(60_000)),
        (4, -5000, None, same(40_000)),
        // What the upstream asks for is not cut short.
        (0, -5000, Some(9000), same(12_000)),
        (0, 0, Some(9000), same(9000)),
        (0, 0, Some(60_001), Step::NextAccount),
        (5, 0, None, Step::NextAccount),
    ] {
        assert_eq!(pause(retries, jitter_ms, reset), expected, "{retries} {jitter_ms} {reset:?}");
    }
    // The budget counts what was waited.
    let history = |waited| History {
        attempts: 1,
        calls: 2,
        moved_endpoint: true,
        capacity_retries: 1,
        capacity_waited: Duration::from_secs(waited),
        ..History::default()
    };
    assert_eq!(next(&history(50), &no_capacity(None), &limits()), same(10_000));
    assert_eq!(next(&history(51), &no_capacity(None), &limits()), Step::NextAccount);
}

#[test]
fn one_endpoint_is_never_failed_over() {
    let single = Limits { endpoints: 1, ..limits() };
    let history = History { attempts: 1, calls: 1, ..History::default() };
    assert_eq!(next(&history, &failure(FailureClass::Server), &single), Step::NextAccount);
}
