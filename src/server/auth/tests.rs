use http::HeaderMap;

use super::Caller;
use crate::auth::client_keys::ClientKeys;
use crate::clock::Clock;

#[test]
fn either_header_may_carry_the_key() {
    let keys = ClientKeys::new(&["one".into(), "two".into(), "".into()], Clock::system());
    let check = |headers: &[(&'static str, &str)]| {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Caller::of(&headers, &keys)
            .map(|caller| caller.key.0.to_string())
            .map_err(|error| error.status().as_u16())
    };
    assert_eq!(check(&[("x-api-key", "one")]).unwrap(), "default");
    assert_eq!(check(&[("authorization", "bEaReR  two")]).unwrap(), "default-2");
    assert!(check(&[("authorization", "Bearer no"), ("x-api-key", "one")]).is_ok());
    assert!(check(&[("authorization", "Bearer one"), ("x-api-key", "no")]).is_ok());
    for wrong in
        [&[][..], &[("x-api-key", "")], &[("authorization", "one")], &[("authorization", "Basic one")]]
    {
        assert_eq!(check(wrong), Err(401), "{wrong:?}");
    }
    let open = ClientKeys::new(&[], Clock::system());
    assert_eq!(Caller::of(&HeaderMap::new(), &open).unwrap().key.0.as_ref(), "open");
}
