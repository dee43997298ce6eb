use std::sync::Mutex as StdMutex;

use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

/// Keeps what comes through.
#[derive(Clone, Default)]
struct Written(Arc<StdMutex<Vec<(Level, String, String)>>>);

impl<S: Subscriber> Layer<S> for Written {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        self.0.lock().unwrap().push((*metadata.level(), metadata.target().to_owned(), Text::of(event)));
    }
}

impl Written {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap()).into_iter().map(|(_, _, text)| text).collect()
    }
}

/// Runs `work` with a subscriber that holds back; what it is given writes one warning each time.
async fn held<F: Future<Output = ()>>(work: impl FnOnce(Repeats, Written) -> F) {
    let (repeats, written) = (Repeats::new(Clock::system()), Written::default());
    let subscriber = tracing_subscriber::registry().with(repeats.clone()).with(written.clone());
    let _set = tracing::subscriber::set_default(subscriber);
    work(repeats, written).await;
}

fn store_away(number: u32) {
    tracing::warn!(number, "the store is away");
}

#[tokio::test(start_paused = true)]
async fn a_warning_that_repeats_is_summed_up() {
    held(async |repeats, written| {
        let stop = CancellationToken::new();
        let telling = repeats.clone().tell(stop.clone());
        tokio::pin!(telling);
        for number in 0..4_221 {
            store_away(number);
        }
        tracing::warn!("something else");
        let lines = written.take();
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[9..], ["the store is away", "something else"]);

        // Nothing is said before the interval is over.
        let before = tokio::time::timeout(INTERVAL.saturating_sub(LOOK), &mut telling).await;
        assert!(before.is_err() && written.take().is_empty());
        let after = tokio::time::timeout(LOOK * 3, &mut telling).await;
        assert!(after.is_err());
        let told = written.0.lock().unwrap().clone();
        let (level, target, text) = &told[0];
        assert_eq!((*level, target.as_str(), told.len()), (Level::WARN, SUMMARIES, 1));
        assert_eq!(text, "the store is away … repeated 4211 times in 60 s");
        written.take();

        // Then it is news again.
        store_away(0);
        assert_eq!(written.take(), ["the store is away"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_is_written_a_little_in_every_interval() {
    held(async |repeats, written| {
        let stop = CancellationToken::new();
        let telling = repeats.clone().tell(stop.clone());
        tokio::pin!(telling);
        for _ in 0..180 {
            store_away(1);
            let second = tokio::time::timeout(Duration::from_secs(1), &mut telling).await;
            assert!(second.is_err());
        }
        let lines = written.take();
        let summaries: Vec<_> = lines.iter().filter(|line| line.contains('…')).collect();
        assert_eq!(lines.len() - summaries.len(), 30, "{lines:#?}");
        assert!(summaries.len() >= 2 && summaries.len() <= 3, "{summaries:?}");
        assert!(summaries[0].ends_with("repeated 50 times in 60 s"), "{summaries:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_end_tells_what_is_left() {
    held(async |repeats, written| {
        let stop = CancellationToken::new();
        for number in 0..15 {
            store_away(number);
        }
        tokio::time::advance(Duration::from_secs(7)).await;
        stop.cancel();
        repeats.tell(stop).await;
        let lines = written.take();
        assert_eq!(lines.last().map(String::as_str), Some("the store is away … repeated 5 times in 7 s"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_audits_and_news_are_never_held_back() {
    held(async |_, written| {
        for number in 0..100 {
            tracing::warn!(target: REQUESTS, number, "request");
            tracing::warn!(target: AUDIT, number, "audit");
            tracing::info!(number, "news");
            tracing::debug!(number, "detail");
        }
        assert_eq!(written.take().len(), 400);
    })
    .await;
}

#[test]
fn a_site_counts_by_interval() {
    let clock = Clock::system();
    let start = clock.instant();
    let metadata = tracing::metadata!(
        name: "n", target: "t", level: Level::ERROR, fields: &[], callsite: &SITE, kind: tracing::metadata::Kind::EVENT
    );
    let metadata: &'static Metadata<'static> = Box::leak(Box::new(metadata));
    let mut site = Site::new(metadata, start);
    let mut saw = |at: u64, lines: u64| {
        let now = start + Duration::from_secs(at);
        (0..lines).filter(|_| site.saw(now, || "x".into())).count()
    };
    assert_eq!((saw(0, 8), saw(59, 8), saw(60, 8)), (8, 2, 8));
    // Nobody has asked in between.
    let summary = site.summary(start + Duration::from_secs(61), false).unwrap();
    assert_eq!((summary.repeated, summary.time, summary.level), (6, INTERVAL, Level::ERROR));
    assert_eq!(site.summary(start + Duration::from_secs(200), false), None);
}

static SITE: NoSite = NoSite;

struct NoSite;

impl tracing::Callsite for NoSite {
    fn set_interest(&self, _: tracing::subscriber::Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        unreachable!("nobody asks")
    }
}
