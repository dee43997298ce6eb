//! Sign-ins under way: one completes each, whoever asks learns what came of it, and old ones give way.

use antigravity_proxy::store::host::StoreError;
use antigravity_proxy::store::ops::signins::{
    NewSignIn, SignInEnd, SignInFailure, SignInState, SignInStatus, SignedIn, TakenSignIn,
};

use crate::harness::{Pool, T, ms, on_every_host, owner};

const LIFE: i64 = 600_000;
const HOLD: u64 = 90_000;

/// A sign-in of anybody.
pub(crate) fn new_signin(state: &SignInState) -> NewSignIn<'_> {
    NewSignIn {
        state,
        life: ms(LIFE.unsigned_abs()),
        sealed: "v1.sealed",
        redirect_uri: "http://localhost:51121/oauth-callback",
        expected: None,
    }
}

fn state(number: u8) -> SignInState {
    SignInState::from_bytes([number; 16])
}

async fn begin(pool: &Pool, number: u8, at: i64) -> u32 {
    pool.store.at(at).begin_signin(&new_signin(&state(number))).await.unwrap().0
}

async fn take(pool: &Pool, number: u8, who: &str, at: i64) -> TakenSignIn {
    pool.store.at(at).take_signin(&state(number), &owner(who), ms(HOLD)).await.unwrap()
}

async fn end(pool: &Pool, number: u8, who: &str, end: &SignInEnd, at: i64) -> bool {
    let keep = ms(LIFE.unsigned_abs());
    pool.store.at(at).end_signin(&state(number), &owner(who), end, keep).await.unwrap()
}

async fn status(pool: &Pool, number: u8, at: i64) -> SignInStatus {
    pool.store.at(at).get_signin(&state(number)).await.unwrap()
}

fn granted(taken: &TakenSignIn) -> bool {
    matches!(taken, TakenSignIn::Granted { .. })
}

fn completed(email: &str, how: SignedIn) -> SignInEnd {
    SignInEnd::Completed { email: email.into(), how }
}

#[tokio::test]
pub(crate) async fn a_sign_in_is_completed_by_one() {
    on_every_host(async |pool: Pool| {
        assert_eq!(status(&pool, 1, T).await, SignInStatus::Unknown);
        assert_eq!(take(&pool, 1, "a", T).await, TakenSignIn::Unknown);
        assert!(!end(&pool, 1, "a", &SignInEnd::Pending, T).await);
        let name = state(1);
        let expected = NewSignIn { expected: Some("A@Example.com"), ..new_signin(&name) };
        let (gave_way, stamp) = pool.store.at(T).begin_signin(&expected).await.unwrap();
        assert_eq!((gave_way, stamp.now_ms), (0, T));
        begin(&pool, 2, T).await;
        assert_eq!(status(&pool, 1, T + 1).await, SignInStatus::Pending(ms(599_999)));

        let TakenSignIn::Granted { sealed, redirect_uri, expected } = take(&pool, 1, "a", T + 10).await
        else {
            panic!("not granted");
        };
        assert_eq!((sealed.as_str(), expected.as_deref()), ("v1.sealed", Some("a@example.com")));
        assert_eq!(redirect_uri, "http://localhost:51121/oauth-callback");
        assert_eq!(status(&pool, 1, T + 10).await, SignInStatus::Taken);
        assert_eq!(take(&pool, 1, "b", T + 11).await, TakenSignIn::Busy(ms(HOLD - 1)));
        assert!(!end(&pool, 1, "b", &SignInEnd::Pending, T + 12).await, "only the holder ends it");
        assert!(granted(&take(&pool, 2, "b", T + 12).await), "another sign-in is another matter");
        // Given back as it was.
        assert!(end(&pool, 1, "a", &SignInEnd::Pending, T + 13).await);
        assert!(!end(&pool, 1, "a", &SignInEnd::Pending, T + 13).await);
        assert_eq!(status(&pool, 1, T + 13).await, SignInStatus::Pending(ms(599_987)));
        // Its holder renews it.
        assert!(granted(&take(&pool, 1, "b", T + 14).await));
        assert!(granted(&take(&pool, 1, "b", T + 1014).await));
        assert_eq!(take(&pool, 1, "a", T + 1015).await, TakenSignIn::Busy(ms(HOLD - 1)));
        assert!(end(&pool, 1, "b", &completed("a@example.com", SignedIn::Renewed), T + 1016).await);

        let done = SignInStatus::Completed { email: "a@example.com".into(), how: SignedIn::Renewed };
        assert_eq!(status(&pool, 1, T + 1016).await, done);
        for who in ["a", "b"] {
            assert_eq!(take(&pool, 1, who, T + 1017).await, TakenSignIn::Used);
            assert!(!end(&pool, 1, who, &SignInEnd::Pending, T + 1018).await);
        }
        let failure = SignInFailure::OtherAccount("b@example.com".into());
        assert!(end(&pool, 2, "b", &SignInEnd::Failed(failure.clone()), T + 1020).await);
        assert_eq!(status(&pool, 2, T + 1020).await, SignInStatus::Failed(failure));
        assert_eq!(take(&pool, 2, "b", T + 1021).await, TakenSignIn::Used);
        let kept: Vec<_> = pool.hash("signins").await.into_values().collect();
        assert!(
            kept.iter().all(|record| !record.contains("v1.sealed")),
            "what was used is not kept: {kept:?}"
        );
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_holder_that_is_silent_loses_it() {
    on_every_host(async |pool: Pool| {
        begin(&pool, 1, T).await;
        assert!(granted(&take(&pool, 1, "dead", T).await));
        let hold = i64::try_from(HOLD).unwrap();
        assert_eq!(take(&pool, 1, "next", T + hold - 1).await, TakenSignIn::Busy(ms(1)));
        assert_eq!(status(&pool, 1, T + hold - 1).await, SignInStatus::Taken);
        assert_eq!(status(&pool, 1, T + hold).await, SignInStatus::Pending(ms(510_000)));
        assert!(granted(&take(&pool, 1, "next", T + hold).await));
        assert_eq!(take(&pool, 1, "dead", T + hold).await, TakenSignIn::Busy(ms(HOLD)));
        assert!(!end(&pool, 1, "dead", &completed("a@b", SignedIn::Added), T + hold + 1).await);
        assert!(end(&pool, 1, "next", &completed("c@d", SignedIn::Added), T + hold + 1).await);
        let done = SignInStatus::Completed { email: "c@d".into(), how: SignedIn::Added };
        assert_eq!(status(&pool, 1, T + hold + 2).await, done);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn the_oldest_gives_way() {
    on_every_host(async |pool: Pool| {
        // The later half comes first in time; of two of the same time the smaller name is the older.
        for number in 1..=10 {
            assert_eq!(begin(&pool, number, T + 10).await, 0);
            assert_eq!(begin(&pool, number + 10, T).await, 0);
        }
        assert!(granted(&take(&pool, 11, "a", T + 20).await), "what is being completed stays");
        assert_eq!(begin(&pool, 30, T + 20).await, 0, "nineteen wait");
        assert_eq!(begin(&pool, 31, T + 20).await, 1);
        assert_eq!(begin(&pool, 32, T + 20).await, 1);
        let unknown = async |number| status(&pool, number, T + 21).await == SignInStatus::Unknown;
        for number in 1..=32 {
            let gone = matches!(number, 12 | 13 | 21..=29);
            assert_eq!(unknown(number).await, gone, "{number}");
        }
        // What has lapsed makes room.
        assert_eq!(begin(&pool, 33, T + LIFE).await, 0);
        assert_eq!(status(&pool, 1, T + LIFE).await, SignInStatus::Pending(ms(10)));
        assert_eq!(pool.hash("signins").await.len(), 14);

        // What a silent holder has taken waits again.
        let later = T + 3 * LIFE;
        // The first begun, not the first to end.
        let first = state(101);
        let long = NewSignIn { life: ms(2 * LIFE.unsigned_abs()), ..new_signin(&first) };
        assert_eq!(pool.store.at(later - 1).begin_signin(&long).await.unwrap().0, 0);
        for number in 102..=120 {
            assert_eq!(begin(&pool, number, later).await, 0, "{number}");
        }
        assert!(granted(&take(&pool, 101, "a", later).await));
        assert_eq!(begin(&pool, 130, later + 89_999).await, 0);
        assert_eq!(begin(&pool, 131, later + 90_000).await, 2);
        for (number, gone) in [(101, true), (102, true), (103, false), (130, false)] {
            let standing = status(&pool, number, later + 90_000).await;
            assert_eq!(standing == SignInStatus::Unknown, gone, "{number}");
        }
    })
    .await;
}

#[tokio::test]
pub(crate) async fn results_are_kept_for_a_while() {
    on_every_host(async |pool: Pool| {
        begin(&pool, 1, T).await;
        assert_eq!(status(&pool, 1, T + LIFE - 1).await, SignInStatus::Pending(ms(1)));
        assert!(granted(&take(&pool, 1, "a", T + LIFE - 1).await), "to the last moment");
        assert!(!end(&pool, 1, "a", &SignInEnd::Pending, T + LIFE).await);
        assert_eq!(status(&pool, 1, T + LIFE).await, SignInStatus::Unknown);
        assert_eq!(take(&pool, 1, "a", T + LIFE).await, TakenSignIn::Unknown);

        begin(&pool, 2, T).await;
        assert!(granted(&take(&pool, 2, "a", T + LIFE - 1).await));
        assert!(end(&pool, 2, "a", &SignInEnd::Failed(SignInFailure::Full(7)), T + LIFE - 1).await);
        let full = SignInStatus::Failed(SignInFailure::Full(7));
        assert_eq!(status(&pool, 2, T + 2 * LIFE - 2).await, full);
        assert_eq!(status(&pool, 2, T + 2 * LIFE - 1).await, SignInStatus::Unknown);

        // Of very many results those go that were begun first.
        let later = T + 3 * LIFE;
        for number in 1..=103 {
            begin(&pool, number, later + 104 - i64::from(number)).await;
            assert!(granted(&take(&pool, number, "a", later + 200).await));
            let result = match number % 2 {
                0 => completed("a@b", SignedIn::Added),
                _ => SignInEnd::Failed(SignInFailure::Code),
            };
            assert!(end(&pool, number, "a", &result, later + 200).await);
        }
        begin(&pool, 200, later + 201).await;
        for number in 1..=103 {
            let gone = status(&pool, number, later + 202).await == SignInStatus::Unknown;
            assert_eq!(gone, number > 100, "{number}");
        }
        assert_eq!(pool.hash("signins").await.len(), 101);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_record_of_another_version_is_left_alone() {
    on_every_host(async |pool: Pool| {
        pool.put_field("signins", state(9).as_str(), b"2\x1fpending").await;
        // The words of such an error are the host's: without a fixed time they are not compared.
        let read = pool.store.get_signin(&state(9)).await;
        assert!(matches!(read, Err(StoreError::Script { .. })), "{read:?}");
        let taken = pool.store.take_signin(&state(9), &owner("a"), ms(HOLD)).await;
        assert!(matches!(taken, Err(StoreError::Script { .. })), "{taken:?}");
        assert_eq!(begin(&pool, 1, T).await, 0);
        assert!(pool.hash("signins").await.contains_key(state(9).as_str()));
        // Of the same number, but of another shape.
        pool.put_field("signins", state(8).as_str(), b"1\x1fpending\x1f1").await;
        let read = pool.store.get_signin(&state(8)).await;
        assert!(matches!(read, Err(StoreError::Script { .. })), "{read:?}");
    })
    .await;
}

#[tokio::test]
async fn what_would_break_the_record_is_refused() {
    on_every_host(async |pool: Pool| {
        let state = state(1);
        for bad in [
            NewSignIn { expected: Some("a\u{1f}b"), ..new_signin(&state) },
            NewSignIn { redirect_uri: "http://a\n", ..new_signin(&state) },
        ] {
            let refused = pool.store.begin_signin(&bad).await;
            assert!(matches!(refused, Err(StoreError::BadArgument { .. })), "{refused:?}");
        }
    })
    .await;
}
