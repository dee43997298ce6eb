"""How many series one replica exports, seen by a real scrape: 500 accounts, 50 models, all of them in use."""

from concurrent.futures import ThreadPoolExecutor

from fleet import Prometheus, Redis, Replica, Upstream, until

ACCOUNTS = 500
MODELS = [f"gemini-3.1-pro-{number:02}" for number in range(50)]
MOST = 5000


def test_a_large_pool_stays_below_5000_series(tmp_path):
    upstream = Upstream(tmp_path, MODELS, ACCOUNTS)
    redis = Redis(tmp_path)
    replica = prometheus = None
    try:
        replica = Replica(tmp_path / "a", upstream, {"maxWaitBeforeErrorMs": 0, "capacityBudgetMs": 0}, redis)
        added = replica.command("accounts", "import", upstream.accounts)
        assert f"{ACCOUNTS} added" in added
        until("the models are known", lambda: replica.models() >= set(MODELS))
        with ThreadPoolExecutor(8) as clients:
            asked = [clients.submit(replica.ask, model, stream=stream) for model in MODELS for stream in (True, False)]
            assert {one.result() for one in asked} == {200}
            # And each of them fails, too.
            for fault in ("server_error", "permission_denied", "not_found", "invalid_argument"):
                with upstream.fault({"path": "generateContent"}, {"fault": fault}):
                    failed = [clients.submit(replica.ask, model) for model in MODELS]
                    assert 200 not in {one.result() for one in failed}
        prometheus = Prometheus(tmp_path / "prometheus", "gw", [(replica.metrics, {"pod": "a"})])
        scraped = 'scrape_samples_scraped{job="gw"} > 0'
        series = until("it is scraped", lambda: prometheus.value(scraped))
        print(f"{series:.0f} series")
        assert prometheus.value("count(count by (model) (antigravity_proxy_requests_total))") == len(MODELS) + 1
        assert len(MODELS) * 10 < series < MOST, series
    finally:
        for child in (prometheus, replica, upstream):
            if child:
                child.stop()
        redis.kill()
