//! The trace that a client's request belongs to: W3C Trace Context, `traceparent` and `tracestate`.
//!
//! Source: <https://www.w3.org/TR/trace-context/> §3. Stricter than the library's own reader, which takes ids of any
//! length. What is malformed counts as absent, and then a trace begins here.

use http::HeaderMap;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Most of a `tracestate` that is passed on, in bytes (§3.3.1.5 asks for at least 512).
const STATE: usize = 1024;

/// The client's span.
pub(super) fn parent(headers: &HeaderMap) -> Option<SpanContext> {
    let mut given = headers.get_all("traceparent").iter();
    let (Some(one), None) = (given.next(), given.next()) else { return None };
    let (trace, span, flags) = read(one.to_str().ok()?)?;
    Some(SpanContext::new(trace, span, flags, true, state(headers)))
}

/// `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`; later versions may go on behind another dash.
fn read(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let known = text.get(..55)?;
    let [version, trace, span, flags] = known.split('-').collect::<Vec<_>>()[..] else { return None };
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    if !hex(version, 2) || !hex(trace, 32) || !hex(span, 16) || !hex(flags, 2) {
        return None;
    }
    let rest = &text[55..];
    let ends = if version == "00" { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
    let trace = TraceId::from_hex(trace).ok().filter(|id| *id != TraceId::INVALID)?;
    let span = SpanId::from_hex(span).ok().filter(|id| *id != SpanId::INVALID)?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    (ends && version != "ff").then_some((trace, span, flags))
}

/// All `tracestate` headers as one list; empty when it is malformed or too long.
fn state(headers: &HeaderMap) -> TraceState {
    let texts: Result<Vec<_>, _> = headers.get_all("tracestate").iter().map(|value| value.to_str()).collect();
    let text = texts.unwrap_or_default().join(",");
    if text.len() > STATE { TraceState::NONE } else { text.parse().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn headers(given: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_clients_trace_goes_on() {
        for (text, sampled) in [
            (format!("00-{TRACE}-{SPAN}-01"), true),
            (format!("00-{TRACE}-{SPAN}-00"), false),
            // Unknown flags say nothing.
            (format!("00-{TRACE}-{SPAN}-fe"), false),
            (format!("00-{TRACE}-{SPAN}-ff"), true),
            (format!("cc-{TRACE}-{SPAN}-01"), true),
            (format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like"), true),
        ] {
            let parent = parent(&headers(&[("traceparent", &text)])).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(
                (parent.trace_id().to_string(), parent.span_id().to_string()),
                (TRACE.into(), SPAN.into())
            );
            assert_eq!((parent.is_sampled(), parent.is_remote()), (sampled, true), "{text}");
        }
    }

    #[test]
    fn what_is_malformed_is_ignored() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            "00".into(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01.x"),
            format!("cc-{TRACE}-{SPAN}-01.x"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-{TRACE}-{SPAN}-0A"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            format!("00-+{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{TRACE}-{SPAN}-01é"),
        ] {
            assert_eq!(read(&text), None, "{text}");
        }
        let one = format!("00-{TRACE}-{SPAN}-01");
        assert!(parent(&headers(&[("traceparent", &one), ("traceparent", &one)])).is_none(), "two are none");
        assert!(parent(&headers(&[("tracestate", "a=1")])).is_none());
    }

    #[test]
    fn the_state_is_one_list_or_nothing() {
        let one = format!("00-{TRACE}-{SPAN}-01");
        let state = |given: &[&str]| {
            let mut all = vec![("traceparent", one.as_str())];
            all.extend(given.iter().map(|value| ("tracestate", *value)));
            parent(&headers(&all)).unwrap().trace_state().header()
        };
        assert_eq!(state(&["a=1,b=2", "c=3"]), "a=1,b=2,c=3");
        assert_eq!(state(&["a=1", "no pair"]), "");
        assert_eq!(state(&[&format!("a={}", "x".repeat(STATE))]), "");
        assert_eq!(state(&[]), "");
    }
}
