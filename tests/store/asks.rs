//! Questions of one replica to the others.

use antigravity_proxy::store::host::{Event, StoreError};
use antigravity_proxy::store::ident::RequestName;
use antigravity_proxy::store::ops::PoolEvent;
use antigravity_proxy::store::ops::asks::{ANSWER_MAX, Answered, Question};
use antigravity_proxy::store::ops::replicas::Announcement;

use crate::harness::{Pool, T, ms, on_every_host, owner};
use crate::replicas::{announcement, replica};

/// Announces replicas at `T`; each lives for 15 s.
async fn announce(pool: &Pool, ids: &[&str]) {
    for id in ids {
        let (id, host) = (replica(id), format!("host-{id}"));
        let announcement = Announcement { host: &host, ..announcement(&id) };
        pool.store.at(T).announce_replica(&announcement).await.unwrap();
    }
}

async fn asked(pool: &Pool, at: i64, by: &str, question: &str) -> Vec<(String, String)> {
    let (by, id) = (replica(by), owner(question));
    let asking = pool.store.at(at).ask_replicas(&by, &id, &Question::LiveRequests, ms(60_000)).await;
    asking.unwrap().1.into_iter().map(|one| (one.id.as_str().to_owned(), one.host)).collect()
}

async fn answers(pool: &Pool, at: i64, question: &str) -> Vec<(String, i64, String)> {
    answers_beside(pool, at, question, &[]).await
}

async fn answers_beside(pool: &Pool, at: i64, question: &str, known: &[&str]) -> Vec<(String, i64, String)> {
    let answered = |id: &&str| Answered { replica: replica(id), at_ms: T, text: "x".into() };
    let known: Vec<_> = known.iter().map(answered).collect();
    let (stamp, answers) = pool.store.at(at).get_answers(&owner(question), &known).await.unwrap();
    assert_eq!(stamp.now_ms, at);
    answers.into_iter().map(|one| (one.replica.as_str().to_owned(), one.at_ms, one.text)).collect()
}

#[tokio::test]
pub(crate) async fn every_other_replica_that_is_alive_is_asked_and_answers() {
    on_every_host(async |pool: Pool| {
        assert!(answers(&pool, T, "1").await.is_empty(), "nothing was ever asked");
        assert!(!pool.store.at(T).put_answer(&replica("a"), &owner("1"), "x").await.unwrap());
        assert!(asked(&pool, T, "a", "1").await.is_empty(), "there is nobody");
        announce(&pool, &["c", "a", "b"]).await;
        let host = |id: &str| (id.to_owned(), format!("host-{id}"));
        assert_eq!(asked(&pool, T + 14_999, "a", "2").await, [host("b"), host("c")]);
        assert!(asked(&pool, T + 15_000, "a", "3").await.is_empty(), "they are gone");
        assert_eq!(asked(&pool, T, "x", "4").await, [host("a"), host("b"), host("c")], "not announced yet");

        assert!(answers(&pool, T + 1, "2").await.is_empty());
        let put = async |id: &str, question: &str, at, text: &str| {
            pool.store.at(at).put_answer(&replica(id), &owner(question), text).await.unwrap()
        };
        assert!(put("c", "2", T + 2, "{\"a\":\"x|y\u{1f}\"}").await);
        assert!(put("b", "2", T + 5, "").await);
        let told = [
            ("b".to_owned(), T + 5, String::new()),
            ("c".to_owned(), T + 2, "{\"a\":\"x|y\u{1f}\"}".to_owned()),
        ];
        assert_eq!(answers(&pool, T + 6, "2").await, told);
        assert_eq!(answers_beside(&pool, T + 6, "2", &["b"]).await, told[1..], "each is read once");
        assert_eq!(answers_beside(&pool, T + 6, "2", &["x", "c"]).await, told[..1]);
        assert!(answers_beside(&pool, T + 6, "2", &["c", "b"]).await.is_empty());
        assert!(put("b", "2", T + 7, "changed").await, "a repeated call");
        assert_eq!(answers(&pool, T + 8, "2").await[0], ("b".to_owned(), T + 7, "changed".to_owned()));
        assert!(answers(&pool, T + 8, "4").await.is_empty(), "that is another question");
        // Nobody listens: nobody was asked, or that is over.
        for question in ["1", "3", "9"] {
            assert!(!put("b", question, T + 9, "late").await, "{question}");
        }
        pool.lose("ask:2").await;
        assert!(!put("b", "2", T + 9, "late").await);
        assert!(answers(&pool, T + 9, "2").await.is_empty());
    })
    .await;
}

#[tokio::test]
pub(crate) async fn what_was_read_does_not_stay() {
    on_every_host(async |pool: Pool| {
        announce(&pool, &["a", "b", "c"]).await;
        asked(&pool, T, "a", "1").await;
        asked(&pool, T, "b", "2").await;
        let put = async |id: &str, question: &str| {
            pool.store.at(T).put_answer(&replica(id), &owner(question), "x").await.unwrap()
        };
        assert!(put("b", "1").await && put("a", "2").await);
        assert!(pool.store.at(T + 1).end_question(&owner("1")).await.unwrap());
        assert!(pool.field("ask:1", "#").await.is_none() && pool.field("ask:1", "b").await.is_none());
        assert!(!put("c", "1").await, "it comes too late");
        assert!(answers(&pool, T + 1, "1").await.is_empty());
        assert_eq!(answers(&pool, T + 1, "2").await.len(), 1, "that is another question");
        assert!(!pool.store.at(T + 1).end_question(&owner("1")).await.unwrap(), "twice");
        assert!(!pool.store.at(T + 1).end_question(&owner("9")).await.unwrap(), "nobody asked that");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn questions_are_published_with_their_words() {
    on_every_host(async |pool: Pool| {
        let mut events = pool.store.subscribe();
        announce(&pool, &["a", "b"]).await;
        let question = Question::Cancel(RequestName::new("req_0.1-x").unwrap());
        let (me, id) = (replica("a"), owner("77"));
        pool.store.at(T).ask_replicas(&me, &id, &question, ms(60_000)).await.unwrap();
        let channel = pool.keys.channel();
        loop {
            let event: Event = tokio::time::timeout(ms(20_000), events.recv()).await.unwrap().unwrap();
            match PoolEvent::parse(&channel, &event) {
                Some(PoolEvent::Replica(_)) => {}
                other => {
                    assert_eq!(other, Some(PoolEvent::Asked(id.clone(), question.clone())));
                    break;
                }
            }
        }
    })
    .await;
}

#[tokio::test]
pub(crate) async fn what_is_asked_is_over_when_nobody_can_wait_for_it_any_more() {
    on_every_host(async |pool: Pool| {
        announce(&pool, &["a", "b"]).await;
        let (me, id) = (replica("a"), owner("5"));
        pool.store.at(T).ask_replicas(&me, &id, &Question::LiveRequests, ms(1)).await.unwrap();
        let over = async {
            while pool.field("ask:5", "#").await.is_some() {
                tokio::time::sleep(ms(5)).await;
            }
        };
        tokio::time::timeout(ms(20_000), over).await.unwrap();
        assert!(!pool.store.at(T).put_answer(&replica("b"), &id, "x").await.unwrap());
    })
    .await;
}

#[tokio::test]
pub(crate) async fn an_answer_that_is_too_long_is_refused() {
    let pool = Pool::new(std::sync::Arc::new(crate::harness::embedded()));
    let text = "x".repeat(ANSWER_MAX + 1);
    let refused = pool.store.put_answer(&replica("a"), &owner("1"), &text).await;
    assert!(matches!(refused, Err(StoreError::BadArgument { field: "answer", .. })));
}
