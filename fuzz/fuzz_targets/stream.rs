#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| antigravity_proxy_fuzz::stream(data));
