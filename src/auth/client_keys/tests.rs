use super::*;
use crate::store::ops::clients::Client;

const NOW: i64 = 1_800_000_000_000;

fn client(id: &str, secret: &str) -> Client {
    Client {
        id: ClientId::new(id).unwrap(),
        name: format!("name of {id}"),
        digest: KeyDigest::of(secret.as_bytes()).to_hex(),
        created_ms: 0,
        expires_ms: None,
        models: Vec::new(),
        revoked_ms: None,
        before: None,
        used_ms: None,
    }
}

fn keys(configured: &[&str]) -> (ClientKeys, Clock) {
    let clock = Clock::manual(NOW);
    let configured: Vec<SecretString> = configured.iter().map(|&key| key.into()).collect();
    (ClientKeys::new(&configured, clock.clone()), clock)
}

fn at(generation: u64, clients: &[Client]) -> Clients {
    Clients { generation: Version(generation), clients: clients.to_vec() }
}

fn id(keys: &ClientKeys, secrets: &[&str]) -> Result<String, Refused> {
    keys.check(secrets.iter().map(|secret| secret.as_bytes())).map(|admitted| admitted.id.to_string())
}

fn name(id: &str) -> String {
    format!("name of {id}")
}

#[test]
fn secrets_are_long_random_and_recognisable() {
    let (one, two) = (new_secret(SECRET_PREFIX).unwrap(), new_secret(SECRET_PREFIX).unwrap());
    let text = one.expose_secret();
    assert_eq!((text.len(), &text[..4]), (47, "agp_"));
    assert!(text[4..].bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')));
    assert_eq!(URL_SAFE_NO_PAD.decode(&text[4..]).unwrap().len(), 32);
    assert_ne!(text, two.expose_secret());
    let digest = KeyDigest::of(b"one");
    // `printf one | sha256sum`.
    assert_eq!(digest.to_hex(), "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed");
    assert_eq!(KeyDigest::from_hex(&digest.to_hex()), Some(digest));
    for wrong in ["", "7692", &"g".repeat(64), &"é".repeat(32), &"0".repeat(66)] {
        assert_eq!(KeyDigest::from_hex(wrong), None, "{wrong}");
    }
    assert_eq!(format!("{digest:?}"), "KeyDigest(…)");
}

#[test]
fn configured_keys_are_known_by_their_place() {
    let (keys, _) = keys(&["one", "", "two", "three"]);
    assert_eq!(keys.configured(), ["default", "default-2", "default-3"]);
    assert_eq!(id(&keys, &["one"]), Ok("default".into()));
    assert_eq!(id(&keys, &["three"]), Ok("default-3".into()));
    // Any right one will do.
    assert_eq!(id(&keys, &["no", "two"]), Ok("default-2".into()));
    for wrong in [&[][..], &[""], &["no"], &["one "]] {
        assert_eq!(id(&keys, wrong), Err(Refused::Unknown), "{wrong:?}");
    }
    assert!(keys.unwritten().is_empty());
}

#[test]
fn it_is_open_until_a_key_was_made_and_never_again() {
    let (keys, _) = keys(&[]);
    assert!(keys.is_open());
    assert_eq!(id(&keys, &[]), Ok("open".into()));
    // The last one revoked, or lost with the store.
    keys.take_over(at(2, &[Client { revoked_ms: Some(NOW), ..client("k", "s") }]));
    assert!(!keys.is_open());
    assert_eq!(id(&keys, &[]), Err(Refused::Unknown));
    keys.take_over(at(0, &[]));
    assert!(!keys.is_open());
    // As another process finds it: forgotten keys, or a lost generation.
    for found in [at(7, &[]), at(0, &[client("k", "s")])] {
        let (keys, _) = self::keys(&[]);
        keys.take_over(found);
        assert!(!keys.is_open());
    }
}

#[test]
fn each_reason_is_told_to_the_holder_of_the_secret() {
    let (keys, clock) = keys(&["own"]);
    let before = |end| Some((KeyDigest::of(b"before").to_hex(), end));
    keys.take_over(at(
        1,
        &[
            Client { models: vec!["m".into()], ..client("a", "right") },
            Client { revoked_ms: Some(1), expires_ms: Some(1), ..client("b", "revoked") },
            Client { expires_ms: Some(NOW + 1000), ..client("c", "expiring") },
            Client { before: before(NOW + 500), ..client("d", "rotated") },
            Client { digest: "damaged".into(), ..client("e", "damaged") },
        ],
    ));
    let all = |expected: [Result<String, Refused>; 6]| {
        let secrets = ["right", "revoked", "expiring", "rotated", "before", "damaged"];
        for (secret, expected) in secrets.iter().zip(expected) {
            assert_eq!(id(&keys, &[secret]), expected, "{secret} at {}", keys.now_ms() - NOW);
        }
    };
    let ok = |id: &str| Ok(id.to_owned());
    let revoked = || Err(Refused::Revoked(name("b")));
    all([ok("a"), revoked(), ok("c"), ok("d"), ok("d"), Err(Refused::Unknown)]);
    clock.advance_ms(499);
    all([ok("a"), revoked(), ok("c"), ok("d"), ok("d"), Err(Refused::Unknown)]);
    clock.advance_ms(1);
    all([ok("a"), revoked(), ok("c"), ok("d"), Err(Refused::Replaced(name("d"))), Err(Refused::Unknown)]);
    // The store's clock counts.
    keys.heard(NOW + 1000);
    let expired = Err(Refused::Expired(name("c")));
    all([ok("a"), revoked(), expired, ok("d"), Err(Refused::Replaced(name("d"))), Err(Refused::Unknown)]);
    assert_eq!(id(&keys, &["nothing", "revoked", "expiring"]), revoked());
    assert_eq!(id(&keys, &["revoked", "right"]), ok("a"));
    assert_eq!(&*keys.check([&b"right"[..]]).unwrap().models, ["m".to_owned()]);
    assert!(keys.check([&b"own"[..]]).unwrap().models.is_empty());
    let texts = [Refused::Unknown, Refused::Revoked("x".into()), Refused::Expired("x".into())];
    let texts: Vec<_> = texts.iter().map(ToString::to_string).collect();
    assert_eq!(texts[0], "Invalid or missing API key");
    assert!(texts[1].contains("\"x\" was revoked") && texts[2].contains("\"x\" has expired"), "{texts:?}");
}

#[test]
fn a_use_is_written_once_a_minute() {
    let (keys, clock) = keys(&[]);
    let rotated = Client { before: Some((KeyDigest::of(b"before").to_hex(), i64::MAX)), ..client("a", "sa") };
    keys.take_over(at(1, &[rotated.clone(), client("b", "sb")]));
    assert!(keys.unwritten().is_empty());
    let used = |id: &str, at: i64| (ClientId::new(id).unwrap(), at);
    assert_eq!(id(&keys, &["before"]), Ok("a".into()));
    assert!(id(&keys, &["wrong"]).is_err());
    assert_eq!(keys.unwritten(), [used("a", NOW)]);
    // Not written yet, then written; the next state of the store forgets neither.
    keys.take_over(at(2, &[rotated.clone(), client("b", "sb")]));
    assert_eq!(keys.unwritten(), [used("a", NOW)]);
    keys.written(&[used("a", NOW), used("gone", NOW)]);
    keys.take_over(at(3, &[rotated, client("b", "sb")]));
    assert!(keys.unwritten().is_empty());
    clock.advance_ms(59_999);
    id(&keys, &["sa"]).unwrap();
    assert!(keys.unwritten().is_empty(), "in the same minute");
    clock.advance_ms(1);
    id(&keys, &["sa"]).unwrap();
    id(&keys, &["sb"]).unwrap();
    assert_eq!(keys.unwritten(), [used("a", NOW + 60_000), used("b", NOW + 60_000)]);
    clock.advance_ms(250);
    assert_eq!(keys.since(NOW + 60_000), Duration::from_millis(250));
}
