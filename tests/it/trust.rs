//! Whose certificates the upstream may show.

use antigravity_proxy::cloudcode::http;
use antigravity_proxy::config::UpstreamConfig;

use crate::tls::Authority;

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_named() {
    let authority = Authority::new();
    let site = authority.site();
    let config = UpstreamConfig { extra_roots: Some(authority.root()), ..UpstreamConfig::default() };
    let trust = http::Trust::new(&config).unwrap();
    for _ in 0..2 {
        let client = http::trusting(&config, &trust).unwrap();
        let answer = client.get(&site.url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let told = answer.text().await.unwrap();
        assert!(told.contains("TLSv1.3"), "{told}");
    }
    let stranger = http::client(&UpstreamConfig::default()).unwrap();
    let refused = stranger.get(&site.url).send().await.unwrap_err();
    assert!(refused.is_connect(), "{refused:?}");
}
