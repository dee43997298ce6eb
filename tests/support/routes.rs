//! The routes of the main port, out of their description. A unit test of `server::openapi` holds it against the router.

use std::collections::BTreeSet;

use serde_json::Value;

/// Method and path of each in `document`; `HEAD` goes where `GET` goes.
pub(crate) fn routes(document: &str) -> BTreeSet<(String, String)> {
    let document: Value = serde_json::from_str(document).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let routes: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    assert!(routes.len() > 55, "{routes:?}");
    routes
}
